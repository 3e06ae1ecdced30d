//! An application that no longer has a proxy, and one that is no longer in any document.

use crate::fake::machine::Outcome;
use crate::host::End;

use super::{changes_nothing, document, instance, ports, proxy, reboot, shop, site, turn_to};

#[tokio::test(start_paused = true)]
async fn without_a_proxy_nothing_of_it_is_left() {
    let mut instance = instance(&shop(1, "port: 5000"));
    instance.boot_well().await;
    turn_to(&mut instance, &shop(1, "port: 5000, proxy: none"));
    let booted = instance.boot_well().await;
    assert!(booted.transcript.text().contains("remove shop from ingot-proxy.service"), "{}", booted.transcript.text());
    assert_eq!((site(&instance, "shop"), ports(&instance).await), (None, Vec::new()));
    changes_nothing(&mut instance).await;
    reboot(&instance).await;
    assert_eq!((site(&instance, "shop"), ports(&instance).await), (None, Vec::new()), "a reboot brings it back");
    turn_to(&mut instance, &shop(1, "port: 5000"));
    instance.boot_well().await;
    assert_eq!(ports(&instance).await, ["0.0.0.0:80", "127.0.0.1:5000"]);
}

#[tokio::test(start_paused = true)]
async fn another_name_is_another_application_and_the_one_before_goes() {
    let mut instance = instance(&shop(1, "port: 5000"));
    instance.boot_well().await;
    turn_to(&mut instance, &document("store", 2, "port: 5000"));

    // If the new one fails, the previous one keeps serving.
    let was = proxy(&instance).await;
    instance.machine.is_deaf(true);
    instance.boot().await.error("applications.store");
    assert_eq!(proxy(&instance).await, was);
    instance.machine.is_deaf(false);
    assert!(instance.machine.snapshot().to_string().contains("shop.web-1.service  active"), "{}", instance.machine.snapshot());

    instance.machine.restart_process();
    let text = instance.boot_well().await.transcript.text();
    assert!(text.contains("configure the proxy on port 80 in place of shop"), "{text}");
    assert!(text.contains("drain and stop shop.jobs-1.service, shop.web-1.service of shop, which the document no longer has"), "{text}");
    assert_eq!((site(&instance, "shop"), ports(&instance).await), (None, vec!["0.0.0.0:80".to_owned(), "127.0.0.1:5000".to_owned()]));
    assert!(!instance.machine.snapshot().to_string().contains("shop.web-1.service"), "{}", instance.machine.snapshot());
    changes_nothing(&mut instance).await;
    reboot(&instance).await;
    assert_eq!(site(&instance, "shop"), None, "a reboot brings it back");
}

#[tokio::test(start_paused = true)]
async fn part_of_a_document_stops_no_application() {
    let two = shop(1, "port: 5000").replace(
        "applications: {",
        "applications: { admin: { bundle: bundles.app, run: { web: bin/web }, user: shop, port: 7000, proxy: { listen: 8081 } },",
    );
    let mut instance = instance(&two);
    instance.boot_well().await;
    turn_to(&mut instance, &two);
    let mut process = instance.process().await;
    process.plan.only(&["applications.admin".parse().unwrap()]).unwrap();
    let booted = process.run(std::future::pending()).await;
    assert!(booted.changed().is_empty(), "{}", booted.transcript.text());

    // An application that is no longer in the document is removed together with any other application's step.
    turn_to(&mut instance, &shop(1, "port: 5000"));
    let text = instance.boot_well().await.transcript.text();
    assert!(text.contains("drain and stop admin.web-1.service of admin"), "{text}");
    assert!(!ports(&instance).await.contains(&"0.0.0.0:8081".to_owned()));
    changes_nothing(&mut instance).await;
}

#[tokio::test(start_paused = true)]
async fn a_document_without_applications_says_what_goes_on() {
    let mut instance = instance(&shop(1, "port: 5000"));
    instance.boot_well().await;
    turn_to(&mut instance, "\nversion: 1\n");
    let warnings = instance.boot_well().await.report.warnings;
    insta::assert_snapshot!(warnings.join("\n"), @"the document no longer has an application, and applications.shop still runs: run `systemctl stop shop.jobs-1.service shop.web-1.service ingot-proxy.service`, and remove /var/lib/ingot/instances/i-0123456789abcdef0/applications/shop.json");
}

/// It used to be stopped and forgotten before it was known whether its successor could be built.
#[tokio::test(start_paused = true)]
async fn one_whose_port_is_wanted_serves_until_its_successor_is_built() {
    let alone = "port: 5000, overlap: false";
    let mut instance = instance(&shop(1, alone));
    instance.boot_well().await;
    turn_to(&mut instance, &document("store", 2, &format!("{alone}, build: [[/bin/build]]")));
    instance.machine.on_command("build", |_, _| Outcome::Ends(End::Exited(4)));
    let booted = instance.boot().await;
    assert!(booted.error("applications.store").contains("/bin/build exited with 4"), "{}", booted.transcript.text());
    assert!(instance.machine.snapshot().to_string().contains("shop.web-1.service  active"), "{}", instance.machine.snapshot());

    instance.machine.on_command("build", |_, _| Outcome::Ends(End::Exited(0)));
    instance.machine.restart_process();
    instance.boot_well().await;
    assert!(!instance.machine.snapshot().to_string().contains("shop.web-1.service"), "{}", instance.machine.snapshot());
}
