//! A failure stops only its dependents, leaves nothing half changed, and has a hint.

use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::fake::machine::{FakeUnit, Outcome};
use crate::host::End;
use crate::laws::example::Example;
use crate::laws::instance::Instance;
use crate::report::BootOutcome;

fn instance(text: &str) -> Instance {
    Instance::with_aws(&Example::of(text), FakeSecretsManager::default().with("there", "x"), FakeParameterStore::default())
}

/// A document with three secrets, the second of which may not be read.
const THREE: &str = "
version: 1
secrets: { a: { secrets_manager: a }, b: { secrets_manager: b }, c: { secrets_manager: c } }
files:
  /etc/a: { content: '{{secrets.a}}' }
  /etc/b: { content: '{{secrets.b}}' }
";

fn three() -> FakeSecretsManager {
    FakeSecretsManager::default().with("a", "1").with("b", "2").with("c", "3")
}

#[tokio::test(start_paused = true)]
async fn a_failure_skips_only_what_depends_on_it() {
    let instance = instance(
        "
version: 1
secrets: { gone: { secrets_manager: gone }, there: { secrets_manager: there } }
files:
  /etc/gone: { content: '{{secrets.gone}}' }
  /etc/there: { content: '{{secrets.there}}' }
  /etc/behind: { content: '{{files.[/etc/gone].path}}' }
commands:
  behind: { run: [/bin/behind], after: [files./etc/behind] }
  beside: { run: [/bin/beside] }
services:
  all.service: {}
  alone.service: { after: [files./etc/there] }
",
    );
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.outcomes().join("\n"), @r"
    skipped commands.behind
    changed commands.beside
    skipped files./etc/behind
    skipped files./etc/gone
    changed files./etc/there
    failed secrets.gone
    unchanged secrets.there
    skipped services.all.service
    changed services.alone.service
    ");
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    let skipped_for: Vec<_> = booted.report.steps.iter().filter_map(|step| step.skipped_for.as_ref()).map(ToString::to_string).collect();
    assert!(skipped_for.contains(&"secrets.gone".to_owned()), "{skipped_for:?}");
    insta::assert_snapshot!(booted.error("secrets.gone"), @r"
    GetSecretValue gone: not found: Secrets Manager can't find the specified secret.
      hint: create gone in this account and region, or correct its name in the document: its ARN if it is in another region
    ");
}

#[tokio::test(start_paused = true)]
async fn files_of_one_service_come_together_or_not_at_all() {
    let instance = instance(
        "
version: 1
files:
  /etc/shop/a.conf: { content: new a }
  /etc/shop/b.conf: { content: new b, check: [/bin/check, '{path}'] }
  /etc/shop/c.conf: { content: new c }
  /etc/other: { content: other }
services:
  shop.service: { restart_on: [files./etc/shop/a.conf, files./etc/shop/b.conf], reload_on: [files./etc/shop/c.conf] }
  other.service: { after: [files./etc/other] }
",
    );
    instance.machine.add_file("/etc/shop/a.conf", "old a");
    instance.machine.add_unit(FakeUnit::new("shop.service").active());
    instance.machine.on_command("check", |_, on_line| {
        on_line("line 1 is wrong");
        Outcome::Ends(End::Exited(2))
    });
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.outcomes().join("\n"), @r"
    changed files./etc/other
    skipped files./etc/shop/a.conf
    failed files./etc/shop/b.conf
    skipped files./etc/shop/c.conf
    changed services.other.service
    skipped services.shop.service
    ");
    insta::assert_snapshot!(booted.error("files./etc/shop/b.conf"), @r"
    /bin/check refused the file; nothing was installed: last lines of its output:
      | line 1 is wrong
      hint: correct the template; `ingot dry-run --out DIR` shows what it renders
    ");
    assert_eq!(instance.machine.file("/etc/shop/a.conf").unwrap().0, "old a");
    assert!(instance.machine.file("/etc/shop/b.conf").is_none() && instance.machine.file("/etc/shop/c.conf").is_none());
    assert!(!instance.machine.snapshot().to_string().contains(".ingot-staged."), "{}", instance.machine.snapshot());
    assert_eq!(instance.machine.starts_and_reloads("shop.service"), (0, 0));

    instance.machine.on_command("check", |_, _| Outcome::Ends(End::Exited(0)));
    instance.boot_well().await;
    assert_eq!(instance.machine.starts_and_reloads("shop.service"), (1, 0));
    instance.units.assert_run_with_present_files("once it is right");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_not_required_leaves_a_boot_degraded() {
    let instance = instance(
        "
version: 1
secrets: { gone: { secrets_manager: gone, required: false } }
files:
  /etc/gone: { content: '{{secrets.gone}}', required: false }
  /etc/needed: { content: x, after: [files./etc/gone] }
services:
  shop.service: { }
",
    );
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.outcomes().join("\n"), @r"
    skipped files./etc/gone
    changed files./etc/needed
    failed secrets.gone
    changed services.shop.service
    ");
    assert_eq!(booted.report.outcome, BootOutcome::Degraded);
}

#[tokio::test(start_paused = true)]
async fn what_is_throttled_is_tried_again() {
    let one = "version: 1\nsecrets: { a: { secrets_manager: a } }\n";
    let instance = Instance::with_aws(&Example::of(one), three().throttled(3), FakeParameterStore::default());
    let booted = instance.boot_well().await;
    assert_eq!((instance.secrets.count("GetSecretValue"), booted.report.steps[0].attempts), (4, 4));
    assert_eq!(booted.transcript.text().matches("Retrying {").count(), 3);

    let instance = Instance::with_aws(&Example::of(THREE), three().throttled(1), FakeParameterStore::default());
    let booted = instance.boot_well().await;
    for step in booted.report.steps.iter().filter(|step| step.address.kind() == "secrets") {
        assert_eq!(step.attempts, 2, "{}: all three were in the call that was refused", step.address);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_denied_fails_at_once_and_alone() {
    let instance = Instance::with_aws(&Example::of(THREE), three().denied("b"), FakeParameterStore::default());
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.outcomes().join("\n"), @r"
    changed files./etc/a
    skipped files./etc/b
    unchanged secrets.a
    failed secrets.b
    unchanged secrets.c
    ");
    insta::assert_snapshot!(booted.error("secrets.b"), @r"
    GetSecretValue b: access denied: no identity-based policy allows it
      hint: allow secretsmanager:GetSecretValue on b in the instance's role
    ");
    assert!(booted.report.steps.iter().all(|step| step.attempts <= 1));
}

#[tokio::test(start_paused = true)]
async fn a_role_without_the_batch_action_reads_one_by_one() {
    let instance = Instance::with_aws(&Example::of(THREE), three().denied("BatchGetSecretValue"), FakeParameterStore::default());
    instance.boot_well().await;
    assert_eq!((instance.secrets.count("BatchGetSecretValue"), instance.secrets.count("GetSecretValue")), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_parameter_that_is_denied_fails_alone() {
    let example = Example::of("version: 1\nsecrets: { a: { parameter: /a }, b: { parameter: /b }, c: { parameter: /c } }\n");
    let parameters = FakeParameterStore::default().with("/a", "1").with("/b", "2").denied("/b");
    let booted = Instance::with_aws(&example, FakeSecretsManager::default(), parameters).boot().await;
    assert_eq!(booted.outcomes(), ["unchanged secrets.a", "failed secrets.b", "failed secrets.c"]);
    assert!(
        booted.error("secrets.b").ends_with("hint: allow ssm:GetParameters on /b in the instance's role"),
        "{}",
        booted.error("secrets.b")
    );
    assert!(booted.error("secrets.c").contains("not found"), "{}", booted.error("secrets.c"));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_failed_runs_again_and_only_it() {
    let instance = instance(
        "
version: 1
commands:
  first: { run: [/bin/first] }
  second: { run: [/bin/second], after: [commands.first] }
  third: { run: [/bin/third], after: [commands.second] }
",
    );
    instance.machine.on_command("second", |_, _| Outcome::Ends(End::Exited(3)));
    let booted = instance.boot().await;
    assert_eq!(booted.outcomes(), ["changed commands.first", "failed commands.second", "skipped commands.third"]);
    instance.machine.on_command("second", |_, _| Outcome::Ends(End::Exited(0)));
    let second = instance.boot_well().await;
    assert_eq!(second.changed(), ["commands.second", "commands.third"]);
    let ran: Vec<String> = instance.machine.ran().iter().map(|ran| ran.line()).collect();
    assert_eq!(ran, ["/bin/first", "/bin/second", "/bin/second", "/bin/third"]);
}

#[tokio::test(start_paused = true)]
async fn units_are_read_again_where_systemd_says_so_and_reloaded_only_where_they_can_be() {
    let instance = instance(
        "
version: 1
files: { /etc/a: { content: a } }
services:
  stale.service: {}
  fixed.service: { reload_on: [files./etc/a] }
",
    );
    instance.machine.add_unit(FakeUnit::new("stale.service").stale());
    instance.machine.add_unit(FakeUnit::new("fixed.service").active().cannot_reload());
    let booted = instance.boot().await;
    let stale = booted.report.steps.iter().find(|step| step.address.as_str() == "services.stale.service").unwrap();
    assert_eq!(stale.changes, ["make systemd reload its unit files", "start"]);
    insta::assert_snapshot!(booted.error("services.fixed.service"), @r"
    fixed.service cannot be reloaded: it has no ExecReload=
      hint: give fixed.service an ExecReload=, or use `restart_on:` instead of `reload_on:`
    ");
}

/// Such documents used to pass the check and fail at every boot: neither path was known before both files were
/// installed.
#[tokio::test(start_paused = true)]
async fn files_that_are_installed_together_may_name_each_other() {
    let instance = instance(
        "
version: 1
secrets: { there: { secrets_manager: there } }
files: { /etc/a: { content: 'token is in {{credentials.token.path}}, I am {{files.[/etc/a].path}}' } }
credentials: { token: '{{secrets.there}}' }
services: { x.service: { restart_on: [files./etc/a, credentials.token] } }
",
    );
    instance.boot_well().await;
    let (content, _) = instance.machine.file("/etc/a").unwrap();
    assert_eq!(content, "token is in /run/credstore/token, I am /etc/a");
}

/// Regression: an item that is referred to by itself replaced the whole list.
#[tokio::test(start_paused = true)]
async fn a_list_is_seen_whole_and_by_its_items() {
    let instance = instance(
        "
version: 1
values: { hosts: [a, b] }
files: { /etc/a: { content: '{{join values.hosts \" \"}} {{values.hosts.0}}' } }
",
    );
    instance.boot_well().await;
    assert_eq!(instance.machine.file("/etc/a").unwrap().0, "a b a");
}

/// Regression: another process listened on the port. Its response counted as that of the unit, and the boot succeeded.
#[tokio::test(start_paused = true)]
async fn an_answer_does_not_speak_for_a_unit_that_is_dead() {
    let text = "version: 1\nservices: { x.service: { ready: { tcp: '127.0.0.1:80' } } }\n";
    for unit in [FakeUnit::new("x.service").fails(1), FakeUnit::new("x.service").loops(1)] {
        let instance = instance(text);
        instance.machine.add_unit(unit.service_type("simple"));
        assert_eq!(instance.boot().await.report.outcome, BootOutcome::Failed);
    }
}
