//! Boots that wait for the lock of another process.

use std::time::Duration;

use crate::boot::audience::Ending;
use crate::boot::in_hand::Asked;
use crate::boot::request::Request;
use crate::boot::tests::site::{DOCUMENT, Site, request};
use crate::boot::wanted::Wanted;
use crate::fake::machine::INSTANCE;
use crate::host::state::{Entry, EntryState, Record};
use crate::report::BootOutcome;
use crate::steps::drain::{BEGAN, SETTINGS};

#[tokio::test(start_paused = true)]
async fn a_held_lock_is_waited_for_and_mentioned_once() {
    let site = Site::with(DOCUMENT);
    let lock = site.machine.lock_by(7).unwrap();
    let release = async {
        site.asked_after(5).await;
        assert_eq!(site.on_disk().map(|report| report.outcome), None, "only the holder of the lock writes a report");
        drop(lock);
    };
    let (ending, ()) = futures_util::join!(site.boot(), release);
    assert_eq!(ending, Ending::Done);
    assert_eq!(site.said(), ["another ingot process is running (pid 7): waiting for it to end"]);
    assert!(site.report().elapsed_ms >= 5_000.0);
}

/// A drain holds the lock until the machine is gone, and has work to do in the meantime.
#[tokio::test(start_paused = true)]
async fn a_lock_that_is_held_for_long_is_tried_seldom() {
    let site = Site::with(DOCUMENT);
    let lock = site.machine.lock_by(7).unwrap();
    let release = async {
        site.asked_after(60).await;
        site.machine.host().clock.sleep(Duration::from_millis(500)).await;
        drop(lock);
    };
    let (ending, ()) = futures_util::join!(site.boot(), release);
    assert_eq!(ending, Ending::Done);
    assert!((61_000.0..61_500.0).contains(&site.report().elapsed_ms), "{}", site.report().elapsed_ms);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_stays_held_fails_the_boot_at_the_deadline_without_a_report() {
    let site = Site::with(DOCUMENT);
    let _lock = site.machine.lock_by(7).unwrap();
    let request = Request { deadline: Duration::from_secs(9), ..request() };
    assert_eq!(site.boot_as(request).await, Ending::Failed);
    assert_eq!(site.error(), "the boot's deadline of 9s passed, while waiting for the lock: another ingot process is running (pid 7)");
    assert!(site.on_disk().is_none() && site.machine.file("/etc/x").is_none());
}

/// Regression: the hint was to run `ingot boot`, which runs the release in force.
#[tokio::test(start_paused = true)]
async fn who_asked_for_a_release_is_told_to_ask_for_it_again() {
    let site = Site::with(DOCUMENT);
    let _lock = site.machine.lock_by(7).unwrap();
    let request = Request { release: Some(Asked { wanted: Wanted::Launched, at: Duration::from_secs(1) }), ..request() };
    assert_eq!(site.boot_until(request, site.asked_after(5)).await, Ending::Failed);
    let error = site.report().error.unwrap();
    assert_eq!(error.message, "stopped by SIGTERM, while waiting for the lock: another ingot process is running (pid 7)");
    assert_eq!(error.hint.as_deref(), Some("run `ingot boot --release launched` again"));
}

#[tokio::test(start_paused = true)]
async fn a_boot_that_another_process_has_just_completed_is_not_repeated() {
    let site = Site::with(DOCUMENT);
    assert_eq!(site.boot_in_turn(request(), request()).await, (Ending::Done, Ending::AlreadyDone));
    assert_eq!((site.reported(), site.signals().len()), (1, 1));
    assert_eq!(site.on_disk().unwrap().outcome, BootOutcome::Done);
    // A boot that did not wait for the lock, and was not started by cloud-init, is repeated.
    assert_eq!(site.boot().await, Ending::Done);
    assert_eq!(site.reported(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_boot_that_failed_is_repeated() {
    let site = Site::with("#ingot\nversion: 1\ncommands: { a: { run: [/bin/a] } }\n");
    let fail = std::rc::Rc::new(std::cell::Cell::new(true));
    let failing = fail.clone();
    site.machine.on_command("a", move |_, _| {
        let code = i32::from(failing.replace(false));
        crate::fake::machine::Outcome::Ends(crate::host::End::Exited(code))
    });
    assert_eq!(site.boot_in_turn(request(), request()).await, (Ending::Failed, Ending::Done));
    assert_eq!(site.report().outcome, BootOutcome::Done);
}

/// Regression: by the wall clock, a boot that ended in the moment in which this one began
/// counted as one that ended after that.
#[tokio::test(start_paused = true)]
async fn whoever_waited_for_something_else_than_a_boot_boots() {
    let site = Site::with(DOCUMENT);
    assert_eq!(site.boot().await, Ending::Done);
    let lock = site.machine.lock_by(7).unwrap();
    let release = async {
        site.asked_after(1).await;
        drop(lock);
    };
    assert_eq!(futures_util::join!(site.boot(), release).0, Ending::Done);
    assert_eq!(site.reported(), 2);
}

/// Regression: a drain between two boots was overlooked, and the second boot took for done what
/// the drain had taken down.
#[tokio::test(start_paused = true)]
async fn what_a_drain_has_taken_down_meanwhile_is_brought_up_again() {
    for (boot_id, expected) in [(None, Ending::Done), (Some("of an earlier boot"), Ending::AlreadyDone)] {
        let site = Site::with(DOCUMENT);
        let drain = async {
            let _lock = site.machine.lock_by(8).unwrap();
            let boot_id = boot_id.map_or_else(|| site.report().boot_id, str::to_owned);
            site.machine.add_file(SETTINGS, &format!(r#"{{ "address": "drains.leave", "record": "{INSTANCE}" }}"#));
            let host = site.machine.host();
            let record = Record::load(host.files.clone(), host.users.own(), INSTANCE).await.unwrap();
            let began = Entry { state: EntryState::Started, boot_id, at: host.clock.now().to_string(), detail: None };
            record.apart("drains.leave").await.unwrap().put(BEGAN, began).await.unwrap();
            site.asked_after(1).await;
        };
        assert_eq!(site.boot_and(request(), drain, request()).await, (Ending::Done, expected));
    }
}
