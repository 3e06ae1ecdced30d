//! A switch that is interrupted by the end of the boot is rolled back.

use super::*;
use crate::execute::Halt;
use crate::failure::Explanation;
use crate::laws::instance::Booted;

const HEALTH: &str = "http://127.0.0.1:5000/health";

/// The warnings about generations.
fn told(booted: &Booted) -> Vec<&str> {
    booted.report.warnings.iter().map(String::as_str).filter(|warning| warning.contains("(generation ")).collect()
}

/// A document with two releases that are never up at the same time.
fn one_at_a_time() -> String {
    SHOP.replace("proxy: {", "overlap: false, port: 5000, ready: { http: /health, timeout: 10m }, proxy: {")
}

/// The deadline passes after this many seconds. From then on, the application answers.
async fn deadline(instance: &Instance, seconds: u64) -> Halt {
    instance.machine.host().clock.sleep(Duration::from_secs(seconds)).await;
    instance.machine.add_answer(HEALTH, 200);
    Halt::Deadline(Explanation::new("the deadline passed", None))
}

/// Until the next boot, no release served.
#[tokio::test(start_paused = true)]
async fn while_the_next_one_is_proven() {
    let instance = serving(&one_at_a_time(), []).await;
    instance.machine.add_answer(HEALTH, 503);
    let booted = instance.boot_until(deadline(&instance, 60)).await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    for unit in ["shop.web-1.service", "shop.jobs-1.service"] {
        assert!(is_up(&instance, unit), "{unit} is not up: {}", booted.transcript.text());
    }
    assert!(!is_up(&instance, "shop.web-2.service"), "{}", instance.machine.snapshot());
    assert_eq!(told(&booted), ["applications.shop: shop shop-1 (generation 1) serves again"]);
    let error = booted.error("applications.shop");
    assert!(error.starts_with("the deadline passed, while waiting for shop shop-2 (generation 2) to be ready"), "{error}");
    assert_eq!(current(&instance.machine), "shop-1");
}

/// A process that is being stopped counts as running, and was not started again. Signals are sent in the meantime.
#[tokio::test(start_paused = true)]
async fn while_the_one_before_is_stopped() {
    let text = format!("{}signals: {{ proof: {{ s3: 's3://shop-evidence/x/' }} }}\n", one_at_a_time());
    let text = text.replace("run: {", "stop: { grace: 2m }, run: {");
    let instance = serving(&text, [FakeUnit::new("shop.web-1.service").stops_within(Duration::from_secs(100))]).await;
    let clock = instance.machine.host().clock;
    let mut booting = std::pin::pin!(instance.boot_until(deadline(&instance, 5)));
    tokio::select! {
        biased;
        _ = &mut booting => panic!("it did not wait for what is stopped"),
        () = clock.sleep(Duration::from_secs(20)) => {}
    }
    assert_eq!(instance.objects.writes(), 1, "the failure is told");
    let booted = booting.await;
    for unit in ["shop.web-1.service", "shop.jobs-1.service"] {
        assert!(is_up(&instance, unit), "{unit} is not up: {}", booted.transcript.text());
    }
}

/// The previous release has served throughout, and the partly started next one must not stay next to it.
#[tokio::test(start_paused = true)]
async fn of_two_that_overlap_the_next_one_is_stopped() {
    let text = SHOP.replace("proxy: {", "port: 5000, ready: { http: /health, timeout: 10m }, proxy: {");
    let instance = serving(&text, []).await;
    instance.machine.add_answer("http://127.0.0.1:25000/health", 503);
    let booted = instance.boot_until(deadline(&instance, 60)).await;
    let error = booted.error("applications.shop");
    assert!(error.contains("to be ready on port 25000"), "{error}");
    assert!(is_up(&instance, "shop.web-1.service") && !is_up(&instance, "shop.web-2.service"), "{}", instance.machine.snapshot());
    assert_eq!(told(&booted), [""; 0]);
}

/// Until then, the application was waiting for a step before it.
#[tokio::test(start_paused = true)]
async fn one_that_a_reboot_has_ended_serves_though_it_did_not_get_its_turn() {
    let text = SHOP.replace("run: {", "after: [commands.slow], run: {");
    let text = format!("{text}commands: {{ slow: {{ run: [/bin/slow], once: always, timeout: 1h }} }}\n");
    let instance = serving(&text, []).await;
    instance.machine.reboot();
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(3_000), End::Exited(0)));
    let booted = instance.boot_until(deadline(&instance, 1_800)).await;
    assert!(booted.outcomes().contains(&"skipped applications.shop".to_owned()), "{}", booted.transcript.text());
    for unit in ["shop.web-1.service", "shop.jobs-1.service", "ingot-proxy.service"] {
        assert!(is_up(&instance, unit), "{unit} is not up: {}", booted.transcript.text());
    }
}
