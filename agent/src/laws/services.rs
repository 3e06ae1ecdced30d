//! Services reported as done are done: every service is checked again before a boot is called successful.

use std::cell::Cell;
use std::time::Duration;

use crate::aws::cloudformation::SignalStatus;
use crate::execute::Halt;
use crate::failure::Explanation;
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::fake::machine::{FakeUnit, Outcome};
use crate::host::End;
use crate::laws::example::Example;
use crate::laws::instance::{Booted, Instance};
use crate::report::{BootOutcome, StepReport};

fn instance(text: &str) -> Instance {
    Instance::with_aws(&Example::of(text), FakeSecretsManager::default(), FakeParameterStore::default())
}

/// A service, and a command that runs for a while after it.
const TWO: &str = "
version: 1
services: { x.service: { after: [] } }
commands: { slow: { run: [/bin/slow] } }
signals: { stack: { cloudformation: { stack: s, resource: r } } }
";

/// A boot in which a command runs for 5 seconds after the service was reported as done.
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
    x.service exited with 3: last lines of its output:
      | no licence
      hint: run `journalctl -b -u x.service` for its full output
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
    let (_, booted) = boot(TWO, [FakeUnit::new("x.service").reloads(Duration::from_secs(60))]).await;
    assert_eq!(booted.report.outcome, BootOutcome::Done);
    assert!(booted.report.elapsed_ms > 60_000.0);
    assert_eq!(step(&booted, "services.x.service").waiting, None);
    assert!(booted.transcript.text().contains("for its unit to settle"), "{}", booted.transcript.text());

    let (_, booted) = boot(TWO, [FakeUnit::new("x.service").reloads(Duration::MAX)]).await;
    let error = booted.error("services.x.service");
    assert!(error.starts_with("x.service was still reloading (reload) after 300"), "{error}");
    assert!(booted.report.elapsed_ms < 320_000.0);
}

fn step<'a>(booted: &'a Booted, address: &str) -> &'a StepReport {
    booted.report.steps.iter().find(|step| step.address.as_str() == address).unwrap()
}

/// A timer may start it again at any time.
#[tokio::test(start_paused = true)]
async fn what_has_done_its_work_may_do_it_once_more() {
    let (_, booted) = boot(TWO, [FakeUnit::new("x.service").runs_again(Duration::from_secs(3))]).await;
    assert_eq!(booted.report.outcome, BootOutcome::Done);
    assert!(booted.report.elapsed_ms < 6_000.0, "nobody waits for it");
}

#[tokio::test(start_paused = true)]
async fn one_restart_is_reported_and_two_are_a_failure() {
    let (_, booted) = boot(TWO, [FakeUnit::new("x.service").restarts(&[1])]).await;
    assert_eq!(booted.report.outcome, BootOutcome::Done);
    assert_eq!(booted.report.warnings, ["services.x.service: its program ended after it had started, and systemd restarted it once"]);

    let (_, booted) = boot(TWO, [FakeUnit::new("x.service").restarts(&[1, 7])]).await;
    let error = booted.error("services.x.service");
    assert!(error.starts_with("x.service failed after it had started, and systemd restarted it once"), "{error}");
}

/// Its port may be closed since the restart.
#[tokio::test(start_paused = true)]
async fn one_that_was_restarted_has_to_be_ready_again() {
    let text = TWO.replace("after: []", r#"after: [], ready: { exec: [/bin/asks], timeout: 20s }"#);
    let instance = instance(&text);
    instance.machine.add_unit(FakeUnit::new("x.service").restarts(&[1]));
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(5), End::Exited(0)));
    let asked = Cell::new(0);
    instance.machine.on_command("asks", move |_, _| {
        asked.set(asked.get() + 1);
        Outcome::Ends(End::Exited(i32::from(asked.get() > 1)))
    });
    let booted = instance.boot().await;
    let error = booted.error("services.x.service");
    assert!(error.starts_with("x.service runs, but /bin/asks did not succeed within"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_systemd_does_not_answer_is_asked_again() {
    let text = TWO.replace("run: [/bin/slow]", "run: [/bin/slow], after: [services.x.service]");
    for (unanswered, outcome) in [(2, BootOutcome::Done), (1_000, BootOutcome::Failed)] {
        let instance = instance(&text);
        instance.machine.add_unit(FakeUnit::new("x.service"));
        let machine = instance.machine.clone();
        instance.machine.on_command("slow", move |_, _| {
            machine.does_not_answer(unanswered);
            Outcome::Takes(Duration::from_secs(5), End::Exited(0))
        });
        assert_eq!(instance.boot().await.report.outcome, outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_idles_behind_its_socket_is_up() {
    let ready = TWO.replace("after: []", r#"after: [], ready: { exec: [/bin/asks], timeout: 3s }"#);
    for text in [TWO, &ready] {
        // With SuccessExitStatus=143, as for Java.
        for exit_status in [0, 143] {
            let units = [FakeUnit::new("x.service").idles_behind("x.socket", exit_status), FakeUnit::new("x.socket").active()];
            let (_, booted) = boot(text, units).await;
            assert_eq!(booted.report.outcome, BootOutcome::Done, "{exit_status}: {}", booted.transcript.text());
        }
    }
}

/// Ten seconds after the check had begun, a single unanswered query made every service fail.
#[tokio::test(start_paused = true)]
async fn one_question_without_an_answer_late_in_the_look_is_asked_again() {
    let instance = instance(TWO);
    instance.machine.add_unit(FakeUnit::new("x.service").reloads(Duration::from_secs(60)));
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(5), End::Exited(0)));
    let hiccup = async {
        instance.machine.host().clock.sleep(Duration::from_secs(40)).await;
        instance.machine.does_not_answer(1);
    };
    let (booted, ()) = tokio::join!(instance.boot(), hiccup);
    assert_eq!(booted.report.outcome, BootOutcome::Done, "{}", booted.transcript.text());
}

/// One service was restarted and is probed for a minute, and another one is dead.
const PROBED: &str = "
version: 1
services:
  x.service: { after: [], ready: { exec: [/bin/asks], timeout: 60s } }
  y.service: { after: [] }
commands: { slow: { run: [/bin/slow] } }
signals: { stack: { cloudformation: { stack: s, resource: r } } }
";

fn probed() -> Instance {
    let instance = instance(PROBED);
    instance.machine.add_unit(FakeUnit::new("x.service").restarts(&[1]));
    instance.machine.add_unit(FakeUnit::new("y.service").dies(Duration::from_secs(1), 3));
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(5), End::Exited(0)));
    let asked = Cell::new(0);
    instance.machine.on_command("asks", move |_, _| {
        asked.set(asked.get() + 1);
        Outcome::Ends(End::Exited(i32::from(asked.get() > 1)))
    });
    instance
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dead_is_told_at_once_while_another_is_probed() {
    let booted = probed().boot().await;
    assert!(booted.error("services.y.service").starts_with("y.service exited with 3"));
    for step in ["services.y.service", "signals.stack"] {
        assert!(self::step(&booted, step).finished_ms.unwrap() < 7_000.0, "{step}: {}", booted.transcript.text());
    }
    assert!(self::step(&booted, "services.x.service").finished_ms.unwrap() > 60_000.0);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dead_keeps_its_reason_when_the_boot_is_stopped() {
    let instance = probed();
    let clock = instance.machine.host().clock;
    let stop = async {
        clock.sleep(Duration::from_secs(20)).await;
        Halt::Asked(Explanation::new("it was stopped", None))
    };
    let booted = instance.boot_until(stop).await;
    assert!(booted.error("services.y.service").starts_with("y.service exited with 3"), "{}", booted.error("services.y.service"));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_slow_at_the_deadline_costs_no_other_service() {
    let text = TWO.replace("run: [/bin/slow]", "run: [/bin/slow], required: false");
    let instance = instance(&text.replace("x.service: {", "y.service: { after: [] }, x.service: {"));
    let dead = FakeUnit::new("x.service").dies(Duration::from_secs(1), 3).journal(&["no licence"]).journal_takes(Duration::from_secs(5));
    instance.machine.add_unit(dead);
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(5), End::Exited(0)));
    let clock = instance.machine.host().clock;
    let stop = async {
        clock.sleep(Duration::from_secs(3)).await;
        Halt::Deadline(Explanation::new("it was stopped", None))
    };
    let booted = instance.boot_until(stop).await;
    assert!(booted.error("services.x.service").starts_with("x.service exited with 3"), "{}", booted.error("services.x.service"));
    assert_eq!(step(&booted, "services.y.service").error, None);
}

/// Interrupts a boot with a service after this time.
async fn halted(text: &str, unit: FakeUnit, after: Duration, halt: impl FnOnce(Explanation) -> Halt) -> Booted {
    let instance = instance(text);
    instance.machine.add_unit(unit);
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(5), End::Exited(0)));
    let clock = instance.machine.host().clock;
    let stop = async {
        clock.sleep(after).await;
        halt(Explanation::new("it was stopped", None))
    };
    instance.boot_until(stop).await
}

/// Regression: such a boot counted as successful, although its services had not been checked.
#[tokio::test(start_paused = true)]
async fn a_boot_that_is_stopped_before_the_last_look_has_its_end_is_not_done() {
    let unit = FakeUnit::new("x.service").reloads(Duration::MAX);
    let booted = halted(TWO, unit, Duration::from_secs(8), Halt::Asked).await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    assert_eq!(booted.error("services.x.service"), "it was stopped, while waiting to see whether it is still up");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_something_optional_runs_has_its_last_look() {
    let text = TWO.replace("run: [/bin/slow]", "run: [/bin/slow], required: false");
    let at = Duration::from_secs(3);
    let booted = halted(&text, FakeUnit::new("x.service").dies(Duration::from_secs(1), 3), at, Halt::Deadline).await;
    assert!(booted.error("services.x.service").starts_with("x.service exited with 3"));
    assert_eq!(booted.report.outcome, BootOutcome::Failed);

    let booted = halted(&text, FakeUnit::new("x.service").reloads(Duration::MAX), at, Halt::Deadline).await;
    assert_eq!(booted.error("services.x.service"), "it was stopped, while waiting to see whether it is still up");

    let booted = halted(&text, FakeUnit::new("x.service"), at, Halt::Deadline).await;
    assert_eq!(booted.report.outcome, BootOutcome::Degraded);
    // A degraded boot is a success, both in the signals and in the report.
    let signal = step(&booted, "signals.stack");
    assert_eq!(signal.changes, ["signal SUCCESS to stack s, resource r"]);
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

/// The path of a file is known before the file exists: the second file counted as read when the first one was.
#[tokio::test(start_paused = true)]
async fn a_unit_that_is_made_of_a_later_file_is_made() {
    let instance = instance(
        r#"
version: 1
files:
  /etc/containers/systemd/db.container: { content: x }
  /etc/containers/systemd/web.container: { content: x, check: [/bin/slow, "{path}"] }
services:
  db.service: { after: ["files./etc/containers/systemd/db.container"] }
  web.service: { after: ["files./etc/containers/systemd/web.container"] }
"#,
    );
    for name in ["web", "db"] {
        let path = format!("/etc/containers/systemd/{name}.container");
        instance.machine.add_unit(FakeUnit::new(&format!("{name}.service")).made_of(&path));
    }
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(5), End::Exited(0)));
    instance.boot_well().await;
    assert_eq!(instance.machine.readings(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_no_generator_makes_is_not_asked_for_time_and_again() {
    let (instance, booted) = boot(GENERATED, ["web.service", "db.service"].map(|name| FakeUnit::new(name).load("not-found"))).await;
    assert_eq!(instance.machine.readings(), 1);
    insta::assert_snapshot!(booted.error("services.web.service"), @r"
    systemd has no unit web.service, and no generator created it
      hint: run `journalctl -b -t systemd -t quadlet-generator`, or write /etc/systemd/system/web.service with `files:`
    ");
}

#[tokio::test(start_paused = true)]
async fn a_start_limit_does_not_outlast_what_was_wrong() {
    let (instance, booted) = boot("version: 1\nservices: { x.service: {} }\n", [FakeUnit::new("x.service").limited()]).await;
    assert_eq!(booted.report.outcome, BootOutcome::Done);
    assert_eq!(instance.machine.starts_and_reloads("x.service").0, 1);
}
