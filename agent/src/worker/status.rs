//! The status of a worker, in a world-readable file: for `ingot status worker`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::host::{Attributes, Host, HostError};
use crate::steps::install::staged;

/// What a worker is doing, and has done since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) pid: u32,
    /// The queue as the document names it.
    pub(crate) queue: String,
    pub(crate) doing: Doing,
    /// Why it takes no messages, if it should.
    pub(crate) waiting: Option<String>,
    pub(crate) concurrency: usize,
    /// How many messages are being handled.
    pub(crate) in_hand: usize,
    pub(crate) handled: u64,
    /// The number of deliveries that failed, by the status of the answer, or by what happened instead of one.
    pub(crate) failed: BTreeMap<String, u64>,
    /// The number of messages that were deleted because of their age.
    pub(crate) expired: u64,
    /// When the oldest message in progress was sent, in milliseconds since 1970.
    pub(crate) oldest_sent_ms: Option<i64>,
    pub(crate) last_error: Option<LastError>,
    pub(crate) started_at: String,
    /// The periodic tasks that it sends.
    #[serde(default)]
    pub(crate) tasks: Vec<Periodic>,
    /// The number of messages of periodic tasks that were deleted because another one was posted for the same due time.
    #[serde(default)]
    pub(crate) duplicates: u64,
}

/// What a worker has done for a periodic task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Periodic {
    pub(crate) name: String,
    /// The next due time.
    pub(crate) next: Option<String>,
    /// How many times this worker has sent; other workers may have sent the rest.
    pub(crate) sent: u64,
    pub(crate) last_sent: Option<String>,
    /// How many times were too late to be sent.
    pub(crate) missed: u64,
    pub(crate) last_missed: Option<String>,
    /// Why it cannot be sent, or not be marked as sent.
    pub(crate) trouble: Option<String>,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Doing {
    #[default]
    Starting,
    /// It takes messages.
    Working,
    /// It finishes the messages in hand, and takes no more.
    Paused,
    /// It finishes what it has in hand, and takes no more.
    Draining,
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastError {
    pub(crate) at: String,
    pub(crate) what: String,
}

impl Status {
    /// The status of a worker that has done nothing yet.
    pub(crate) fn starting(queue: &str, host: &Host) -> Self {
        Self { pid: std::process::id(), queue: queue.to_owned(), started_at: host.clock.now().to_string(), ..Self::default() }
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// The status file of a worker.
pub(crate) fn path(name: &str) -> PathBuf {
    format!("/run/ingot-worker/{name}/status.json").into()
}

/// Writes the status of a worker.
pub(crate) async fn put(name: &str, status: &Status, host: &Host) -> Result<(), HostError> {
    let (path, files) = (path(name), &host.files);
    let content = serde_json::to_vec(status).expect("a status is plain data");
    let (uid, gid) = host.users.own();
    if let Some(parent) = path.parent() {
        files.create_directory(parent, 0o755).await?;
    }
    files.stage(&staged(&path), &content, Attributes { mode: 0o644, uid, gid }).await?;
    files.install(&staged(&path), &path).await
}
