//! Signals are sent at the end of a boot, or as soon as it can no longer succeed, and are repeated until they are
//! accepted.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::aws::autoscaling::ActionResult;
use crate::aws::cloudformation::SignalStatus;
use crate::execute::Halt;
use crate::failure::Explanation;
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::fake::machine::{INSTANCE, Outcome};
use crate::host::End;
use crate::laws::example::Example;
use crate::laws::instance::{Booted, Instance};
use crate::report::BootOutcome;

const SIGNALS: &str = "
signals:
  stack: { cloudformation: { stack: shop, resource: Web } }
  hook: { lifecycle_hook: { group: web, name: ready } }
";

fn instance(steps: &str) -> Instance {
    let secrets = FakeSecretsManager::default().with("url", "https://wait.example/?Signature=hunter2");
    Instance::with_aws(&Example::of(&format!("version: 1\n{steps}{SIGNALS}")), secrets, FakeParameterStore::default())
}

/// The signals that the stack and the hook received, in order.
fn told(instance: &Instance) -> (Vec<SignalStatus>, Vec<ActionResult>) {
    let signals = instance.stacks.signals();
    assert!(signals.iter().all(|signal| signal.unique_id == INSTANCE), "{signals:?}");
    (signals.iter().map(|signal| signal.status).collect(), instance.groups.over().into_iter().map(|(_, result)| result).collect())
}

fn well() -> (Vec<SignalStatus>, Vec<ActionResult>) {
    (vec![SignalStatus::Success], vec![ActionResult::Continue])
}

fn badly() -> (Vec<SignalStatus>, Vec<ActionResult>) {
    (vec![SignalStatus::Failure], vec![ActionResult::Abandon])
}

fn changes(booted: &Booted, address: &str) -> Vec<String> {
    booted.report.steps.iter().find(|step| step.address.as_str() == address).unwrap().changes.clone()
}

fn fails(instance: &Instance, program: &str) {
    instance.machine.on_command(program, |_, _| Outcome::Ends(End::Exited(3)));
}

fn takes(instance: &Instance, program: &str, seconds: u64) {
    instance.machine.on_command(program, move |_, _| Outcome::Takes(Duration::from_secs(seconds), End::Exited(0)));
}

#[tokio::test(start_paused = true)]
async fn a_good_end_is_told_once() {
    let instance = instance("commands: { a: { run: [/bin/a] } }\nservices: { x.service: {} }\n");
    instance.boot_well().await;
    assert_eq!(told(&instance), well());
    instance.machine.restart_process();
    assert!(instance.boot_well().await.changed().is_empty());
    instance.machine.reboot();
    instance.boot_well().await;
    assert_eq!(told(&instance), well());
}

#[tokio::test(start_paused = true)]
async fn a_degraded_boot_is_a_good_one() {
    let instance = instance("commands: { a: { run: [/bin/a], required: false } }\n");
    fails(&instance, "a");
    assert_eq!(instance.boot().await.report.outcome, BootOutcome::Degraded);
    assert_eq!(told(&instance), well());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_at_once_with_its_reason_while_others_still_run() {
    let instance = instance(
        "commands:
  slow: { run: [/bin/slow] }
  bad: { run: [/bin/bad] }
  behind: { run: [/bin/behind], after: [commands.bad] }
",
    );
    fails(&instance, "bad");
    takes(&instance, "slow", 200);
    let mut booted = pin_boot(&instance);
    let heard = tokio::time::timeout(Duration::from_secs(100), &mut booted).await;
    assert!(heard.is_err(), "the slow command still runs");
    assert_eq!(told(&instance), badly());
    let booted = booted.await;
    assert_eq!(booted.outcomes()[2], "changed commands.slow");
    assert_eq!(
        changes(&booted, "signals.stack"),
        ["signal FAILURE to stack shop, resource Web: commands.bad: /bin/bad exited with 3: it printed nothing"]
    );
    assert_eq!(told(&instance), badly());
}

fn pin_boot(instance: &Instance) -> Pin<Box<dyn Future<Output = Booted> + '_>> {
    Box::pin(instance.boot())
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_was_told_is_taken_back_by_the_boot_that_goes_well() {
    let instance = instance("commands: { a: { run: [/bin/a] } }\n");
    fails(&instance, "a");
    instance.boot().await;
    instance.machine.restart_process();
    instance.boot().await;
    assert_eq!(told(&instance), badly(), "the same failure is told once");
    takes(&instance, "a", 1);
    instance.boot_well().await;
    assert_eq!(told(&instance).0, [SignalStatus::Failure, SignalStatus::Success]);
}

/// A stack waits for the first boot. A failure months later must not roll back whatever the stack is doing then.
#[tokio::test(start_paused = true)]
async fn a_stack_that_was_told_of_a_success_is_not_told_of_a_failure() {
    let instance = instance("commands: { a: { run: [/bin/a], once: boot } }\n");
    instance.boot_well().await;
    fails(&instance, "a");
    instance.machine.reboot();
    assert_eq!(instance.boot().await.report.outcome, BootOutcome::Failed);
    assert_eq!(told(&instance), well());
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_it_is_told_and_counts_as_one() {
    let steps = "commands: { a: { run: [/bin/a] } }\n";
    for count in 0.. {
        let instance = instance(steps);
        instance.machine.die_after(count);
        tokio::select! {
            biased;
            () = instance.machine.died() => {}
            _ = instance.boot() => break,
        }
        instance.machine.restart_process();
        instance.boot_well().await;
        let signals = instance.stacks.signals();
        assert!(!signals.is_empty() && signals.iter().all(|signal| *signal == signals[0]), "killed in change {count}: {signals:?}");
        assert_eq!(told(&instance).1, [ActionResult::Continue], "killed in change {count}");
        instance.machine.restart_process();
        assert!(instance.boot_well().await.changed().is_empty(), "killed in change {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_throttled_or_lost_is_sent_again() {
    let instance = instance("");
    instance.stacks.refuse("SignalResource", "Throttling", 3);
    instance.stacks.lose_answer("SignalResource");
    instance.groups.refuse("CompleteLifecycleAction", "ServiceUnavailable", 2);
    instance.boot_well().await;
    assert_eq!((instance.stacks.count("SignalResource"), instance.groups.count("CompleteLifecycleAction")), (5, 3));
    let signals = instance.stacks.signals();
    assert!(signals.len() == 2 && signals[0] == signals[1], "{signals:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_who_waits_any_more_is_no_failure() {
    let instance = instance("");
    instance.stacks.complete();
    instance.groups.refuse("CompleteLifecycleAction", "ValidationError", 1);
    let booted = instance.boot().await;
    assert_eq!(booted.outcomes(), ["failed signals.hook", "changed signals.stack"]);
    // The group's hook, which no longer waits.
    instance.boot_well().await;
    instance.machine.reboot();
    let booted = instance.boot_well().await;
    assert_eq!(booted.changed(), ["signals.hook"]);
    assert!(booted.transcript.text().contains("No active Lifecycle Action found"), "{}", booted.transcript.text());
    assert!(booted.report.warnings.is_empty(), "{:?}", booted.report.warnings);
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_may_not_be_sent_says_what_to_allow() {
    let instance = instance("");
    instance.stacks.refuse("SignalResource", "AccessDenied", 1);
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("signals.stack"), @r"
    SignalResource Web of shop: access denied: SignalResource was to fail
      hint: allow cloudformation:SignalResource on Web of shop in the instance's role
    ");
    assert_eq!(told(&instance).1, [ActionResult::Continue], "the other one is told all the same");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_is_told_with_what_the_boot_waited_for() {
    for (halts, expected) in [(true, badly()), (false, (Vec::new(), Vec::new()))] {
        let instance = instance("commands: { slow: { run: [/bin/slow] }, behind: { run: [/bin/b], after: [commands.slow] } }\n");
        takes(&instance, "slow", 1_000);
        let clock = instance.machine.host().clock;
        let stop = async {
            clock.sleep(Duration::from_secs(60)).await;
            let why = Explanation::new("the boot's deadline of 60s passed", None);
            if halts { Halt::Deadline(why) } else { Halt::Asked(why) }
        };
        let booted = instance.boot_until(stop).await;
        assert_eq!(booted.report.outcome, BootOutcome::Failed);
        assert_eq!(told(&instance), expected);
        if halts {
            let line = "signal FAILURE to stack shop, resource Web: commands.slow: the boot's deadline of 60s passed, \
                        while waiting for /bin/slow to finish";
            assert_eq!(changes(&booted, "signals.stack"), [line]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn last_words_have_an_end() {
    let instance = instance("commands: { slow: { run: [/bin/slow] } }\n");
    takes(&instance, "slow", 1_000);
    instance.stacks.refuse("SignalResource", "Throttling", 1_000_000);
    let clock = instance.machine.host().clock;
    let stop = async {
        clock.sleep(Duration::from_secs(60)).await;
        Halt::Deadline(Explanation::new("the deadline passed", None))
    };
    let booted = instance.boot_until(stop).await;
    assert!(booted.report.elapsed_ms < 81_000.0, "{}", booted.report.elapsed_ms);
    assert!(booted.error("signals.stack").starts_with("the deadline passed"), "{}", booted.error("signals.stack"));
    assert_eq!(told(&instance).1, [ActionResult::Abandon]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_waits_for_as_long_as_a_boot_goes_on() {
    let boot = |timeout: u64| async move {
        let instance = instance("commands: { slow: { run: [/bin/slow], timeout: 2h } }\n");
        instance.groups.set(None, &[("ready", timeout), ("other", 7_200)]);
        takes(&instance, "slow", 3_000);
        let booted = instance.boot_well().await;
        assert!(booted.report.warnings.is_empty(), "{:?}", booted.report.warnings);
        assert_eq!(told(&instance), well(), "{timeout}");
        instance.groups.count("RecordLifecycleActionHeartbeat")
    };
    assert_eq!(boot(30).await, 300);
    assert_eq!(boot(300).await, 30);
    assert_eq!(boot(7_200).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_short_boot_sends_no_heartbeat_and_one_that_nobody_waits_for_one() {
    let mut short = instance("commands: { a: { run: [/bin/a] } }\n");
    takes(&short, "a", 3);
    short.boot_well().await;
    assert_eq!((short.groups.count("RecordLifecycleActionHeartbeat"), short.groups.count("DescribeLifecycleHooks")), (0, 0));

    short.machine.reboot();
    short.example = Example::of(&format!("version: 1\ncommands: {{ b: {{ run: [/bin/b], timeout: 1h }} }}{SIGNALS}"));
    takes(&short, "b", 1_000);
    short.boot_well().await;
    assert_eq!(short.groups.count("RecordLifecycleActionHeartbeat"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_fails_is_a_warning() {
    let instance = instance("commands: { slow: { run: [/bin/slow], timeout: 2h } }\n");
    takes(&instance, "slow", 100);
    instance.groups.refuse("DescribeLifecycleHooks", "AccessDenied", 1);
    instance.groups.refuse("RecordLifecycleActionHeartbeat", "AccessDenied", 3);
    let booted = instance.boot_well().await;
    let warnings = booted.report.warnings.join("\n");
    assert_eq!(warnings.lines().count(), 2, "{warnings}");
    assert!(warnings.contains("allow autoscaling:DescribeLifecycleHooks on *"), "{warnings}");
    assert!(warnings.contains("RecordLifecycleActionHeartbeat"), "{warnings}");
}

#[tokio::test(start_paused = true)]
async fn whom_it_goes_to_is_found_without_tags_in_metadata() {
    let text = "version: 1\nsignals: { stack: { cloudformation: {} }, hook: { lifecycle_hook: {} } }\n";
    let instance = Instance::with_aws(&Example::of(text), FakeSecretsManager::default(), FakeParameterStore::default());
    instance.shows_tags.set(false);
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("signals.stack") + "\n" + &booted.error("signals.hook"), @r"
    this instance has no tag aws:cloudformation:stack-name
      hint: launch it from a stack, or give `stack` and `resource` in the document
    i-0123456789abcdef0 is not in an Auto Scaling group
      hint: launch it from a group, or give `group` in the document
    ");
    instance.ec2.tag_instance("aws:cloudformation:stack-name", "shop");
    instance.ec2.tag_instance("aws:cloudformation:logical-id", "Web");
    instance.groups.set(Some("web"), &[("ready", 300), ("second", 300)]);
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("signals.hook"), @r"
    the group web has 2 launch hooks: ready, second
      hint: name one of them: `lifecycle_hook: { name: … }`
    ");
    instance.groups.set(Some("web"), &[("ready", 300)]);
    instance.boot_well().await;
    assert_eq!(told(&instance), well());
    assert_eq!(instance.groups.over()[0].0.hook, "ready");
}

#[tokio::test(start_paused = true)]
async fn a_wait_condition_hears_the_reason_and_no_secret() {
    let text = "
version: 1
secrets: { url: { secrets_manager: url }, key: { secrets_manager: key } }
commands: { bad: { run: [/bin/bad, '{{secrets.key}}'] } }
signals: { wait: { cloudformation: { wait_condition_url: '{{secrets.url}}' } } }
";
    let secrets = FakeSecretsManager::default().with("url", "https://wait.example/?Signature=hunter2").with("key", "correct-horse");
    let instance = Instance::with_aws(&Example::of(text), secrets, FakeParameterStore::default());
    instance.machine.on_command("bad", |_, on_line| {
        on_line("the key correct-horse is wrong");
        Outcome::Ends(End::Exited(1))
    });
    let booted = instance.boot().await;
    let [(url, signal)] = &instance.stacks.waited()[..] else { panic!("{:?}", instance.stacks.waited()) };
    assert_eq!((url.as_str(), signal.status), ("https://wait.example/?Signature=hunter2", SignalStatus::Failure));
    assert_eq!(signal.reason, "commands.bad: /bin/bad exited with 1: last lines of its output: | the key [redacted] is wrong");
    let everything =
        booted.transcript.text() + &instance.machine.snapshot().to_string() + &instance.machine.file("/run/ingot/report.json").unwrap().0;
    assert!(!everything.contains("hunter2") && !everything.contains("correct-horse"));
    let record = instance.machine.files().into_iter().find(|path| path.ends_with("record.json")).unwrap();
    assert!(!instance.machine.file(record.to_str().unwrap()).unwrap().0.contains("wait.example"));
}

/// The other signals wait for the end; a signal with an unknown URL fails alone, with its own error.
#[tokio::test(start_paused = true)]
async fn a_signal_whose_url_is_not_there_is_skipped_alone() {
    let steps = "secrets: { gone: { secrets_manager: gone, required: false } }\ncommands: { slow: { run: [/bin/slow] } }\n";
    let wait = "  wait: { cloudformation: { wait_condition_url: '{{secrets.gone}}' }, required: false }\n";
    let instance = Instance::with_aws(
        &Example::of(&format!("version: 1\n{steps}{SIGNALS}{wait}")),
        FakeSecretsManager::default(),
        FakeParameterStore::default(),
    );
    takes(&instance, "slow", 5);
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Degraded);
    assert!(booted.outcomes().contains(&"skipped signals.wait".to_owned()), "{:?}", booted.outcomes());
    assert_eq!(told(&instance), well());
}
