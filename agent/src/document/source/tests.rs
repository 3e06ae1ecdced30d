//! How user data is read: which program it is for, what is wrong with it, and what `check` reports for the same bytes
//! on a dev box.

mod parts;

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::fake::machine::FakeMachine;

/// The document of most cases; anything added to it must not run without it.
const KEYS: &str = "version: 1\nfiles:\n  /etc/a: { content: a }\n\nservices:\n  a.service: {}\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str, little: bool, mark: bool) -> Vec<u8> {
    let mark = mark.then_some('\u{feff}').into_iter();
    let units = mark.chain(text.chars()).collect::<String>().encode_utf16().collect::<Vec<u16>>();
    units.into_iter().flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

/// A MIME message of these parts, each with its headers and the line between them and the body.
fn mime(parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--b\n{part}\n")).collect();
    format!("Content-Type: multipart/mixed; boundary=\"b\"\nMIME-Version: 1.0\n\n{parts}--b--\n")
}

fn part(kind: &str, body: &str) -> String {
    format!("Content-Type: {kind}\n\n{body}")
}

/// A summary of layers: the keys of each one that runs, or every mistake, and the keys that are kept for its signals.
fn told(layers: &Layers) -> String {
    let keys = |node: &Node| match &node.value {
        Value::Map(entries) => entries.iter().map(|(key, _)| key.name.as_str()).collect::<Vec<_>>().join(" "),
        _ => "?".to_owned(),
    };
    let nodes = layers.nodes.iter().map(keys).collect::<Vec<_>>().join(" | ");
    if layers.mistakes.is_empty() {
        return format!("runs {nodes}");
    }
    let mistakes = layers.mistakes.iter().map(|mistake| {
        assert!(mistake.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{}", mistake.message);
        match &mistake.place {
            Some(place) => format!("{place}: {}", mistake.message),
            None => mistake.message.clone(),
        }
    });
    let mistakes = mistakes.collect::<Vec<_>>().join("; ");
    if nodes.is_empty() { mistakes } else { format!("{mistakes} [{nodes}]") }
}

/// How an instance reads user data.
fn instance(bytes: impl AsRef<[u8]>) -> String {
    let mut layers = Layers::default();
    match layers.add_user_data(bytes.as_ref()) {
        Some(what) => {
            assert!(layers.nodes.is_empty() && layers.mistakes.is_empty());
            format!("is {what}")
        }
        None => told(&layers),
    }
}

/// How `check FILE` reads the same.
fn desk(bytes: impl AsRef<[u8]>) -> String {
    let mut layers = Layers::default();
    let marked = layers.add_named("user data", bytes.as_ref());
    if marked == Marker::Found { told(&layers) } else { format!("layer: {}", told(&layers)) }
}

fn holds(cases: &[(&str, Vec<u8>, &str)]) {
    for (name, bytes, expected) in cases {
        assert_eq!(instance(bytes), *expected, "{name}");
        assert_eq!(instance(gzip(bytes)), *expected, "{name}, in gzip");
        assert_eq!(instance(STANDARD.encode(gzip(bytes))), *expected, "{name}, in base64 of gzip");
        if !expected.starts_with("is ") {
            assert_eq!(desk(bytes), *expected, "{name}, on a desk");
        }
    }
}

#[test]
fn a_document_runs_as_a_whole() {
    let runs = "runs version files services";
    let marked = format!("#ingot\n{KEYS}");
    holds(&[
        ("as it should be", marked.clone().into(), runs),
        ("with a remark", format!("#ingot version 1\n{KEYS}").into(), runs),
        ("after a byte order mark", format!("\u{feff}{marked}").into(), runs),
        ("in CRLF", marked.replace('\n', "\r\n").into(), runs),
        ("after an empty line", format!("\n{marked}").into(), runs),
        ("after blanks and CRLF", format!(" \t\r\n\r\n{}", marked.replace('\n', "\r\n")).into(), runs),
        ("after comments", format!("# Managed by Terraform\n\n  # web\n{marked}").into(), runs),
        ("after a comment that comes near", format!("# ingot\n{marked}").into(), runs),
        ("as JSON", b"#ingot\n{\"version\": 1, \"files\": {\"/etc/a\": {\"content\": \"a\"}}, \"services\": {}}".into(), runs),
        ("in a cloud-config", "#cloud-config\npackages: []\ningot:\n  version: 1\n  files: {}\n".into(), "runs version files"),
        ("in a cloud-config that is capitalized, after an empty line", "\n#Cloud-Config\ningot: { version: 1 }\n".into(), "runs version"),
        ("in a cloud-config with a comment", "#cloud-config\n#ingot\ningot: { version: 1 }\n".into(), "runs version"),
        ("in a part", mime(&[&part("text/x-ingot", KEYS), &part("text/x-shellscript", "#!/bin/sh\n")]).into(), runs),
        (
            "in a part with an envelope",
            format!("From nobody Fri Jan 11 07:00:00 1980\n{}", mime(&[&part("text/x-ingot", &marked)])).into(),
            runs,
        ),
        ("in a message in a part", mime(&[&part("message/rfc822", &part("text/x-ingot", KEYS))]).into(), runs),
        (
            "in two parts",
            mime(&[&part("text/x-ingot", KEYS), &part("text/x-ingot", "values: {}")]).into(),
            "runs version files services | values",
        ),
    ]);
}

/// A service of another program that is named `ingot`.
const NAMED: &str = "services:\n  ingot: 1\n";

#[test]
fn what_is_for_another_program_is_left_to_it() {
    let script = "#!/bin/sh\ncat >boot.yaml <<END\n#ingot\nversion: 1\nfiles: {}\nEND\n";
    for (user_data, expected) in [
        (script.to_owned(), "is a shell script"),
        (format!("\n  {script}"), "is a shell script"),
        ("#cloud-config\npackages: [nginx]\n".into(), "is a #cloud-config without `ingot:`"),
        ("#cloud-config\n# ingot is in the image\nmounts: [[/dev/sdf, /srv]]\nusers: []\n".into(), "is a #cloud-config without `ingot:`"),
        (
            "#cloud-config\nwrite_files: [{ path: /a, content: \"#ingot\" }]\nx: { ingot: 1 }\n".into(),
            "is a #cloud-config without `ingot:`",
        ),
        ("#cloud-config\npackages: [\n".into(), "is a #cloud-config without `ingot:`"),
        ("#include\nhttps://example.com/boot\n".into(), "is a cloud-init include list"),
        ("#include-once\nhttps://example.com/boot\n".into(), "is a cloud-init include list"),
        ("#cloud-config-jsonp\n[{\"op\": \"add\", \"path\": \"/runcmd\", \"value\": []}]\n".into(), "is a JSON patch of a cloud-config"),
        ("#cloud-boothook\n#!/bin/sh\n".into(), "is a cloud boothook"),
        ("#part-handler\ndef list_types():\n".into(), "is a cloud-init part handler"),
        ("#cloud-config-archive\n- type: text/cloud-config\n  content: |\n    packages: []\n".into(), "is a cloud-config archive"),
        ("## template: jinja\n#cloud-config\npackages: []\n".into(), "is a cloud-init template"),
        ("---\napiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\n".into(), "is an EKS NodeConfig"),
        ("kind: NodeConfig\napiVersion: \"node.eks.aws/v1alpha1\"\n".into(), "is an EKS NodeConfig"),
        ("{\"kind\": \"NodeConfig\",\n  \"apiVersion\": \"node.eks.aws/v1alpha1\"}\n".into(), "is an EKS NodeConfig"),
        (
            format!("## template: jinja\n#cloud-config\nwrite_files:\n- path: /a\n  content: |\n    #ingot\n    values: {{id: {{{{ v1 }}}}}}\n{NAMED}"),
            "is a cloud-init template",
        ),
        (
            format!("#cloud-config\nruncmd: [ {{{{x}}}} ]\nwrite_files:\n- path: /a\n  content: |\n    #ingot\n{NAMED}"),
            "is a #cloud-config without `ingot:`",
        ),
        (
            "#cloud-config-archive\n- type: text/x-shellscript\n  content: |\n    #!/bin/sh\n    cat <<E\n    #ingot\n    E\n- |\n  #cloud-config\n  packages: []\n".into(),
            "is a cloud-config archive",
        ),
        (
            mime(&[&part("text/x-shellscript", script), &part("text/cloud-config", "#cloud-config\nmounts: [[a, b]]\n")]),
            "is a MIME message without a text/x-ingot part",
        ),
        (
            mime(&[&part("text/plain", "# hello\n"), "\nhello\n", &part("text/x-include-url", "https://example.com\n")]),
            "is a MIME message without a text/x-ingot part",
        ),
        (
            mime(&[&part("application/node.eks.aws", "kind: NodeConfig\n"), &part("text/x-compose", "version: 3\nservices: {}\n")]),
            "is a MIME message without a text/x-ingot part",
        ),
        (mime(&["Content-Type: text/x-shellscript\n#!/bin/sh\necho\n"]), "is a MIME message without a text/x-ingot part"),
        (
            format!("preamble\n{}epilogue\n", mime(&[&part("text/x-shellscript", script)])).replacen("preamble\n", "", 1),
            "is a MIME message without a text/x-ingot part",
        ),
    ] {
        for bytes in [user_data.clone().into_bytes(), user_data.replace('\n', "\r\n").into_bytes(), gzip(user_data.as_bytes())] {
            assert_eq!(instance(bytes), expected, "{user_data}");
        }
        assert!(desk(&user_data).contains("this is ") || desk(&user_data).contains("has no `ingot:`"), "{user_data}");
    }
}

/// A layer needs no marker, so `check` only says that the document is one.
#[test]
fn keys_without_a_marker_are_a_mistake_of_user_data_alone() {
    let missing = "these are the keys of a boot document, but the marker `#ingot` before them is missing";
    for (user_data, place) in [
        (KEYS.to_owned(), "1:1"),
        (KEYS.replace('\n', "\r\n"), "1:1"),
        (format!("---\n{KEYS}"), "2:1"),
        (format!("# web\n\n{KEYS}"), "3:1"),
        ("{\"version\": 1, \"files\": {}, \"services\": {}}".into(), "1:2"),
    ] {
        assert_eq!(instance(&user_data), format!("user data:{place}: {missing} [version files services]"), "{user_data}");
        assert_eq!(desk(&user_data), "layer: runs version files services", "{user_data}");
    }
    let remark = format!("# ingot: the layer of all\n{KEYS}");
    let expected = "user data:1:1: `# ingot: the layer of all` is not the marker `#ingot` [version files services]";
    assert_eq!((instance(&remark).as_str(), desk(&remark).as_str()), (expected, "layer: runs version files services"));
}

#[test]
fn a_marker_in_the_wrong_form_or_place_is_a_mistake() {
    let kept = "[version files services]";
    let cases = [
        ("  #ingot\n", "1:3: the marker `#ingot` is not at the start of its line"),
        ("\t#ingot\n", "1:2: the marker `#ingot` is not at the start of its line"),
        ("# web\n\n #ingot web\n", "3:2: the marker `#ingot` is not at the start of its line"),
        ("#Ingot\r\n", "1:1: `#Ingot` is not the marker `#ingot`"),
        ("#ingot:\n", "1:1: `#ingot:` is not the marker `#ingot`"),
        ("#ignot\n", "1:1: `#ignot` is not the marker `#ingot`"),
        ("#!ingot\n", "1:1: `#!ingot` is not the marker `#ingot`"),
        ("#!/usr/bin/env -S ingot boot\n", "1:1: `#!/usr/bin/env -S ingot boot` is not the marker `#ingot`"),
    ];
    for (line, expected) in cases {
        holds(&[(line, format!("{line}{KEYS}").into(), &format!("user data:{expected} {kept}"))]);
    }
    let late = "the marker `#ingot` comes after the first line of the document";
    holds(&[(
        "all indented",
        format!("  #ingot\n{KEYS}").replace('\n', "\n  ").into(),
        &format!("user data:1:3: the marker `#ingot` is not at the start of its line {kept}"),
    )]);
    // A layer may have such lines, so `check` only says that the document is one.
    for (user_data, expected) in [
        (format!("{KEYS}#ingot\n"), format!("7:1: {late}")),
        (format!("---\n#ingot\n{KEYS}"), format!("2:1: {late}")),
        (format!("# ingot\n# base layer\n{KEYS}"), "1:1: `# ingot` is not the marker `#ingot`".into()),
        (format!("# INGOT\n{KEYS}"), "1:1: `# INGOT` is not the marker `#ingot`".into()),
    ] {
        assert_eq!(instance(&user_data), format!("user data:{expected} {kept}"));
        assert_eq!(instance(gzip(user_data.as_bytes())), format!("user data:{expected} {kept}"));
        assert_eq!(desk(&user_data), "layer: runs version files services", "{user_data}");
    }
}

/// In `boot.d/` and behind `include`, which no other program reads.
#[test]
fn a_layer_is_known_by_its_keys() {
    let layer = |bytes: &[u8]| {
        let mut layers = Layers::default();
        layers.add_layer("user data", bytes);
        told(&layers)
    };
    for comment in ["# ingot", "#Ingot", "#include of base", "#! base", "## Template: shop", "  #ingot", "#part-handler"] {
        let text = format!("{comment}\n{KEYS}");
        assert_eq!(layer(text.as_bytes()), "runs version files services", "{comment}");
        assert_eq!(layer(&gzip(text.as_bytes())), "runs version files services", "{comment}");
    }
    for (text, expected) in [
        (mime(&[&part("text/x-ingot", KEYS)]), "runs version files services"),
        (part("text/x-ingot", "values: {}\n"), "runs values"),
        ("#cloud-config\nmounts: [[a, b]]\n".into(), "user data: this #cloud-config has no `ingot:`"),
        ("#!/bin/sh\necho\n".into(), "user data: this is a shell script, not a boot document"),
        ("#ingot\n".into(), "user data: this document is empty"),
    ] {
        assert_eq!(layer(text.as_bytes()), expected, "{text}");
    }
}

#[tokio::test]
async fn what_is_nearly_called_a_layer_is_noted() {
    let machine = FakeMachine::new_instance();
    for name in ["10.yaml", "20.yml", "30.YAML", "40.yaml.gz", "50.yaml.txt", "60.yaml.off", "70.yaml~", ".80.yml", "README.md"] {
        machine.add_file(&format!("{LAYERS}/{name}"), "values: {}\n");
    }
    let mut layers = Layers::default();
    layers.add_directory(Path::new(LAYERS), &machine).await;
    assert_eq!(told(&layers), "runs values");
    let said = ["20.yml", "30.YAML", "40.yaml.gz", "50.yaml.txt"];
    let said = said.map(|name| format!("{LAYERS}/{name} is not read: a layer must be uncompressed, and its name must end in `.yaml`"));
    assert_eq!(layers.passed_over, said);
}

#[test]
fn an_encoding_that_is_not_read_is_a_mistake() {
    let marked = format!("#ingot\n{KEYS}");
    for (little, mark) in [(true, true), (false, true), (true, false), (false, false)] {
        let bytes = utf16(&marked, little, mark);
        holds(&[("UTF-16", bytes, "user data:1:1: this is UTF-16 [version files services]")]);
    }
    assert_eq!(instance(utf16("#!/bin/sh\n", true, true)), "user data:1:1: this is UTF-16");
    for (bytes, what) in [
        (b"\xfd7zXZ\0\0\x04".as_slice(), "xz"),
        (b"BZh91AY&SY", "bzip2"),
        (b"PK\x03\x04\x14\0", "a zip archive"),
        (b"7z\xbc\xaf\x27\x1c\0", "a 7z archive"),
        (b"\x04\x22\x4d\x18\x64", "lz4"),
        (b"\x7fELF\x02\x01", "a program"),
    ] {
        let expected = format!("user data: user data is {what}, which ingot does not read");
        assert_eq!(instance(bytes), expected);
        assert_eq!(instance(gzip(bytes)), expected);
        assert_eq!(instance(STANDARD.encode(bytes)), expected);
        assert_eq!(desk(bytes), expected);
        let message = [mime(&[&part("text/x-ingot", "PLACE")]).replace("PLACE\n--b--\n", "").as_bytes(), bytes, b"\n--b--\n"].concat();
        assert_eq!(instance(message), expected.replacen("data is", "data, part 1 is", 1));
    }
    for (bytes, expected) in [
        (gzip(marked.as_bytes())[..30].to_vec(), "user data: user data is gzip that is damaged or cut short: "),
        (b"#ingot\na: \xff\n".to_vec(), "user data: user data is not UTF-8 at byte 10"),
        (b"\x80\x81\x82".to_vec(), "user data: user data is not UTF-8 at byte 0"),
    ] {
        assert!(instance(&bytes).starts_with(expected), "{}", instance(&bytes));
        assert!(desk(&bytes).starts_with(expected), "{}", desk(&bytes));
    }
}

#[test]
fn a_document_that_says_nothing_is_a_mistake() {
    for empty in ["", "\n", " \r\n\t", "\u{feff}", "\u{feff}\n"] {
        assert_eq!(instance(empty), "user data: user data is empty", "{empty:?}");
        assert_eq!(instance(gzip(empty.as_bytes())), "user data: user data is empty", "{empty:?}");
        assert_eq!(desk(empty), "user data: this document is empty", "{empty:?}");
    }
    for empty in [
        "#ingot",
        "#ingot\n",
        "#ingot\n\n---\n",
        "#ingot\n#version: 1\n#files: {}\n",
        "#cloud-config\ningot:\n",
        "#cloud-config\ningot: {}\n",
    ] {
        holds(&[(empty, empty.into(), "user data: this document is empty")]);
    }
    assert_eq!(instance("#ingot\n{}\n"), "user data: this document is empty");
    holds(&[
        ("an empty part", mime(&[&part("text/x-ingot", "")]).into(), "user data, part 1: this document is empty"),
        ("a part in comments", mime(&[&part("text/x-ingot", "#ingot\n# version: 1")]).into(), "user data, part 1: this document is empty"),
    ]);
    for comments in ["# nothing\n", "#version: 1\n#files: {}\n"] {
        let expected = "user data:1:1: user data contains nothing but comments, without the marker `#ingot`";
        assert_eq!((instance(comments).as_str(), desk(comments).as_str()), (expected, "layer: user data: this document is empty"));
    }
}

#[test]
fn a_key_of_a_cloud_config_that_comes_near_is_a_mistake() {
    for (cloud_config, expected) in [
        ("packages: []\nignot:\n  version: 1\n", "3:1: `ignot` is not the key `ingot` [version]"),
        ("Ingot: { version: 1 }\n", "2:1: `Ingot` is not the key `ingot` [version]"),
        ("x-ingot: { version: 1 }\n", "2:1: `x-ingot` is not the key `ingot` [version]"),
        ("  ingots: { version: 1 }\n", "2:3: `ingots` is not the key `ingot` [version]"),
        ("version: 1\nfiles: {}\n", "2:1: these are the keys of a boot document, but this is a #cloud-config [version files]"),
        ("credentials: { a: x }\n", "2:1: these are the keys of a boot document, but this is a #cloud-config [credentials]"),
        ("#ingot\npackages: []\n", "2:1: the marker `#ingot` is inside a #cloud-config"),
        ("- ingot: { version: 1 }\n", "2:3: this may be the key of a boot document, but the #cloud-config is not a map"),
    ] {
        holds(&[(cloud_config, format!("#cloud-config\n{cloud_config}").into(), &format!("user data:{expected}"))]);
    }
    let broken = instance("#cloud-config\npackages: [nginx]\n  ingot:\n    version: 1\n");
    assert!(broken.starts_with("user data:3:3: this may be the key of a boot document") && broken.contains("this is not YAML"), "{broken}");
    let template = "## template: jinja\n#cloud-config\ningot: { version: 1 }\n";
    assert_eq!(
        instance(template),
        "user data:3:1: this names a boot document inside a cloud-init template, where ingot does not read it [version]"
    );
    let archive = "#cloud-config-archive\n- type: text/x-ingot\n  content: x\n";
    assert_eq!(instance(archive), "user data:2:3: this names a boot document inside a cloud-config archive, where ingot does not read it");
    for content in ["|\n    #ingot\n    version: 1\n", "|\n    #cloud-config\n    ingot: { version: 1 }\n", "'#ingot'\n"] {
        let said = instance(format!("#cloud-config-archive\n- '#!/bin/sh'\n- content: {content}"));
        assert!(said.starts_with("user data:3:3: this names a boot document inside a cloud-config archive"), "{said}");
    }
}

#[test]
fn what_nobody_is_known_to_read_is_a_mistake() {
    for (user_data, expected) in [
        ("hello\n", "1:1: user data is text, neither"),
        ("<powershell>\nGet-Date\n</powershell>\n", "1:1: user data is a script for Windows, or XML, neither"),
        ("{\"ignition\": {\"version\": \"3.4.0\"}}", "1:1: user data is JSON or a flow of YAML, neither"),
        ("[settings.kubernetes]\na = 1\n", "1:1: user data is TOML or a list, neither"),
        ("# web\n#cloud-config\npackages: []\n", "2:1: other lines come before the marker"),
        ("# web\n#!/bin/sh\n", "2:1: other lines come before the marker"),
        ("\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n--b--\n", "2:1: other lines come before the marker"),
        ("    Content-Type: text/x-ingot\n    \n    version: 1\n", "3:5: these are the keys of a boot document"),
    ] {
        assert!(instance(user_data).starts_with(&format!("user data:{expected}")), "{user_data}: {}", instance(user_data));
        // A map is read on a dev box, and its keys are reported as unknown.
        assert!(user_data.starts_with(['{', ' ']) || !desk(user_data).contains("runs"), "{user_data}: {}", desk(user_data));
    }
}

/// An include that cannot be read would hide the mistake.
#[test]
fn what_a_mistaken_document_includes_is_not_read() {
    assert_eq!(
        instance("# ingot\nversion: 1\ninclude: [ssm:/a]\nsignals: {}\n"),
        "user data:1:1: `# ingot` is not the marker `#ingot` [version signals]"
    );
}
