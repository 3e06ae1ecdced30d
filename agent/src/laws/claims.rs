//! Work that is done once for a fleet is done on one instance, and the others continue after it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::fake::machine::Outcome;
use crate::host::{Clock as _, End};
use crate::laws::example::Example;
use crate::laws::instance::Instance;
use crate::report::BootOutcome;

const CLAIMS: &str = "
claims: s3://shop-releases/shop/environments/prod/claims/
values: { application: shop, environment: prod, release: v1, release_sha256: 9f86d081 }
";
const SHOP: &str = "
version: 1
bundles: { app: { s3: s3://shop-releases/shop-1.zip, into: /opt/shop } }
applications: { shop: { bundle: bundles.app, port: 5000, run: { web: serve } } }
";

/// What ran, in order of its start, and whether it was told that it is the leader.
type Ran = Rc<RefCell<Vec<String>>>;

/// An instance of a fleet, sharing its bucket with other instances.
async fn instance(text: &str, with: Option<&Instance>, ran: &Ran) -> Instance {
    let mut instance = Instance::of(&Example::of(text)).await;
    if let Some(other) = with {
        instance.objects = other.objects.clone();
    }
    if with.is_some() {
        instance.machine.add_file("/sys/class/dmi/id/board_asset_tag", "i-0fedcba9876543210\n");
    }
    instance.machine.add_to_releases(".platform/hooks/predeploy/hook", "#!/bin/sh\n");
    let number = if with.is_some() { 2 } else { 1 };
    for program in ["hook", "sh"] {
        let ran = ran.clone();
        instance.machine.on_command(program, move |invocation, _| {
            let leads = invocation.environment.iter().find(|(name, _)| name == "EB_IS_COMMAND_LEADER");
            let leads = leads.map_or("", |(_, value)| value.expose());
            let what = invocation.argv.last().map_or("", |word| word.expose()).rsplit('/').next().unwrap_or_default();
            ran.borrow_mut().push(format!("{number} {what} {leads} {}", invocation.lease.is_some()));
            Outcome::Takes(Duration::from_secs(30), End::Exited(0))
        });
    }
    instance
}

#[tokio::test(start_paused = true)]
async fn one_instance_leads_and_the_others_go_on_after_it() {
    let (text, ran) = (format!("{SHOP}{CLAIMS}"), Ran::default());
    let one = instance(&text, None, &ran).await;
    let other = instance(&text, Some(&one), &ran).await;
    let begun = tokio::time::Instant::now();
    let booted = futures_util::join!(one.boot_well(), async {
        other.machine.sleep(Duration::from_secs(1)).await;
        other.boot_well().await
    });
    let first: Vec<String> = ran.borrow().iter().filter(|line| line.starts_with('1')).cloned().collect();
    let second: Vec<String> = ran.borrow().iter().filter(|line| line.starts_with('2')).cloned().collect();
    assert_eq!(first, ["1 first false false", "1 migrate true true", "1 hook true true"]);
    assert_eq!(second, ["2 first false false", "2 hook false false"]);
    assert!(begun.elapsed() >= Duration::from_secs(120), "the second hook ran after the first");
    assert!(booted.1.transcript.text().contains("applications.shop/hooks/predeploy was run by"), "{}", booted.1.transcript.text());
}

#[tokio::test(start_paused = true)]
async fn without_claims_every_instance_leads() {
    let ran = Ran::default();
    let one = instance(SHOP, None, &ran).await;
    let other = instance(SHOP, Some(&one), &ran).await;
    one.boot_well().await;
    other.boot_well().await;
    let told = |number: &str| ["first true false", "migrate true false", "hook true false"].map(|line| format!("{number} {line}"));
    assert_eq!(*ran.borrow(), [told("1"), told("2")].concat());
}

/// This instance had run its container commands before the hook failed, and so tries again.
#[tokio::test(start_paused = true)]
async fn what_the_leader_fails_at_fails_for_the_others_and_is_tried_again() {
    let (text, ran) = (format!("{SHOP}{CLAIMS}"), Ran::default());
    let one = instance(&text, None, &ran).await;
    let other = instance(&text, Some(&one), &ran).await;
    one.machine.on_command("hook", |_, on_line| {
        on_line("no such table");
        Outcome::Takes(Duration::from_secs(30), End::Exited(3))
    });
    let (first, second) = futures_util::join!(one.boot(), async {
        other.machine.sleep(Duration::from_secs(1)).await;
        other.boot().await
    });
    assert_eq!((first.report.outcome, second.report.outcome), (BootOutcome::Failed, BootOutcome::Failed));
    let error = second.error("applications.shop");
    assert!(error.contains("which did it for v1, failed: .platform/hooks/predeploy/hook exited with 3"), "{error}");
    assert!(error.contains("no such table") && error.contains("the next boot tries again"), "{error}");
    one.machine.on_command("hook", |_, _| Outcome::Ends(End::Exited(0)));
    one.machine.restart_process();
    one.boot_well().await;
    other.machine.restart_process();
    other.boot_well().await;
    assert_eq!(ran.borrow().last().unwrap(), "2 hook false false");
}
