//! Every wait ends, with an error that names what was waited for.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;

use crate::aws::autoscaling::ActionResult;
use crate::aws::live::Services;
use crate::aws::{AwsError, SecretRequest, SecretValue, SecretsManager};
use crate::execute::Halt;
use crate::failure::Explanation;
use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::fake::machine::{FakeUnit, Outcome};
use crate::host::End;
use crate::laws::example::Example;
use crate::laws::instance::{Booted, Instance};
use crate::report::BootOutcome;

const FOR_EVER: Duration = Duration::from_secs(1_000_000);

fn instance(text: &str) -> Instance {
    Instance::with_aws(&Example::of(text), FakeSecretsManager::default(), FakeParameterStore::default())
}

/// The duration of a step in seconds.
fn took(booted: &Booted, address: &str) -> f64 {
    let step = booted.report.steps.iter().find(|step| step.address.as_str() == address).unwrap();
    (step.finished_ms.unwrap() - step.started_ms.unwrap()) / 1e3
}

/// Secrets Manager behind a firewall that drops everything; the first call may be answered by another service.
struct Silent {
    first: RefCell<Option<FakeSecretsManager>>,
}

#[async_trait(?Send)]
impl SecretsManager for Silent {
    async fn batch(&self, _: &[String]) -> Result<Vec<Option<Result<SecretValue, AwsError>>>, AwsError> {
        pending().await
    }

    async fn get(&self, request: &SecretRequest) -> Result<SecretValue, AwsError> {
        let first = self.first.take();
        match first {
            Some(first) => first.get(request).await,
            None => pending().await,
        }
    }
}

/// A boot whose secret is never answered by Secrets Manager, except for a call answered by `first`.
async fn unanswered(first: Option<FakeSecretsManager>) -> Booted {
    let instance = instance("version: 1\nsecrets: { db: { secrets_manager: prod/db, timeout: 30s } }\n");
    let secrets = Rc::new(Silent { first: RefCell::new(first) });
    let services = Services { secrets, ..crate::fake::aws::services(instance.ec2.clone(), instance.rds.clone()) };
    instance.process_with(services).await.run(pending()).await
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_never_comes() {
    let booted = unanswered(None).await;
    insta::assert_snapshot!(booted.error("secrets.db"), @r"
    it did not finish within 30s, while waiting for secret prod/db
      hint: give it a longer `timeout:`, or fix what it waits for
    ");
    assert!(took(&booted, "secrets.db") <= 31.0);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_refused_once_and_then_never_comes() {
    let booted = unanswered(Some(FakeSecretsManager::default().throttled(1))).await;
    insta::assert_snapshot!(booted.error("secrets.db"), @r"
    it did not finish within 30s, while waiting for secret prod/db; the last try failed: GetSecretValue prod/db: throttled: Rate exceeded (after 2 tries)
      hint: raise the account's quota for GetSecretValue, or let fewer instances start at once
    ");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_throttled_for_ever() {
    let example = Example::of("version: 1\nsecrets: { db: { secrets_manager: prod/db, timeout: 30s } }\n");
    let secrets = FakeSecretsManager::default().with("prod/db", "x").throttled(1_000_000);
    let booted = Instance::with_aws(&example, secrets, FakeParameterStore::default()).boot().await;
    let error = booted.error("secrets.db");
    assert!(error.starts_with("GetSecretValue prod/db: throttled: Rate exceeded (after "), "{error}");
    assert!(took(&booted, "secrets.db") <= 30.0 && booted.report.steps[0].attempts > 3);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_never_ends() {
    let instance = instance("version: 1\ncommands: { migrate: { run: [/bin/migrate, --all], timeout: 20s } }\n");
    instance.machine.on_command("migrate", |_, on_line| {
        on_line("waiting for a lock");
        Outcome::Takes(FOR_EVER, End::Exited(0))
    });
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("commands.migrate"), @r"
    /bin/migrate did not finish within 20s and was stopped: last lines of its output:
      | waiting for a lock
      hint: give the command a longer `timeout:`, or run it by hand to see what it waits for
    ");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_never_ends() {
    let instance = instance("version: 1\nfiles: { /etc/x: { content: x, check: [/bin/check, '{path}'], timeout: 20s } }\n");
    instance.machine.on_command("check", |_, _| Outcome::Takes(FOR_EVER, End::Exited(0)));
    let booted = instance.boot().await;
    let error = booted.error("files./etc/x");
    assert!(error.contains("/bin/check") && took(&booted, "files./etc/x") <= 21.0, "{error}");
    assert!(instance.machine.file("/etc/x").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_starts_and_one_that_never_serves() {
    let instance = instance(
        "
version: 1
services:
  slow.service: { timeout: 20s }
  mute.service: { ready: { http: 'http://127.0.0.1:1/health', timeout: 15s } }
  shut.service: { ready: { tcp: '127.0.0.1:2', timeout: 15s } }
",
    );
    instance.machine.add_unit(FakeUnit::new("slow.service").service_type("notify").late(FOR_EVER).journal(&["loading"]));
    instance.machine.add_answer("http://127.0.0.1:1/health", 503);
    instance.machine.add_listener("127.0.0.1:2", "nothing.service");
    let booted = instance.boot().await;
    insta::assert_snapshot!(booted.error("services.slow.service"), @r"
    slow.service was still activating (start) after 20s: last lines of its output:
      | loading
      hint: give services.slow.service a longer `timeout:`, or see `systemctl status slow.service`
    ");
    for (service, said) in [
        ("mute", "http://127.0.0.1:1/health did not succeed within 15s: status 503"),
        ("shut", "tcp 127.0.0.1:2 did not succeed within 15s: connection refused"),
    ] {
        let error = booted.error(&format!("services.{service}.service"));
        assert!(error.starts_with(&format!("{service}.service runs, but {said}")), "{error}");
    }
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    assert!(booted.report.elapsed_ms < 30_000.0);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_the_boot_ends_what_runs_and_skips_the_rest() {
    let instance = instance(
        "
version: 1
files: { /etc/x: { content: x } }
commands:
  slow: { run: [/bin/slow], after: [files./etc/x] }
  behind: { run: [/bin/behind], after: [commands.slow] }
services: { shop.service: {} }
",
    );
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(60), End::Exited(0)));
    let clock = instance.machine.host().clock;
    let stop = async {
        clock.sleep(Duration::from_secs(5)).await;
        Halt::Deadline(Explanation::new("the boot's deadline of 5s passed", None))
    };
    let booted = instance.boot_until(stop).await;
    insta::assert_snapshot!(booted.outcomes().join("\n"), @r"
    skipped commands.behind
    failed commands.slow
    changed files./etc/x
    skipped services.shop.service
    ");
    assert_eq!(booted.error("commands.slow"), "the boot's deadline of 5s passed, while waiting for /bin/slow to finish");
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    assert_eq!(instance.boot_well().await.changed(), ["commands.behind", "commands.slow", "services.shop.service"]);
}

/// Two applications that use one release, and build it in turn.
fn two_applications(times: &str) -> Instance {
    let instance = instance(&format!(
        "
version: 1
bundles: {{ app: {{ s3: s3://shop-releases/shop-1.zip, into: /opt/shop }} }}
applications:
  admin: {{ bundle: bundles.app, build: [[/bin/build]], run: {{ web: serve }}, port: 7000, proxy: {{ listen: 81 }} {times} }}
  shop: {{ bundle: bundles.app, build: [[/bin/build]], run: {{ web: serve }} }}
"
    ));
    instance.machine.on_command("build", |_, _| Outcome::Takes(Duration::from_secs(600), End::Exited(0)));
    instance
}

#[tokio::test(start_paused = true)]
async fn an_application_whose_release_another_one_builds() {
    let booted = two_applications("").boot_well().await;
    let idle = &booted.report.steps.iter().find(|step| step.address.as_str() == "applications.admin").unwrap().idle;
    assert!(idle.iter().any(|idle| idle.why == "for another application that builds the same release"), "{idle:?}");

    let booted = two_applications(", timeout: 5m").boot().await;
    insta::assert_snapshot!(booted.error("applications.admin"), @r"
    another application that builds the same release took longer than this one can wait
      hint: give this application a longer `timeout:`, or fix what the other one waits for: `ingot status` shows it
    ");
    assert!(took(&booted, "applications.admin") <= 301.0);
}

/// An interruption would leave its state unknown.
#[tokio::test(start_paused = true)]
async fn what_is_done_before_anybody_is_told_is_finished_though_the_deadline_passes() {
    let signals = "stack: { cloudformation: { stack: s, resource: W } }, hook: { lifecycle_hook: { group: web, name: ready } }";
    let instance = instance(&format!("version: 1\nfiles: {{ /etc/a: {{ content: a }} }}\nsignals: {{ {signals} }}\n"));
    instance.groups.set(None, &[("ready", 30)]);
    let (clock, done) = (instance.machine.host().clock, Rc::new(Cell::new(false)));
    let stop = async {
        instance.machine.host().clock.sleep(Duration::from_secs(60)).await;
        Halt::Deadline(Explanation::new("the deadline passed", None))
    };
    let is_done = done.clone();
    let work = Box::pin(async move {
        clock.sleep(Duration::from_secs(95)).await;
        is_done.set(true);
    });
    instance.process().await.run_with(Some(work), stop).await;
    assert!(done.get());
    assert_eq!(instance.stacks.signals().len(), 1, "and then it is told");
    let over: Vec<ActionResult> = instance.groups.over().into_iter().map(|(_, result)| result).collect();
    assert_eq!(over, [ActionResult::Continue], "the hook has waited");
}
