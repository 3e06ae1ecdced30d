//! `ingot dry-run`: every example rehearsed as on a laptop, without root, network or a home directory.
#![expect(clippy::disallowed_methods, reason = "a test stands outside of ingot, and reads the documents")]

mod program;
#[path = "dry_run/release.rs"]
mod release;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use program::{FACTS, Ingot, Ran, documents, stem, tests, tree, write};
use serde_json::Value;

const SHOP: &str = "documents/shop.yaml";

/// A file that does not parse with a secret that only the dry run knows.
const TORN: &str = "version: 1\nsecrets: { torn: { parameter: /torn } }\ncommands: { x: { run: [/bin/true] } }\nfiles:\n  /etc/a.json: { content: \"{{secrets.torn}}\" }\n";

/// What failed without facts: loops, lists, keys that are looked up, disks by a name.
const WITHOUT_FACTS: &str = r#"version: 1
values: { which: checkout }
secrets: { db: { secrets_manager: db }, flags: { parameters_under: /flags/ } }
volumes:
  data: { from: { snapshot: { newest_with_tags: { app: shop } } }, filesystem: xfs }
  golden: { from: { snapshot: snap-0123456789abcdef0 }, size_gib: 4 }
mounts:
  /srv/data: { device: "{{volumes.data.device}}", owner: shop }
  /srv/named: { device: /dev/sdf }
  /srv/labelled: { device: /dev/disk/by-label/data }
files:
  /etc/flags.conf: { content: "{{#each secrets.flags}}{{@key}} = {{this}}\n{{/each}}" }
  /etc/hosts.conf: { content: "{{join secrets.db.hosts ' '}} {{#each secrets.db.users}}{{name}}:{{#each roles}}{{this}}{{/each}}{{/each}}\n" }
  /etc/looked.conf: { content: "{{lookup secrets.flags values.which}} {{#with secrets.db}}{{password}}{{/with}}\n" }
  /etc/number.json: { content: "{\"port\": {{secrets.db.port}}, \"all\": {{json secrets.db.hosts}}}\n" }
  /etc/disk.conf: { content: "{{volumes.data.device}} {{volumes.data.id}} {{unbase64 secrets.db.key}}\n" }
"#;

fn dry_run(document: &str) -> Ingot {
    Ingot::new(["dry-run", document])
}

/// A rehearsal with facts of which every file lies below `out` afterwards.
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
fn there_is_no_difference_to_what_was_just_written() {
    for document in documents("documents") {
        let out = tempfile::tempdir().unwrap();
        rehearse(&document, out.path()).run().exits(0);
        let ran = dry_run(&document).args(FACTS).args(["--json"]).option("--diff", out.path()).run().exits(0);
        assert_eq!(ran.json()["diffs"], serde_json::json!([]), "{document}");
    }
}

#[test]
fn shows_how_files_differ_from_an_earlier_rehearsal() {
    let out = tempfile::tempdir().unwrap();
    rehearse(SHOP, out.path()).run().exits(0);
    write(&out.path().join("etc/shop/motd"), "i-0000000000000000a in eu-west-1\n");
    write(&out.path().join("etc/nginx/conf.d/upstreams.conf"), "upstream shop {\n  server 127.0.0.1:8080;\n}\n");
    let ran = dry_run(SHOP).args(FACTS).option("--diff", out.path()).run().exits(0);
    insta::assert_snapshot!("shop_diff", after_the_plan(&ran));
}

#[test]
fn a_file_that_was_not_there_is_all_new() {
    let (desk, empty) = (Desk::new("version: 1\nfiles:\n  /etc/a: { content: \"one\\ntwo\\n\" }\n"), tempfile::tempdir().unwrap());
    let ran = desk.dry_run().option("--diff", empty.path()).run().exits(0);
    insta::assert_snapshot!(after_the_plan(&ran), @r"
    --- a/etc/a
    +++ b/etc/a
    @@ -0,0 +1,2 @@
    +one
    +two

    1 step: 1 to change; 1 file differs
    ");
}

#[test]
fn a_difference_shows_neither_the_old_secret_nor_the_new_one() {
    let document = "version: 1\nsecrets: { db: { secrets_manager: db } }\nfiles:\n  /etc/a.toml: { content: \"port = 1\\npassword = {{toml secrets.db.password}}\\n\" }\n";
    let (desk, out) = (Desk::new(document), tempfile::tempdir().unwrap());
    let facts = |password: &str| {
        write(&desk.path("facts.yaml"), &format!("secrets: {{ db: {{ password: {password} }} }}\n"));
        desk.dry_run().option("--facts", &desk.path("facts.yaml"))
    };
    facts("the-old-password").option("--out", out.path()).run().exits(0);
    for json in [[].as_slice(), &["--json"]] {
        let ran = facts("the-new-password").option("--diff", out.path()).args(json).run().exits(0);
        assert!(!ran.to_string().contains("the-old-password") && !ran.to_string().contains("the-new-password"), "{ran}");
    }
    let ran = facts("the-new-password").option("--diff", out.path()).run().exits(0);
    insta::assert_snapshot!(after_the_plan(&ran), @r#"
    --- a/etc/a.toml
    +++ b/etc/a.toml
    @@ -1,2 +1,2 @@
     port = 1
    -[redacted: a line of a file with secrets goes]
    +password = "[redacted]"

    2 steps: 1 to change, 1 unchanged; 1 file differs
    "#);
}

#[test]
fn no_secret_of_the_facts_is_ever_printed() {
    let out = tempfile::tempdir().unwrap();
    let plain = rehearse(SHOP, out.path()).run().exits(0).to_string();
    let json = rehearse(SHOP, out.path()).args(["--json"]).run().exits(0).to_string();
    for shown in [plain, json] {
        assert!(!shown.contains("db.internal"), "{shown}");
        assert!(!shown.contains("p'"), "{shown}");
    }
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
    boot.yaml:3:23: the template file /etc/ingot/templates/a.hbs is not found
        3 |   /etc/a: { template: a.hbs }
          |                       ^
     hint: bake it into the image there; on a dev box, put it into templates/ beside the document
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
fn facts_that_nothing_can_refer_to_are_refused() {
    for (facts, about) in [("instanc: {}\n", "instance"), ("- 1\n", "map"), ("a: [\n", "YAML")] {
        let desk = Desk::new("version: 1\n");
        write(&desk.path("facts.yaml"), facts);
        let ran = desk.dry_run().option("--facts", &desk.path("facts.yaml")).run().exits(2);
        assert!(ran.stderr.contains(about), "{ran}");
    }
    let ran = dry_run(SHOP).args(["--facts", "nowhere.yaml"]).run().exits(2);
    assert!(ran.stderr.contains("nowhere.yaml"), "{ran}");
}

#[test]
fn facts_may_come_from_a_pipe() {
    let desk = Desk::new("version: 1\nfiles: { /etc/a: { content: \"{{instance.id}}\" } }\n");
    let line = "\"$0\" dry-run --facts <(echo 'instance: { id: i-0123 }') boot.yaml";
    let ran = Ingot::in_a_shell(line, desk.0.path()).exits(0);
    assert!(!ran.stderr.contains("placeholders"), "{ran}");
}

#[test]
fn a_fact_in_another_shape_than_the_document_reads_is_named() {
    let desk =
        Desk::new("version: 1\nsecrets: { db: { secrets_manager: db } }\nfiles:\n  /etc/a: { content: \"{{secrets.db.password}}\" }\n");
    write(&desk.path("facts.yaml"), "secrets: { db: { passwort: hunter2hunter2 } }\n");
    let ran = desk.dry_run().option("--facts", &desk.path("facts.yaml")).run();
    assert!(!ran.to_string().contains("hunter2"), "{ran}");
    insta::assert_snapshot!(ran, @r"
    Plan: 2 steps, 1 at once

      secrets.db    db in Secrets Manager

      files./etc/a  from the document  after secrets.db
                    + write /etc/a (mode 0600)

    2 steps: 1 to change, 1 unchanged
    --- stderr ---
    note: placeholders stand in for secrets.db.password; give them in --facts
    --- exit code 0 ---
    ");
}

/// `app-1.2.tar.gz` was asked for, and `check` was content.
#[test]
fn values_and_facts_are_rendered_as_they_were_written() {
    let written = ["1.20", "1.10", "1e3", "1E5", "0x10", "0o17", "12345678901234567890", "+1", "-0", ".5", "1.0", "007", "1_000", "yes"];
    let list = written.join(", ");
    let desk = Desk::new(&format!(
        "version: 1\nvalues: {{ all: [{list}] }}\nsecrets: {{ app: {{ secrets_manager: app }} }}\nfiles:\n  /etc/a: {{ content: \
         \"{{{{join values.all ' '}}}} {{{{join secrets.app.all ' '}}}} {{{{join secrets.app.all ' '}}}}\" }}\n  /etc/b.json: {{ content: \
         '{{{{json values.all}}}}' }}\n  /etc/c.toml: {{ content: 'a = {{{{toml (lookup values.all 3)}}}}' }}\n  /etc/d.yaml: {{ content: \
         'a: {{{{yaml values.all}}}}' }}\n"
    ));
    write(&desk.path("facts.yaml"), &format!("secrets: {{ app: {{ all: [{list}] }} }}\n"));
    let out = tempfile::tempdir().unwrap();
    desk.dry_run().option("--facts", &desk.path("facts.yaml")).option("--out", out.path()).run().exits(0);
    let mut files = tree(out.path());
    let mut content = |path: &str| String::from_utf8(files.remove(path).unwrap().content).unwrap();
    assert_eq!(content("/etc/a"), [written.join(" "), written.join(" "), written.join(" ")].join(" "));
    assert_eq!(content("/etc/b.json"), r#"[1.20,1.10,1e3,1E5,16,15,12345678901234567890,1,-0,0.5,1.0,"007","1_000","yes"]"#);
    assert_eq!(content("/etc/c.toml"), "a = 1E5");
    assert_eq!(
        content("/etc/d.yaml"),
        r#"a: [1.20, 1.10, 1.0e+3, 1.0E+5, 0x10, 15, 12345678901234567890, 1, -0, 0.5, 1.0, "007", "1_000", "yes"]"#
    );
}

#[test]
fn a_number_that_toml_cannot_hold_is_refused_with_the_way_out() {
    let desk = Desk::new("version: 1\nvalues: { n: 12345678901234567890 }\nfiles:\n  /etc/a.toml: { content: 'a = {{toml values.n}}' }\n");
    let ran = desk.dry_run().run().exits(78);
    assert!(ran.stderr.contains(r#"write a number that large as a string, as in "{{values.n}}""#), "{ran}");
}

#[test]
fn facts_of_a_secret_are_opened_as_the_secret_would_be() {
    let desk = Desk::new(
        "version: 1\nsecrets: { a: { parameter: /a, json: true }, b: { secrets_manager: b } }\nfiles:\n  /etc/a: { content: \
         \"{{secrets.a.x}} {{secrets.b.x}}\" }\n",
    );
    let out = tempfile::tempdir().unwrap();
    write(&desk.path("facts.yaml"), "secrets: { a: '{\"x\": 1.10}', b: '{\"x\": 2E5}' }\n");
    desk.dry_run().option("--facts", &desk.path("facts.yaml")).option("--out", out.path()).run().exits(0);
    assert_eq!(tree(out.path())["/etc/a"].content, b"1.10 2E5");
    write(&desk.path("facts.yaml"), "secrets: { a: hunter2, b: { x: 1 } }\n");
    let ran = desk.dry_run().option("--facts", &desk.path("facts.yaml")).run().exits(2);
    insta::assert_snapshot!(ran.stderr, @"
    secrets.a in --facts is not a JSON object: line 1, column 1 does not parse
      hint: give its fields, as in `a: { user: … }`
    ");
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

/// A loop over a tree of parameters failed, and so did a device that nobody had attached.
#[test]
fn a_correct_document_passes_without_facts_and_nothing_made_up_looks_real() {
    let desk = Desk::new(WITHOUT_FACTS);
    let out = tempfile::tempdir().unwrap();
    let ran = desk.dry_run().option("--out", out.path()).run().exits(0);
    insta::assert_snapshot!("without_facts", ran);
    let files: Vec<String> =
        tree(out.path()).into_iter().map(|(path, found)| format!("=== {path}\n{}", String::from_utf8(found.content).unwrap())).collect();
    insta::assert_snapshot!(files.join(""), @r#"
    === /etc/disk.conf
    <volumes.data.device> <volumes.data.id> <secrets.db.key>
    === /etc/flags.conf
    <key> = <secrets.flags.*>
    checkout = <secrets.flags.checkout>
    === /etc/hosts.conf
    <secrets.db.hosts.*> <secrets.db.users.*.name>:<secrets.db.users.*.roles.*>
    === /etc/looked.conf
    <secrets.flags.checkout> <secrets.db.password>
    === /etc/number.json
    {"port": <secrets.db.port>, "all": ["<secrets.db.hosts.*>"]}
    "#);
}

#[test]
fn no_example_shows_an_id_a_disk_or_a_number_that_nobody_gave() {
    for document in documents("documents") {
        let written = std::fs::read_to_string(tests().join(&document)).unwrap();
        let out = tempfile::tempdir().unwrap();
        let ran = dry_run(&document).option("--out", out.path()).run().exits(0);
        let files: String = tree(out.path()).into_values().map(|found| String::from_utf8_lossy(&found.content).into_owned()).collect();
        let shown = format!("{ran}{files}");
        for word in shown.split(|character: char| !character.is_ascii_alphanumeric() && !"-/:.".contains(character)) {
            let is_id = ["vol-", "snap-"].iter().any(|kind| word.strip_prefix(kind).is_some_and(|rest| rest.starts_with('0')));
            let is_disk = word.starts_with("/dev/nvme");
            let is_owner = word.split_once(':').is_some_and(|(user, group)| user == group && user.parse::<u32>().is_ok());
            assert!(!(is_id || is_disk || is_owner) || written.contains(word), "{document}: {word}\n{ran}");
        }
        assert!(!shown.contains("/dev/<"), "{document}\n{ran}");
    }
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

#[test]
fn the_detailed_exit_code_tells_a_difference_from_none() {
    let (desk, out) = (Desk::new("version: 1\nfiles:\n  /etc/a: { content: a }\n  /etc/b: { content: b }\n"), tempfile::tempdir().unwrap());
    let compare = |arguments: &[&str]| desk.dry_run().option("--diff", out.path()).args(arguments).run();
    assert!(compare(&["--detailed-exit-code"]).exits(3).stdout.ends_with("; 2 files differ\n"));
    compare(&[]).exits(0);
    assert_eq!(compare(&["--detailed-exit-code", "--json"]).exits(3).json()["summary"]["files_that_differ"], 2);
    desk.dry_run().option("--out", out.path()).run().exits(0);
    assert!(compare(&["--detailed-exit-code"]).exits(0).stdout.ends_with("; no file differs\n"));
    // A failure counts for more.
    write(&desk.path("boot.yaml"), TORN);
    write(&desk.path("facts.yaml"), "secrets: { torn: '{ ' }\n");
    compare(&["--detailed-exit-code", "--facts", "facts.yaml"]).exits(1);
    desk.dry_run().args(["--detailed-exit-code"]).run().exits(2);
}

/// A directory with a document of the test's own.
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

    /// By a relative path, so that messages are the same each time.
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

/// What is shown below the plan: differences.
fn after_the_plan(ran: &Ran) -> String {
    ran.stdout.find("\n--- a/").map_or_else(String::new, |at| ran.stdout[at + 1..].to_owned())
}
