//! The evidence of a failed boot is stored before any signal is sent, contains no secrets, and is limited in size and
//! time.

use std::time::Duration;

use serde_json::Value;

use crate::aws::autoscaling::ActionResult;
use crate::aws::cloudformation::SignalStatus;
use crate::execute::Halt;
use crate::failure::Explanation;
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::fake::machine::{FakeUnit, INSTANCE, Outcome};
use crate::host::End;
use crate::laws::example::{Example, examples};
use crate::laws::instance::{Booted, Instance};
use crate::report::BootOutcome;

const SIGNALS: &str = "
signals:
  evidence: { s3: 's3://shop-evidence/shop/prod/', logs: [x.service] }
  stack: { cloudformation: { stack: shop, resource: Web } }
  hook: { lifecycle_hook: { group: web, name: ready } }
";

fn instance_with(steps: &str, signals: &str) -> Instance {
    let secrets = FakeSecretsManager::default().with("key", "correct-horse");
    let instance = Instance::with_aws(&Example::of(&format!("version: 1\n{steps}{signals}")), secrets, FakeParameterStore::default());
    instance.machine.on_command("bad", |_, _| Outcome::Ends(End::Exited(3)));
    instance
}

fn instance(steps: &str) -> Instance {
    instance_with(steps, SIGNALS)
}

fn told(instance: &Instance) -> (Vec<SignalStatus>, Vec<ActionResult>) {
    let signals = instance.stacks.signals();
    (signals.iter().map(|signal| signal.status).collect(), instance.groups.over().into_iter().map(|(_, result)| result).collect())
}

fn badly() -> (Vec<SignalStatus>, Vec<ActionResult>) {
    (vec![SignalStatus::Failure], vec![ActionResult::Abandon])
}

/// The only object in S3: its key, its length, and its content.
fn evidence(instance: &Instance) -> (String, usize, Value) {
    let [(source, packed)] = &instance.objects.all()[..] else { panic!("{:?}", instance.objects.all()) };
    let content = zstd::stream::decode_all(&packed[..]).unwrap();
    (source.to_string(), packed.len(), serde_json::from_slice(&content).unwrap())
}

fn ended_at(booted: &Booted, address: &str) -> f64 {
    booted.report.steps.iter().find(|step| step.address.as_str() == address).unwrap().finished_ms.unwrap()
}

const BAD: &str = "secrets: { key: { secrets_manager: key } }
commands: { bad: { run: [/bin/bad, '{{secrets.key}}'], after: [services.x.service] } }
services: { x.service: {} }
";

#[tokio::test(start_paused = true)]
async fn a_failure_leaves_report_and_journal_under_one_key_and_no_secret() {
    let instance = instance(BAD);
    instance.machine.add_unit(FakeUnit::new("x.service").journal(&["first", "the key correct-horse is wrong", "last"]));
    let booted = instance.boot().await;
    assert_eq!((booted.report.outcome, told(&instance)), (BootOutcome::Failed, badly()));
    assert_eq!(instance.objects.writes(), 2, "at the failure, and at the end");
    let (key, _, content) = evidence(&instance);
    let began = booted.report.started_at.replace(['-', ':'], "");
    let (date, time) = (booted.report.started_at[..10].replace('-', "/"), &began[9..15]);
    let boot = booted.report.boot_id.replace('-', "");
    assert_eq!(key, format!("s3://shop-evidence/shop/prod/{date}/{time}Z-{INSTANCE}-{boot}-serve.json.zst"));
    assert_eq!((&content["version"], &content["moment"]), (&Value::from(1), &Value::from("end")));
    assert_eq!(content["reason"], "commands.bad: /bin/bad exited with 3: it printed nothing");
    assert_eq!(content["report"]["outcome"], "failed");
    assert_eq!(content["journal"]["x.service"], serde_json::json!(["first", "the key [redacted] is wrong", "last"]));
    assert!(!content.to_string().contains("correct-horse"));
}

#[tokio::test(start_paused = true)]
async fn it_is_there_before_the_first_signal() {
    let instance = instance(BAD);
    instance.stacks.refuse("SignalResource", "Throttling", 1_000_000);
    instance.groups.refuse("CompleteLifecycleAction", "Throttling", 1_000_000);
    let watched = async {
        // No signal can have been sent yet.
        while instance.objects.all().is_empty() {
            instance.machine.host().clock.sleep(Duration::from_millis(1)).await;
        }
        (instance.stacks.count("SignalResource"), instance.groups.count("CompleteLifecycleAction"), evidence(&instance).2)
    };
    let boot = instance.boot();
    tokio::select! {
        biased;
        (signals, completions, content) = watched => {
            assert!(signals + completions <= 2, "{signals} {completions}");
            assert_eq!((&content["moment"], &content["report"]["outcome"]), (&Value::from("failure"), &Value::from("running")));
        }
        _ = boot => panic!("the signals are never taken"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_never_answers_holds_signals_for_five_seconds() {
    let instance = instance(BAD);
    instance.objects.refuse_writes(Some(""));
    let booted = instance.boot().await;
    assert_eq!(told(&instance), badly());
    for signal in ["signals.stack", "signals.hook"] {
        let waited = ended_at(&booted, signal) - ended_at(&booted, "commands.bad");
        assert!((4_990.0..6_000.0).contains(&waited), "{signal}: {waited}");
    }
    assert!(booted.error("signals.evidence").starts_with("it did not finish within 30s"), "{}", booted.error("signals.evidence"));
    let told_again = booted.report.warnings.iter().any(|warning| warning.contains("evidence"));
    assert!(!told_again, "one failure is told once: {:?}", booted.report.warnings);
}

/// How long signals wait for S3 after a failure at 33 s, if a hook with a known timeout is waiting.
async fn waited(timeout: u64, takes: impl Fn(&Instance)) -> f64 {
    let instance = instance("commands: { bad: { run: [/bin/bad], after: [commands.slow] }, slow: { run: [/bin/slow] } }\n");
    instance.groups.set(None, &[("ready", timeout)]);
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(33), End::Exited(0)));
    takes(&instance);
    let booted = instance.boot().await;
    assert_eq!(told(&instance), badly());
    ended_at(&booted, "signals.hook") - ended_at(&booted, "commands.bad")
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_is_known_to_last_gives_it_longer_if_s3_takes_it_but_a_third_of_its_time_at_the_most() {
    let black_hole = |instance: &Instance| instance.objects.refuse_writes(Some(""));
    // The last heartbeat was at 25 s, so a hook of 30 seconds has 22 left.
    for (timeout, seconds, expected) in [(300, 8, 8_000.0), (300, 60, 10_000.0), (30, 60, 22_000.0 / 3.0)] {
        let waited = waited(timeout, |instance| instance.objects.take_writes_slowly(seconds)).await;
        assert!((expected - 500.0..expected + 500.0).contains(&waited), "{timeout} {seconds}: {waited}");
    }
    for timeout in [300, 30] {
        let waited = waited(timeout, black_hole).await;
        assert!((4_990.0..6_000.0).contains(&waited), "{timeout}: {waited}");
    }
    // S3 accepted part of it and then stopped responding.
    let stalls = |instance: &Instance| {
        instance.objects.take_writes_slowly(4);
        instance.objects.refuse_writes(Some(""));
    };
    let waited = waited(300, stalls).await;
    assert!((6_000.0..6_500.0).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_leaves_evidence_and_signals_their_own_time() {
    let instance = instance("commands: { slow: { run: [/bin/slow] } }\n");
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(1_000), End::Exited(0)));
    instance.objects.refuse_writes(Some(""));
    instance.stacks.refuse("SignalResource", "Throttling", 1_000_000);
    let clock = instance.machine.host().clock;
    let stop = async {
        clock.sleep(Duration::from_secs(60)).await;
        Halt::Deadline(Explanation::new("the deadline passed", None))
    };
    let booted = instance.boot_until(stop).await;
    assert_eq!(told(&instance).1, [ActionResult::Abandon]);
    assert!((ended_at(&booted, "signals.hook") - 65_000.0).abs() < 500.0, "{}", ended_at(&booted, "signals.hook"));
    // The stack's signal waits a third of the 20 seconds, because the hook's timeout is known.
    assert!((ended_at(&booted, "signals.stack") - 86_667.0).abs() < 500.0, "{}", ended_at(&booted, "signals.stack"));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_while_signals_wait_has_them_wait_no_longer() {
    for deadline in [6, 9] {
        let instance = instance("commands: { bad: { run: [/bin/bad], after: [commands.slow] }, slow: { run: [/bin/slow] } }\n");
        instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(3), End::Exited(0)));
        instance.objects.refuse_writes(Some(""));
        instance.groups.refuse("CompleteLifecycleAction", "Throttling", 2);
        let clock = instance.machine.host().clock;
        let stop = async {
            clock.sleep(Duration::from_secs(deadline)).await;
            Halt::Deadline(Explanation::new("the deadline passed", None))
        };
        let booted = instance.boot_until(stop).await;
        assert_eq!(told(&instance), badly());
        let waited = ended_at(&booted, "signals.stack") - ended_at(&booted, "commands.bad");
        assert!((4_990.0..6_000.0).contains(&waited), "{deadline}: {waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_denied_is_named_and_signals_go_out_at_once() {
    let instance = instance(BAD);
    instance.objects.refuse_writes(Some("AccessDenied"));
    let booted = instance.boot().await;
    assert_eq!(told(&instance), badly());
    assert!(ended_at(&booted, "signals.hook") - ended_at(&booted, "commands.bad") < 500.0);
    let error = booted.error("signals.evidence");
    assert!(error.contains("access denied") && error.contains("allow s3:PutObject on arn:aws:s3:::shop-evidence/shop/prod/"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_good_boot_leaves_it_only_if_asked() {
    let quiet = instance("services: { x.service: {} }\n");
    quiet.boot_well().await;
    assert_eq!(quiet.objects.writes(), 0);
    let always = instance_with("services: { x.service: {} }\n", &SIGNALS.replace("logs: [x.service]", "on: always"));
    let booted = always.boot_well().await;
    assert_eq!(always.objects.writes(), 1);
    assert_eq!(evidence(&always).2["report"]["outcome"], "done");
    assert!(booted.outcomes().contains(&"unchanged signals.evidence".to_owned()));
    // A broken bucket does not make a good boot fail.
    always.objects.refuse_writes(Some("AccessDenied"));
    always.machine.reboot();
    let booted = always.boot_well().await;
    assert!(booted.report.warnings[0].starts_with("signals.evidence: the evidence of the whole boot was not written"));
}

#[tokio::test(start_paused = true)]
async fn without_a_journal_it_is_two_kilobytes() {
    for mut example in examples().await.into_iter().filter(|example| example.name == "shop.yaml") {
        example.text.push_str("  evidence: { s3: 's3://shop-evidence/shop/', on: always }\n");
        let instance = Instance::of(&example).await;
        instance.boot_well().await;
        let (_, length, _) = evidence(&instance);
        assert!(length <= 2048, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_long_journal_the_newest_lines_are_kept() {
    let instance = instance(BAD);
    // Random letters, which compress badly.
    let mut seed = 1u32;
    let mut letters = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (seed >> 24) as u8 % 26)
    };
    let lines: Vec<String> = (0..20_000).map(|at| format!("{at} {}", (0..150).map(|_| letters()).collect::<String>())).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    instance.machine.add_unit(FakeUnit::new("x.service").journal(&lines));
    instance.boot().await;
    let (_, length, content) = evidence(&instance);
    let kept = content["journal"]["x.service"].as_array().unwrap();
    assert!(length <= 1 << 20 && length > 1 << 18, "{length}");
    assert_eq!((kept.last().unwrap().as_str(), &content["journal_is_cut"]), (lines.last().copied(), &Value::from(true)));
    let first: usize = kept[0].as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_eq!(first + kept.len(), lines.len(), "nothing is left out in the middle");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_hangs_costs_two_seconds_and_itself() {
    let instance = instance(BAD);
    instance.machine.add_unit(FakeUnit::new("x.service").journal(&["a"]).journal_takes(Duration::from_secs(60)));
    let booted = instance.boot().await;
    assert_eq!(told(&instance), badly());
    assert!(ended_at(&booted, "signals.hook") - ended_at(&booted, "commands.bad") < 2_000.0);
    assert_eq!(evidence(&instance).2["report"]["outcome"], "failed");
}

/// A service that came up by itself may print secrets of an earlier boot, which this boot cannot know.
#[tokio::test(start_paused = true)]
async fn without_every_secret_of_the_document_there_is_no_journal() {
    let two = "secrets: { key: { secrets_manager: key }, other: { secrets_manager: other, required: false } }
commands: { bad: { run: [/bin/bad] } }
";
    let journal = |booted: &Instance| {
        let content = evidence(booted).2;
        (content["journal"].clone(), content["journal_is_cut"].clone(), content["journal_left_out"].clone())
    };
    let unread = instance(two);
    unread.machine.add_unit(FakeUnit::new("x.service").journal(&["the key battery-staple is wrong"]));
    unread.boot().await;
    assert_eq!(journal(&unread), (serde_json::json!({}), true.into(), "secrets.other was not read".into()));
    let read = instance(&two.replace("secrets_manager: other", "secrets_manager: key"));
    read.machine.add_unit(FakeUnit::new("x.service").journal(&["the key correct-horse is wrong"]));
    read.boot().await;
    let lines = serde_json::json!({ "x.service": ["the key [redacted] is wrong"] });
    assert_eq!(journal(&read), (lines, false.into(), Value::Null));
}
