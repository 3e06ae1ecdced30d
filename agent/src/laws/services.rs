//! What is called done is done: every service is looked at once more before a boot is called good.

use std::time::Duration;

use crate::aws::cloudformation::SignalStatus;
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::fake::machine::{FakeUnit, Outcome};
use crate::host::End;
use crate::laws::example::Example;
use crate::laws::instance::{Booted, Instance};
use crate::report::BootOutcome;

fn instance(text: &str) -> Instance {
    Instance::with_aws(&Example::of(text), FakeSecretsManager::default(), FakeParameterStore::default())
}

/// A service, and a step that goes on for a while after it.
const TWO: &str = "
version: 1
services: { x.service: { after: [] } }
commands: { slow: { run: [/bin/slow] } }
signals: { stack: { cloudformation: { stack: s, resource: r } } }
";

/// A boot in which something goes on for 5 seconds after the service was called done.
async fn boot(text: &str, units: impl IntoIterator<Item = FakeUnit>) -> (Instance, Booted) {
    let instance = instance(text);
    units.into_iter().for_each(|unit| instance.machine.add_unit(unit));
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(5), End::Exited(0)));
    let booted = instance.boot().await;
    (instance, booted)
}

#[tokio::test(start_paused = true)]
async fn a_service_that_died_while_the_boot_went_on_is_a_failure() {
    let unit = FakeUnit::new("x.service").dies(Duration::from_secs(1), 3).journal(&["no licence"]);
    let (instance, booted) = boot(TWO, [unit]).await;
    assert_eq!(booted.outcomes(), ["changed commands.slow", "failed services.x.service", "changed signals.stack"]);
    insta::assert_snapshot!(booted.error("services.x.service"), @r"
    x.service exited with 3: its last words were
      | no licence
      hint: run `journalctl -b -u x.service` for all it said
    ");
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    let statuses: Vec<SignalStatus> = instance.stacks.signals().iter().map(|signal| signal.status).collect();
    assert_eq!(statuses, [SignalStatus::Failure]);
    let step = booted.report.steps.iter().find(|step| step.address.as_str() == "services.x.service").unwrap();
    assert!(step.finished_ms.unwrap() >= 5_000.0, "it failed when it was seen to have failed");
}

#[tokio::test(start_paused = true)]
async fn one_that_another_stopped_is_a_failure_and_says_which() {
    let text = TWO.replace("services: {", "services: { y.service: { after: [services.x.service] },");
    let (_, booted) = boot(&text, [FakeUnit::new("x.service").conflicts("y.service")]).await;
    assert!(booted.error("services.x.service").starts_with("x.service was stopped by y.service"), "{}", booted.error("services.x.service"));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_skipped_fails_at_once_and_stops_what_depends_on_it() {
    let text = "
version: 1
services: { x.service: {} }
commands: { behind: { run: [/bin/behind], after: [services.x.service] } }
";
    for service_type in ["oneshot", "simple", "notify"] {
        let unit = FakeUnit::new("x.service").service_type(service_type).skipped("ConditionPathExists=/nope");
        let (_, booted) = boot(text, [unit]).await;
        assert_eq!(booted.outcomes(), ["skipped commands.behind", "failed services.x.service"], "{service_type}");
        let error = booted.error("services.x.service");
        assert!(error.starts_with("x.service was skipped by systemd: ConditionPathExists=/nope was not met"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_on_its_way_is_given_time_and_no_more() {
    let (_, booted) = boot(TWO, [FakeUnit::new("x.service").reloads()]).await;
    assert!(booted.error("services.x.service").starts_with("x.service is reloading (reload)"));
    assert!(booted.report.elapsed_ms < 20_000.0);
}

#[tokio::test(start_paused = true)]
async fn what_has_done_its_work_is_done() {
    let (_, booted) = boot(TWO, [FakeUnit::new("x.service").service_type("oneshot")]).await;
    assert_eq!(booted.report.outcome, BootOutcome::Done);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_required_leaves_the_boot_degraded() {
    let text = TWO.replace("after: []", "after: [], required: false");
    let (_, booted) = boot(&text, [FakeUnit::new("x.service").dies(Duration::from_secs(1), 3)]).await;
    assert_eq!(booted.report.outcome, BootOutcome::Degraded);
}

#[tokio::test(start_paused = true)]
async fn all_are_looked_at_in_one_go() {
    let services: String = (0..20).map(|n| format!("  x{n}.service: {{}}\n")).collect();
    let instance = instance(&format!("version: 1\nservices:\n{services}"));
    instance.boot_well().await;
    assert_eq!(instance.machine.asked().last(), Some(&20));
}

const GENERATED: &str = "
version: 1
files:
  /etc/containers/systemd/web.container: { content: x }
  /etc/containers/systemd/db.container: { content: x }
services: { web.service: {}, db.service: {} }
";

#[tokio::test(start_paused = true)]
async fn units_that_a_generator_makes_are_made_once_for_all() {
    let instance = instance(GENERATED);
    for name in ["web", "db"] {
        let path = format!("/etc/containers/systemd/{name}.container");
        instance.machine.add_unit(FakeUnit::new(&format!("{name}.service")).made_of(&path));
    }
    instance.boot_well().await;
    assert_eq!(instance.machine.readings(), 1);
    assert_eq!(instance.machine.starts_and_reloads("web.service").0, 1);
    instance.boot_well().await;
    assert_eq!(instance.machine.readings(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_no_generator_makes_is_not_asked_for_time_and_again() {
    let (instance, booted) = boot(GENERATED, ["web.service", "db.service"].map(|name| FakeUnit::new(name).load("not-found"))).await;
    assert_eq!(instance.machine.readings(), 1);
    insta::assert_snapshot!(booted.error("services.web.service"), @r"
    systemd knows no unit web.service, and no generator created it
      hint: run `journalctl -b -t systemd -t quadlet-generator`, or write /etc/systemd/system/web.service with `files:`
    ");
}

#[tokio::test(start_paused = true)]
async fn a_start_limit_does_not_outlast_what_was_wrong() {
    let (instance, booted) = boot("version: 1\nservices: { x.service: {} }\n", [FakeUnit::new("x.service").limited()]).await;
    assert_eq!(booted.report.outcome, BootOutcome::Done);
    assert_eq!(instance.machine.starts_and_reloads("x.service").0, 1);
}
