//! In every boot, a running application is asked whether it serves: running processes are not enough.

use super::*;
use crate::host::identity;
use crate::host::state::{EntryState, Record};
use crate::steps::application::bring_back;

const HEALTH: &str = "http://127.0.0.1:15000/health";

/// An application that needs no secret, so that it comes up by itself after a reboot.
fn by_itself() -> String {
    SHOP.replace("environment: { DB: '{{secrets.db}}' }, proxy: {", "port: 5000, ready: { http: /health }, proxy: {")
}

/// Does what `ingot restore-applications` does.
async fn restored(instance: &Instance) {
    let host = instance.machine.host();
    let record = Record::load(host.files.clone(), host.users.own(), &identity::dmi(&*host.files).await.unwrap()).await.unwrap();
    let missing = bring_back(&record, &host, "another").await;
    assert!(missing.failed.is_empty(), "{missing:?}");
}

/// Load balancers and stacks used to be told that such an instance was good.
#[tokio::test(start_paused = true)]
async fn one_that_came_up_by_itself_and_does_not_answer_is_a_failure() {
    for reboots in [true, false] {
        let instance = Instance::of(&Example::of(&by_itself())).await;
        instance.boot_well().await;
        if reboots {
            instance.machine.reboot();
            restored(&instance).await;
        }
        instance.machine.restart_process();
        instance.machine.add_answer(HEALTH, 503);
        let booted = instance.boot().await;
        assert_eq!(booted.report.outcome, BootOutcome::Failed, "{}", booted.transcript.text());
        let error = booted.error("applications.shop");
        assert!(error.contains("was not ready after") && error.contains("status 503"), "{error}");
        for unit in ["shop.web-1.service", "shop.jobs-1.service"] {
            assert!(is_up(&instance, unit), "what serves badly is not stopped: {}", booted.transcript.text());
        }
        instance.machine.restart_process();
        instance.machine.add_answer(HEALTH, 200);
        assert_eq!(instance.boot_well().await.changed(), [""; 0]);
    }
}

/// A restart is not a failure, but an application that does not serve afterwards is one.
#[tokio::test(start_paused = true)]
async fn one_that_was_started_again_and_does_not_answer_any_more_is_a_failure() {
    for (status, outcome) in [(200, BootOutcome::Done), (503, BootOutcome::Failed)] {
        let text = by_itself() + "commands: { slow: { run: [/bin/slow], after: [applications.shop] } }\n";
        let instance = Instance::of(&Example::of(&text)).await;
        instance.machine.add_unit(FakeUnit::new("shop.web-1.service").restarts(&[4]));
        let machine = instance.machine.clone();
        instance.machine.on_command("slow", move |_, _| {
            machine.add_answer(HEALTH, status);
            Outcome::Takes(Duration::from_secs(6), End::Exited(0))
        });
        let booted = instance.boot().await;
        assert_eq!(booted.report.outcome, outcome, "{}", booted.transcript.text());
    }
}

/// The power fails during the rollback of a release that already received requests. A reboot used to restore that
/// release, and to keep it for good.
#[tokio::test(start_paused = true)]
async fn what_was_gone_back_from_is_not_what_a_reboot_brings_back() {
    let text = by_itself().replace("proxy: {", "overlap: false, proxy: {");
    let mut cut = 0;
    for count in 0.. {
        let instance = serving(&text, [FakeUnit::new("shop.jobs-2.service").fails(1)]).await;
        instance.machine.die_after(count);
        tokio::select! {
            biased;
            () = instance.machine.died() => {}
            _ = instance.boot() => break,
        }
        let host = instance.machine.host();
        instance.machine.restart_process();
        let id = identity::dmi(&*host.files).await.unwrap();
        let record = Record::load(host.files.clone(), host.users.own(), &id).await.unwrap().application("shop").await.unwrap();
        let state = |slot: &str| record.get(slot).map(|entry| entry.state);
        let is_gone_back_from =
            state("b") == Some(EntryState::Started) && record.get("current").and_then(|entry| entry.detail).as_deref() == Some("b");
        instance.machine.reboot();
        restored(&instance).await;
        if is_gone_back_from {
            cut += 1;
            assert!(is_up(&instance, "shop.web-1.service") && !is_up(&instance, "shop.web-2.service"), "killed in change {count}");
        }
        assert!([1, 2].iter().any(|number| is_up(&instance, &format!("shop.web-{number}.service"))), "killed in change {count}");
    }
    assert!(cut > 0, "nothing was cut off while it went back");
}
