//! Signals of an instance are sent, whatever else the end of its boot waits for.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join;

use crate::aws::autoscaling::ActionResult;
use crate::aws::cloudformation::SignalStatus;
use crate::boot::audience::Ending;
use crate::boot::in_hand::Asked;
use crate::boot::request::Request;
use crate::boot::tests::site::{Site, metadata, request};
use crate::digest::Sha256;
use crate::fake::aws::FakeMetadata;
use crate::fake::machine::Outcome;
use crate::host::End;
use crate::report::BootOutcome;

const STACK: &str = "stack: { cloudformation: { stack: shop, resource: Web } }";
const HOOK: &str = "hook: { lifecycle_hook: { group: web, name: ready } }";
const EVIDENCE: &str = "evidence: { s3: 's3://shop-evidence/x/' }";

/// A request for a release that exists.
fn asked(seconds: u64) -> Request {
    let wanted = format!("v2@sha256:{}", Sha256::of(b"v2")).parse().unwrap();
    let release = Some(Asked { wanted, at: Duration::from_secs(1) });
    Request { release, deadline: Duration::from_secs(seconds), ..request() }
}

/// An instance on which that release can be requested, with these commands.
fn site(commands: &str, signals: &str) -> Site {
    let site = Site::with(&format!(
        "#ingot\nversion: 1\nvalues: {{ release: v1, release_sha256: {} }}\nbundles: {{ app: {{ s3: 's3://shop/{{{{values.release}}}}.tar', sha256: \
         '{{{{values.release_sha256}}}}', into: /opt/app }} }}\ncommands: {{ {commands} }}\nsignals: {{ {signals} }}\n",
        Sha256::of(b"v1")
    ));
    ["v1", "v2"].iter().for_each(|name| site.objects.put(&format!("s3://shop/{name}.tar"), name));
    site.machine.stop_inventing_archives();
    site.machine.on_command("bad", |_, _| Outcome::Ends(End::Exited(3)));
    site.machine.on_command("hangs", |_, _| Outcome::Takes(Duration::from_secs(1_000_000), End::Exited(0)));
    site
}

fn completed(site: &Site) -> Vec<ActionResult> {
    site.groups.over().into_iter().map(|(_, result)| result).collect()
}

/// Whether evidence was stored when CloudFormation or Auto Scaling was first called. Both refuse their first call.
async fn evidence_is_first(site: &Site, asked: Request) -> (Ending, bool) {
    site.stacks.refuse("SignalResource", "Throttling", 1);
    site.groups.refuse("CompleteLifecycleAction", "Throttling", 1);
    let told = || site.stacks.count("SignalResource") + site.groups.count("CompleteLifecycleAction");
    let (before, clock) = (told(), site.machine.host().clock);
    let is_there = async {
        while told() == before {
            clock.sleep(Duration::from_millis(1)).await;
        }
        site.objects.all().iter().any(|(place, _)| format!("{place:?}").contains("shop-evidence"))
    };
    join(site.boot_as(asked), is_there).await
}

/// Regression: this ended in a panic, because the boot waits for what an application falls back
/// on, which is not a unit.
#[tokio::test(start_paused = true)]
async fn of_an_application_whose_bundle_is_not_there() {
    for signals in [STACK.to_owned(), format!("{EVIDENCE}, {STACK}, {HOOK}")] {
        let site = Site::with(&format!(
            "#ingot\nversion: 1\nbundles: {{ app: {{ s3: 's3://shop/v9.tar', into: /opt/app }} }}\napplications: {{ shop: {{ bundle: \
             bundles.app, port: 5000 }} }}\nsignals: {{ {signals} }}\n"
        ));
        assert_eq!(evidence_is_first(&site, request()).await, (Ending::Failed, signals.contains(EVIDENCE)), "{signals}");
        assert_eq!(site.signals(), [SignalStatus::Failure], "{signals}");
        assert!(site.outcomes().contains(&"skipped applications.shop".to_owned()), "{:?}", site.outcomes());
    }
}

/// Restarting the previous release takes its time, and the signals do not wait for it.
#[tokio::test(start_paused = true)]
async fn while_what_served_before_is_started_again() {
    let document = |name: &str| {
        format!(
            "#ingot\nversion: 1\nbundles: {{ app: {{ s3: 's3://shop/{name}.tar', into: /opt/app }} }}\napplications: {{ shop: {{ bundle: \
             bundles.app, port: 5000, proxy: none, ready: {{ http: /health, timeout: 10m }}, run: {{ web: serve }} }} }}\nsignals: {{ {EVIDENCE}, {HOOK} }}\n"
        )
    };
    let mut site = Site::with(&document("v1"));
    site.objects.put("s3://shop/v1.tar", "v1");
    site.machine.stop_inventing_archives();
    assert_eq!(site.boot().await, Ending::Done);
    site.machine.reboot();
    site.metadata = Rc::new(FakeMetadata { user_data: Some(document("v9").into_bytes()), ..metadata() });
    let health = "http://127.0.0.1:15000/health";
    site.machine.add_answer(health, 503);
    let clock = site.machine.host().clock;
    let answers = async {
        clock.sleep(Duration::from_secs(100)).await;
        let told = site.groups.count("CompleteLifecycleAction");
        site.machine.add_answer(health, 200);
        told
    };
    let (booted, told) = join(evidence_is_first(&site, request()), answers).await;
    assert_eq!((booted, told), ((Ending::Failed, true), 3), "{:?}", site.outcomes());
    assert!(site.machine.snapshot().to_string().contains("shop.web-1.service  active"));
    assert!(site.report().warnings.iter().any(|warning| warning.ends_with("serves again")), "{:?}", site.report().warnings);
}

/// The same for a release that is to be kept.
#[tokio::test(start_paused = true)]
async fn of_a_release_that_fails() {
    for signals in [STACK.to_owned(), format!("{EVIDENCE}, {STACK}")] {
        let site = site("bad: { run: [/bin/bad], after: [bundles.app] }", &signals);
        assert_eq!(evidence_is_first(&site, asked(1_800)).await, (Ending::Failed, signals.contains(EVIDENCE)), "{signals}");
        assert_eq!(site.signals(), [SignalStatus::Failure], "{signals}");
    }
}

/// Regression: no signal was sent.
#[tokio::test(start_paused = true)]
async fn of_a_release_when_the_time_of_the_boot_is_over() {
    let optional = site("slow: { run: [/bin/hangs], timeout: 1h, required: false, after: [bundles.app] }", STACK);
    assert_eq!(optional.boot_as(asked(60)).await, Ending::Done);
    assert_eq!((optional.signals(), optional.report().outcome), (vec![SignalStatus::Success], BootOutcome::Degraded));
    assert_eq!(optional.report().release.unwrap().in_force, asked(60).release.unwrap().wanted.to_string());
    let required = site("slow: { run: [/bin/hangs], timeout: 1h, after: [bundles.app] }", &format!("{EVIDENCE}, {STACK}, {HOOK}"));
    assert_eq!(evidence_is_first(&required, asked(60)).await, (Ending::Failed, true));
    assert_eq!((required.signals(), completed(&required)), (vec![SignalStatus::Failure], vec![ActionResult::Abandon]));
}

/// Regression: for an instance in service, ABANDON may end it. A mistyped release did so while
/// the instance left its standby.
#[tokio::test(start_paused = true)]
async fn a_hook_that_went_on_is_not_told_to_give_up() {
    let site = site("good: { run: [/bin/good] }", &format!("{HOOK}, {STACK}"));
    assert_eq!(site.boot().await, Ending::Done);
    site.objects.put("s3://shop/v2.tar", "something else");
    assert_eq!(site.boot_as(asked(1_800)).await, Ending::Failed);
    assert_eq!((site.signals(), completed(&site)), (vec![SignalStatus::Success], vec![ActionResult::Continue]));
    assert_eq!(site.groups.count("CompleteLifecycleAction"), 1);
    // After the next start of the machine, the hook is completed again.
    site.machine.reboot();
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!(site.groups.count("CompleteLifecycleAction"), 2);
}

/// Regression: the boot reported that it is not known whether the release is kept, although keeping it had never begun.
#[tokio::test(start_paused = true)]
async fn a_release_whose_boot_was_ended_is_certainly_not_kept() {
    let site = site("slow: { run: [/bin/hangs], timeout: 1h, required: false, after: [bundles.app] }", "");
    assert_eq!(site.boot_until(asked(1_800), site.asked_after(30)).await, Ending::Failed);
    assert!(
        site.error().ends_with("is not kept; a reboot returns to the previous release: the boot was stopped too early"),
        "{}",
        site.error()
    );
}
