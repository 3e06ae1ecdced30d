//! A worker gets the periodic tasks of the fetched release, and none from an invalid file.

use crate::laws::example::Example;
use crate::laws::instance::Instance;
use crate::report::BootOutcome;
use crate::steps::worker::settings::Settings;

const DOCUMENT: &str = "
version: 1
claims: s3://shop-releases/shop/environments/prod/claims/
values: { application: shop, environment: a b }
bundles: { app: { s3: s3://shop-releases/shop-1.zip, into: /opt/shop } }
workers: { jobs: { queue: jobs, to: 'http://127.0.0.1:5000', cron: bundles.app } }
";

async fn instance(file: Option<&str>) -> Instance {
    let instance = Instance::of(&Example::of(DOCUMENT)).await;
    if let Some(text) = file {
        instance.machine.add_to_releases("cron.yaml", text);
    }
    instance
}

fn settings(instance: &Instance) -> Settings {
    let (text, _) = instance.machine.file("/run/ingot/workers/jobs.json").unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn tasks_come_from_the_release() {
    let instance = instance(Some("version: 1\ncron: [{ name: nightly, url: /nightly, schedule: \"30 2 * * *\" }]\n")).await;
    instance.boot_well().await;
    let settings = settings(&instance);
    let [task] = settings.tasks.try_into().unwrap();
    assert_eq!((task.name.as_str(), task.path.as_str(), task.time_zone.as_str()), ("nightly", "/nightly", "UTC"));
    let claims = settings.claims.unwrap();
    assert_eq!(claims.below, "s3://shop-releases/shop/environments/prod/claims/cron/shop/a%20b/");
    assert!(claims.holder.starts_with("i-"));
}

#[tokio::test(start_paused = true)]
async fn a_release_without_tasks_is_told() {
    let instance = instance(None).await;
    instance.machine.stop_inventing_archives();
    let booted = instance.boot_well().await;
    assert_eq!(settings(&instance).tasks, []);
    assert!(booted.report.warnings.iter().any(|warning| warning.contains("cron.yaml")), "{:?}", booted.report.warnings);
}

/// Regression: the settings for the worker's next start were replaced nevertheless.
#[tokio::test(start_paused = true)]
async fn a_time_zone_that_is_not_there_fails_the_step_and_the_worker_is_left_alone() {
    let list = |zone| format!("[{{ name: nightly, path: /nightly, schedule: '30 2 * * *', time_zone: {zone} }}]");
    let of = |zone| Example::of(&DOCUMENT.replace("bundles.app }", &format!("{} }}", list(zone))));
    let mut instance = Instance::of(&of("UTC")).await;
    instance.machine.add_file("/usr/share/zoneinfo/Etc/UTC", "TZif");
    instance.boot_well().await;
    instance.example = of("Europe/Nowhere");
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    assert!(booted.error("workers.jobs").contains("Europe/Nowhere"), "{}", booted.error("workers.jobs"));
    assert_eq!(settings(&instance).tasks[0].time_zone, "UTC");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_file_fails_the_step_and_the_worker_is_left_alone() {
    let instance = instance(Some("version: 1\ncron:\n - { name: nightly, url: /nightly, schedule: \"0 0 31 2 *\" }\n")).await;
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    let error = booted.error("workers.jobs");
    assert!(error.contains("cron.yaml:3: the schedule `0 0 31 2 *` never occurs"), "{error}");
    assert!(instance.machine.file("/run/ingot/workers/jobs.json").is_none());
}
