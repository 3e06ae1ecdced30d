//! Whether this machine was drained, for code that has not read the document yet.

use std::path::Path;

use serde_json::Value;

use super::names::{BEGAN, LEAVING, NOTICED, SETTINGS};
use crate::host::state::{Entry, Record};
use crate::host::{Host, HostError};
use crate::json::of_bytes;

/// Size limit in bytes; settings have a few kilobytes.
const LIMIT: u64 = 1 << 20;

/// Whether a drain has begun in this boot of the machine, and no boot has since restarted what it stopped.
pub(crate) async fn is_drained(host: &Host, boot_id: &str) -> bool {
    began(host).await.is_some_and(|began| began.boot_id == boot_id)
}

/// Discards the record of a drain, since this machine has to work again, but keeps the notice that caused the drain.
///
/// # Errors
///
/// If any part of it cannot be removed.
pub(crate) async fn forget_drain(record: &Record, host: &Host) -> Result<(), HostError> {
    host.files.remove(Path::new(LEAVING)).await?;
    for (key, _) in record.below("").into_iter().filter(|(key, _)| key != NOTICED) {
        record.remove(&key).await?;
    }
    Ok(())
}

/// The record of the beginning of a drain, if there is one.
async fn began(host: &Host) -> Option<Entry> {
    let settings: Value = of_bytes(&host.files.read(Path::new(SETTINGS), LIMIT).await.ok()??).ok()?;
    let record = Record::load(host.files.clone(), host.users.own(), settings["record"].as_str()?).await.ok()?;
    record.apart(settings["address"].as_str()?).await.ok()?.get(BEGAN)
}
