//! `ingot check`: every mistake of a document at once, with its place and a hint; and documents without mistakes.

mod program;

use program::{Ingot, documents, stem, tests, tree, write};

#[test]
fn shows_every_mistake_of_each_invalid_document() {
    for document in documents("documents/invalid") {
        let ran = Ingot::new(["check", &document]).run().exits(78);
        insta::assert_snapshot!(stem(&document), ran);
    }
}

#[test]
fn json_names_the_same_mistakes_as_the_text() {
    for document in documents("documents/invalid") {
        let text = Ingot::new(["check", &document]).run().exits(78).stdout;
        let json = Ingot::new(["check", "--json", &document]).run().exits(78).json();
        let mistakes = json["mistakes"].as_array().unwrap();
        assert!(!mistakes.is_empty(), "{document}");
        for mistake in mistakes {
            for field in ["file", "message", "source"] {
                assert!(text.contains(mistake[field].as_str().unwrap()), "{document}: {mistake}");
            }
            let place = format!("{document}:{}:{}: ", mistake["line"], mistake["column"]);
            assert!(text.contains(&place), "{document}: {place}");
        }
        assert_eq!(mistakes.len(), text.matches(&format!("{document}:")).count(), "{text}");
    }
}

/// The reader of a mistake has to know what to do next.
#[test]
fn every_mistake_comes_with_a_hint() {
    for document in documents("documents/invalid") {
        let json = Ingot::new(["check", "--json", &document]).run().exits(78).json();
        for mistake in json["mistakes"].as_array().unwrap() {
            assert!(mistake["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{document}: {mistake}");
        }
    }
}

#[test]
fn finds_nothing_wrong_with_the_examples() {
    for document in documents("documents") {
        let ran = Ingot::new(["check", &document]).run().exits(0);
        assert!(ran.stdout.starts_with("no mistakes in ") && ran.stderr.is_empty(), "{document}: {ran}");
        let ran = Ingot::new(["check", "--json", &document]).run().exits(0);
        let json = ran.json();
        let is_about_when = |note: &serde_json::Value| note.as_str().is_some_and(|note| note.contains(" due"));
        let notes: Vec<_> = json["notes"].as_array().into_iter().flatten().filter(|note| !is_about_when(note)).collect();
        assert!(json["mistakes"] == serde_json::json!([]) && json.get("warnings").is_none() && notes.is_empty(), "{document}: {json}");
    }
}

const BARE: &str = r#"version: 1
values: { name: shop, port: 80 }
secrets: { db: { secrets_manager: prod/db } }
files:
  /etc/shop.env:
    content: |
      # {{instance.id}}
      PORT={{values.port}}
      PASSWORD={{secrets.db.password}}
      URL=postgres://shop:{{secrets.db.password}}@db/shop
  /etc/shop.json: { content: '{"name": "{{values.name}}"}' }
  /etc/shop.xml: { template: shop.xml.hbs }
"#;

#[test]
fn warns_of_values_that_no_helper_quotes() {
    let desk = tempfile::tempdir().unwrap();
    write(&desk.path().join("boot.yaml"), BARE);
    write(&desk.path().join("templates/shop.xml.hbs"), "<shop>\n  <name>{{values.name}}</name>\n</shop>\n");
    insta::assert_snapshot!(Ingot::new(["check", "boot.yaml"]).directory(desk.path()).run().exits(0));
    let json = Ingot::new(["check", "--json", "boot.yaml"]).directory(desk.path()).run().exits(0).json();
    assert_eq!(json["mistakes"], serde_json::json!([]));
    let places: Vec<String> = json["warnings"].as_array().unwrap().iter().map(|one| format!("{}:{}", one["line"], one["column"])).collect();
    assert_eq!(places, ["2:11", "9:18", "10:29", "11:43"]);
    for warning in json["warnings"].as_array().unwrap() {
        assert!(warning["hint"].as_str().unwrap().starts_with("write {{"), "{warning}");
    }
    let ran = Ingot::new(["dry-run", "boot.yaml"]).directory(desk.path()).run().exits(0);
    assert_eq!(ran.stderr.matches(": warning: ").count(), 4, "{ran}");
}

/// Regression: the reload was refused, although a drop-in of the image may contain what the unit file lacks.
#[test]
fn warns_of_a_reload_that_only_the_image_can_know() {
    let document = r#"version: 1
files:
  /etc/systemd/system/plain.service: { content: "[Service]\nExecStart=/bin/plain\n" }
  /etc/systemd/system/good.service: { content: "[Service]\nExecStart=/bin/good\n" }
  /etc/systemd/system/good.service.d/reload.conf: { content: "[Service]\nExecReload=/bin/good --reload\n" }
  /etc/plain.conf: { content: x }
services:
  plain.service: { reload_on: [files./etc/plain.conf] }
  good.service: { reload_on: [files./etc/plain.conf] }
"#;
    let desk = tempfile::tempdir().unwrap();
    write(&desk.path().join("boot.yaml"), document);
    insta::assert_snapshot!(Ingot::new(["check", "boot.yaml"]).directory(desk.path()).run().exits(0), @r"
    boot.yaml:8:3: warning: plain.service can be reloaded only if the image has an ExecReload= for it: /etc/systemd/system/plain.service has none
        8 |   plain.service: { reload_on: [files./etc/plain.conf] }
          |   ^
      hint: give /etc/systemd/system/plain.service an ExecReload=, if no drop-in of the image has one

    no mistakes in 6 steps, 1 warning
    --- stderr ---
    note: boot.yaml is a layer: as user data, it must begin with the line `#ingot`
    --- exit code 0 ---
    ");
}

#[test]
fn a_document_that_is_not_there_is_named() {
    insta::assert_snapshot!(Ingot::new(["check", "nowhere.yaml"]).run().exits(78), @r"
    nowhere.yaml does not exist
      hint: correct the path
    --- exit code 78 ---
    ");
}

#[test]
fn several_documents_are_layers_and_each_mistake_names_its_own() {
    let desk = tempfile::tempdir().unwrap();
    write(&desk.path().join("base.yaml"), "version: 1\nvalues: { env: prod }\nfiles:\n  /etc/a: { content: \"{{values.evn}}\" }\n");
    write(&desk.path().join("top.yaml"), "version: 1\nvalues: { port: 80 }\nfiles:\n  /etc/b: { content: \"{{values.prot}}\" }\n");
    let ran = Ingot::new(["check", "base.yaml", "top.yaml"]).directory(desk.path()).run().exits(78);
    insta::assert_snapshot!(ran, @r#"
    base.yaml:4:25: `values.evn` refers to nothing
        4 |   /etc/a: { content: "{{values.evn}}" }
          |                         ^
      hint: did you mean values.env?

    top.yaml:4:25: `values.prot` refers to nothing
        4 |   /etc/b: { content: "{{values.prot}}" }
          |                         ^
      hint: did you mean values.port?
    --- exit code 78 ---
    "#);
}

/// Layers of an image and user data, as on an instance.
#[test]
fn the_layers_of_an_image_come_before_the_document() {
    let desk = tempfile::tempdir().unwrap();
    write(&desk.path().join("image/10-base.yaml"), "version: 1\nvalues: { env: prod }\n");
    write(
        &desk.path().join("image/20-web.yaml"),
        "version: 1\nfiles:\n  /etc/a: { template: a.hbs }\n  /etc/b: { content: \"{{values.evn}}\" }\n",
    );
    write(&desk.path().join("image/30-more.yml"), "version: 1\n");
    write(&desk.path().join("image/templates/a.hbs"), "{{values.nev}}\n");
    write(&desk.path().join("user-data.yaml"), "#ingot\nversion: 1\ncredentials: { c: \"{{values.vne}}\" }\n");
    let note = "image/30-more.yml is not read: a layer must be uncompressed, and its name must end in `.yaml`";
    for arguments in [&["--layers", "image", "user-data.yaml"][..], &["image", "user-data.yaml"]] {
        let ran = Ingot::new(["check"]).args(arguments).directory(desk.path()).run().exits(78);
        let places = ["/etc/ingot/templates/a.hbs:1:3: ", "image/20-web.yaml:4:25: ", "user-data.yaml:3:22: "];
        assert!(places.iter().all(|place| ran.stdout.contains(place)), "{ran}");
        assert_eq!(ran.stderr, format!("note: {note}\n"), "{ran}");
    }
    Ingot::new(["check", "--layers", "nowhere"]).directory(desk.path()).run().exits(78);
}

/// Regression: they were refused, with the hint to quote them.
#[test]
fn numbers_and_booleans_are_taken_where_strings_are_meant() {
    let desk = tempfile::tempdir().unwrap();
    let document = r#"#ingot
version: 1
files: { /etc/a: { content: 1.10, owner: 0 }, /etc/b: { content: True } }
commands: { a: { run: [sleep, 5, true], environment: { PORT: 80, DEBUG: false } } }
credentials: { a: 1e3 }
"#;
    write(&desk.path().join("boot.yaml"), document);
    let ran = Ingot::new(["check", "boot.yaml"]).directory(desk.path()).run().exits(0);
    assert!(ran.stdout.starts_with("no mistakes in 4 steps"), "{ran}");
    Ingot::new(["dry-run", "boot.yaml", "--out", "out"]).directory(desk.path()).run().exits(0);
    for (path, content) in [("etc/a", "1.10"), ("etc/b", "True")] {
        assert_eq!(read(&desk.path().join("out").join(path)), content);
    }
}

/// Regression: a field of the wrong type hid all other mistakes of its step.
#[test]
fn every_mistake_of_one_step_is_found() {
    let desk = tempfile::tempdir().unwrap();
    let document = r#"#ingot
version: 1
values: { env: prod }
files:
  /etc/a: { content: "{{values.evn}}", mode: 0o644 }
  /etc/b: { template: b.hbs, onwer: shop }
volumes: { a: { from: { snapshot: snap-xyz }, size_gib: 0 } }
commands: { a: { run: [echo, "{{jsn values.env}}"], timeout: 5, once: true } }
"#;
    write(&desk.path().join("boot.yaml"), document);
    write(&desk.path().join("templates/b.hbs"), "{{values.nev}}\n");
    let json = Ingot::new(["check", "--json", "boot.yaml"]).directory(desk.path()).run().exits(78).json();
    let places = json["mistakes"].as_array().unwrap().iter().map(|one| format!("{}:{}", one["line"], one["column"]));
    assert_eq!(places.collect::<Vec<_>>(), ["1:3", "5:25", "5:46", "6:30", "7:35", "7:57", "8:31", "8:62", "8:71"], "{json}");
}

/// Tags may have any name, and templates of other programs are ordinary texts.
#[test]
fn what_only_looks_like_a_mistake_is_none() {
    let desk = tempfile::tempdir().unwrap();
    let document = r#"#ingot
version: 1
values: { hosts: ["{{instance.private_ip}}"], size: "1" }
secrets: { a: { secrets_manager: prod/a } }
volumes: { a: { from: { blank: {} }, size_gib: 1, tags: { owner: "team:web", snapshot: golden } } }
mounts: { /srv/a: { device: "{{volumes.a.device}}" } }
bundles: { b: { s3: "s3://shop/b.tar", into: /srv/a/b } }
files:
  /srv/a/conf.json: { content: '{"a": {{secrets.a.port}}, "b": [{{#if secrets.a.b}}1,{{/if}}2]}' }
  /srv/a/hosts: { content: "{{#each values.hosts}}{{this}}\n{{/each}}{{join values.hosts ','}}" }
applications: { b: { bundle: bundles.b, user: shop, build: [[docker, inspect, --format, "{{.Id}}", "{{json .Config}}"]] } }
services: { a.service: { ready: { tcp: "{{instance.private_ip}}:80" } } }
"#;
    write(&desk.path().join("boot.yaml"), document);
    let ran = Ingot::new(["check", "boot.yaml"]).directory(desk.path()).run();
    assert_eq!(ran.code, Some(0), "{ran}");
}

/// `-`, and the path that a shell passes for `<(…)`.
#[test]
fn a_document_may_come_through_a_pipe() {
    let desk = tempfile::tempdir().unwrap();
    write(&desk.path().join("boot.yaml"), "#ingot\nversion: 1\nvalues: { a: b }\nfiles: { /etc/a: { content: \"{{values.b1}}\" } }\n");
    let command = r#""$0" check - < boot.yaml; "$0" check <(cat boot.yaml); "$0" check --json <(cat boot.yaml)"#;
    let ran = Ingot::in_a_shell(command, desk.path());
    assert!(ran.stdout.contains("standard input:4:32: `values.b1` refers"), "{ran}");
    assert!(ran.stdout.contains("/dev/fd/") && ran.stdout.matches("`values.b1` refers").count() == 3 && ran.stderr.is_empty(), "{ran}");
}

#[test]
fn what_is_no_document_is_refused() {
    for (what, bytes) in [
        ("a script", b"#!/bin/sh\necho\n".as_slice()),
        ("a list", b"- 1\n"),
        ("half of gzip", b"\x1f\x8b\x08\0\0"),
        ("no text", b"\xff\xfe\xfd"),
        ("text", b"hello\n"),
        ("another version", b"version: 2\n"),
        ("no version", b"values: {}\n"),
    ] {
        let desk = tempfile::tempdir().unwrap();
        let path = desk.path().join("boot.yaml");
        put(&path, bytes);
        let ran = Ingot::new(["check", "boot.yaml"]).directory(desk.path()).run();
        assert_eq!(ran.code, Some(78), "{what}\n{ran}");
        assert!(ran.stdout.contains(" hint: "), "{what}\n{ran}");
    }
}

/// A layer needs no marker; user data does.
#[test]
fn a_document_without_a_marker_is_noted_unless_it_is_a_layer() {
    let desk = tempfile::tempdir().unwrap();
    let note = "boot.yaml is a layer: as user data, it must begin with the line `#ingot`";
    for (path, marker, noted) in [("boot.yaml", "", true), ("boot.yaml", "# web\n\n#ingot\n", false), ("boot.d/10.yaml", "", false)] {
        write(&desk.path().join(path), &format!("{marker}version: 1\nvalues: {{}}\n"));
        let ran = Ingot::new(["check", path]).directory(desk.path()).run().exits(0);
        assert_eq!(ran.stderr, if noted { format!("note: {note}\n") } else { String::new() }, "{path}: {marker}");
        let json = Ingot::new(["check", "--json", path]).directory(desk.path()).run().exits(0).json();
        assert_eq!(json["notes"].as_array().map(Vec::len), noted.then_some(1), "{json}");
    }
}

/// Regression: an instance refuses such a document, but `check` only noted that it is a layer.
#[test]
fn a_comment_that_was_meant_as_the_marker_is_a_warning() {
    let desk = tempfile::tempdir().unwrap();
    for (marker, place, message) in [
        ("# ingot: web\n", "1:1", "`# ingot: web` is not the marker `#ingot`"),
        ("---\n#ingot\n", "2:1", "the marker `#ingot` comes after the first line of the document"),
    ] {
        for path in ["boot.yaml", "boot.d/10.yaml"] {
            write(&desk.path().join(path), &format!("{marker}version: 1\nvalues: {{}}\n"));
        }
        let ran = Ingot::new(["check", "boot.yaml"]).directory(desk.path()).run().exits(0);
        let warning = format!("boot.yaml:{place}: warning: {message}, so this document is refused as user data\n");
        assert!(ran.stdout.starts_with(&warning) && ran.stderr.is_empty(), "{ran}");
        let json = Ingot::new(["check", "--json", "boot.yaml"]).directory(desk.path()).run().exits(0).json();
        assert_eq!(json["warnings"].as_array().map(Vec::len), Some(1), "{json}");
        let ran = Ingot::new(["check", "boot.d/10.yaml"]).directory(desk.path()).run().exits(0);
        assert!(!ran.stdout.contains("warning") && ran.stderr.is_empty(), "{ran}");
    }
}

#[test]
fn a_marker_that_an_instance_does_not_accept_is_shown_with_its_line() {
    let desk = tempfile::tempdir().unwrap();
    write(&desk.path().join("boot.yaml"), "# Managed by Terraform\n  #ingot\nversion: 1\nvalues: {}\n");
    insta::assert_snapshot!(Ingot::new(["check", "boot.yaml"]).directory(desk.path()).run().exits(78), @r"
    boot.yaml:2:3: the marker `#ingot` is not at the start of its line
        2 |   #ingot
          |   ^
      hint: write `#ingot` at the start of its line; in Terraform, `<<-` removes the indentation of a heredoc
    --- exit code 78 ---
    ");
}

/// Each ```yaml block of README and of a page in docs/ that is user data contains a correct document.
#[test]
fn documents_in_the_pages_have_no_mistakes() {
    let docs = tree(&tests().join("../docs")).into_iter().filter(|(path, _)| path.ends_with(".md"));
    let mut pages: Vec<(String, String)> = docs.map(|(path, found)| (path, String::from_utf8(found.content).unwrap())).collect();
    pages.push(("README.md".into(), read(&tests().join("../README.md"))));
    for (page, text) in pages {
        let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let documents: Vec<&str> = blocks.filter(|block| block.starts_with("#ingot") || block.starts_with("#cloud-config")).collect();
        assert!(page != "README.md" || !documents.is_empty(), "README shows no boot document");
        for document in documents {
            let desk = tempfile::tempdir().unwrap();
            write(&desk.path().join("boot.yaml"), document);
            for command in ["check", "dry-run"] {
                let ran = Ingot::new([command, "boot.yaml"]).directory(desk.path()).run();
                assert_eq!(ran.code, Some(0), "{page}\n{document}\n{ran}");
                assert!(!ran.stdout.contains(": warning: ") && !ran.stderr.contains(": warning: "), "{page}\n{document}\n{ran}");
            }
        }
    }
}

/// Regression: all values were read again for every name and every text, so four times as many
/// steps took sixteen times as long.
#[test]
fn takes_as_long_as_a_document_is_long() {
    let directory = tempfile::tempdir().unwrap();
    let took = |steps: usize| {
        let all = |line: &dyn Fn(usize) -> String| (0..steps).map(line).collect::<String>();
        let values = all(&|n| format!("  v{n}: {{ a: b, c: [d, e] }}\n"));
        let secrets = all(&|n| format!("  s{n}: {{ secrets_manager: \"{{{{values.env}}}}/{n}\" }}\n"));
        let files = all(&|n| format!("  /etc/{n}: {{ content: \"{{{{values.env}}}} {{{{secrets.s{n}}}}}\" }}\n"));
        let path = directory.path().join(format!("{steps}.yaml"));
        write(&path, &format!("version: 1\nvalues:\n  env: prod\n{values}secrets:\n{secrets}files:\n{files}"));
        let run = || {
            let began = now();
            Ingot::new(["check".as_ref(), path.as_os_str()]).run().exits(0);
            began.elapsed()
        };
        (0..3).map(|_| run()).min().unwrap()
    };
    let (some, many) = (took(500), took(2000));
    assert!(many < some * 9, "{some:?} for 500 steps of a kind, {many:?} for 2000");
}

#[expect(clippy::disallowed_methods, reason = "a test stands outside of ingot")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn the_migration_page_shows_the_documents_that_it_names() {
    let page = read(&tests().join("../docs/migrate.md"));
    for document in documents("documents").iter().filter(|document| document.contains("/migrate-")) {
        let shown = format!("```yaml\n{}```", read(&tests().join(document)));
        assert!(page.contains(&shown), "{document} differs from what docs/migrate.md shows");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test stands outside of ingot")]
fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).expect("it can be read")
}

#[expect(clippy::disallowed_methods, reason = "a test stands outside of ingot")]
fn put(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("it can be written");
}
