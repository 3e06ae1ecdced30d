//! No secret appears in any event, log line, report, record or error, whatever programs and units print.

use std::fmt::Write as _;

use serde_json::Value;

use crate::aws::{ParameterValue, SecretRequest, SecretValue, SecretVersion};
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::fake::machine::{FakeMachine, FakeUnit, Outcome};
use crate::host::{End, Invocation, OnLine};
use crate::laws::example::{Example, examples};
use crate::laws::instance::{Booted, Instance};
use crate::laws::invented::{MARK, encoded, encoded_marks, spelled, value};
use crate::redaction::LINE_LIMIT;
use crate::report::BootOutcome;
use crate::step::Outputs;
use crate::text::SecretText;

/// Prints everything it received: arguments, environment, and the files named in its arguments; as they are, as JSON,
/// and the secrets in them as base64.
fn blab(machine: &FakeMachine, values: &[String], invocation: &Invocation, on_line: OnLine<'_>) {
    let mut words: Vec<String> = invocation.argv.iter().map(|word| word.expose().to_owned()).collect();
    words.extend(invocation.environment.iter().map(|(name, value)| format!("{name}={}", value.expose())));
    let paths = words.iter().filter_map(|word| Some(word[word.find('/')?..].to_owned()));
    words.extend(paths.filter_map(|path| Some(machine.file(&path)?.0)).collect::<Vec<_>>());
    for word in &words {
        word.lines().for_each(&mut *on_line);
        let json = Value::from(word.as_str()).to_string();
        on_line(&format!("as JSON: {json}"));
        on_line(&format!("as Python's JSON: {}", json.replace('ü', "\\u00fc").replace('ï', "\\u00ef").replace('€', "\\u20ac")));
        on_line(&format!("as Rust's Debug: {word:?}"));
    }
    let printed = |value: &&String| words.iter().any(|word| word.contains(*value));
    for value in values.iter().filter(printed) {
        on_line(&format!("as base64: {}", encoded(value)[0]));
        for spelled in spelled(value) {
            on_line(&format!("encoded: {spelled}"));
        }
        // A line of the maximum length, which ends within the secret.
        for shown in [7, value.len() - 1] {
            let shown = &value[..value.floor_char_boundary(shown)];
            on_line(&format!("{}{shown}", ".".repeat(LINE_LIMIT - shown.len())));
        }
    }
}

/// Makes every program of the example print everything, and then end with `outcome`.
fn talkative(instance: &Instance, outcome: Outcome) {
    for program in instance.example.programs() {
        let (machine, values) = (instance.machine.clone(), instance.values.clone());
        instance.machine.on_command(&program, move |invocation, on_line| {
            blab(&machine, &values, invocation, on_line);
            outcome
        });
    }
}

/// Everything of a boot that others may read.
fn public(instance: &Instance, booted: &Booted) -> String {
    let mut all = booted.transcript.text();
    let snapshot = instance.machine.snapshot().to_string();
    for path in snapshot.lines().filter_map(|line| line.split("  ").next()) {
        let ours = ["/run/ingot/", "/var/lib/ingot/"].iter().any(|directory| path.starts_with(directory));
        // What systemd passes to processes; readable by root only.
        let environment = path.starts_with("/run/ingot/applications/") && (path.ends_with(".env") || path.ends_with("/beanstalk.json"));
        if let Some((content, attributes)) = instance.machine.file(path).filter(|_| ours) {
            if environment {
                assert_eq!((attributes.mode, attributes.uid), (0o600, 0), "{path}");
                continue;
            }
            writeln!(all, "{path}: {content}").unwrap();
        }
    }
    let json = serde_json::to_string(&booted.report).unwrap();
    let debug = format!("{:?} {:?} {:?}", booted.plan, booted.world.known, booted.world.redactor);
    let ran = format!("{:?}", instance.machine.ran());
    all + &snapshot + &json + &debug + &ran
}

fn assert_nothing_shows(what: &str, instance: &Instance, public: &str) {
    let marks = encoded_marks();
    for line in public.lines() {
        assert!(!line.contains(MARK), "{what}: a secret shows: {line}");
        assert_eq!(marks.iter().find(|mark| line.contains(mark.as_str())), None, "{what}: a secret shows encoded: {line}");
        // The beginning of the mark, as left by a cut.
        assert!(!line.ends_with(".s3c") && !line.ends_with(".s"), "{what}: the beginning of a secret shows: {line}");
        for value in &instance.values {
            let form = encoded(value).into_iter().find(|form| line.contains(form.as_str()));
            assert_eq!(form, None, "{what}: a secret shows in another form: {line}");
        }
    }
}

async fn boot_and_look(what: &str, instance: &Instance) -> Booted {
    let booted = instance.boot().await;
    assert_nothing_shows(&format!("{}, {what}", instance.example.name), instance, &public(instance, &booted));
    booted
}

#[tokio::test(start_paused = true)]
async fn no_secret_shows_in_a_boot_that_goes_well() {
    for example in examples().await {
        let instance = Instance::of(&example).await;
        talkative(&instance, Outcome::Ends(End::Exited(0)));
        let booted = boot_and_look("with programs that tell all", &instance).await;
        assert_eq!(booted.report.outcome, BootOutcome::Done, "{}: {}", example.name, booted.transcript.text());
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_shows_in_a_boot_that_fails() {
    let ends = [End::Exited(1), End::Signalled(9), End::TimedOut].map(Outcome::Ends);
    for example in examples().await {
        for outcome in ends.into_iter().chain([Outcome::Missing]) {
            let instance = Instance::of(&example).await;
            talkative(&instance, outcome);
            let booted = boot_and_look(&format!("{outcome:?}"), &instance).await;
            assert_eq!(booted.report.outcome == BootOutcome::Failed, !example.programs().is_empty(), "{}", example.name);
        }
        let instance = Instance::of(&example).await;
        let journal: Vec<&str> = instance.values.iter().flat_map(|value| value.lines()).collect();
        for (unit, _) in example.steps("services") {
            instance.machine.add_unit(FakeUnit::new(unit).fails(1).journal(&journal[journal.len().saturating_sub(8)..]));
        }
        boot_and_look("with units that tell all and fail", &instance).await;
    }
}

/// Boots a document with secrets for all of it. The boot must fail without showing any.
async fn fails_in_silence(text: &str) -> Booted {
    let mut example = Example::of(text);
    example.name = text.to_owned();
    let mut instance = Instance::of(&example).await;
    let object = serde_json::json!({ "password": value("db.password"), "deep": { "er": value("db.deep.er") } });
    instance.values.extend([value("db.password"), value("db.deep.er")]);
    instance.secrets = FakeSecretsManager::default().with("db", &object.to_string()).with("key", &value("key")).into();
    instance.values.push(value("key"));
    instance.parameters = FakeParameterStore::default().with_list("/list", &[&value("list.0"), &value("list.1")]).into();
    instance.values.extend([value("list.0"), value("list.1")]);
    talkative(&instance, Outcome::Ends(End::Exited(7)));
    let booted = boot_and_look("which fails", &instance).await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed, "{text}: {}", booted.transcript.text());
    booted
}

#[tokio::test(start_paused = true)]
async fn no_secret_shows_when_a_template_fails() {
    let secrets = "secrets: { db: { secrets_manager: db }, key: { secrets_manager: key }, list: { parameter: /list } }";
    let files = [
        r#"/etc/x: { content: "{{secrets.db}}" }"#,
        r#"/etc/x: { content: "{{secrets.db.deep}}" }"#,
        r#"/etc/x: { content: "{{secrets.db.passwort}}" }"#,
        r#"/etc/x: { content: "{{secrets.key.field}}" }"#,
        r#"/etc/x: { content: "{{secrets.list}}" }"#,
        r#"/etc/x: { content: "{{ini secrets.key}}" }"#,
        r#"/etc/x: { content: "{{shell secrets.db}}" }"#,
        r#"/etc/x: { content: "{{lookup secrets.db secrets.key}}" }"#,
        r#"/etc/x: { content: "{{join secrets.key secrets.db.password}}" }"#,
        r#"/etc/x: { content: "{{#each secrets.key}}{{this}}{{/each}}" }"#,
        r#"/etc/x.json: { content: "{\"a\": \"{{secrets.key}}\"}" }"#,
        r#"/etc/x.json: { content: "{{secrets.key}}" }"#,
        r#"/etc/x.toml: { content: "a = \"{{secrets.key}}\"" }"#,
        r#"/etc/x.toml: { content: "{{secrets.key}} = 1" }"#,
        r#"/etc/x.yaml: { content: "a: \"{{secrets.key}}\"" }"#,
        r#"/etc/x.yaml: { content: "{a: *{{secrets.key}}" }"#,
        r#"/etc/x.ini: { content: "[a\n{{secrets.key}}" }"#,
        r#"/etc/x: { format: env, content: "A='{{secrets.key}}" }"#,
        r#"/etc/x: { encoding: base64, content: "{{secrets.key}}" }"#,
    ];
    for file in files {
        fails_in_silence(&format!("version: 1\n{secrets}\nfiles:\n  {file}\n")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_shows_when_a_program_fails() {
    let secrets = "secrets: { db: { secrets_manager: db }, key: { secrets_manager: key }, list: { parameter: /list } }";
    let steps = [
        r#"commands: { x: { run: [/bin/x, "--url=postgres://shop:{{secrets.db.password}}@db", "{{json secrets.list}}"] } }"#,
        r#"commands: { x: { run: [/bin/x, "{{shell secrets.key}}", "{{toml secrets.key}}", "{{yaml secrets.key}}", "{{env secrets.key}}"] } }"#,
        r#"commands: { x: { run: [/bin/x, "{{base64 secrets.key}}", '{{join secrets.list ","}}'], environment: { KEY: "{{secrets.key}}" } } }"#,
        r#"services: { x.service: { ready: { exec: [/bin/x, "{{secrets.key}}"], timeout: 3s } } }"#,
        r#"files: { /etc/x: { content: "a={{env secrets.key}}\nb={{shell secrets.key}}\n", check: [/bin/x, "{path}"] } }"#,
        r#"files: { /etc/x.toml: { content: "a = {{toml secrets.key}}", check: [/bin/x, "--file={path}"] } }"#,
        r#"files: { /etc/x.yaml: { content: "a: {{yaml secrets.db}}", check: [/bin/x, "{path}", "{{secrets.db.password}}"] } }"#,
    ];
    for step in steps {
        fails_in_silence(&format!("version: 1\n{secrets}\n{step}\n")).await;
    }
}

/// A program, a URL or an address that contains a secret is unusual, but that is not a reason to print it.
#[tokio::test(start_paused = true)]
async fn no_secret_shows_where_none_belongs() {
    let secrets = "secrets: { key: { secrets_manager: key } }";
    let steps = [
        r#"commands: { x: { run: ["/bin/{{secrets.key}}"] } }"#,
        r#"files: { /etc/x: { content: x, check: ["/bin/{{secrets.key}}", "{path}"] } }"#,
        r#"services: { x.service: { ready: { exec: ["/bin/{{secrets.key}}"], timeout: 3s } } }"#,
        r#"services: { x.service: { ready: { http: "http://x:{{secrets.key}}@127.0.0.1/", timeout: 3s } } }"#,
        r#"services: { x.service: { ready: { tcp: "{{secrets.key}}", timeout: 3s } } }"#,
    ];
    for step in steps {
        let example = Example { name: step.to_owned(), ..Example::of(&format!("version: 1\n{secrets}\n{step}\n")) };
        let mut instance = Instance::of(&example).await;
        instance.values = vec![value("key")];
        let key = value("key");
        instance.machine.on_command(&format!("/bin/{key}"), |_, _| Outcome::Missing);
        instance.machine.add_unit(FakeUnit::new("y.service"));
        instance.machine.add_listener(&key, "y.service");
        instance.machine.add_listener(&format!("http://x:{key}@127.0.0.1/"), "y.service");
        let booted = boot_and_look("which fails", &instance).await;
        assert_eq!(booted.report.outcome, BootOutcome::Failed, "{step}: {}", booted.transcript.text());
    }
}

/// A panic may print values with `Debug`.
#[test]
fn what_holds_a_secret_does_not_print_it() {
    let secret = value("x");
    let text = SecretText::from(&*secret);
    let request = SecretRequest { id: "x".into(), version: SecretVersion::Current };
    let outputs = Outputs { value: Value::from(&*secret), stamp: None };
    let binary = SecretValue::Binary(b"s3cr3t".to_vec().into());
    let shown = [
        format!("{:?}", (&text, &request, SecretValue::Text(text.clone()))),
        format!("{:?}", ParameterValue::List(vec![text.clone()])),
        format!("{outputs:?}"),
        format!("{binary:?}"),
    ];
    let bytes = format!("{:?}", b"s3cr3t").replace(['[', ']'], "");
    for shown in shown {
        assert!(!shown.contains(MARK) && !shown.contains(&bytes), "{shown}");
    }
}
