//! A worker that feeds an application is held while the application is stopped, for as long as necessary and at most as
//! long as permitted.

use std::time::Duration;

use crate::fake::machine::{FakeUnit, Outcome};
use crate::host::End;
use crate::laws::example::Example;
use crate::laws::instance::Instance;
use crate::report::BootOutcome;

const SHOP: &str = "
version: 1
bundles: { app: { s3: s3://shop-releases/shop-1.zip, into: /opt/shop } }
applications:
  shop: { bundle: bundles.app, port: 5000, overlap: true, proxy: { listen: 80, timeout: 30s }, run: { web: serve, jobs: work } }
workers:
  jobs: { queue: shop-jobs, to: applications.shop, drain: 2m }
  others: { queue: other-jobs, to: 'http://127.0.0.1:9000' }
";

/// An instance on which release 1 serves, with the document for release 2.
async fn serving(text: &str) -> Instance {
    let mut instance = Instance::of(&Example::of(text)).await;
    instance.boot_well().await;
    assert_eq!(instance.machine.holds(), [""; 0], "nothing was stopped");
    instance.example = Example::of(&text.replace("shop-1.zip", "shop-2.zip"));
    instance
}

#[tokio::test(start_paused = true)]
async fn until_a_release_beside_the_next_has_stopped() {
    let instance = serving(SHOP).await;
    instance.boot_well().await;
    let both = "holds 15000 while shop.web-1.service and shop.web-2.service runs";
    assert_eq!(instance.machine.holds(), [both, "lets go of 15000 while shop.web-2.service runs"]);
}

#[tokio::test(start_paused = true)]
async fn until_a_release_has_stopped_before_the_next_starts() {
    let instance = serving(&SHOP.replace("overlap: true", "overlap: false")).await;
    instance.boot_well().await;
    assert_eq!(instance.machine.holds(), ["holds 5000 while shop.web-1.service runs", "lets go of 5000 while  runs"]);
}

/// Through nginx, it is unknown which release handles a message.
#[tokio::test(start_paused = true)]
async fn also_one_that_posts_to_the_proxy_or_to_the_port_of_the_application() {
    for (to, port) in [("http://127.0.0.1", 80), ("http://127.0.0.1:5000", 5000)] {
        let instance = serving(&SHOP.replace("to: applications.shop", &format!("to: '{to}'"))).await;
        instance.boot_well().await;
        assert_eq!(instance.machine.holds()[0], format!("holds {port} while shop.web-1.service and shop.web-2.service runs"));
    }
}

/// The worker is waited for longer than a request may take, but at most as long as the worker allows.
#[tokio::test(start_paused = true)]
async fn a_message_has_the_time_that_its_worker_gives_it() {
    for (overlap, takes, in_time) in [(true, 100, true), (true, 130, false), (false, 100, true), (false, 130, false)] {
        let instance = serving(&SHOP.replace("overlap: true", &format!("overlap: {overlap}"))).await;
        instance.machine.has_in_hand_for(Duration::from_secs(takes));
        let booted = instance.boot_well().await;
        let warnings: Vec<&str> =
            booted.report.warnings.iter().map(String::as_str).filter(|warning| warning.contains("messages of")).collect();
        match in_time {
            true => assert_eq!(warnings, [""; 0]),
            false => {
                let told = "shop shop-1 (generation 1) was still handling messages of workers.jobs after 120s: they are delivered again";
                assert_eq!(warnings, [format!("applications.shop: {told}")]);
            }
        }
    }
}

/// The step has no time to wait for the worker: the rest of its timeout is needed for the next release.
#[tokio::test(start_paused = true)]
async fn a_message_that_takes_longer_than_the_step_may_is_not_waited_for() {
    for overlap in [true, false] {
        let text = SHOP.replace("overlap: true", &format!("overlap: {overlap}, timeout: 8m")).replace("drain: 2m", "drain: 1h");
        let instance = serving(&text).await;
        instance.machine.has_in_hand_for(Duration::from_secs(3000));
        // A hook follows, and needs time of its own.
        instance.machine.add_to_releases(".platform/hooks/postdeploy/warm", "#!/bin/sh\n");
        instance.machine.on_command("warm", |_, _| Outcome::Takes(Duration::from_secs(90), End::Exited(0)));
        let booted = instance.boot_well().await;
        assert!(
            booted.report.warnings.iter().any(|warning| warning.contains("was still handling messages")),
            "{:?}",
            booted.report.warnings
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_failed_has_no_more_time_than_a_request() {
    let mut instance = Instance::of(&Example::of(SHOP)).await;
    instance.machine.add_unit(FakeUnit::new("shop.jobs-2.service").fails(1));
    instance.boot_well().await;
    instance.example = Example::of(&SHOP.replace("shop-1.zip", "shop-2.zip"));
    instance.machine.has_in_hand_for(Duration::from_secs(3000));
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    let told = "shop shop-2 (generation 2) was still handling messages of workers.jobs after 30s";
    assert!(booted.report.warnings.iter().any(|warning| warning.contains(told)), "{:?}", booted.report.warnings);
    assert_eq!(instance.machine.holds().last().unwrap(), "lets go of 25000 while shop.web-1.service runs");
}

/// The settings of a worker with hundreds of tasks used to exceed the limit of the code that stops an application, even
/// one that the worker does not feed.
#[tokio::test(start_paused = true)]
async fn a_worker_with_many_tasks_is_held_as_any_other() {
    let tasks: String = (0..500).map(|n| format!("      - {{ name: task-{n}, schedule: '0 3 * * *', path: /tasks/{n} }}\n")).collect();
    let cron = format!("drain: 2m\n    cron:\n{tasks}");
    let text = SHOP.replace(
        "jobs: { queue: shop-jobs, to: applications.shop, drain: 2m }",
        &format!("jobs:\n    queue: shop-jobs.fifo\n    to: applications.shop\n    {cron}"),
    );
    let instance = serving(&text).await;
    instance.boot_well().await;
    assert_eq!(instance.machine.holds().len(), 2);
}

/// Unreadable settings of a worker are not a reason to keep a release.
#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_read_are_told_and_hold_nothing_up() {
    let instance = serving(SHOP).await;
    instance.machine.add_file("/run/ingot/workers/strange.json", &"x".repeat(3 << 20));
    let booted = instance.boot_well().await;
    assert!(booted.report.warnings.iter().any(|warning| warning.contains("strange.json")), "{:?}", booted.report.warnings);
}

/// Regression: neither release served. The next one failed, and the previous one could not be restored.
#[tokio::test(start_paused = true)]
async fn workers_that_cannot_be_listed_hold_nothing_up() {
    let text = SHOP.split("workers:").next().unwrap().replace("overlap: true", "overlap: false");
    let mut instance = Instance::of(&Example::of(&text)).await;
    instance.machine.add_unit(FakeUnit::new("shop.jobs-2.service").fails(1));
    instance.boot_well().await;
    instance.machine.add_file("/run/ingot/workers", "");
    instance.example = Example::of(&text.replace("shop-1.zip", "shop-2.zip"));
    let booted = instance.boot().await;
    let error = booted.error("applications.shop");
    assert!(error.contains("jobs of shop shop-2 (generation 2) exited with 1; shop-1 keeps serving"), "{error}");
    assert!(booted.report.warnings.iter().any(|warning| warning.contains("not waiting for workers")), "{:?}", booted.report.warnings);
    assert!(instance.machine.snapshot().to_string().contains("shop.web-1.service  active"), "{}", instance.machine.snapshot());
}
