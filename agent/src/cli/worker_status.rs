//! `ingot status worker`: shows what a worker is doing, and has done since it was started. Needs no root.

use std::time::Duration;

use jiff::Timestamp;

use crate::cli::output::{self, data, talk};
use crate::cli::root::Root;
use crate::exit::Exit;
use crate::failure::Explanation;
use crate::host::clock::SystemClock;
use crate::host::files::DiskFiles;
use crate::host::{Clock as _, Files as _, environment};
use crate::json::of_bytes;
use crate::worker::status::{Doing, Status, path};

/// The largest status that is read, in bytes. It has one line for each kind of failure.
const LIMIT: u64 = 1 << 20;

/// Show what a worker does: messages in progress, handled and failed
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the worker in the document
    name: String,
    #[command(flatten)]
    pub(super) root: Root,
}

pub(crate) async fn run(args: Args, json: bool) -> Exit {
    let files = DiskFiles::new(args.root.root);
    let found = match files.read(&path(&args.name), LIMIT).await {
        Ok(found) => found,
        Err(error) => {
            talk(&Explanation::of(&error).to_string());
            return Exit::Failed;
        }
    };
    let status: Option<Status> = found.and_then(|found| of_bytes(&found).ok());
    let exit = match &status {
        None => Exit::NeverRan,
        Some(status) if !environment::is_there(status.pid) => Exit::Failed,
        Some(status) if status.doing == Doing::Working => Exit::Done,
        Some(_) => Exit::Degraded,
    };
    let now = SystemClock::start().now();
    match json {
        true => output::json(&serde_json::json!({
            "status": word(status.as_ref(), exit),
            "oldest_age_s": status.as_ref().and_then(|status| age(status, now)).map(|age| age.as_secs()),
            "worker": status,
        })),
        false => data(&text(status.as_ref(), exit, now)),
    }
    exit
}

fn word(status: Option<&Status>, exit: Exit) -> &'static str {
    match (exit, status.map(|status| status.doing)) {
        (Exit::NeverRan, _) | (_, None) => "not running",
        (Exit::Failed, _) => "ended",
        (_, Some(Doing::Starting)) => "starting",
        (_, Some(Doing::Working)) => "working",
        (_, Some(Doing::Paused)) => "paused",
        (_, Some(Doing::Draining)) => "draining",
    }
}

fn text(status: Option<&Status>, exit: Exit, now: Timestamp) -> String {
    let word = word(status, exit);
    let Some(status) = status else { return format!("{word}\n") };
    let mut text = format!("{word}: {}, {} of {} in progress\n", status.queue, status.in_hand, status.concurrency);
    if let Some(waiting) = &status.waiting {
        text.push_str(&format!("waiting: {waiting}\n"));
    }
    text.push_str(&format!("handled {}", status.handled));
    text.push_str(&format!(", failed {}", status.failures()));
    if !status.failed.is_empty() {
        let by: Vec<String> = status.failed.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        text.push_str(&format!(" ({})", by.join(", ")));
    }
    if status.expired > 0 {
        text.push_str(&format!(", expired {}", status.expired));
    }
    text.push_str(&format!(", since {}\n", status.started_at));
    if let Some(age) = age(status, now) {
        text.push_str(&format!("oldest message in progress: {} s\n", age.as_secs()));
    }
    if status.duplicates > 0 {
        text.push_str(&format!("deleted {} duplicate messages of periodic tasks\n", status.duplicates));
    }
    for task in &status.tasks {
        let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        text.push_str(&format!("task {}: next {}, sent {}, last {}", task.name, or(&task.next), task.sent, or(&task.last_sent)));
        if task.missed > 0 {
            text.push_str(&format!(", missed {}, last {}", task.missed, or(&task.last_missed)));
        }
        if let Some(trouble) = &task.trouble {
            text.push_str(&format!("\n  {}", trouble.lines().next().unwrap_or_default()));
        }
        text.push('\n');
    }
    if let Some(error) = &status.last_error {
        text.push_str(&format!("last error: {} ({})\n", error.what, error.at));
    }
    text
}

/// The age of the oldest message in progress.
fn age(status: &Status, now: Timestamp) -> Option<Duration> {
    let age = now.as_millisecond().saturating_sub(status.oldest_sent_ms?);
    Some(Duration::from_millis(u64::try_from(age).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::worker::status::{LastError, Periodic};

    #[test]
    fn a_status_is_a_few_lines() {
        let status = Status {
            queue: "shop-jobs".into(),
            doing: Doing::Paused,
            waiting: Some("connection refused".into()),
            concurrency: 50,
            in_hand: 3,
            handled: 120,
            failed: BTreeMap::from([("500".into(), 3), ("refused".into(), 1)]),
            oldest_sent_ms: Some(1_573_692_420_000),
            last_error: Some(LastError { at: "2019-11-14T00:47:00Z".into(), what: "message a1: 500".into() }),
            started_at: "2019-11-14T00:00:00Z".into(),
            tasks: vec![Periodic {
                name: "nightly".into(),
                next: Some("2019-11-15T02:30:00Z".into()),
                sent: 3,
                last_sent: Some("2019-11-14T02:30:00Z".into()),
                missed: 1,
                last_missed: Some("2019-11-13T02:30:00Z".into()),
                trouble: Some("access denied\n  hint: x".into()),
            }],
            ..Status::default()
        };
        let now = "2019-11-14T00:47:12Z".parse().unwrap();
        insta::assert_snapshot!(text(Some(&status), Exit::Degraded, now), @"
        paused: shop-jobs, 3 of 50 in progress
        waiting: connection refused
        handled 120, failed 4 (500: 3, refused: 1), since 2019-11-14T00:00:00Z
        oldest message in progress: 12 s
        task nightly: next 2019-11-15T02:30:00Z, sent 3, last 2019-11-14T02:30:00Z, missed 1, last 2019-11-13T02:30:00Z
          access denied
        last error: message a1: 500 (2019-11-14T00:47:00Z)
        ");
        assert_eq!(text(None, Exit::NeverRan, now), "not running\n");
    }
}
