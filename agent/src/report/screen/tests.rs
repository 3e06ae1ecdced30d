//! The output of `ingot status` for each way in which a boot can end.

use super::*;
use crate::host::startup::Startup;
use crate::paint::Canvas;
use crate::report::timeline::tests::report;
use crate::report::{ExchangeReport, ReleaseReport};

fn shown(report: &Report, exit: Exit, elapsed_ms: Option<f64>, beside: Option<bool>) -> String {
    let now = "2026-11-01T00:04:10Z".parse().unwrap();
    Canvas::default().draw(&Screen { report, exit, beside, elapsed_ms, now }.lines())
}

/// Regression: the exit status was that of a failure, but the screen was green.
#[test]
fn a_report_that_is_cut_off_is_no_good_end() {
    let report = report();
    assert_eq!(report.outcome, BootOutcome::Done);
    assert!(shown(&report, Exit::Failed, None, None).starts_with("failed: the report is cut off"));
    assert!(shown(&report, Exit::Done, None, None).starts_with("done"));
}

/// A database refuses the login, two steps need it, and an optional step fails as well.
fn failed() -> Report {
    let mut report = report();
    report.outcome = BootOutcome::Failed;
    report.document = Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into());
    let trouble = |message: &str, hint: Option<&str>| Trouble {
        message: message.into(),
        causes: vec!["28P01: password authentication failed".into()],
        hint: hint.map(Into::into),
        unreachable: false,
    };
    let [db, token, file, service] = &mut report.steps[..] else { panic!("four steps") };
    db.outcome = Outcome::Failed;
    db.error = Some(trouble("cannot log in to main:\n  | last words", Some("give the password of the database")));
    (token.outcome, token.required, token.error) = (Outcome::Failed, false, Some(trouble("cannot read /shop/token", None)));
    for skipped in [file, service] {
        skipped.outcome = Outcome::Skipped;
        skipped.skipped_for = Some(db.address.clone());
        (skipped.started_ms, skipped.finished_ms) = (None, None);
    }
    report
}

#[test]
fn a_boot_that_went_well_is_short() {
    insta::assert_snapshot!(shown(&report(), Exit::Done, None, None), @r"
    done in 0.735 s: 2 changed, 2 unchanged
      instance i-0abc123def4567890
      started  2026-11-01T00:00:00Z, 4 min ago
      slowest  601.0 ms services.shop.service, 110.0 ms secrets.db, 15.0 ms secrets.token
    ");
}

#[test]
fn every_failure_has_its_last_words_its_hint_and_what_it_kept_from_running() {
    insta::assert_snapshot!(shown(&failed(), Exit::Failed, None, None), @r"
    failed after 0.735 s: 2 failed, 2 skipped
      instance i-0abc123def4567890
      started  2026-11-01T00:00:00Z, 4 min ago
      document 9f86d081884c
      slowest  110.0 ms secrets.db, 15.0 ms secrets.token
    failed: secrets.db (after 110.0 ms, 2 attempts): cannot log in to main:
      | last words: 28P01: password authentication failed
      hint: give the password of the database
    failed, not required: secrets.token (after 15.0 ms): cannot read /shop/token: 28P01: password authentication failed
    skipped 2 steps because of secrets.db: files./etc/shop/shop.toml, services.shop.service
    next: follow the hint, then run `ingot boot` again; `journalctl -b -t ingot` shows every line of the boot
    ");
}

/// The report of a waiting boot may be minutes old.
#[test]
fn a_boot_that_runs_has_run_until_now() {
    let mut report = report();
    (report.outcome, report.finished_at) = (BootOutcome::Running, None);
    report.steps[3].outcome = Outcome::Running;
    (report.steps[3].finished_ms, report.steps[3].waiting) = (None, Some("for http://127.0.0.1:8080/health to answer 200".into()));
    insta::assert_snapshot!(shown(&report, Exit::Running, Some(250_000.0), None), @r"
    running for 250.000 s: 1 changed, 2 unchanged
      instance i-0abc123def4567890
      started  2026-11-01T00:00:00Z, 4 min ago
      slowest  110.0 ms secrets.db, 15.0 ms secrets.token, 3.0 ms files./etc/shop/shop.toml
    running: services.shop.service waiting for http://127.0.0.1:8080/health to answer 200
    next: `ingot status --wait` waits for this boot to finish
    ");
    report.steps[0].outcome = Outcome::Pending;
    insta::assert_snapshot!(shown(&report, Exit::Failed, None, None), @r"
    failed: process 1 was interrupted after 0.735 s
      instance i-0abc123def4567890
      started  2026-11-01T00:00:00Z, 4 min ago
      slowest  110.0 ms secrets.db, 15.0 ms secrets.token, 3.0 ms files./etc/shop/shop.toml
    not started 1 step: secrets.db
    cut off: services.shop.service waiting for http://127.0.0.1:8080/health to answer 200
    next: run `ingot boot` to resume; `journalctl -b -t ingot` shows how far it got
    ");
}

#[test]
fn what_goes_on_beside_the_boot_is_named_with_what_to_do_if_it_is_cut_off() {
    let mut report = report();
    report.steps[1].outcome = Outcome::Running;
    (report.steps[1].beside, report.steps[1].finished_ms) = (true, None);
    let (on, off) = (shown(&report, Exit::Done, None, Some(true)), shown(&report, Exit::Done, None, Some(false)));
    assert!(on.contains("\nrunning: secrets.token\n") && !on.contains("next:"), "{on}");
    assert!(off.contains("\ncut off: secrets.token\n") && off.contains("\nnext: run `ingot boot` to resume"), "{off}");
}

#[test]
fn a_failure_before_the_steps_and_many_skipped_steps() {
    let mut report = failed();
    for n in 0..20 {
        let mut skipped = report.steps[2].clone();
        skipped.address = Address::new("files", &format!("/etc/{n}"));
        report.steps.push(skipped);
    }
    let text = shown(&report, Exit::Failed, None, None);
    assert!(text.contains("skipped 22 steps because of secrets.db: ") && text.contains("/etc/5 and 14 more\n"), "{text}");
    report.steps.clear();
    report.error = Some(Trouble { message: "no IMDS".into(), causes: Vec::new(), hint: Some("enable it".into()), unreachable: true });
    let text = shown(&report, Exit::Failed, None, None);
    assert!(text.contains("\nfailed: no IMDS\n  hint: enable it\nnext: "), "{text}");
}

#[test]
fn ages_are_in_the_unit_that_fits() {
    let ages = [-5, 3, 59, 61, 7200, 172_801].map(spoken_ago);
    assert_eq!(ages, ["in the future, by the current clock", "3 s ago", "59 s ago", "1 min ago", "2 h ago", "2 days ago"]);
}

#[test]
fn a_report_that_was_cut_off_shows_what_is_left_of_it() {
    let whole = serde_json::to_string(&failed()).unwrap();
    let at = whole.find("files./etc/shop").unwrap();
    let (left, is_cut) = Report::read(&whole.as_bytes()[..at]).unwrap();
    assert_eq!((left.steps.len(), is_cut), (2, true));
    assert!(shown(&left, Exit::Failed, None, None).contains("failed: secrets.db"));
    assert!(!Report::read(whole.as_bytes()).unwrap().1);
    for damaged in ["", "{", "[]", "{\"a\": 1, \"b\": 2", "not json at all, really"] {
        assert!(Report::read(damaged.as_bytes()).is_err(), "{damaged}");
    }
    for at in 0..whole.len() {
        // No truncation may cause a panic.
        let _ = Report::read(&whole.as_bytes()[..at]).map(|(left, _)| shown(&left, Exit::Failed, None, None));
    }
}

/// Regression: of a report that was cut within its last field, nothing was shown.
#[test]
fn a_report_that_was_cut_anywhere_behind_its_first_step_shows_its_steps() {
    let mut report = failed();
    report.release = Some(ReleaseReport { wanted: "shop@1".into(), in_force: "shop@0".into(), not_kept: None });
    report.error = Some(Trouble { message: "no IMDS".into(), causes: Vec::new(), hint: None, unreachable: true });
    report.exchanges = vec![ExchangeReport { at_ms: 1.0, took_ms: None, what: "GetParameter".into(), status: None }; 2];
    report.marks_ms.insert("steps".into(), 12.5);
    report.startup = Some(Startup { firmware_ms: Some(1.5), process_ms: 3.5, ..Startup::default() });
    let texts = [serde_json::to_string(&report).unwrap(), serde_json::to_string_pretty(&report).unwrap()];
    for whole in &texts {
        let second = whole.match_indices("\"address\"").nth(1).unwrap().0;
        for at in second..whole.trim_end().len() {
            let (left, is_cut) = Report::read(&whole.as_bytes()[..at]).unwrap_or_else(|error| panic!("{error}: {}", &whole[..at]));
            assert!(is_cut && !left.steps.is_empty() && left.steps.len() <= report.steps.len());
        }
        let (left, _) = Report::read(&whole.as_bytes()[..whole.len() - 70]).unwrap();
        assert_eq!(left.steps.len(), report.steps.len());
        // The beginning has what identifies the boot.
        let document = whole.find("\"error\"").unwrap();
        assert!(Report::read(&whole.as_bytes()[..document]).is_ok());
    }
}
