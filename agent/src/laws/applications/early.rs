//! After a reboot, an application that waits for a secret serves as soon as the secret has been read, whatever its next
//! release waits for.

use super::*;

/// The bundle follows a command that takes ten minutes after the reboot.
fn behind_something_slow(text: &str) -> String {
    let text = text.replace("into: /opt/shop }", "into: /opt/shop, after: [commands.slow] }");
    format!("{text}commands: {{ slow: {{ run: [/bin/slow], once: always, timeout: 1h }} }}\n")
}

async fn rebooted(text: &str) -> Instance {
    let instance = serving(text, []).await;
    instance.machine.reboot();
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(600), End::Exited(0)));
    instance
}

/// It used to be down until its next release had arrived.
#[tokio::test(start_paused = true)]
async fn before_the_next_release_is_here() {
    let instance = rebooted(&behind_something_slow(SHOP)).await;
    let clock = instance.machine.host().clock;
    let mut booting = std::pin::pin!(instance.boot_well());
    tokio::select! {
        biased;
        _ = &mut booting => panic!("it did not wait for its bundle"),
        () = clock.sleep(Duration::from_secs(5)) => {}
    }
    for unit in ["shop.web-1.service", "shop.jobs-1.service", "ingot-proxy.service"] {
        assert!(is_up(&instance, unit), "{unit} is not up: {}", instance.machine.snapshot());
    }
    booting.await;
    assert!(is_up(&instance, "shop.web-2.service") && !is_up(&instance, "shop.web-1.service"), "{}", instance.machine.snapshot());
}

#[tokio::test(start_paused = true)]
async fn of_the_same_release_it_is_started_once() {
    let mut instance = rebooted(&behind_something_slow(SHOP)).await;
    instance.example = Example::of(&behind_something_slow(SHOP));
    let (starts, _) = instance.machine.starts_and_reloads("shop.web-1.service");
    let booted = instance.boot_well().await;
    let step = booted.report.steps.iter().find(|step| step.address.as_str() == "applications.shop").unwrap();
    assert!(!step.changes.iter().any(|change| change.starts_with("start ")), "{:?}", step.changes);
    assert_eq!(instance.machine.starts_and_reloads("shop.web-1.service").0, starts + 1);
}

/// A release that receives requests counted as proven, so a boot succeeded even if its application never answered.
#[tokio::test(start_paused = true)]
async fn one_that_does_not_get_ready_is_a_failure_all_the_same() {
    let text = behind_something_slow(&SHOP.replace("proxy: {", "port: 5000, ready: { http: /health }, proxy: {"));
    let mut instance = rebooted(&text).await;
    instance.example = Example::of(&text);
    instance.machine.add_answer("http://127.0.0.1:15000/health", 503);
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed, "{}", booted.transcript.text());
    assert!(booted.error("applications.shop").contains("not ready"), "{}", booted.error("applications.shop"));
}
