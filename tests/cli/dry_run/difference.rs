//! `ingot dry-run --diff`: how files differ from those of an earlier dry run.

use super::program::{FACTS, Ran, documents, write};
use super::{Desk, SHOP, TORN, dry_run, rehearse};

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
    -[redacted: a removed line of a file with secrets]
    +password = "[redacted]"

    2 steps: 1 to change, 1 unchanged; 1 file differs
    "#);
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
    // A failure takes precedence.
    write(&desk.path("boot.yaml"), TORN);
    write(&desk.path("facts.yaml"), "secrets: { torn: '{ ' }\n");
    compare(&["--detailed-exit-code", "--facts", "facts.yaml"]).exits(1);
    desk.dry_run().args(["--detailed-exit-code"]).run().exits(2);
}

/// The output below the plan: the differences.
fn after_the_plan(ran: &Ran) -> String {
    ran.stdout.find("\n--- a/").map_or_else(String::new, |at| ran.stdout[at + 1..].to_owned())
}
