//! An elastic address moves to this instance once applications and services are ready, and never to one that failed.

use std::time::Duration;

use crate::fake::aws::{FakeParameterStore, FakeSecretsManager};
use crate::fake::machine::{FakeUnit, INSTANCE, Outcome};
use crate::host::End;
use crate::laws::example::Example;
use crate::laws::instance::{Booted, Instance};
use crate::report::BootOutcome;

const ID: &str = "eipalloc-1";
const OTHER: &str = "i-0fedcba9876543210";

fn instance(steps: &str) -> Instance {
    let text = format!("version: 1\naddresses: {{ public: {{ elastic_ip: {ID} }} }}\n{steps}");
    let instance = Instance::with_ec2(&text, |ec2| ec2);
    instance.ec2.address_of(ID, Some(OTHER));
    instance
}

fn times(booted: &Booted, address: &str) -> (f64, f64) {
    let step = booted.report.steps.iter().find(|step| step.address.as_str() == address).unwrap();
    (step.started_ms.unwrap(), step.finished_ms.unwrap())
}

#[tokio::test(start_paused = true)]
async fn it_comes_after_services_and_before_signals_and_stays() {
    let steps = "commands: { slow: { run: [/bin/slow] }, last: { run: [/bin/last], after: [services.y.service] } }\nservices: { x.service: \
                 {}, y.service: { after: [commands.slow] } }\nsignals: { stack: { cloudformation: { stack: shop, resource: Web } } }\n";
    let instance = instance(steps);
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(20), End::Exited(0)));
    instance.machine.on_command("last", |_, _| Outcome::Takes(Duration::from_secs(20), End::Exited(0)));
    let booted = instance.boot_well().await;
    assert_eq!(instance.ec2.holder(ID).as_deref(), Some(INSTANCE));
    let step = booted.report.steps.iter().find(|step| step.address.as_str() == "addresses.public").unwrap();
    assert_eq!(step.changes, [format!("move 203.0.113.7 ({ID}) from {OTHER} to this instance")]);
    let (began, ended) = times(&booted, "addresses.public");
    for before in ["services.x.service", "services.y.service", "commands.last"] {
        assert!(times(&booted, before).1 <= began, "{before}: {}", booted.transcript.text());
    }
    assert!(ended <= times(&booted, "signals.stack").0);

    instance.machine.reboot();
    assert!(!instance.boot_well().await.changed().contains(&"addresses.public"));
    assert_eq!(instance.ec2.count("AssociateAddress"), 1);
    // Its association is checked in each boot.
    instance.ec2.address_of(ID, None);
    instance.machine.reboot();
    assert!(instance.boot_well().await.changed().contains(&"addresses.public"));
}

#[tokio::test(start_paused = true)]
async fn it_comes_after_an_application_that_serves_and_to_no_other() {
    let text = format!(
        "version: 1\naddresses: {{ public: {{ elastic_ip: {ID} }} }}\nbundles: {{ app: {{ s3: s3://shop-releases/shop-1.zip, into: /opt/shop \
         }} }}\napplications: {{ shop: {{ bundle: bundles.app, port: 5000, run: {{ web: serve }} }} }}\n"
    );
    let instance = Instance::of(&Example::of(&text)).await;
    instance.ec2.address_of(ID, Some(OTHER));
    let booted = instance.boot_well().await;
    assert!(times(&booted, "applications.shop").1 <= times(&booted, "addresses.public").0, "{}", booted.transcript.text());
    assert_eq!(instance.ec2.holder(ID).as_deref(), Some(INSTANCE));

    let failing = Instance::of(&Example::of(&text)).await;
    failing.ec2.address_of(ID, Some(OTHER));
    failing.machine.add_unit(FakeUnit::new("shop.web-1.service").loops(3));
    assert!(failing.boot().await.outcomes().contains(&"skipped addresses.public".to_owned()));
    assert_eq!(failing.ec2.holder(ID).as_deref(), Some(OTHER));
}

#[tokio::test(start_paused = true)]
async fn with_an_after_of_its_own_it_still_comes_after_what_serves() {
    let text = format!(
        "version: 1\naddresses: {{ public: {{ elastic_ip: {ID}, after: [commands.dns] }} }}\ncommands: {{ dns: {{ run: [/bin/dns] }}, slow: {{ \
         run: [/bin/slow] }} }}\nservices: {{ x.service: {{ after: [commands.slow] }}, y.service: {{ after: [addresses.public] }} }}\n"
    );
    let instance = Instance::with_ec2(&text, |ec2| ec2);
    instance.ec2.address_of(ID, Some(OTHER));
    instance.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(20), End::Exited(0)));
    let booted = instance.boot_well().await;
    let (began, ended) = times(&booted, "addresses.public");
    for before in ["commands.dns", "commands.slow", "services.x.service"] {
        assert!(times(&booted, before).1 <= began, "{before}: {}", booted.transcript.text());
    }
    assert!(ended <= times(&booted, "services.y.service").0);
}

#[tokio::test(start_paused = true)]
async fn it_goes_to_the_primary_address_of_the_primary_interface() {
    const PRIMARY: &str = "eni-0123456789abcdef0";
    for (interface, private_ip, from) in [("eni-9", "10.0.0.9", "interface eni-9"), (PRIMARY, "10.0.0.8", "address 10.0.0.8")] {
        let instance = instance("");
        instance.ec2.address_on(ID, interface, private_ip);
        let booted = instance.boot_well().await;
        let step = booted.report.steps.iter().find(|step| step.address.as_str() == "addresses.public").unwrap();
        assert_eq!(step.changes, [format!("move 203.0.113.7 ({ID}) from its {from} to this instance")]);
        assert_eq!(instance.ec2.interface(ID), Some((PRIMARY.to_owned(), "10.0.0.7".to_owned())));
        instance.machine.reboot();
        assert!(!instance.boot_well().await.changed().contains(&"addresses.public"));
    }
}

#[tokio::test(start_paused = true)]
async fn one_whose_holder_is_being_replaced_is_asked_for_again() {
    const HELD: &str = "You do not have permission to access the specified resource.";
    let replaced = instance("");
    replaced.ec2.refuse("AssociateAddress", "AuthFailure", HELD, 5);
    replaced.boot_well().await;
    assert_eq!(replaced.ec2.holder(ID).as_deref(), Some(INSTANCE));
    let held = instance("");
    held.ec2.refuse("AssociateAddress", "AuthFailure", HELD, usize::MAX);
    let error = held.boot().await.error("addresses.public");
    assert!(error.contains(&format!("AssociateAddress {ID}: access denied: {HELD}")), "{error}");
    assert!(error.contains("hint: disassociate the address from its resource"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn one_that_failed_leaves_it_where_it_is() {
    let instance = instance("commands: { a: { run: [/bin/a] } }\nservices: { x.service: {} }\n");
    instance.machine.on_command("a", |_, _| Outcome::Ends(End::Exited(3)));
    let booted = instance.boot().await;
    assert_eq!(booted.report.outcome, BootOutcome::Failed);
    assert!(booted.outcomes().contains(&"skipped addresses.public".to_owned()), "{:?}", booted.outcomes());
    assert_eq!((instance.ec2.holder(ID).as_deref(), instance.ec2.count("DescribeAddresses")), (Some(OTHER), 0));
}

#[tokio::test(start_paused = true)]
async fn what_ec2_refuses_changes_nothing_and_says_what_to_do() {
    let denied = instance("");
    denied.ec2.deny("AssociateAddress");
    insta::assert_snapshot!(denied.boot().await.error("addresses.public"), @r"
    AssociateAddress eipalloc-1: access denied: AssociateAddress was to fail with UnauthorizedOperation
      hint: allow ec2:AssociateAddress on eipalloc-1 and on network interfaces in the instance's role
    ");
    let foreign = instance("");
    foreign.ec2.fail("AssociateAddress", "OperationNotPermitted", 9);
    insta::assert_snapshot!(foreign.boot().await.error("addresses.public"), @r"
    AssociateAddress eipalloc-1: the request was not accepted: AssociateAddress was to fail with OperationNotPermitted
      hint: name an address that no NAT gateway or load balancer uses: AWS does not move those away
    ");
    for instance in [&denied, &foreign] {
        assert_eq!(instance.ec2.holder(ID).as_deref(), Some(OTHER));
    }
    let gone = Instance::with_ec2("version: 1\naddresses: { public: { elastic_ip: eipalloc-2 } }\n", |ec2| ec2);
    insta::assert_snapshot!(gone.boot().await.error("addresses.public"), @r"
    DescribeAddresses eipalloc-2: not found: The allocation ID 'eipalloc-2' does not exist
      hint: name an elastic IP address of this account and region by its allocation ID: `aws ec2 describe-addresses` shows it
    ");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_and_a_lost_answer_are_tried_again() {
    let instance = instance("");
    instance.ec2.throttle(3);
    instance.ec2.lose_answers("AssociateAddress", 1);
    instance.boot_well().await;
    assert_eq!((instance.ec2.holder(ID).as_deref(), instance.ec2.count("AssociateAddress")), (Some(INSTANCE), 1));
}

#[tokio::test(start_paused = true)]
async fn a_warm_pool_does_not_get_it() {
    let text = format!(
        "version: 1\naddresses: {{ public: {{ elastic_ip: {ID} }} }}\nsignals: {{ h: {{ lifecycle_hook: {{ name: r, group: g }} }} }}\n"
    );
    let instance = Instance::with_aws(&Example::of(&text), FakeSecretsManager::default(), FakeParameterStore::default());
    instance.ec2.address_of(ID, Some(OTHER));
    instance.phase.set(crate::step::Phase::Warm);
    instance.boot_well().await;
    assert_eq!(instance.ec2.holder(ID).as_deref(), Some(OTHER));
}
