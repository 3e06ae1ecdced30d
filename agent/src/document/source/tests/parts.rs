//! Parts of MIME messages that were meant for ingot, but that ingot does not read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{KEYS, gzip, holds, instance, mime, part};

#[test]
fn a_part_whose_headers_do_not_end_is_a_mistake() {
    let unended = "user data, part 1:1:1: the headers of this part do not end with an empty line";
    let whole = format!("{unended} [version files services]");
    let headers = "Content-Type: text/x-ingot\nContent-Disposition: attachment; filename=\"b\"";
    holds(&[
        ("before the marker", mime(&[&format!("Content-Type: text/x-ingot\n#ingot\n{KEYS}")]).into(), &whole),
        ("before a key", mime(&[&format!("Content-Type: text/x-ingot\n{KEYS}")]).into(), &whole),
        (
            "before a comment",
            mime(&[&format!("{headers}\n# by hand: {KEYS}")]).into(),
            &format!("{} [files services]", unended.replace("1:1:1", "1 (b):1:1")),
        ),
        ("in CRLF", mime(&[&format!("Content-Type: text/x-ingot\n#ingot\n{KEYS}")]).replace('\n', "\r\n").into(), &whole),
        ("without a body", mime(&["Content-Type: text/x-ingot"]).into(), unended),
        (
            "of a part without a type",
            mime(&[&format!("MIME-Version: 1.0\n#ingot\n{KEYS}")]).into(),
            "user data, part 1:1:1: this part without a type contains a boot document [version files services]",
        ),
        (
            "of a message",
            format!("MIME-Version: 1.0\nContent-Type: text/x-ingot\n{KEYS}").into(),
            "user data:1:1: the headers of this part do not end with an empty line [version files services]",
        ),
    ]);
    let outer = mime(&[&part("text/x-ingot", KEYS)]).replacen("\n\n", "\n", 1);
    let expected = "user data, part 1:1:1: the headers of the MIME message do not end with an empty line [version files services]";
    holds(&[("of the multipart", outer.into(), expected)]);
}

#[test]
fn a_document_in_a_part_of_another_type_is_a_mistake() {
    let at = |number: usize, place: &str, kind: &str| {
        format!("user data, part {number}:{place}: this part {kind} contains a boot document [version files services]")
    };
    for kind in
        ["text/plain", "text/plain; charset=us-ascii", "text/cloud-config", "text/x-shellscript", "text/yaml", "application/octet-stream"]
    {
        let named = format!("of the type `{}`", kind.split(';').next().unwrap());
        for (body, place) in [
            (format!("#ingot\n{KEYS}"), "1:1"),
            (format!("# web\n#ingot\n{KEYS}"), "2:1"),
            (format!("  #ingot\n{KEYS}"), "1:3"),
            (KEYS.to_owned(), "1:1"),
            (format!("# ingot\n{KEYS}"), "2:1"),
        ] {
            let message = mime(&[&part("text/x-shellscript", "#!/bin/sh\n"), &part(kind, &body)]);
            holds(&[(kind, message.into(), &at(2, place, &named))]);
        }
    }
    let without = "without a type";
    let encoded = format!(
        "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n{}",
        STANDARD.encode(gzip(format!("#ingot\n{KEYS}").as_bytes()))
    );
    let quoted = format!("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n#ingot\n{}", KEYS.replace(' ', "=20"));
    let nested = mime(&[&part("text/plain", &format!("#ingot\n{KEYS}"))]).replace("\"b\"", "\"c\"").replace("--b", "--c");
    holds(&[
        ("without headers", mime(&[&format!("\n#ingot\n{KEYS}")]).into(), &at(1, "1:1", without)),
        ("without headers or empty line", mime(&[&format!("#ingot\n{KEYS}")]).into(), &at(1, "1:1", without)),
        (
            "after an empty line",
            mime(&[&format!("\n{}", part("text/x-ingot", "#ingot\nversion: 1\n"))]).into(),
            "user data, part 1:3:1: this part without a type contains a boot document [Content-Type version]",
        ),
        ("in base64 of gzip", mime(&[&encoded]).into(), &at(1, "1:1", "of the type `text/plain`")),
        ("in quoted-printable", mime(&[&quoted]).into(), &at(1, "1:1", "of the type `text/plain`")),
        ("in a nested multipart", mime(&[&nested]).into(), &at(1, "1:1", "of the type `text/plain`")),
        (
            "of a type of our own",
            mime(&[&part("text/x-my-document", &format!("#ingot\n{KEYS}"))]).into(),
            &at(1, "1:1", "of the type `text/x-my-document`"),
        ),
        (
            "as a message of one part",
            part("text/plain", &format!("#ingot\n{KEYS}")).into(),
            "user data:1:1: this part of the type `text/plain` contains a boot document [version files services]",
        ),
    ]);
}

#[test]
fn a_document_in_a_cloud_config_part_is_a_mistake() {
    for (cloud_config, expected) in [
        ("#cloud-config\ningot:\n  version: 1\n", "2:1: this part of the type `text/cloud-config` contains a boot document [version]"),
        (
            "#cloud-config\npackages: []\nIngot: { version: 1 }\n",
            "3:1: this part of the type `text/cloud-config` contains a boot document [version]",
        ),
        (
            "#cloud-config\nversion: 1\nfiles: {}\n",
            "2:1: this part of the type `text/cloud-config` contains a boot document [version files]",
        ),
    ] {
        holds(&[(cloud_config, mime(&[&part("text/cloud-config", cloud_config)]).into(), &format!("user data, part 1:{expected}"))]);
    }
}

#[test]
fn a_part_that_is_nearly_found_is_a_mistake() {
    for (kind, shown) in [
        ("text/x-ignot", "text/x-ignot"),
        ("text/ingot", "text/ingot"),
        ("application/x-Ingot", "application/x-ingot"),
        ("text/x-ingot-yaml", "text/x-ingot-yaml"),
    ] {
        let expected = format!("user data, part 1:1:1: the type of this part is `{shown}`, not `text/x-ingot` [version files services]");
        holds(&[(kind, mime(&[&part(kind, KEYS)]).into(), &expected)]);
    }
    let misspelled = mime(&[&part("x", KEYS).replace("Content-Type: x", "Content-Typ: text/x-ingot")]);
    holds(&[(
        "a header",
        misspelled.into(),
        "user data, part 1:1:1: the header with the type of this part cannot be read [version files services]",
    )]);
    let ours = part("text/x-ingot", KEYS);
    let script = part("text/x-shellscript", "#!/bin/sh\necho");
    let hidden = "user data, part 1:3:1: this line is not the delimiter of the MIME message, and a boot document comes after it";
    for delimiter in ["  --b", "-b", "--B", "---b", "b"] {
        let message = mime(&[&format!("{script}\n{delimiter}\n{ours}")]);
        holds(&[(delimiter, message.into(), hidden)]);
    }
    let outside = "a boot document is outside the parts of the MIME message";
    let early = mime(&[&script]) + &format!("--b\n{ours}\n--b--\n");
    let late = mime(&[&script]).replacen("--b\n", &format!("-- b\n{ours}\n--b\n"), 1);
    holds(&[
        ("after the end", early.into(), &format!("user data, outside of its parts:2:1: {outside}")),
        ("before the first", late.into(), &format!("user data, outside of its parts:2:1: {outside}")),
    ]);
}

const NOTHING: &str = "is a MIME message without a text/x-ingot part";

#[test]
fn a_cloud_config_is_one_by_its_type_too() {
    let held = |kind: &str| format!("user data, part 1:1:1: this part of the type `{kind}` contains a boot document [version]");
    for kind in ["text/cloud-config", "text/plain"] {
        holds(&[(kind, mime(&[&part(kind, "ingot:\n  version: 1\n")]).into(), &held(kind))]);
    }
    holds(&[
        ("a slip", mime(&[&part("text/cloud-config", "Ingot:\n  version: 1\n")]).into(), &held("text/cloud-config")),
        ("a word", mime(&[&part("text/plain", "ingot: is a tool\n")]).into(), NOTHING),
    ]);
}

#[test]
fn keys_of_another_program_are_left_to_it() {
    for (kind, body) in [
        ("text/plain", "version: \"3.8\"\nservices: {web: {image: nginx}}\nvolumes: {data: {}}\n"),
        ("text/plain", "version: \"3.8\"\nservices:\n  web: {image: nginx}\n  a: [\n"),
        ("application/x-yaml", "services: {web: {image: nginx}}\nvolumes: {data: {}}\n"),
        ("application/json", "{\"files\": {\"a\": 1}}"),
        ("application/json", "{\"version\": 2, \"values\": {\"a\": 1}}"),
        ("text/yaml", "version: 1\nfiles: [a]\n"),
        ("text/plain", "services: {}\n"),
        ("text/plain", "#cloud-config\nwrite_files:\n- path: /a\n  content: |\n    Content-Type: text/x-ingot\n"),
        ("text/cloud-config", "#cloud-config\nwrite_files:\n- content: |\n    MIME-Version: 1.0\n    Content-Type: text/x-ingot\n"),
    ] {
        let alone = mime(&[&part(kind, body)]);
        let beside = mime(&[&part("text/x-ingot", KEYS), &part(kind, body)]);
        holds(&[(body, alone.into(), NOTHING), (body, beside.into(), "runs version files services")]);
    }
    for (body, keys) in [
        ("files:\n  /etc/a: { content: a }\n", "files"),
        ("values: {}\nfiles: {}\n", "values files"),
        ("version: 1\nvalues: { a: 1 }\ninclude: [ssm:/a]\n", "version values"),
    ] {
        let expected = format!("user data, part 1:1:1: this part of the type `text/plain` contains a boot document [{keys}]");
        holds(&[(body, mime(&[&part("text/plain", body)]).into(), &expected)]);
    }
}

#[test]
fn a_damaged_document_in_a_part_of_another_type_is_a_mistake() {
    let at = |kind: &str| format!("user data, part 1:1:1: this part of the type `{kind}` contains a boot document");
    let (head, tail) = (b"--b\nContent-Type: text/plain\n\n".as_slice(), b"\n--b--\n".as_slice());
    let around = b"Content-Type: multipart/mixed; boundary=b\n\n".as_slice();
    let latin = [around, head, b"#ingot\nversion: 1\nvalues: {}\n# caf\xe9\n", tail].concat();
    assert_eq!(instance(latin), format!("{} [version values]", at("text/plain")));

    let encoded = STANDARD.encode("#ingot\nversion: 1\nvalues: { a: 1 }\n# the end\n");
    let cut = &encoded[..encoded.len() - 3];
    let message = mime(&[&format!("Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n{cut}")]);
    assert_eq!(instance(message), format!("{} [version values]", at("application/octet-stream")));

    let xz = STANDARD.encode(b"\xfd7zXZ\0\0\x04");
    let in_xz = |kind: &str| mime(&[&format!("Content-Type: {kind}\nContent-Transfer-Encoding: base64\n\n{xz}")]);
    assert_eq!(instance(in_xz("text/plain")), "user data: user data, part 1 is xz, which ingot does not read");
    assert_eq!(instance(in_xz("application/octet-stream")), NOTHING);

    for (kind, body, place) in [
        ("text/plain", "#ignot\nversion: 1\nvalues: { a: [\n", "1:1"),
        ("text/plain", "# web\n#Ingot\nvalues: { a: [\n", "2:1"),
        ("text/jinja2", "## template: jinja\n#ingot\nversion: {{ x }}\n", "2:1"),
        ("text/jinja2", "## template: jinja\n#cloud-config\ningot:\n  version: {{ x }}\n", "3:1"),
    ] {
        let said = instance(mime(&[&part(kind, body)]));
        assert!(said.starts_with(&at(kind).replace("1:1:1", &format!("1:{place}"))), "{body}: {said}");
    }
    assert_eq!(instance(mime(&[&part("text/jinja2", "## template: jinja\n#cloud-config\nservices:\n  ingot: {{ x }}\n")])), NOTHING);
}

/// Regression: a truncated gzip was ignored, and the instance came up without the document in it.
#[test]
fn compressed_content_that_is_cut_short_in_a_part_of_another_type_is_a_mistake_if_it_may_be_ours() {
    let gzipped = |text: &str| gzip(text.as_bytes());
    let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 3).unwrap();
    let with = |kind: &str, bytes: &[u8]| {
        instance(mime(&[&format!("Content-Type: {kind}\nContent-Transfer-Encoding: base64\n\n{}", STANDARD.encode(bytes))]))
    };
    // No two lines are equal, so that the part that is cut off does not occur in the rest.
    let many: String = (0..200).map(|number| format!("# {:x}\n", number * 7919 + number * number)).collect();
    let damaged = "user data: user data, part 1 is gzip that is damaged or cut short: ";
    for kind in ["text/plain", "text/cloud-config", "text/x-shellscript", "application/octet-stream", "application/gzip"] {
        let ours = format!("user data, part 1:1:1: this part of the type `{kind}` contains a boot document");
        let whole = gzipped(&format!("#ingot\nversion: 1\n{many}"));
        let cut = &whole[..whole.len() / 2];
        assert!(with(kind, cut).starts_with(&ours), "{kind}: {}", with(kind, cut));
        let in_base64 = &STANDARD.encode(&whole)[..whole.len() / 2 * 4 / 3];
        assert!(with(kind, in_base64.as_bytes()).starts_with(&ours), "in base64, {kind}: {}", with(kind, in_base64.as_bytes()));
        let in_zstd = zstd(&format!("#ingot\nversion: 1\n{}", many.repeat(200)));
        let said = with(kind, &in_zstd[..in_zstd.len() - 8]);
        assert!(said.starts_with(&ours), "in zstd, {kind}: {said}");
        let unknown = gzipped(&many);
        assert!(with(kind, &unknown[..unknown.len() / 2]).starts_with(damaged), "{kind}");
        let config = gzipped(&format!("#cloud-config\n{many}ingot: {{ version: 1 }}\n"));
        assert!(with(kind, &config[..config.len() / 2]).starts_with(damaged), "{kind}");
        let script = gzipped(&format!("#!/bin/sh\n{many}"));
        assert_eq!(with(kind, &script[..script.len() / 2]), NOTHING, "{kind}");
        assert_eq!(with(kind, &gzipped(&many)), NOTHING, "whole, {kind}");
    }
    // Only the gzip header is left.
    let nothing_is_left = &gzipped(&many)[..10];
    assert!(with("text/plain", nothing_is_left).starts_with(damaged));
    assert_eq!(with("application/octet-stream", nothing_is_left), NOTHING, "as any other binary");
    assert_eq!(with("image/png", nothing_is_left), NOTHING);
    let binary: Vec<u8> = (0..4000_u32).flat_map(|number| (number * number).to_le_bytes()).collect();
    assert_eq!(with("application/octet-stream", &gzip(&binary)[..2000]), NOTHING, "a program");
}

#[test]
fn a_header_that_is_not_known_is_one() {
    let ours = |headers: &str| mime(&[&part(&format!("text/x-ingot\n{headers}"), KEYS)]);
    let unended = "user data, part 1:1:1: the headers of this part do not end with an empty line";
    holds(&[
        ("with a value", ours("Priority: normal").into(), "runs version files services"),
        ("on two lines", ours("Organization: a\n b\nContent-Disposition: attachment").into(), "runs version files services"),
        ("without an end", ours("version: 1").replace("version: 1\n\nversion: 1", "Version: 1").into(), unended),
    ]);
}

#[test]
fn a_message_of_others_need_not_be_closed() {
    let open = |parts: &[&str]| mime(parts).replace("\n--b--\n", "\n");
    let script = part("text/x-shellscript", "#!/bin/sh\necho");
    let (ours, cut) =
        (part("text/x-ingot", KEYS), "user data: user data is a broken MIME message: it ends inside a part, without the closing delimiter");
    holds(&[
        ("of others", open(&[&script, &part("text/cloud-config", "#cloud-config\n")]).into(), NOTHING),
        ("that ends with ours", open(&[&script, &ours]).into(), cut),
        ("that begins with ours", open(&[&ours, &script]).into(), cut),
        ("with ours in another type", open(&[&script, &part("text/plain", KEYS)]).into(), cut),
    ]);
}

/// Regression: the signals of the document were not sent.
#[test]
fn a_part_that_cannot_be_read_does_not_hide_the_others() {
    let encoded = |headers: &str, bytes: &[u8]| format!("{headers}Content-Transfer-Encoding: base64\n\n{}", STANDARD.encode(bytes));
    let (zip, program) = (b"PK\x03\x04abcdef".as_slice(), b"\x7fELF\x02\x01".as_slice());
    let ours = part("text/x-ingot", KEYS);
    // A binary script, and a file named as an archive, are for other programs if there is a document with the right
    // type.
    for other in [
        encoded("Content-Disposition: attachment; filename=\"a.zip\"\n", zip),
        encoded("Content-Type: text/x-shellscript\n", program),
        encoded("Content-Type: text/x-shellscript\n", &gzip(program)),
    ] {
        assert_eq!(instance(mime(&[&ours, &other])), "runs version files services", "{other}");
        assert_eq!(instance(mime(&[&other, &ours])), "runs version files services", "{other}");
        assert!(instance(mime(&[&other])).starts_with("user data: user data, part 1"), "{other}");
    }
    let unread =
        |what: &str| format!("user data, part 2:1:1: user data, part 2 is {what}, which ingot does not read [version files services]");
    for (kind, bytes, what) in
        [("text/plain", zip, "a zip archive"), ("text/x-ingot", zip, "a zip archive"), ("text/cloud-config", b"\xfd7zXZ\0\0", "xz")]
    {
        let other = encoded(&format!("Content-Type: {kind}\n"), bytes);
        assert_eq!(instance(mime(&[&ours, &other])), unread(what), "{kind}");
    }
}

/// Regression: half of a document in such a part was left out, and the instance came up normally.
#[test]
fn an_encoding_that_is_not_read_is_a_mistake_beside_a_document_too() {
    let ours = part("text/x-ingot", KEYS);
    let encoded = |headers: &str, bytes: &[u8]| format!("{headers}Content-Transfer-Encoding: base64\n\n{}", STANDARD.encode(bytes));
    let utf16 = |text: &str| [b"\xff\xfe".to_vec(), text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat();
    let half = utf16("  /etc/b: { content: b }\n");
    let unread = |what: &str| format!("user data, part 2:1:1: user data, part 2 is {what}, which ingot does not read");
    for headers in ["", "Content-Type: text/x-shellscript\n"] {
        for (bytes, what) in [
            (b"\xfd7zXZ\0\0\x04".as_slice(), "xz"),
            (b"BZh91AY&SY", "bzip2"),
            (b"PK\x03\x04abcdef", "a zip archive"),
            (&gzip(b"\xfd7zXZ\0\0\x04"), "xz"),
            (&half, "UTF-16"),
        ] {
            let said = instance(mime(&[&ours, &encoded(headers, bytes)]));
            assert_eq!(said, format!("{} [version files services]", unread(what)), "{headers}");
        }
        let script = encoded(headers, b"#!/bin/sh\necho\n");
        let wide = encoded(headers, &utf16("#!/bin/sh\necho\n"));
        let program = encoded(headers, b"\x7fELF\x02\x01");
        for other in [script, wide, program] {
            assert_eq!(instance(mime(&[&ours, &other])), "runs version files services", "{other}");
        }
    }
    let named = |name: &str| encoded(&format!("Content-Disposition: attachment; filename=\"{name}\"\n"), b"PK\x03\x04abcdef");
    assert_eq!(instance(mime(&[&ours, &named("Tools.ZIP")])), "runs version files services");
    assert!(instance(mime(&[&ours, &named("db.yaml")])).contains("part 2 (db.yaml) is a zip archive"));
}

#[test]
fn comments_that_come_near_are_left_to_other_programs() {
    let none = "is a MIME message without a text/x-ingot part";
    for word in ["#info", "#init", "#into", "#input", "#not"] {
        for (kind, body) in [("text/plain", "hello\n"), ("text/cloud-config", "packages: [nginx]\n"), ("text/x-shellscript", "\necho\n")] {
            assert_eq!(instance(mime(&[&part(kind, &format!("{word}\n{body}"))])), none, "{word} in {kind}");
        }
    }
    for (word, body) in [("#ignot", "hello\n"), ("#Ingot", "hello\n"), ("#inngott", KEYS), ("#info", KEYS)] {
        let said = instance(mime(&[&part("text/plain", &format!("{word}\n{body}"))]));
        assert!(said.starts_with("user data, part 1:1:1: this part of the type `text/plain` contains a boot document"), "{word}: {said}");
    }
}

#[test]
fn a_document_inside_of_an_archive_or_a_template_is_a_mistake() {
    let archive = "#cloud-config-archive\n- type: text/x-ingot\n  content: x\n";
    for kind in ["text/plain", "text/cloud-config-archive", "text/cloud-config"] {
        let said = instance(mime(&[&part(kind, archive)]));
        assert!(said.starts_with("user data, part 1:2:3: this names a boot document inside a cloud-config archive"), "{kind}: {said}");
    }
    let head = "## template: jinja\n#cloud-config\n";
    for template in ["{ingot: {version: 1}}\n", "{% if v1.region %}\n  ingot:\n    version: 1\n{% endif %}\n"] {
        let said = instance(format!("{head}{template}"));
        assert!(said.contains("this names a boot document inside a cloud-init template"), "{said}");
        let said = instance(mime(&[&part("text/jinja2", &format!("{head}{template}"))]));
        assert!(said.contains("this part of the type `text/jinja2` contains a boot document"), "{said}");
    }
    let patch = "#cloud-config-jsonp\n[{\"op\": \"add\", \"path\": \"/ingot\", \"value\": {}}]\n";
    let said = instance(patch);
    assert!(said.starts_with("user data:2:2: this names a boot document inside a JSON patch of a cloud-config"), "{said}");
    for sign in ["|", "|2", "|-", ">2-", "| # of the web server"] {
        let writes = format!("{head}write_files:\n- path: /a\n  content: {sign}\n    ingot:\n      version: 1\n");
        assert_eq!(instance(writes), "is a cloud-init template", "{sign}");
    }
}

/// Without `version`, they could be steps of a Docker Compose file.
#[test]
fn keys_that_no_other_program_has_are_ours_with_a_mistake_in_them() {
    let misspelt = "files:\n  /etc/a: { contnet: a }\n";
    let said = instance(mime(&[&part("text/plain", misspelt)]));
    assert!(said.starts_with("user data, part 1:1:1: this part of the type `text/plain` contains a boot document"), "{said}");
    for other in ["services:\n  web: { image: nginx }\n", "services: { web: { image: a } }\nvolumes: { a: {} }\n", "values: { a: 1 }\n"] {
        assert_eq!(instance(mime(&[&part("text/plain", other)])), "is a MIME message without a text/x-ingot part", "{other}");
    }
}

/// Regression: it was reported as being for another program.
#[test]
fn a_layer_with_a_mistake_in_its_yaml_is_told_as_a_layer() {
    let layer = |text: &str| {
        let mut layers = super::Layers::default();
        layers.add_layer("user data", text.as_bytes());
        super::told(&layers)
    };
    for comment in ["#! base", "#include of base", "#part-handler", "# web"] {
        let said = layer(&format!("{comment}\nversion: 1\nfiles: [\n"));
        assert!(said.contains("this is not YAML"), "{comment}: {said}");
    }
    assert_eq!(layer("#!/bin/sh\ncat <<END\nversion: 1\nfiles: [\nEND\n"), "user data: this is a shell script, not a boot document");
}
