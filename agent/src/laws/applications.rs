//! Whatever happens to a new release, the previous one serves.

mod asked;
mod cut_off;
mod early;
mod fallen;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::fake::aws::FakeObjects;
use crate::fake::machine::{FakeMachine, FakeUnit, Outcome};
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

/// An instance on which release 1 serves, with the document for release 2.
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

/// Boots with a failure. Returns its error, and checks that both processes of the first release run.
async fn the_first_serves(instance: &Instance) -> String {
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed, "{}", booted.transcript.text());
    for unit in ["shop.web-1.service", "shop.jobs-1.service"] {
        assert!(is_up(instance, unit), "{unit} is not up: {}", booted.error("applications.shop"));
    }
    assert!(!booted.transcript.text().contains("cannot roll back"), "{}", booted.transcript.text());
    booted.error("applications.shop")
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_after_a_reboot_leaves_the_one_before_to_serve() {
    let instance = serving(SHOP, [FakeUnit::new("shop.web-2.service").loops(3)]).await;
    instance.machine.reboot();
    let error = the_first_serves(&instance).await;
    assert!(error.contains("exited with 3") && error.contains("shop-1 keeps serving"), "{error}");
}

/// The build of the new release fails, so none of its processes is started.
#[tokio::test(start_paused = true)]
async fn a_release_that_is_not_built_after_a_reboot_leaves_the_one_before_to_serve() {
    let text = SHOP.replace("run: {", "build: [[/bin/build]], run: {");
    let instance = serving(&text, []).await;
    instance.machine.on_command("build", |_, _| Outcome::Ends(End::Exited(4)));
    instance.machine.reboot();
    let error = the_first_serves(&instance).await;
    assert!(error.starts_with("/bin/build exited with 4; shop-1 keeps serving"), "{error}");
}

/// A JVM that is stopped by SIGTERM exits with 143; this must not count as a failure.
#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_end_well_starts_again_all_the_same() {
    let text = SHOP.replace("run:", "overlap: false, run:");
    let units = [
        FakeUnit::new("shop.web-1.service").stops_badly(),
        FakeUnit::new("shop.jobs-1.service").stops_badly(),
        FakeUnit::new("shop.web-2.service").loops(3),
    ];
    let instance = serving(&text, units).await;
    the_first_serves(&instance).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_right_after_the_switch_does_not_stay() {
    let instance = serving(SHOP, [FakeUnit::new("shop.web-2.service").restarts(&[1])]).await;
    the_first_serves(&instance).await;
}

/// A process that dies later is restarted by systemd, and the previous release is no longer available.
#[tokio::test(start_paused = true)]
async fn with_the_defaults_a_release_is_watched_for_two_seconds_after_the_switch() {
    for (dies, goes_back) in [(1_900, true), (2_600, false)] {
        let dying = FakeUnit::new("shop.web-2.service").dies(Duration::from_millis(dies), 7);
        let instance = serving(SHOP, [dying]).await;
        if goes_back {
            assert!(the_first_serves(&instance).await.contains("web of shop shop-2 (generation 2) exited with 7"));
        } else {
            instance.boot_well().await;
            assert!(!is_up(&instance, "shop.web-1.service"), "{}", instance.machine.snapshot());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_dies_while_the_boot_goes_on_is_a_failure() {
    let text = format!("{SHOP}commands: {{ slow: {{ run: [/bin/slow], after: [applications.shop] }} }}\n");
    let instance = Instance::of(&Example::of(&text)).await;
    instance.machine.add_unit(FakeUnit::new("shop.jobs-1.service").dies(Duration::from_secs(4), 7));
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
    assert!(is_up(&instance, "shop.web-1.service"), "the same generation");
    let booted = instance.boot_well().await;
    let step = booted.report.steps.iter().find(|step| step.address.as_str() == "applications.shop").unwrap();
    assert_eq!(step.outcome, report::Outcome::Unchanged, "{:?}", step.changes);
}

/// The target of the bundle's `current`.
fn current(machine: &FakeMachine) -> String {
    let snapshot = machine.snapshot().to_string();
    let line = snapshot.lines().find(|line| line.starts_with("/opt/shop/current")).map(str::to_owned);
    line.unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn current_is_what_serves_while_the_next_release_is_made_and_where_it_fails() {
    let text = SHOP.replace("run: {", "build: [[/bin/build]], run: {");
    let instance = serving(&text, []).await;
    assert_eq!(current(&instance.machine), "shop-1");
    let (machine, seen) = (instance.machine.clone(), Rc::new(RefCell::new(String::new())));
    let during = Rc::clone(&seen);
    instance.machine.on_command("build", move |_, _| {
        *during.borrow_mut() = current(&machine);
        Outcome::Ends(End::Exited(4))
    });
    the_first_serves(&instance).await;
    assert_eq!((seen.borrow().as_str(), current(&instance.machine).as_str()), ("shop-1", "shop-1"));
    instance.machine.on_command("build", |_, _| Outcome::Ends(End::Exited(0)));
    instance.machine.restart_process();
    let booted = instance.boot_well().await;
    let text = booted.transcript.text();
    assert!(text.contains("switch /opt/shop/current to releases/shop-2"), "{text}");
    assert_eq!(current(&instance.machine), "shop-2");
}

#[tokio::test(start_paused = true)]
async fn killed_in_any_change_current_ends_at_what_serves() {
    for count in 0.. {
        let instance = serving(SHOP, []).await;
        instance.machine.die_after(count);
        let died = tokio::select! {
            biased;
            () = instance.machine.died() => true,
            _ = instance.boot() => false,
        };
        let requests = instance.machine.snapshot().to_string();
        let has_requests = requests.lines().any(|line| line.starts_with("/run/ingot/proxy/shop ") && line.ends_with("slots/shop-b"));
        assert!(has_requests || current(&instance.machine) == "shop-1", "killed in change {count}: {requests}");
        instance.machine.restart_process();
        instance.boot_well().await;
        assert_eq!(current(&instance.machine), "shop-2", "killed in change {count}");
        if !died {
            assert!(has_requests, "{requests}");
            break;
        }
    }
}

/// A file below `current` must be in the release that the application starts.
#[tokio::test(start_paused = true)]
async fn what_the_document_writes_below_current_is_in_the_next_release() {
    let text = format!("{SHOP}files: {{ /opt/shop/current/settings: {{ content: '{{{{bundles.app.version}}}}' }} }}\n");
    let instance = serving(&text, []).await;
    instance.boot_well().await;
    let settings = |version: u32| instance.machine.file(&format!("/opt/shop/releases/shop-{version}/settings")).unwrap().0;
    assert_eq!((settings(1).as_str(), settings(2).as_str()), ("shop-1", "shop-2"));
}

/// Otherwise the previous release would answer the readiness checks of the new one.
#[tokio::test(start_paused = true)]
async fn a_process_that_runs_by_way_of_current_is_not_that_of_the_release_before() {
    let by_run = SHOP.replace("web: serve", "web: /opt/shop/current/serve");
    let instance = serving(&by_run, []).await;
    instance.boot_well().await;
    let (machine, line) = (&instance.machine, "switch /opt/shop/current from releases/shop-1 to releases/shop-2");
    assert!(instance.boot_well().await.transcript.text().contains(&format!("bundles.app: {line}")), "{}", machine.snapshot());

    let by_procfile = SHOP.replace(", run: { web: serve, jobs: work }", "");
    let instance = Instance::of(&Example::of(&by_procfile)).await;
    instance.machine.add_to_releases("Procfile", "web: /opt/shop/current/serve\n");
    let error = instance.boot().await.error("applications.shop");
    let expected = "`web` runs /opt/shop/current, which points to the previous release until this one serves";
    assert!(error.contains(expected), "{error}");
}

#[tokio::test(start_paused = true)]
async fn of_several_applications_of_a_bundle_the_first_by_name_leads_its_current() {
    let text = SHOP.replace(
        "applications:",
        "applications:\n  works: { bundle: bundles.app, port: 7000, proxy: { listen: 81 }, run: { web: serve } }",
    );
    let instance = serving(&text, [FakeUnit::new("shop.web-2.service").loops(3)]).await;
    let booted = instance.boot().await;
    assert!(booted.outcomes().contains(&"changed applications.works".to_owned()), "{}", booted.transcript.text());
    assert_eq!(current(&instance.machine), "shop-1", "works serves shop-2, and shop does not");
}

/// Regression: their processes had the same unit name.
#[tokio::test(start_paused = true)]
async fn no_two_processes_of_any_applications_share_a_unit() {
    let text = "
version: 1
bundles: { app: { s3: s3://shop-releases/shop-1.zip, into: /opt/shop } }
applications:
  shop: { bundle: bundles.app, run: { web: serve, api-web: serve-api } }
  shop-api: { bundle: bundles.app, run: { web: serve-other }, port: 6000, proxy: { listen: 81 } }
";
    let instance = Instance::of(&Example::of(text)).await;
    instance.boot_well().await;
    for unit in ["shop.web-1.service", "shop.api-web-1.service", "shop-api.web-1.service"] {
        assert!(is_up(&instance, unit), "{unit} is not up: {}", instance.machine.snapshot());
    }
}

/// The processes of the release need a secret, which is read again.
#[tokio::test(start_paused = true)]
async fn after_a_reboot_the_release_before_serves_while_the_next_one_is_built() {
    let text = SHOP.replace("run: {", "build: [[/bin/build]], run: {");
    let instance = serving(&text, []).await;
    instance.machine.reboot();
    let (machine, seen) = (instance.machine.clone(), Rc::new(RefCell::new(String::new())));
    let during = Rc::clone(&seen);
    instance.machine.on_command("build", move |_, _| {
        *during.borrow_mut() = machine.snapshot().to_string();
        Outcome::Ends(End::Exited(0))
    });
    instance.boot_well().await;
    for unit in ["shop.web-1.service  active", "shop.jobs-1.service  active", "ingot-proxy.service  active"] {
        assert!(seen.borrow().contains(unit), "{unit} is not in {}", seen.borrow());
    }
    assert!(is_up(&instance, "shop.web-2.service") && !is_up(&instance, "shop.web-1.service"), "{}", instance.machine.snapshot());
}

/// The next release cannot be started at all: its platform's port is the proxy's.
#[tokio::test(start_paused = true)]
async fn after_a_reboot_the_release_before_serves_though_the_next_one_is_not_even_looked_at() {
    let mut instance = serving(SHOP, []).await;
    instance.example = Example::of(
        &instance.example.text.replace(", proxy: { listen: 80 }, run: { web: serve, jobs: work }", ", proxy: { listen: 8080 }"),
    );
    instance.machine.add_to_releases("package.json", "{\"scripts\": {\"start\": \"node app.js\"}}");
    instance.machine.reboot();
    let error = the_first_serves(&instance).await;
    assert!(error.contains("the release's platform uses port 8080, and so does the proxy"), "{error}");
}

/// The port first belongs to the release itself, then to the proxy in front of the next one.
#[tokio::test(start_paused = true)]
async fn the_port_of_a_release_without_a_proxy_can_become_the_proxys() {
    let text = SHOP.replace("proxy: { listen: 80 }", "proxy: none, port: 8080");
    for fails in [false, true] {
        let mut instance = serving(&text, []).await;
        instance.example = Example::of(&instance.example.text.replace("proxy: none, port: 8080", "proxy: { listen: 8080 }, port: 5000"));
        if fails {
            instance.machine.add_unit(FakeUnit::new("shop.jobs-2.service").fails(1));
            the_first_serves(&instance).await;
        } else {
            instance.boot_well().await;
            assert!(is_up(&instance, "shop.web-2.service") && !is_up(&instance, "shop.web-1.service"), "{}", instance.machine.snapshot());
        }
    }
}

/// The process appears to run, but systemd keeps restarting it.
#[tokio::test(start_paused = true)]
async fn of_a_release_that_ends_again_and_again_nobody_says_that_it_serves() {
    let mut instance = serving(SHOP, []).await;
    instance.machine.add_unit(FakeUnit::new("shop.web-1.service").loops(3).active());
    instance.objects = Rc::new(FakeObjects::default());
    let text = instance.boot().await.transcript.text();
    assert!(text.contains("cannot restore shop shop-1 (generation 1): ") && text.contains("exited with 3"), "{text}");
    assert!(!text.contains("keeps serving") && !text.contains("(generation 1) serves again"), "{text}");
}

/// An instance that is killed after `count` changes of a boot, and then boots again without being able to fetch its
/// release. Returns it with the second boot's transcript.
async fn after_a_kill(text: &str, units: &[FakeUnit], count: u64) -> Option<(Instance, String)> {
    let mut instance = serving(text, units.iter().cloned()).await;
    instance.machine.die_after(count);
    tokio::select! {
        biased;
        () = instance.machine.died() => {}
        _ = instance.boot() => return None,
    }
    instance.machine.restart_process();
    (instance.objects, instance.example) = (Rc::new(FakeObjects::default()), Example::of(&text.replace("shop-1.zip", "shop-3.zip")));
    let text = instance.boot().await.transcript.text();
    Some((instance, text))
}

/// Includes a kill after one release's jobs have been stopped and before the next one's have been started.
#[tokio::test(start_paused = true)]
async fn killed_in_any_change_all_processes_run_though_the_next_boot_does_not_come_to_them() {
    for count in 0.. {
        let Some((instance, text)) = after_a_kill(SHOP, &[], count).await else { break };
        for process in ["web", "jobs"] {
            let runs = |number: u32| is_up(&instance, &format!("shop.{process}-{number}.service"));
            assert!(runs(1) || runs(2), "killed in change {count}, no {process} runs: {text}");
        }
    }
}

/// Includes a kill during the rollback, when the new release is stopped and the previous one is not up yet.
#[tokio::test(start_paused = true)]
async fn killed_while_it_goes_back_a_release_serves_though_the_next_boot_does_not_come_to_it() {
    let text = SHOP.replace("proxy: {", "overlap: false, proxy: {");
    for count in 0.. {
        let units = [FakeUnit::new("shop.jobs-2.service").fails(1)];
        let Some((instance, text)) = after_a_kill(&text, &units, count).await else { break };
        assert!([1, 2].iter().any(|number| is_up(&instance, &format!("shop.web-{number}.service"))), "killed in change {count}: {text}");
    }
}

/// The document does not show in which directory such a step works, so it gets the next release.
#[tokio::test(start_paused = true)]
async fn what_follows_the_bundle_itself_finds_the_next_release_by_current() {
    for other in [
        "services: { jobs.service: { restart_on: [bundles.app] } }",
        "commands: { migrate: { run: [/bin/migrate], after: [bundles.app] } }",
    ] {
        let instance = serving(&format!("{SHOP}{other}\n"), [FakeUnit::new("jobs.service")]).await;
        let text = instance.boot_well().await.transcript.text();
        assert!(text.contains("bundles.app: switch /opt/shop/current from releases/shop-1 to releases/shop-2"), "{other}: {text}");
    }
}
