//! Common to both kinds of preload: the time limit, other readers, progress, and failures.

use std::cell::RefCell;
use std::time::Duration;

use super::trouble::PreloadError;
use crate::host::reading::WasRead;
use crate::step::amount::Gauge;
use crate::step::{Context, Progress};

/// Enough for a volume of 16 TiB at 32 MiB/s. The boot does not wait for this long, since it has its own deadline.
pub(super) const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Whether another process is already reading.
pub(super) async fn is_taken(cx: &Context<'_>) -> Result<bool, PreloadError> {
    let holder = cx.host().reading.claimed(cx.address.as_str()).await.map_err(PreloadError::Host)?;
    if let Some(holder) = &holder {
        let who = holder.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        cx.progress(Progress::Warning(format!("another ingot{who} reads it already")));
    }
    Ok(holder.is_some())
}

/// Reports the progress.
pub(super) fn advanced(gauge: &RefCell<Gauge>, bytes: u64, of: u64, cx: &Context<'_>) {
    if let Some(amount) = gauge.borrow_mut().note(cx.host().clock.elapsed(), bytes, of) {
        cx.progress(Progress::Advanced(amount));
    }
}

/// Some reads may fail; the programs that need the data will report that themselves. It is an error only if nothing
/// could be read.
pub(super) fn failures(read: &WasRead, cx: &Context<'_>) -> Result<(), PreloadError> {
    let Some(first) = &read.first_failure else { return Ok(()) };
    if read.bytes == 0 {
        return Err(PreloadError::AllFailed { failed: read.failed, first: first.clone() });
    }
    cx.progress(Progress::Warning(format!("{} reads failed, the first one: {first}", read.failed)));
    Ok(())
}
