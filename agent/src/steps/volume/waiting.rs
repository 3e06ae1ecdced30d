//! Waiting for EC2: in pauses that grow, with a reason that is shown, and within the time of the step.

use std::time::Duration;

use super::trouble::VolumeError;
use crate::step::Context;
use crate::step::fields::rounded;

/// For so long a new volume may not be there for those who ask: EC2 agrees with itself in the end.
///
/// Source: <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>
pub(super) const UNSEEN: Duration = Duration::from_secs(60);

/// Says what is waited for, and for how long still. An error once that is no time at all.
pub(super) fn still(what: &str, begun: Duration, hint: &'static str, cx: &Context<'_>) -> Result<Duration, VolumeError> {
    let left = cx.time_left();
    if left.is_zero() {
        let waited = cx.host().clock.elapsed().saturating_sub(begun);
        return Err(VolumeError::Late { what: what.to_owned(), waited, hint });
    }
    cx.waiting(format!("for {what}, {:?} more at most", rounded(left)));
    Ok(left)
}
