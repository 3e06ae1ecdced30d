//! The result of a boot, as signals report it.

use crate::address::Address;
use crate::redaction::Redactor;

/// The longest reason, in characters: no more would be read, and every receiver accepts it.
const REASON_LIMIT: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every required step has succeeded.
    Well,
    Failed {
        /// Without secrets.
        reason: String,
    },
}

impl Verdict {
    /// The verdict on a boot that failed: at a step, or before its first one. Only the message is redacted: an address
    /// is part of the document, and stays whole even if a part of it equals a secret.
    pub(crate) fn failed(at: Option<&Address>, message: &str, redactor: &Redactor) -> Self {
        let lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
        let line = lines.map(|line| redactor.redact(line)).collect::<Vec<_>>().join(" ");
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
        let failed = |at, message: &str| reason(Verdict::failed(at, message, &Redactor::default()));
        assert_eq!(failed(Some(&address), "it failed\n  | one\n  | two\n"), "commands.x: it failed | one | two");
        assert_eq!(failed(None, &"ü".repeat(5_000)).chars().count(), REASON_LIMIT + 1);
    }

    #[test]
    fn a_reason_holds_no_secret_and_keeps_the_address() {
        let redactor = Redactor::default();
        redactor.learn(&serde_json::json!(["shop_rw", "hunter22"]), &[]);
        let address = Address::new("services", "shop_rw.service");
        // If it were cut before it is redacted, the cut would be within the secret.
        let message = format!("no login\nfor shop_rw: {}hunter22", ".".repeat(REASON_LIMIT - 60));
        let Verdict::Failed { reason } = Verdict::failed(Some(&address), &message, &redactor) else { panic!("it failed") };
        assert!(reason.starts_with("services.shop_rw.service: no login for [redacted]: ..."), "{reason}");
        assert!(!reason.contains("hunt"), "{reason}");
    }
}
