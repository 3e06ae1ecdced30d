//! The report on disk, kept up to date while steps run.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::host::lock::BootLock;
use crate::host::{Attributes, Host, HostError};
use crate::json::of_bytes;
use crate::report::REPORT;
use crate::report::event::Recorder;
use crate::text::shown_in_json;

/// How long a disk may take to write the last report, if that is not in memory: the process has to end.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// How far the report on disk may lag behind what happened.
const EVERY: Duration = Duration::from_millis(100);

/// The same once the boot is over, and nothing waits for it.
const EVERY_AFTERWARDS: Duration = Duration::from_secs(1);

/// The largest report that is read, in bytes. A report of ten thousand steps is smaller.
const LIMIT: u64 = 64 << 20;

/// Writes the report repeatedly while the boot runs.
pub(super) async fn keep(host: &Host, recorder: &Recorder) -> Infallible {
    let mut written = None;
    loop {
        let now = Some(recorder.changes());
        if std::mem::replace(&mut written, now) != now {
            // The last write, at the end of the boot, reports its own failure.
            let _ = write_report(host, recorder).await;
        }
        host.clock.sleep(EVERY).await;
    }
}

/// Writes the report of a boot that is over, while background steps run, until a later boot replaces it.
pub(super) async fn keep_afterwards(host: &Host, recorder: &Recorder, lock: &dyn BootLock) -> Infallible {
    let mut written = recorder.changes();
    loop {
        host.clock.sleep(EVERY_AFTERWARDS).await;
        let now = recorder.changes();
        if now != std::mem::replace(&mut written, now) {
            write_afterwards(host, recorder, lock).await;
        }
    }
}

/// As [`write_afterwards`], with a time limit for the disk.
pub(super) async fn written_within(host: &Host, recorder: &Recorder, lock: &dyn BootLock) {
    tokio::select! {
        biased;
        () = write_afterwards(host, recorder, lock) => {}
        () = host.clock.sleep(WRITTEN_WITHIN) => log::warn!("the report is not complete: the disk has not answered for {WRITTEN_WITHIN:?}"),
    }
}

/// Writes the report again, unless a later boot has written its own or is about to. A boot holds the lock until its
/// last report is written, which takes longer than this.
pub(crate) async fn write_afterwards(host: &Host, recorder: &Recorder, lock: &dyn BootLock) {
    if lock.is_free().await && is_ours(host, recorder).await {
        // Staged under a name of its own, because a later boot stages its report in the usual place.
        let staged = Path::new(REPORT).with_file_name(format!(".report.json.{}", std::process::id()));
        if let Err(error) = put(Path::new(REPORT), &staged, &json(recorder), host).await {
            log::warn!("{}", crate::failure::Explanation::of(&error));
        }
    }
}

/// Whether the report on disk was written by this process.
async fn is_ours(host: &Host, recorder: &Recorder) -> bool {
    #[derive(Deserialize)]
    struct Whose {
        pid: u32,
        started_at: String,
    }

    let Ok(Some(bytes)) = host.files.read(Path::new(REPORT), LIMIT).await else { return false };
    let ours = recorder.report();
    of_bytes(&bytes).is_ok_and(|whose: Whose| whose.pid == ours.pid && whose.started_at == ours.started_at)
}

/// Writes the report, atomically and readable for everybody.
pub(crate) async fn write_report(host: &Host, recorder: &Recorder) -> Result<(), HostError> {
    publish(Path::new(REPORT), &json(recorder), host).await
}

/// Writes a file that every user of the machine may read.
pub(crate) async fn publish(path: &Path, content: &[u8], host: &Host) -> Result<(), HostError> {
    put(path, &crate::steps::install::staged(path), content, host).await
}

fn json(recorder: &Recorder) -> Vec<u8> {
    let json = serde_json::to_string(&*recorder.report()).expect("a report is plain data");
    // The file may be shown on a terminal as it is.
    shown_in_json(&json).into_owned().into_bytes()
}

async fn put(path: &Path, staged: &Path, content: &[u8], host: &Host) -> Result<(), HostError> {
    let files = &host.files;
    let (uid, gid) = host.users.own();
    if let Some(parent) = path.parent() {
        files.create_directory(parent, 0o755).await?;
    }
    files.stage(staged, content, Attributes { mode: 0o644, uid, gid }).await?;
    files.install(staged, path).await
}
