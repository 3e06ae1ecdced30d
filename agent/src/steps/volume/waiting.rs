//! Waits for EC2: with growing pauses, a displayed reason, and within the time of the step.

use std::time::Duration;

use super::trouble::VolumeError;
use crate::step::Context;
use crate::step::fields::rounded;

/// How long a new volume may stay invisible, because EC2 is only eventually consistent.
///
/// Source: <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
pub(super) const UNSEEN: Duration = Duration::from_secs(60);

/// Reports what is waited for, and returns the remaining time. An error if no time is left.
pub(super) fn still(what: &str, begun: Duration, hint: impl Into<String>, cx: &Context<'_>) -> Result<Duration, VolumeError> {
    let left = cx.time_left();
    if left.is_zero() {
        let waited = cx.host().clock.elapsed().saturating_sub(begun);
        return Err(VolumeError::Late { what: what.to_owned(), waited, hint: hint.into() });
    }
    cx.waiting(format!("for {what}, {:?} more at most", rounded(left)));
    Ok(left)
}
