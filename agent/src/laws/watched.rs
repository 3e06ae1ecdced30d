//! Auto Scaling is asked to replace an instance whose application stays down, and for no other reason.

use std::time::Duration;

use crate::fake::machine::FakeUnit;
use crate::host::identity;
use crate::host::state::Record;
use crate::laws::example::Example;
use crate::laws::instance::Instance;
use crate::steps::application::{bring_back, watch};

const TIMER: &str = "ingot-watch@shop.timer  active";

fn shop(fields: &str) -> Example {
    Example::of(&format!(
        "
version: 1
bundles: {{ app: {{ s3: s3://shop-releases/shop-1.zip, into: /opt/shop }} }}
applications: {{ shop: {{ bundle: bundles.app, run: {{ web: serve }} {fields} }} }}
"
    ))
}

async fn record(instance: &Instance) -> Record {
    let host = instance.machine.host();
    let id = identity::dmi(&*host.files).await.unwrap();
    Record::load(host.files.clone(), host.users.own(), &id).await.unwrap()
}

/// One check, as the timer triggers it.
async fn look(instance: &Instance) -> Option<Duration> {
    let record = record(instance).await.application("shop").await.unwrap();
    watch::look("shop", &record, &instance.machine.host(), &instance.machine.net()).await.unwrap()
}

fn is_watched(instance: &Instance) -> bool {
    instance.machine.snapshot().to_string().contains(TIMER)
}

#[tokio::test(start_paused = true)]
async fn an_application_that_stays_down_is_told_after_its_time_and_as_long_as_it_is_down() {
    let instance = Instance::of(&shop(", set_instance_health: 2m")).await;
    instance.machine.add_unit(FakeUnit::new("shop.web-1.service").dies(Duration::from_secs(100), 7));
    instance.boot_well().await;
    assert!(is_watched(&instance));
    assert_eq!(look(&instance).await, None);
    instance.machine.host().clock.sleep(Duration::from_secs(120)).await;
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(look(&instance).await.map(|down| down.as_secs()));
    }
    assert_eq!(told, [None, None, None, None, Some(120), Some(150)]);
    instance.machine.add_unit(FakeUnit::new("shop.web-1.service"));
    instance.machine.restart_process();
    instance.boot_well().await;
    assert_eq!(look(&instance).await, None, "it was started again");
    assert!(instance.boot_well().await.changed().is_empty(), "nothing differs of an application that is watched");
}

#[tokio::test(start_paused = true)]
async fn it_is_watched_again_after_a_reboot_and_as_long_as_the_document_says_so() {
    let mut instance = Instance::of(&shop(", set_instance_health: true")).await;
    instance.boot_well().await;
    instance.machine.reboot();
    assert!(!is_watched(&instance));
    let missing = bring_back(&record(&instance).await, &instance.machine.host(), "another").await;
    assert!(missing.failed.is_empty() && is_watched(&instance), "{missing:?}");

    instance.machine.restart_process();
    instance.example = shop("");
    let booted = instance.boot_well().await;
    let text = booted.transcript.text();
    assert!(text.contains("applications.shop: stop ingot-watch@shop.timer"), "{text}");
    assert!(!is_watched(&instance));
    assert_eq!(look(&instance).await, None);
}

/// Only a boot reads its secret, so the application does not come up: it is watched for exactly that case.
#[tokio::test(start_paused = true)]
async fn what_does_not_come_up_after_a_reboot_is_watched() {
    let mut example = shop(", environment: { DB: '{{secrets.db}}' }, set_instance_health: true");
    example.text.push_str("secrets: { db: { secrets_manager: prod/shop/db } }\n");
    let mut instance = Instance::of(&Example::of(&example.text)).await;
    instance.boot_well().await;
    instance.machine.reboot();
    bring_back(&record(&instance).await, &instance.machine.host(), "another").await;
    assert!(is_watched(&instance), "before its secret is known");
    // It is not known later either: nothing was written below /run for its processes.
    let mut told = Vec::new();
    for _ in 0..11 {
        told.push(look(&instance).await.map(|down| down.as_secs()));
    }
    assert_eq!((told.pop(), told), (Some(Some(300)), vec![None; 10]));

    instance.machine.reboot();
    instance.machine.add_unit(FakeUnit::new("shop.web-1.service").loops(3));
    instance.example = Example::of(&example.text.replace("shop-1.zip", "shop-2.zip"));
    instance.machine.add_unit(FakeUnit::new("shop.web-2.service").loops(3));
    let booted = instance.boot().await;
    assert!(booted.error("applications.shop").contains("exited with 3"), "{}", booted.transcript.text());
    assert!(is_watched(&instance));
}
