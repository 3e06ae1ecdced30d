//! The signals of a boot that ends before its steps do.

use std::rc::Rc;
use std::time::Duration;

use crate::aws::cloudformation::SignalStatus;
use crate::boot::audience::Ending;
use crate::boot::request::Request;
use crate::boot::tests::site::{DOCUMENT, Site, metadata, request};
use crate::fake::aws::{FakeMetadata, FakeParameterStore};
use crate::fake::machine::Outcome;
use crate::host::End;

const INCLUDING: &str = "#ingot
version: 1
include: ['ssm:/shop/rest']
signals: { stack: { cloudformation: { stack: shop, resource: Web } } }
";

#[tokio::test(start_paused = true)]
async fn a_mistake_is_shown_and_then_signalled() {
    let site = Site::with(&DOCUMENT.replace("files:", "fils:"));
    assert_eq!(site.boot().await, Ending::Document);
    assert_eq!(site.signals(), [SignalStatus::Failure]);
    assert_eq!((site.error().as_str(), site.said()), ("the boot document has a mistake", vec!["mistakes: 1".into()]));
    assert!(site.report().error.unwrap().causes[0].starts_with("user data:3:1: unknown key `fils`"));
    assert_eq!(site.outcomes(), ["changed signals.stack"]);
    assert!(site.machine.file("/etc/x").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_mistake_leaves_evidence_before_it_is_signalled() {
    let signals = "signals: { proof: { s3: 's3://shop-evidence/x/' }, stack:";
    let site = Site::with(&DOCUMENT.replace("files:", "fils:").replace("signals: { stack:", signals));
    assert_eq!(site.boot().await, Ending::Document);
    assert_eq!((site.signals(), site.objects.writes()), (vec![SignalStatus::Failure], 2));
    let [(_, packed)] = &site.objects.all()[..] else { panic!("{:?}", site.objects.all()) };
    let content = String::from_utf8(zstd::stream::decode_all(&packed[..]).unwrap()).unwrap();
    assert!(content.contains(r#""reason":"the boot document has a mistake: user data:3:1: unknown key `fils`"#), "{content}");
    assert!(content.contains(r#""outcome":"failed""#), "{content}");
    // A bucket that never answers takes nothing from the time of the signals.
    let site = Site::with(&DOCUMENT.replace("files:", "fils:").replace("signals: { stack:", signals));
    site.objects.refuse_writes(Some(""));
    site.stacks.refuse("SignalResource", "Throttling", 1_000_000);
    assert_eq!(site.boot().await, Ending::Document);
    assert!((25_000.0..26_000.0).contains(&site.report().elapsed_ms), "{}", site.report().elapsed_ms);
}

#[tokio::test(start_paused = true)]
async fn user_data_that_is_cut_off_is_signalled_by_the_layers_of_the_image() {
    let cut_off = Some(b"\x1f\x8b\x08\0".to_vec());
    let site = Site::of(Rc::new(FakeMetadata { user_data: cut_off, ..metadata() }));
    site.machine.add_file("/etc/ingot/boot.d/10.yaml", DOCUMENT);
    assert_eq!(site.boot().await, Ending::Document);
    assert_eq!(site.signals(), [SignalStatus::Failure]);
    assert!(site.machine.file("/etc/x").is_none());
}

/// Regression: such user data was ignored, and the stack was sent a success.
#[tokio::test(start_paused = true)]
async fn user_data_that_is_no_document_as_it_stands_sends_its_own_signals() {
    let unmarked = DOCUMENT.replace("#ingot\n", "");
    for user_data in [format!(" {DOCUMENT}"), unmarked.clone(), format!("MIME-Version: 1.0\nContent-Type: text/plain\n\n{DOCUMENT}")] {
        let site = Site::with(&user_data);
        assert_eq!(site.boot().await, Ending::Document, "{user_data}");
        assert_eq!((site.signals(), site.outcomes()), (vec![SignalStatus::Failure], vec!["changed signals.stack".to_owned()]));
        assert!(site.machine.file("/etc/x").is_none());
    }
    // An answer of IMDS without a body is not "no user data".
    let site = Site::with("");
    site.machine.add_file("/etc/ingot/boot.d/10.yaml", &unmarked);
    assert_eq!((site.boot().await, site.signals()), (Ending::Document, vec![SignalStatus::Failure]));
    assert_eq!(site.report().error.unwrap().causes, ["user data: user data is empty"]);
}

#[tokio::test(start_paused = true)]
async fn a_boot_of_some_steps_never_signals_a_mistake() {
    let site = Site::with(&DOCUMENT.replace("files:", "fils:"));
    assert_eq!(site.boot_as(Request { only: vec!["signals.stack".parse().unwrap()], ..request() }).await, Ending::Document);
    assert!(site.signals().is_empty());
}

#[tokio::test(start_paused = true)]
async fn signals_that_aws_refuses_are_given_up_after_a_limited_time() {
    let site = Site::with(&DOCUMENT.replace("files:", "fils:"));
    site.stacks.refuse("SignalResource", "Throttling", 1_000_000);
    assert_eq!(site.boot().await, Ending::Document);
    assert!(site.signals().is_empty());
    assert!((20_000.0..21_000.0).contains(&site.report().elapsed_ms), "{}", site.report().elapsed_ms);
}

#[tokio::test(start_paused = true)]
async fn an_included_document_that_does_not_exist_fails_the_boot_at_once() {
    let site = Site::with(&INCLUDING.replace("ssm:/shop/rest", "s3://shop/rest.yaml"));
    assert_eq!(site.boot().await, Ending::Failed);
    assert_eq!(site.signals(), [SignalStatus::Failure]);
    assert!(site.error().contains("s3://shop/rest.yaml"), "{}", site.error());
    assert!(site.report().elapsed_ms < 1_000.0);
}

#[tokio::test(start_paused = true)]
async fn an_included_document_is_retried() {
    let mut site = Site::with(INCLUDING);
    let parameters = FakeParameterStore::default().with("/shop/rest", "version: 1\nfiles: { /etc/y: { content: y } }\n").throttled(3);
    site.parameters = Rc::new(parameters);
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!((site.signals(), site.report().waiting), (vec![SignalStatus::Success], None));
    assert!(site.machine.file("/etc/y").is_some() && site.report().phases_ms.contains_key("include"));
}

#[tokio::test(start_paused = true)]
async fn an_included_document_that_stays_throttled_fails_the_boot_after_ten_minutes() {
    let mut site = Site::with(INCLUDING);
    site.parameters = Rc::new(FakeParameterStore::default().throttled(1_000_000));
    assert_eq!(site.boot().await, Ending::Failed);
    assert_eq!(site.signals(), [SignalStatus::Failure]);
    // The last pause, for which the time left is too short, is up to 40 seconds: that of the quota, plus jitter.
    assert!((560_000.0..=600_000.0).contains(&site.report().elapsed_ms), "{}", site.report().elapsed_ms);
}

/// The deadline is signaled as a failure. After SIGTERM, a later boot resumes, so nothing is signaled.
#[tokio::test(start_paused = true)]
async fn the_deadline_is_signalled_and_sigterm_is_not() {
    for (seconds, deadline, signals) in [(1_000, 30, vec![SignalStatus::Failure]), (30, 1_800, Vec::new())] {
        let mut site = Site::with(INCLUDING);
        site.parameters = Rc::new(FakeParameterStore::default().throttled(1_000_000));
        let request = Request { deadline: Duration::from_secs(deadline), ..request() };
        assert_eq!(site.boot_until(request, site.asked_after(seconds)).await, Ending::Failed);
        let waiting = "while waiting for an included document: ";
        assert!(site.error().contains(waiting), "{}", site.error());
        assert_eq!(site.signals(), signals);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_cannot_be_resolved_is_signalled() {
    let values = "values: { env: '{{instance.tags.env}}' }\nfiles:";
    let site = Site::with(&DOCUMENT.replace("files:", values).replace("content: x", "content: '{{values.env}}'"));
    assert_eq!(site.boot().await, Ending::Failed);
    assert!(site.error().ends_with("instance.tags.env is missing"), "{}", site.error());
    assert_eq!(site.signals(), [SignalStatus::Failure]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_during_the_steps_is_signalled_and_names_the_wait_for_credentials() {
    let mut site = Site::with(&DOCUMENT.replace("files:", "commands: { slow: { run: [/bin/slow] } }\nfiles:"));
    site.waiting = Some("for IMDS: no role yet, 9 tries, 2 s".into());
    site.machine.on_command("slow", |_, _| Outcome::Takes(Duration::from_secs(1_000), End::Exited(0)));
    assert_eq!(site.boot_as(Request { deadline: Duration::from_secs(30), ..request() }).await, Ending::Unreachable);
    assert_eq!(site.signals(), [SignalStatus::Failure]);
    let slow = site.report().steps.into_iter().find(|step| step.address.as_str() == "commands.slow").unwrap();
    let message = slow.error.unwrap().message;
    assert!(message.starts_with("the boot's deadline of 30s passed (still waiting for IMDS: no role yet"), "{message}");
}
