//! The report on disk, kept up to date while steps run.

use std::cell::Cell;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::host::{Attributes, Host, HostError};
use crate::report::REPORT;
use crate::report::event::Recorder;

/// How far the report on disk may lag behind what happened.
const EVERY: Duration = Duration::from_millis(100);

/// The same once the boot is over, and nobody waits for anything.
const EVERY_AFTERWARDS: Duration = Duration::from_secs(1);

/// A report of ten thousand steps is smaller than this.
const LIMIT: u64 = 64 << 20;

/// Writes the report while the boot goes on.
pub(super) async fn keep(host: &Host, recorder: &Recorder) -> Infallible {
    let written = Cell::new(None);
    loop {
        write_what_is_new(&written, host, recorder).await;
        host.clock.sleep(EVERY).await;
    }
}

/// Writes the report of a boot that is over, while something goes on beside it: until a later boot has put its own there.
pub(super) async fn keep_afterwards(host: &Host, recorder: &Recorder) -> Infallible {
    let written = Cell::new(Some(recorder.changes()));
    while is_ours(host, recorder).await {
        write_what_is_new(&written, host, recorder).await;
        host.clock.sleep(EVERY_AFTERWARDS).await;
    }
    std::future::pending().await
}

async fn write_what_is_new(written: &Cell<Option<u64>>, host: &Host, recorder: &Recorder) {
    let now = Some(recorder.changes());
    if written.replace(now) != now {
        // The last write, at the end of the boot, reports its own failure.
        let _ = write_report(host, recorder).await;
    }
}

/// Whether the report on disk is the one of this process.
pub(super) async fn is_ours(host: &Host, recorder: &Recorder) -> bool {
    #[derive(Deserialize)]
    struct Whose {
        pid: u32,
        started_at: String,
    }

    let Ok(Some(bytes)) = host.files.read(Path::new(REPORT), LIMIT).await else { return false };
    let ours = recorder.report();
    serde_json::from_slice(&bytes).is_ok_and(|whose: Whose| whose.pid == ours.pid && whose.started_at == ours.started_at)
}

/// Brings the report to its place, whole, for everybody to read.
pub(crate) async fn write_report(host: &Host, recorder: &Recorder) -> Result<(), HostError> {
    let json = serde_json::to_vec(&*recorder.report()).expect("a report is plain data");
    publish(Path::new(REPORT), &json, host).await
}

/// Writes a file that every user of the machine may read.
pub(crate) async fn publish(path: &Path, content: &[u8], host: &Host) -> Result<(), HostError> {
    let files = &host.files;
    let (uid, gid) = host.users.own();
    let staged = crate::steps::install::staged(path);
    if let Some(parent) = path.parent() {
        files.create_directory(parent, 0o755).await?;
    }
    files.stage(&staged, content, Attributes { mode: 0o644, uid, gid }).await?;
    files.install(&staged, path).await
}
