//! Boots that run to the end.

use std::cell::OnceCell;
use std::path::PathBuf;

use crate::boot::audience::Ending;
use crate::boot::request::{Request, UserData};
use crate::boot::tests::site::{DOCUMENT, Site, request};
use crate::fake::machine::FakeUnit;
use crate::report::BootOutcome;

#[tokio::test(start_paused = true)]
async fn a_report_has_the_stages_the_document_and_the_instance() {
    let site = Site::with(DOCUMENT);
    assert_eq!(site.boot().await, Ending::Done);
    let report = site.report();
    assert_eq!(report.phases_ms.keys().collect::<Vec<_>>(), ["mounts", "plan", "user_data"]);
    assert_eq!(report.instance.as_deref(), Some("i-0123456789abcdef0"));
    assert_eq!((report.document.map(|digest| digest.len()), report.startup), (Some(64), None));
    assert!(site.machine.file("/run/ingot/facts.env").unwrap().0.contains("eu-central-1"));
    assert!(site.said().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_boot_of_some_steps_is_not_a_boot_of_the_document() {
    let site = Site::with(DOCUMENT);
    let request = Request { only: vec!["files./etc/x".parse().unwrap()], ..request() };
    assert_eq!(site.boot_as(request).await, Ending::Done);
    assert_eq!((site.report().document, site.outcomes()), (None, vec!["changed files./etc/x".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_document_is_read_from_a_file_or_from_standard_input() {
    let file = UserData::File { named: "boot.yaml".into(), path: PathBuf::from("/home/boot.yaml") };
    let read = UserData::StandardInput(OnceCell::from(DOCUMENT.as_bytes().to_vec()));
    for user_data in [file, read] {
        let site = Site::with("#ingot\nversion: 1\nfiles: { /etc/other: { content: x } }\n");
        site.machine.add_file("/home/boot.yaml", DOCUMENT);
        assert_eq!(site.boot_as(Request { user_data, ..request() }).await, Ending::Done);
        assert!(site.machine.file("/etc/x").is_some() && site.machine.file("/etc/other").is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_request_names_another_directory_of_layers() {
    let site = Site::with("");
    site.machine.add_file("/etc/ingot/boot.d/10.yaml", "version: 1\nfiles: { /etc/other: { content: x } }\n");
    site.machine.add_file("/home/layers/10.yaml", DOCUMENT);
    let request = Request { user_data: UserData::Nothing, layers: Some("/home/layers".into()), ..request() };
    assert_eq!(site.boot_as(request).await, Ending::Done);
    assert!(site.machine.file("/etc/x").is_some() && site.machine.file("/etc/other").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failed_optional_step_degrades_the_boot() {
    let site = Site::with(&DOCUMENT.replace("content: x", "template: missing.hbs, required: false").replace("missing", "/x"));
    site.machine.add_file("/x.hbs", "{{instance.tags.none}}");
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!(site.report().outcome, BootOutcome::Degraded);
}

/// Regression: the watcher drained the machine by settings that were no longer in any document,
/// and health paths answered 503 forever.
#[tokio::test(start_paused = true)]
async fn what_watched_for_the_end_ends_with_a_document_that_does_not_want_it() {
    for request in [request(), Request { only: vec!["files./etc/x".parse().unwrap()], ..request() }] {
        let site = Site::with(DOCUMENT);
        let (is_whole, left) = (request.is_whole(), ["/run/ingot/drain.json", "/run/ingot/proxy/leaving"]);
        left.iter().for_each(|path| site.machine.add_file(path, "{}"));
        site.machine.add_unit(FakeUnit::new("ingot-drain.service").active());
        assert_eq!(site.boot_as(request).await, Ending::Done);
        assert_eq!(left.map(|path| site.machine.file(path).is_none()), [is_whole; 2]);
        assert_eq!(site.machine.snapshot().to_string().contains("ingot-drain.service  active"), !is_whole);
    }
}
