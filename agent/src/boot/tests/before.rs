//! Boots that end before their first step, or could have.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;

use crate::aws::ImdsError;
use crate::boot::audience::Ending;
use crate::boot::cloud::{Cloud, Connect};
use crate::boot::conductor::boot;
use crate::boot::ground::Ground;
use crate::boot::request::{Request, UserData};
use crate::boot::tests::site::{DOCUMENT, Site, Slow, metadata, request};
use crate::failure::Explanation;
use crate::fake::aws::FakeMetadata;
use crate::report::BootOutcome;

#[tokio::test(start_paused = true)]
async fn a_metadata_service_that_does_not_answer_is_unreachable() {
    let waited = Duration::from_secs(240);
    let failure = Some(ImdsError::Unreachable { waited, last: "connection refused".into(), impostor: false });
    let site = Site::of(Rc::new(FakeMetadata { failure, ..metadata() }));
    site.machine.add_file("/etc/ingot/boot.d/10.yaml", DOCUMENT);
    assert_eq!(site.boot().await, Ending::Unreachable);
    assert_eq!(site.error(), "the instance metadata service did not answer within 240s (last: connection refused)");
    assert_eq!(site.on_disk().unwrap().outcome, BootOutcome::Failed);
    assert!(site.signals().is_empty() && site.machine.file("/etc/x").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_metadata_service_is_never_read_as_no_user_data() {
    let failure = Some(ImdsError::Refused { path: "user-data".into(), status: 418 });
    let site = Site::of(Rc::new(FakeMetadata { failure, ..metadata() }));
    site.machine.add_file("/etc/ingot/boot.d/10.yaml", DOCUMENT);
    assert_eq!(site.boot().await, Ending::Failed);
    assert_eq!(site.error(), "the instance metadata service refused user-data with status 418");
    assert!(site.machine.file("/etc/x").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_metadata_service_is_shown_and_reported() {
    let answers = FakeMetadata { user_data: Some(DOCUMENT.into()), ..metadata() };
    let mut site = Site::of(Rc::new(Slow::new(answers, Some(Duration::from_secs(5)))));
    site.waiting = Some("for IMDS: no answer, 3 tries, 4 s".into());
    let meanwhile = async {
        site.asked_after(3).await;
        site.on_disk().expect("a report is written while it waits")
    };
    let (ending, meanwhile) = futures_util::join!(site.boot(), meanwhile);
    assert_eq!(ending, Ending::Done);
    assert_eq!((meanwhile.outcome, meanwhile.waiting), (BootOutcome::Running, site.waiting.clone()));
    assert_eq!(site.said(), ["waiting for IMDS: no answer, 3 tries, 4 s"; 2]);
    assert_eq!(site.report().waiting, None);
}

#[tokio::test(start_paused = true)]
async fn sigterm_and_the_deadline_end_a_wait_for_the_metadata_service() {
    for (seconds, deadline, why) in [(3, 1_800, "stopped by SIGTERM"), (1_000, 7, "the boot's deadline of 7s passed")] {
        let mut site = Site::of(Rc::new(Slow::new(metadata(), None)));
        site.waiting = Some("for IMDS: no answer, 9 tries, 2 s".into());
        let request = Request { deadline: Duration::from_secs(deadline), ..request() };
        assert_eq!(site.boot_until(request, site.asked_after(seconds)).await, Ending::Unreachable);
        assert_eq!(site.error(), format!("{why}, while waiting for IMDS: no answer, 9 tries, 2 s"));
        assert_eq!(site.said().last().unwrap(), &format!("failed: {}", site.error()));
        assert_eq!(site.on_disk().unwrap().error, site.report().error);
        assert!((site.report().elapsed_ms / 1e3 - seconds.min(deadline) as f64).abs() < 0.1, "{}", site.report().elapsed_ms);
    }
}

#[tokio::test(start_paused = true)]
async fn user_data_for_another_program_leaves_the_layers_of_the_image() {
    for (user_data, what) in [(Some("#!/bin/sh\n"), "a shell script"), (None, "absent")] {
        let user_data = user_data.map(|text| text.as_bytes().to_vec());
        let site = Site::of(Rc::new(FakeMetadata { user_data, ..metadata() }));
        site.machine.add_file("/etc/ingot/boot.d/10.yaml", DOCUMENT);
        assert_eq!(site.boot().await, Ending::Done);
        let note = format!("user data is {what}: the document consists of the image's layers alone");
        assert_eq!(site.report().warnings, [note]);
        assert!(site.machine.file("/etc/x").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_without_a_document_warns_and_is_not_called_done() {
    let site = Site::with("");
    assert_eq!(site.boot_as(Request { user_data: UserData::Nothing, ..request() }).await, Ending::Done);
    let note = "no boot document: /etc/ingot/boot.d has no layers, and neither has --user-data none";
    assert_eq!(site.report().warnings, [note]);
    assert_eq!((site.on_disk().unwrap().outcome, site.report().document), (BootOutcome::NoDocument, None));
    let text = serde_json::to_string(&site.report()).unwrap();
    assert!(text.contains(r#""outcome":"no document""#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_fails_the_boot_before_any_request() {
    let site = Site::with(DOCUMENT);
    site.machine.add_file("/var/lib/ingot/instances", "no directory");
    assert_eq!(site.boot().await, Ending::Failed);
    let read = "/var/lib/ingot/instances/i-0123456789abcdef0/record.json";
    assert!(site.error().ends_with(read), "{}", site.error());
    assert_eq!(site.report().phases_ms.len(), 0);
    assert!(site.on_disk().is_some() && site.machine.file("/etc/x").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_a_warning() {
    let site = Site::with(DOCUMENT);
    site.machine.add_file("/var/lib/ingot/instances/i-0123456789abcdef0/record.json", "{ torn");
    assert_eq!(site.boot().await, Ending::Done);
    assert!(site.report().warnings[0].contains("record.json"), "{:?}", site.report().warnings);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_setting_fails_the_boot_without_lock_or_report() {
    struct Unset;

    #[async_trait(?Send)]
    impl Connect for Unset {
        async fn connect(&self) -> Result<Rc<dyn Cloud>, Explanation> {
            Err(Explanation::new("cannot read AWS_CA_BUNDLE", None))
        }
    }

    let site = Site::with(DOCUMENT);
    let ground = || Ground { cloud: Rc::new(Unset), ..site.ground() };
    assert_eq!(boot(request(), ground, site.watcher.clone(), std::future::pending()).await, Ending::Failed);
    assert_eq!((site.error().as_str(), site.said()), ("cannot read AWS_CA_BUNDLE", vec!["failed: cannot read AWS_CA_BUNDLE".into()]));
    assert!(site.on_disk().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_invalid_request_is_refused_and_leaves_nothing() {
    let site = Site::with(DOCUMENT);
    let file = UserData::File { named: "boot.yaml".into(), path: PathBuf::from("/home/boot.yaml") };
    let refused = site.boot_as(Request { user_data: file, ..request() }).await;
    assert_eq!(refused, Ending::Refused("/home/boot.yaml does not exist\n  hint: correct the path of --user-data".into()));
    let refused = site.boot_as(Request { only: vec!["files./etc/y".parse().unwrap()], ..request() }).await;
    assert!(matches!(&refused, Ending::Refused(why) if why.contains("files./etc/y")), "{refused:?}");
    assert!(site.on_disk().is_none() && site.said().is_empty() && site.machine.file("/etc/x").is_none());
}
