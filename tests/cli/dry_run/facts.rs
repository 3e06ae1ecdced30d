//! `ingot dry-run --facts`, and placeholders for facts that were not given.

use super::program::{Ingot, documents, tests, tree, write};
use super::{Desk, SHOP, dry_run, rehearse};

/// What used to fail without facts: loops, lists, keys that are looked up, disks by name.
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

/// Regression: `app-1.2.tar.gz` was requested, and `check` reported nothing.
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
fn no_secret_of_the_facts_is_ever_printed() {
    let out = tempfile::tempdir().unwrap();
    let plain = rehearse(SHOP, out.path()).run().exits(0).to_string();
    let json = rehearse(SHOP, out.path()).args(["--json"]).run().exits(0).to_string();
    for shown in [plain, json] {
        assert!(!shown.contains("db.internal"), "{shown}");
        assert!(!shown.contains("p'"), "{shown}");
    }
}

/// Regression: a loop over a tree of parameters failed, and so did a device that was not attached.
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

/// Regression: an endpoint, a port, an engine, a version and a digest were made up, and looked real.
#[test]
fn what_nobody_knows_is_never_shown_as_if_it_were_real() {
    let desk = Desk::new(
        "version: 1\ndatabases:\n  main: { instance: shop }\n  orders: { cluster: orders }\n  legacy: { host: db.internal, engine: mysql \
         }\nbundles:\n  app: { s3: 's3://shop/app-1.tar', into: /opt/app }\n  named: { parameter: /prod/release, into: /opt/named }\nfiles:\n  \
         /etc/main: { content: '{{databases.main.endpoint}} {{databases.main.port}} {{databases.main.engine}} {{databases.main.version}} \
         {{databases.main.resource_id}}' }\n  /etc/orders: { content: '{{databases.orders.endpoint}} {{databases.orders.reader_endpoint}}' \
         }\n  /etc/legacy: { content: '{{databases.legacy.endpoint}} {{databases.legacy.port}} {{databases.legacy.engine}} \
         {{databases.legacy.version}}' }\n  /etc/app: { content: '{{bundles.app.version}} {{bundles.app.sha256}} {{bundles.named.release}}' }\n",
    );
    let out = tempfile::tempdir().unwrap();
    let ran = desk.dry_run().option("--out", out.path()).run().exits(0);
    let mut files = tree(out.path());
    let mut content = |path: &str| String::from_utf8(files.remove(path).unwrap().content).unwrap();
    let main = ["endpoint", "port", "engine", "version", "resource_id"].map(|field| format!("<databases.main.{field}>"));
    assert_eq!(content("/etc/main"), main.join(" "));
    assert_eq!(content("/etc/orders"), "<databases.orders.endpoint> <databases.orders.reader_endpoint>");
    assert_eq!(content("/etc/legacy"), "db.internal 3306 mysql <databases.legacy.version>");
    assert_eq!(content("/etc/app"), "app-1 <bundles.app.sha256> /opt/named/releases/<bundles.named.version>");
    assert!(ran.stderr.contains("placeholders stand in for databases.legacy.version, databases.main.endpoint"), "{ran}");
    assert!(!ran.to_string().contains("made-up"), "{ran}");
}

#[test]
fn a_port_that_nobody_knows_is_a_note_where_a_number_is_needed() {
    let desk = Desk::new(
        "version: 1\ndatabases: { main: { instance: shop } }\nfiles: { /etc/a.toml: { content: \"port = {{databases.main.port}}\\n\" } }\n",
    );
    let ran = desk.dry_run().run().exits(0);
    assert!(ran.stderr.contains("with the placeholder for databases.main.port this does not parse"), "{ran}");
    write(&desk.path("facts.yaml"), "databases: { main: { endpoint: shop.internal, port: 5432 } }\n");
    let ran = desk.dry_run().option("--facts", &desk.path("facts.yaml")).run().exits(0);
    assert!(!ran.stderr.contains("does not parse"), "{ran}");
}

#[test]
fn outputs_that_a_step_does_not_have_are_refused() {
    let desk = Desk::new("version: 1\ndatabases: { main: { instance: shop } }\n");
    for (facts, said) in [
        ("databases:\n  main: { endpont: shop.internal }\n", "facts.yaml:2:11: unknown key `endpont`\n  hint: did you mean `endpoint`?"),
        ("databases:\n  mian: { endpoint: shop.internal }\n", "facts.yaml:2:3: unknown key `mian`\n  hint: did you mean `main`?"),
        ("instance: { regoin: eu-west-1 }\n", "facts.yaml:1:13: unknown key `regoin`\n  hint: did you mean `region`?"),
    ] {
        write(&desk.path("facts.yaml"), facts);
        let ran = desk.dry_run().option("--facts", &desk.path("facts.yaml")).run().exits(2);
        assert!(ran.stderr.contains(said), "{ran}");
    }
}
