//! Whatever becomes of a new release, the one before serves.

use std::time::Duration;

use crate::fake::machine::{FakeUnit, Outcome};
use crate::host::End;
use crate::laws::example::Example;
use crate::laws::instance::Instance;
use crate::report::{self, BootOutcome};

const SHOP: &str = "
version: 1
secrets: { db: { secrets_manager: prod/shop/db } }
bundles: { app: { s3: s3://shop-releases/shop-1.zip, into: /opt/shop } }
applications:
  shop: { bundle: bundles.app, environment: { DB: '{{secrets.db}}' }, proxy: { listen: 80 }, run: { web: serve, jobs: work } }
";

/// An instance on which release 1 serves, and the document for release 2.
async fn serving(text: &str, units: impl IntoIterator<Item = FakeUnit>) -> Instance {
    let mut instance = Instance::of(&Example::of(text)).await;
    units.into_iter().for_each(|unit| instance.machine.add_unit(unit));
    instance.boot_well().await;
    instance.example = Example::of(&text.replace("shop-1.zip", "shop-2.zip"));
    instance
}

fn is_up(instance: &Instance, unit: &str) -> bool {
    instance.machine.snapshot().to_string().contains(&format!("{unit}  active"))
}

/// What failed is told, and both processes of the first release run.
async fn the_first_serves(instance: &Instance) -> String {
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed, "{}", booted.transcript.text());
    for unit in ["shop-web-1.service", "shop-jobs-1.service"] {
        assert!(is_up(instance, unit), "{unit} is not up: {}", booted.error("applications.shop"));
    }
    assert!(!booted.transcript.text().contains("cannot roll back"), "{}", booted.transcript.text());
    booted.error("applications.shop")
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_after_a_reboot_leaves_the_one_before_to_serve() {
    let instance = serving(SHOP, [FakeUnit::new("shop-web-2.service").loops(3)]).await;
    instance.machine.reboot();
    let error = the_first_serves(&instance).await;
    assert!(error.contains("exited with 3") && error.contains("shop-1 goes on serving"), "{error}");
}

/// Its build fails, so that nothing of it is started.
#[tokio::test(start_paused = true)]
async fn a_release_that_is_not_built_after_a_reboot_leaves_the_one_before_to_serve() {
    let text = SHOP.replace("run: {", "build: [[/bin/build]], run: {");
    let instance = serving(&text, []).await;
    instance.machine.on_command("build", |_, _| Outcome::Ends(End::Exited(4)));
    instance.machine.reboot();
    let error = the_first_serves(&instance).await;
    assert!(error.starts_with("/bin/build exited with 4; shop-1 goes on serving"), "{error}");
}

/// As a JVM does: it ends with 143.
#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_end_well_starts_again_all_the_same() {
    let text = SHOP.replace("run:", "overlap: false, run:");
    let units = [
        FakeUnit::new("shop-web-1.service").stops_badly(),
        FakeUnit::new("shop-jobs-1.service").stops_badly(),
        FakeUnit::new("shop-web-2.service").loops(3),
    ];
    let instance = serving(&text, units).await;
    the_first_serves(&instance).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_right_after_the_switch_does_not_stay() {
    let instance = serving(SHOP, [FakeUnit::new("shop-web-2.service").restarts(&[1])]).await;
    the_first_serves(&instance).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_while_the_boot_goes_on_is_a_failure() {
    let text = format!("{SHOP}commands: {{ slow: {{ run: [/bin/slow], after: [applications.shop] }} }}\n");
    let instance = Instance::of(&Example::of(&text)).await;
    instance.machine.add_unit(FakeUnit::new("shop-jobs-1.service").dies(Duration::from_secs(4), 7));
    instance.machine.on_command("slow", |_, _| crate::fake::machine::Outcome::Takes(Duration::from_secs(5), crate::host::End::Exited(0)));
    let booted = instance.boot().await;
    let error = booted.error("applications.shop");
    assert!(error.starts_with("jobs of shop shop-1 (generation 1) exited with 7"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_same_secrets_and_release_are_unchanged_after_a_reboot() {
    let instance = Instance::of(&Example::of(SHOP)).await;
    instance.boot_well().await;
    instance.machine.reboot();
    instance.boot_well().await;
    assert!(is_up(&instance, "shop-web-1.service"), "the same generation");
    let booted = instance.boot_well().await;
    let step = booted.report.steps.iter().find(|step| step.address.as_str() == "applications.shop").unwrap();
    assert_eq!(step.outcome, report::Outcome::Unchanged, "{:?}", step.changes);
}
