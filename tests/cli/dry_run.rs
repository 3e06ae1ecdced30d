//! `ingot dry-run`: every example, rehearsed as on a laptop, without root, network or a home directory.
#![expect(clippy::disallowed_methods, reason = "a test stands outside of ingot, and reads the documents")]

#[path = "dry_run/difference.rs"]
mod difference;
#[path = "dry_run/facts.rs"]
mod facts;
mod program;
#[path = "dry_run/release.rs"]
mod release;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use program::{FACTS, Ingot, documents, stem, tests, tree, write};
use serde_json::Value;

const SHOP: &str = "documents/shop.yaml";

/// A file that does not parse with a secret that is only known in the dry run.
const TORN: &str = "version: 1\nsecrets: { torn: { parameter: /torn } }\ncommands: { x: { run: [/bin/true] } }\nfiles:\n  /etc/a.json: { content: \"{{secrets.torn}}\" }\n";

fn dry_run(document: &str) -> Ingot {
    Ingot::new(["dry-run", document])
}

/// A rehearsal with facts, which writes every file below `out`.
fn rehearse(document: &str, out: &Path) -> Ingot {
    dry_run(document).args(FACTS).option("--out", out)
}

#[test]
fn shows_what_every_example_does_given_facts() {
    for document in documents("documents") {
        let ran = dry_run(&document).args(FACTS).run().exits(0);
        insta::assert_snapshot!(format!("{}_with_facts", stem(&document)), ran);
    }
}

#[test]
fn shows_what_every_example_does_with_placeholders_for_facts() {
    for document in documents("documents") {
        let ran = dry_run(&document).run().exits(0);
        insta::assert_snapshot!(format!("{}_without_facts", stem(&document)), ran);
    }
}

#[test]
fn writes_the_files_it_lists_with_their_modes_and_nothing_else() {
    for document in documents("documents") {
        let desk = tempfile::tempdir().unwrap();
        let out = desk.path().join("out");
        let ran = Ingot::new(["dry-run", "--json", "--facts"])
            .args([tests().join("facts.yaml"), tests().join(&document)])
            .option("--out", &out)
            .directory(desk.path())
            .env("HOME", desk.path().to_str().unwrap())
            .env("TMPDIR", desk.path().to_str().unwrap())
            .run()
            .exits(0);
        let listed: BTreeMap<String, String> =
            ran.json()["files"].as_array().unwrap().iter().map(|file| (text(&file["path"]), text(&file["mode"]))).collect();
        let written: BTreeMap<String, String> =
            tree(desk.path()).into_iter().map(|(path, found)| (path, format!("{:04o}", found.mode))).collect();
        let listed_below_out: BTreeMap<String, String> = listed.into_iter().map(|(path, mode)| (format!("/out{path}"), mode)).collect();
        assert_eq!(written, listed_below_out, "{document}");
    }
}

#[test]
fn renders_the_shop_as_the_snapshots_say() {
    let out = tempfile::tempdir().unwrap();
    rehearse(SHOP, out.path()).run().exits(0);
    let mut shown = String::new();
    for (path, found) in tree(out.path()) {
        shown.push_str(&format!("=== {path} {:04o}\n{}\n", found.mode, String::from_utf8(found.content).unwrap()));
    }
    insta::assert_snapshot!("shop_rendered", shown);
}

#[test]
fn a_second_run_writes_the_same_bytes_and_says_the_same() {
    for document in documents("documents") {
        let out = tempfile::tempdir().unwrap();
        let first = rehearse(&document, out.path()).run().exits(0);
        let written = tree(out.path());
        let second = rehearse(&document, out.path()).run().exits(0);
        assert_eq!(first.to_string(), second.to_string(), "{document}");
        assert_eq!(written, tree(out.path()), "{document}");
    }
}

#[test]
fn asks_nobody_for_anything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    for document in documents("documents") {
        dry_run(&document)
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint)
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
            .run()
            .exits(0);
    }
    let asked = listener.accept();
    assert!(asked.is_err(), "somebody connected: {asked:?}");
}

#[test]
fn json_has_one_shape() {
    let ran = dry_run(SHOP).args(FACTS).args(["--json"]).run().exits(0);
    insta::assert_snapshot!("shop_as_json", pretty(&ran.json()));
}

#[test]
fn json_of_a_failure_is_on_stdout_too() {
    let desk = Desk::new(TORN);
    write(&desk.path("facts.yaml"), "secrets: { torn: '{ ' }\n");
    let ran = desk.dry_run().args(["--json", "--facts", "facts.yaml"]).run().exits(1);
    let json = ran.json();
    assert_eq!(json["outcome"], "failed");
    let step = json["steps"].as_array().unwrap().iter().find(|step| step["address"] == "files./etc/a.json").unwrap();
    assert_eq!(step["error"]["message"], "the rendered file does not parse", "{ran}");
}

#[test]
fn live_and_out_exclude_each_other() {
    let out = tempfile::tempdir().unwrap();
    let ran = dry_run(SHOP).args(["--live"]).option("--out", out.path()).run().exits(2);
    assert!(ran.stderr.contains("--live") && ran.stderr.contains("--out"), "{ran}");
    assert_eq!(tree(out.path()).len(), 0);
}

#[test]
fn live_without_credentials_says_what_to_set() {
    let ran = dry_run(SHOP).args(["--live"]).run().exits(2);
    insta::assert_snapshot!(ran, @r"
    --- stderr ---
    no region is set
      hint: set AWS_REGION
    --- exit code 2 ---
    ");
}

#[test]
fn a_template_that_is_missing_is_a_mistake_of_the_document() {
    let desk = Desk::new("version: 1\nfiles:\n  /etc/a: { template: a.hbs }\n");
    insta::assert_snapshot!(desk.dry_run().run().exits(78), @r"
    --- stderr ---
    boot.yaml:3:23: the template file /etc/ingot/templates/a.hbs does not exist
        3 |   /etc/a: { template: a.hbs }
          |                       ^
      hint: bake it into the image there; on a dev box, put it into templates/ next to the document
    --- exit code 78 ---
    ");
}

#[test]
fn a_template_is_found_beside_the_document() {
    let (desk, out) = (Desk::new("version: 1\nfiles:\n  /etc/a: { template: a.hbs }\n"), tempfile::tempdir().unwrap());
    write(&desk.path("templates/a.hbs"), "{{instance.id}}\n");
    desk.dry_run().option("--out", out.path()).run().exits(0);
    assert_eq!(tree(out.path())["/etc/a"].content, b"<instance.id>\n");
}

#[test]
fn a_later_document_goes_on_top_of_an_earlier_one() {
    let (desk, out) = (
        Desk::new("version: 1\nvalues: { a: 1, b: 1 }\nfiles:\n  /etc/a: { content: \"{{values.a}}{{values.b}}\" }\n"),
        tempfile::tempdir().unwrap(),
    );
    write(&desk.path("top.yaml"), "version: 1\nvalues: { b: 2 }\n");
    desk.dry_run().args([desk.path("top.yaml")]).option("--out", out.path()).run().exits(0);
    assert_eq!(tree(out.path())["/etc/a"].content, b"12");
}

#[test]
fn a_check_that_refuses_a_file_fails_the_rehearsal_and_leaves_nothing() {
    let refusing = "version: 1\nfiles:\n  /etc/a: { content: \"listen nowhere\\n\", check: [/bin/sh, -c, \"cat {path}; echo refused; exit 3\"] }\n  /etc/b: { content: b }\n";
    let (desk, out) = (Desk::new(refusing), tempfile::tempdir().unwrap());
    let ran = desk.dry_run().option("--out", out.path()).run().exits(1);
    insta::assert_snapshot!(ran, @r"
    Plan: 2 steps, 2 at once

      files./etc/a  from the document
                    + write /etc/a (mode 0644)
                    ! /bin/sh refused the file; nothing was installed: last lines of its output:
                    !   | listen nowhere
                    !   | refused
                    !   hint: correct the template; `ingot dry-run --out DIR` shows what it renders

      files./etc/b  from the document
                    + write /etc/b (mode 0644)

    2 steps: 1 to change, 1 would fail
    --- exit code 1 ---
    ");
    assert_eq!(tree(out.path()).into_keys().collect::<Vec<_>>(), ["/etc/b"]);
}

#[test]
fn a_check_whose_program_is_not_on_this_desk_is_noted() {
    let desk = Desk::new("version: 1\nfiles:\n  /etc/a: { content: a, check: [/opt/nowhere/check, \"{path}\"] }\n");
    let out = tempfile::tempdir().unwrap();
    let ran = desk.dry_run().option("--out", out.path()).run().exits(0);
    assert_eq!(ran.stderr, "note: not checked: /opt/nowhere/check is not on this machine\n");
    assert!(tree(out.path()).contains_key("/etc/a"));
}

#[test]
fn a_number_that_toml_cannot_hold_is_refused_with_the_way_out() {
    let desk = Desk::new("version: 1\nvalues: { n: 12345678901234567890 }\nfiles:\n  /etc/a.toml: { content: 'a = {{toml values.n}}' }\n");
    let ran = desk.dry_run().run().exits(78);
    assert!(ran.stderr.contains(r#"write a number that large as a string, as in "{{values.n}}""#), "{ran}");
}

#[test]
fn a_place_that_cannot_be_written_to_is_named() {
    let desk = Desk::new("version: 1\nfiles:\n  /etc/a: { content: a }\n");
    write(&desk.path("file"), "");
    let ran = desk.dry_run().option("--out", &desk.path("file")).run().exits(2);
    assert!(ran.stderr.contains("/file is not a directory\n  hint: correct the path of --out"), "{ran}");
    let ran = desk.dry_run().option("--out", &desk.path("file/below")).run().exits(1);
    assert!(ran.stderr.contains("/file/below/etc"), "{ran}");
}

#[test]
fn json_of_a_document_with_mistakes_is_on_stdout() {
    let desk = Desk::new("version: 1\nfiles:\n  /etc/a: { contents: a }\ninclude: [ssm:/more]\n");
    let ran = desk.dry_run().args(["--json"]).run().exits(78);
    assert_eq!(ran.stderr, "");
    insta::assert_snapshot!(pretty(&ran.json()), @r#"
    {
      "version": 1,
      "outcome": "invalid",
      "mistakes": [
        {
          "file": "boot.yaml",
          "line": 3,
          "column": 13,
          "source": "  /etc/a: { contents: a }",
          "message": "unknown key `contents`",
          "hint": "did you mean `content`?"
        }
      ],
      "notes": [
        "not read: ssm:/more, from boot.yaml:4:11; --live reads it"
      ]
    }
    "#);
    // As `check` shows them.
    let checked = Ingot::new(["check", "--json", "boot.yaml"]).directory(desk.0.path()).run().exits(78);
    assert_eq!(ran.json()["mistakes"], checked.json()["mistakes"]);
}

#[test]
fn json_of_a_dry_run_that_cannot_start_is_on_stdout() {
    let desk = Desk::new("version: 1\n");
    for (arguments, code, outcome) in [
        (&["--facts", "nowhere"][..], 2, "refused"),
        (&["--facts", "wrong.yaml"], 2, "refused"),
        (&["--facts", "imds"], 2, "refused"),
        (&["--release", "nowhere"], 2, "refused"),
        (&["--live"], 2, "refused"),
        (&["--out", "boot.yaml/x"], 0, "done"),
    ] {
        write(&desk.path("wrong.yaml"), "a: [\n");
        let ran = desk.dry_run().args(arguments).args(["--json"]).run().exits(code);
        let json = ran.json();
        assert_eq!((json["version"].as_u64(), json["outcome"].as_str()), (Some(1), Some(outcome)), "{arguments:?}: {ran}");
        let is_told = json["error"]["message"].is_string() || json["mistakes"][0]["message"].is_string();
        assert!(is_told || outcome == "done", "{arguments:?}: {ran}");
        assert_eq!(ran.stderr, "", "{arguments:?}");
    }
}

/// A directory with a document that the test provides.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new(document: &str) -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        write(&desk.path("boot.yaml"), document);
        desk
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Uses a relative path, so that messages are the same each time.
    fn dry_run(&self) -> Ingot {
        Ingot::new(["dry-run", "boot.yaml"]).directory(self.0.path())
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}
