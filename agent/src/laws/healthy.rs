//! A stack is told of a success once its load balancers find the instance healthy, and of a failure if they never do.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;

use crate::aws::autoscaling::ActionResult;
use crate::aws::cloudformation::SignalStatus;
use crate::aws::s3::Source;
use crate::execute::Halt;
use crate::failure::Explanation;
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::fake::machine::Outcome;
use crate::host::End;
use crate::laws::example::Example;
use crate::laws::instance::{Booted, Instance};
use crate::report::BootOutcome;

const WEB: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef";
const API: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/api/0123456789abcdef";

fn instance(steps: &str) -> Instance {
    instance_with(steps, "")
}

fn instance_with(steps: &str, signals: &str) -> Instance {
    let text = format!(
        "version: 1\n{steps}\nsignals:\n{signals}  hook: {{ lifecycle_hook: {{ group: web, name: ready }} }}\n  stack: {{ cloudformation: \
         {{ stack: shop, resource: Web }}, targets: ['{WEB}', '{API}'], timeout: 5m }}\n"
    );
    Instance::with_aws(&Example::of(&text), FakeSecretsManager::default(), FakeParameterStore::default())
}

fn told(instance: &Instance) -> (Vec<SignalStatus>, Vec<ActionResult>) {
    let signals = instance.stacks.signals();
    (signals.iter().map(|signal| signal.status).collect(), instance.groups.over().into_iter().map(|(_, result)| result).collect())
}

fn step<'a>(booted: &'a Booted, address: &str) -> &'a crate::report::StepReport {
    booted.report.steps.iter().find(|step| step.address.as_str() == address).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_success_waits_for_the_hooks_and_for_every_group() {
    let instance = instance("");
    instance.groups.refuse("CompleteLifecycleAction", "ServiceUnavailable", 4);
    instance.balancers.finds(WEB, &["unused Target.NotRegistered", "initial Elb.RegistrationInProgress", "! Throttling", "healthy"]);
    instance.balancers.finds(API, &["initial Elb.InitialHealthChecking", "healthy"]);
    let booted = instance.boot_well().await;
    assert_eq!(told(&instance), (vec![SignalStatus::Success], vec![ActionResult::Continue]));
    let stack = step(&booted, "signals.stack");
    assert!(step(&booted, "signals.hook").finished_ms <= stack.started_ms, "{}", booted.transcript.text());
    assert_eq!(stack.changes, ["signal SUCCESS to stack shop, resource Web once it is healthy in web, api"]);
    let waits: Vec<&str> = stack.idle.iter().map(|idle| idle.why.as_str()).collect();
    assert_eq!(
        waits[0],
        "for the load balancer to report this instance healthy: web is unused (Target.NotRegistered), api is initial (Elb.InitialHealthChecking)"
    );
    assert_eq!(instance.balancers.count(), 8);

    instance.machine.reboot();
    instance.boot_well().await;
    assert_eq!(instance.balancers.count(), 8, "a stack is told once, and nobody waits for that again");
}

#[tokio::test(start_paused = true)]
async fn a_failure_waits_for_nothing() {
    let instance = instance("commands: { a: { run: [/bin/a] } }\n");
    instance.machine.on_command("a", |_, _| Outcome::Ends(End::Exited(3)));
    instance.balancers.finds(WEB, &["initial"]);
    instance.groups.refuse("CompleteLifecycleAction", "ServiceUnavailable", 4);
    let booted = instance.boot().await;
    assert_eq!(told(&instance), (vec![SignalStatus::Failure], vec![ActionResult::Abandon]));
    assert_eq!(instance.balancers.count(), 0);
    assert!(step(&booted, "signals.stack").finished_ms < Some(100.0), "{}", booted.transcript.text());
}

#[tokio::test(start_paused = true)]
async fn one_that_never_gets_healthy_is_a_failure_within_its_time() {
    let instance = instance("");
    instance.balancers.finds(API, &["initial Elb.InitialHealthChecking", "unhealthy Target.ResponseCodeMismatch"]);
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    assert_eq!(told(&instance).0, [SignalStatus::Failure]);
    assert!((285_000.0..300_000.0).contains(&booted.report.elapsed_ms), "{}", booted.report.elapsed_ms);
    insta::assert_snapshot!(booted.error("signals.stack"), @r"
    this instance is not healthy behind its load balancer after 290s: api is unhealthy (Target.ResponseCodeMismatch)
      hint: compare the health check of the target group, its path, port and codes, with what this instance answers
    ");
    // A later boot that finds it healthy revokes the failure.
    instance.balancers.finds(API, &["healthy"]);
    instance.machine.restart_process();
    instance.boot_well().await;
    assert_eq!(told(&instance).0, [SignalStatus::Failure, SignalStatus::Success]);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_asked_is_a_failure_at_once() {
    let instance = instance("");
    instance.balancers.finds(WEB, &["! AccessDenied"]);
    let booted = instance.boot().await;
    assert_eq!((told(&instance).0, instance.balancers.count()), (vec![SignalStatus::Failure], 2));
    insta::assert_snapshot!(booted.error("signals.stack"), @r"
    cannot find out whether this instance is healthy behind its load balancer: DescribeTargetHealth arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef: access denied: it was to fail
      hint: allow elasticloadbalancing:DescribeTargetHealth on * in the instance's role
    ");
    let [change] = &step(&booted, "signals.hook").changes[..] else { panic!("{:?}", booted.outcomes()) };
    assert!(change.ends_with("with CONTINUE"), "{change}");
}

/// Boots with a deadline of one minute, until all signals have been sent.
async fn boot_for_a_minute(instance: &Instance) -> Booted {
    boot_for(60, instance).await
}

async fn boot_for(seconds: u64, instance: &Instance) -> Booted {
    let clock = instance.machine.host().clock;
    let stop = async {
        clock.sleep(Duration::from_secs(seconds)).await;
        Halt::Deadline(Explanation::new(format!("the boot's deadline of {seconds}s passed"), None))
    };
    instance.boot_until(stop).await
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_boot_ends_the_wait_with_a_failure() {
    for (state, longest) in [("initial Elb.RegistrationInProgress", 62_000.0), ("! silence", 70_000.0)] {
        let instance = instance("");
        instance.balancers.finds(WEB, &[state]);
        let booted = boot_for_a_minute(&instance).await;
        assert_eq!(told(&instance).0, [SignalStatus::Failure]);
        assert!(booted.report.elapsed_ms < longest, "{state}: {}", booted.report.elapsed_ms);
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_that_never_answers_is_a_failure_that_is_told_in_time() {
    let instance = instance("");
    instance.balancers.finds(WEB, &["! silence"]);
    let booted = instance.boot().await;
    assert_eq!(told(&instance).0, [SignalStatus::Failure]);
    assert!(booted.report.elapsed_ms < 300_000.0, "{}", booted.report.elapsed_ms);
    let error = booted.error("signals.stack");
    assert!(error.contains("web is not known (no response within "), "{error}");
}

/// An instance that its load balancer never finds healthy, with evidence configured.
fn unhealthy() -> Instance {
    let instance = instance_with("", "  proof: { s3: 's3://shop-evidence/x/' }\n");
    instance.balancers.finds(API, &["unhealthy Target.ResponseCodeMismatch"]);
    instance
}

/// Boots until the signal's timeout, or until the boot's deadline of a minute.
async fn boot_within(instance: &Instance, a_minute: bool) -> Booted {
    if a_minute { boot_for_a_minute(instance).await } else { instance.boot().await }
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_a_boot_that_was_good_until_then_has_its_evidence_first() {
    for a_minute in [false, true] {
        let instance = unhealthy();
        instance.stacks.refuse("SignalResource", "Throttling", 1);
        let written_first = async {
            while instance.stacks.count("SignalResource") == 0 {
                instance.machine.host().clock.sleep(Duration::from_millis(1)).await;
            }
            instance.objects.all()
        };
        let (booted, written) = join(boot_within(&instance, a_minute), written_first).await;
        assert_eq!(told(&instance).0, [SignalStatus::Failure]);
        let content = |objects: &[(Source, Bytes)]| {
            let [(_, packed)] = objects else { panic!("{objects:?}") };
            serde_json::from_slice::<serde_json::Value>(&zstd::stream::decode_all(&packed[..]).unwrap()).unwrap()
        };
        for (moment, written) in [("failure", written), ("end", instance.objects.all())] {
            let evidence = content(&written);
            let reason = evidence["reason"].as_str().unwrap();
            assert!(reason.starts_with("signals.stack: this instance is not healthy behind its load balancer"), "{reason}");
            assert_eq!(evidence["moment"], moment, "{}", booted.transcript.text());
        }
        assert_eq!(instance.objects.writes(), 2);
    }
}

/// Regression: the evidence counted as written as soon as the write had begun.
#[tokio::test(start_paused = true)]
async fn evidence_that_the_deadline_cuts_off_is_written_before_the_failure_is_told() {
    let instance = unhealthy();
    instance.objects.take_writes_slowly(2);
    let written_first = async {
        while instance.stacks.count("SignalResource") == 0 {
            instance.machine.host().clock.sleep(Duration::from_millis(1)).await;
        }
        instance.objects.all().len()
    };
    let (booted, written) = join(boot_for(291, &instance), written_first).await;
    assert_eq!((told(&instance).0, written), (vec![SignalStatus::Failure], 1), "{}", booted.transcript.text());
}

#[tokio::test(start_paused = true)]
async fn such_evidence_takes_a_third_of_what_is_left_at_the_most() {
    for (a_minute, from, to) in [(false, 293_000.0, 294_500.0), (true, 65_000.0, 66_500.0)] {
        let instance = unhealthy();
        instance.objects.refuse_writes(Some(""));
        let booted = boot_within(&instance, a_minute).await;
        assert_eq!(told(&instance).0, [SignalStatus::Failure]);
        let ended = step(&booted, "signals.stack").finished_ms.unwrap();
        assert!((from..to).contains(&ended), "{ended}");
    }
}
