//! What a boot came to, as signals tell others.

use crate::address::Address;

/// As much of a reason as somebody reads, and as everybody takes.
const REASON_LIMIT: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every step that is required has done its work.
    Well,
    Failed {
        /// Without secrets.
        reason: String,
    },
}

impl Verdict {
    /// That of a boot that failed: at a step, or before there were any.
    pub(crate) fn failed(at: Option<&Address>, message: &str) -> Self {
        let line = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let whole = at.map_or(line.clone(), |address| format!("{address}: {line}"));
        let reason = match whole.char_indices().nth(REASON_LIMIT) {
            Some((end, _)) => format!("{}…", &whole[..end]),
            None => whole,
        };
        Self::Failed { reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let address = Address::new("commands", "x");
        let reason = |verdict| match verdict {
            Verdict::Failed { reason } => reason,
            Verdict::Well => panic!("it failed"),
        };
        assert_eq!(reason(Verdict::failed(Some(&address), "it failed\n  | one\n  | two\n")), "commands.x: it failed | one | two");
        assert_eq!(reason(Verdict::failed(None, &"ü".repeat(5_000))).chars().count(), REASON_LIMIT + 1);
    }
}
