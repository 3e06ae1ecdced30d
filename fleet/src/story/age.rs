//! Durations and ages, short enough for a table.

use jiff::{SignedDuration, Timestamp};

/// Formats an age in one unit, or in two if one is too coarse: `34s`, `12m`, `3h20m`, `5d`.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    short(now.duration_since(since))
}

/// Formats a duration. A negative one, caused by different clocks, counts as zero.
fn short(length: SignedDuration) -> String {
    match length.as_secs().max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => match (seconds / 3600, seconds % 3600 / 60) {
            (hours, 0) => format!("{hours}h"),
            (hours, minutes) => format!("{hours}h{minutes}m"),
        },
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_short() {
        let shown: Vec<String> =
            [-5, 0, 59, 60, 3599, 3600, 5400, 172_799, 172_800, 9_000_000].map(|seconds| short(SignedDuration::from_secs(seconds))).into();
        assert_eq!(shown, ["0s", "0s", "59s", "1m", "59m", "1h", "1h30m", "47h59m", "2d", "104d"]);
    }
}
