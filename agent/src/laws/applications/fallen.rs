//! If an application's step does not run, the release that served last keeps serving, is reachable, and is the target
//! of `current`.

use super::*;
use crate::fake::aws::FakeSecretsManager;

/// Its secret cannot be read, so the application's step is skipped.
#[tokio::test(start_paused = true)]
async fn current_is_what_serves_where_the_application_does_not_get_its_turn() {
    let mut instance = serving(SHOP, []).await;
    instance.secrets = Rc::new(FakeSecretsManager::default());
    let booted = instance.boot().await;
    assert!(booted.outcomes().contains(&"skipped applications.shop".to_owned()), "{}", booted.transcript.text());
    assert!(booted.outcomes().contains(&"changed bundles.app".to_owned()), "{}", booted.transcript.text());
    assert_eq!(current(&instance.machine), "shop-1");
    assert!(is_up(&instance, "shop.web-1.service"));
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_the_release_before_serves_though_the_next_one_cannot_be_fetched() {
    let mut instance = serving(SHOP, []).await;
    instance.objects = Rc::new(FakeObjects::default());
    instance.machine.reboot();
    let booted = instance.boot().await;
    assert!(booted.outcomes().contains(&"skipped applications.shop".to_owned()), "{}", booted.transcript.text());
    for unit in ["shop.web-1.service", "shop.jobs-1.service", "ingot-proxy.service"] {
        assert!(is_up(&instance, unit), "{unit} is not up: {}", booted.transcript.text());
    }
    // If it is up, no warning is needed.
    assert_eq!(booted.report.warnings, [""; 0]);
    instance.machine.restart_process();
    assert_eq!(instance.boot().await.report.warnings, [""; 0]);
}

/// An instance whose release came up by itself after a reboot, and that cannot fetch the next one.
async fn up_by_itself() -> Instance {
    let mut instance = serving(&SHOP.replace("environment: { DB: '{{secrets.db}}' }, ", ""), []).await;
    instance.objects = Rc::new(FakeObjects::default());
    instance
}

/// nginx did not come up.
#[tokio::test(start_paused = true)]
async fn after_a_reboot_the_release_before_is_reached_though_the_next_one_cannot_be_fetched() {
    let instance = up_by_itself().await;
    instance.machine.host().units.stop("ingot-proxy.service", Duration::from_secs(9)).await.unwrap();
    let booted = instance.boot().await;
    assert!(is_up(&instance, "shop.web-1.service") && is_up(&instance, "ingot-proxy.service"), "{}", booted.transcript.text());
    assert!(booted.report.warnings.contains(&"applications.shop: shop shop-1 (generation 1) serves again".to_owned()));
}

/// Another process has its port. systemd keeps restarting nginx, so it is never down for good. `jobs` is down, too.
#[tokio::test(start_paused = true)]
async fn what_runs_beside_a_proxy_that_does_not_come_up_is_started_and_the_proxy_is_told_of() {
    let instance = up_by_itself().await;
    instance.machine.add_unit(FakeUnit::new("ingot-proxy.service").loops(1).active());
    instance.machine.is_deaf(true);
    instance.machine.host().units.stop("shop.jobs-1.service", Duration::from_secs(9)).await.unwrap();
    let booted = instance.boot().await;
    assert!(is_up(&instance, "shop.jobs-1.service"), "{}", booted.transcript.text());
    let told = "applications.shop: cannot have shop shop-1 (generation 1) serve again: ";
    assert!(booted.report.warnings.iter().any(|warning| warning.starts_with(told)), "{:?}", booted.report.warnings);
}

/// Another step uses `current`, so the bundle makes it point to the next release at once.
#[tokio::test(start_paused = true)]
async fn current_leads_back_where_what_the_application_waits_for_fails() {
    let text = SHOP.replace("run: {", "after: [commands.migrate], run: {");
    let text = format!("{text}commands: {{ migrate: {{ run: [/bin/migrate], once: always, after: [bundles.app] }} }}\n");
    let instance = serving(&text, []).await;
    instance.machine.on_command("migrate", |_, _| Outcome::Ends(End::Exited(3)));
    let booted = instance.boot().await;
    assert!(booted.outcomes().contains(&"skipped applications.shop".to_owned()), "{}", booted.transcript.text());
    assert_eq!(current(&instance.machine), "shop-1");
    assert!(is_up(&instance, "shop.web-1.service"));
}

#[tokio::test(start_paused = true)]
async fn a_release_before_whose_secret_is_not_known_is_told_to_be_down() {
    let mut instance = serving(SHOP, []).await;
    (instance.objects, instance.secrets) = (Rc::new(FakeObjects::default()), Rc::new(FakeSecretsManager::default()));
    instance.machine.reboot();
    let booted = instance.boot().await;
    let text = booted.transcript.text();
    assert!(text.contains("cannot have shop shop-1 (generation 1) serve again: cannot render environment.DB"), "{text}");
    assert!(!is_up(&instance, "shop.web-1.service"));
}

/// It used to be retried before the failure was signaled.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_second_try_to_go_back() {
    let text = SHOP.replace("proxy: {", "overlap: false, port: 5000, ready: { http: /health }, proxy: {");
    let instance = serving(&format!("{text}signals: {{ proof: {{ s3: 's3://shop-evidence/x/' }} }}\n"), []).await;
    instance.machine.add_unit(FakeUnit::new("shop.web-1.service").late(Duration::from_secs(600)));
    instance.machine.add_answer("http://127.0.0.1:5000/health", 503);
    let booted = instance.boot().await;
    let told = booted.report.steps.iter().find(|step| step.address.as_str() == "signals.proof").unwrap().finished_ms.unwrap();
    assert!(booted.report.elapsed_ms - told > 30_000.0, "{told} of {}: {}", booted.report.elapsed_ms, booted.transcript.text());
}
