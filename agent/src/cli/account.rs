//! What `ingot boot --release` prints on stdout, for callers that start it remotely: Run Command of Systems Manager
//! keeps only the first 24,000 characters of stdout.
//!
//! The cause comes first, then the release in force, then the last lines of the boot; 20,000 characters at most.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use serde_json::{Value, json};

use crate::cli::output;
use crate::report::console::told;
use crate::report::{BootOutcome, Report};
use crate::text::{shown, shown_in_json};

/// The most that is printed, in bytes, and so also in characters.
const LIMIT: usize = 20_000;

/// The most of it that a cause may take, in bytes.
const CAUSE: usize = 8_000;

/// The last lines of a boot.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    said: Rc<RefCell<String>>,
}

impl Write for Account {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut said = self.said.borrow_mut();
        said.push_str(&String::from_utf8_lossy(bytes));
        if said.len() > 4 * LIMIT {
            let last = last_of(&said, LIMIT).to_owned();
            *said = last;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Account {
    /// Prints how a boot with a report ended.
    pub(super) fn print(&self, report: &Report, json: bool) {
        let word = match report.outcome {
            BootOutcome::Done => "done",
            BootOutcome::Degraded => "degraded",
            BootOutcome::NoDocument => "no document",
            BootOutcome::Running | BootOutcome::Failed => "failed",
        };
        let cause = report.first_failure().map(|(address, trouble)| {
            let address = address.map_or_else(String::new, |address| format!("{address}: "));
            format!("{address}{}", told(trouble))
        });
        let release = report.release.as_ref().map(|release| (release.to_string(), json!(release)));
        output::data(&self.composed(word, cause.as_deref(), release, json));
    }

    /// Prints how a boot without a report ended.
    pub(super) fn print_word(&self, word: &str, cause: &str, json: bool) {
        output::data(&self.composed(word, Some(cause), None, json));
    }

    /// The text as it is printed: it is not escaped again.
    fn composed(&self, word: &str, cause: Option<&str>, release: Option<(String, Value)>, json: bool) -> String {
        let said = self.said.borrow();
        if json {
            let cause = cause.map(|cause| first_of(cause, CAUSE, in_json));
            let mut value = json!({ "version": 1, "outcome": word, "cause": cause, "release": release.map(|(_, value)| value) });
            // Escapes make lines longer, so lines are added only while there is room.
            let mut left = LIMIT.saturating_sub(shown_in_json(&value.to_string()).len() + 100);
            let mut lines: Vec<&str> = Vec::new();
            for line in said.lines().rev() {
                let length = line.chars().map(in_json).sum::<usize>() + 3;
                let Some(rest) = left.checked_sub(length) else { break };
                left = rest;
                lines.push(line);
            }
            lines.reverse();
            value["lines"] = json!(lines);
            return shown_in_json(&value.to_string()).into_owned();
        }
        let cause = cause.map_or_else(String::new, |cause| format!(": {}", first_of(cause, CAUSE, in_text)));
        let release = release.map_or_else(String::new, |(text, _)| format!("release: {text}\n"));
        let head = format!("{word}{cause}\n{release}");
        let (head, said) = (shown(&head), shown(&said));
        let last = last_of(&said, LIMIT.saturating_sub(head.len() + 2));
        if last.is_empty() { head.into_owned() } else { format!("{head}\n{last}") }
    }
}

/// The length of a character once it is printed, in bytes.
fn in_text(character: char) -> usize {
    shown(character.encode_utf8(&mut [0; 4])).len()
}

/// The same in a JSON string.
fn in_json(character: char) -> usize {
    shown_in_json(&Value::from(character.to_string()).to_string()).len() - 2
}

/// The beginning of a text, up to `limit` bytes. `length` gives what each character takes.
fn first_of(text: &str, limit: usize, length: fn(char) -> usize) -> &str {
    let mut left = limit;
    let end = text.char_indices().find(|(_, character)| match left.checked_sub(length(*character)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

/// The last whole lines of a text, up to `limit` bytes.
fn last_of(text: &str, limit: usize) -> &str {
    let Some(from) = text.len().checked_sub(limit).filter(|from| *from > 0) else { return text };
    let after = text.bytes().enumerate().skip(from - 1).find(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    &text[after.unwrap_or(text.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_lines_are_kept() {
        assert_eq!(last_of("one\ntwo\nthree\n", 100), "one\ntwo\nthree\n");
        assert_eq!(last_of("one\ntwo\nthree\n", 10), "two\nthree\n");
        assert_eq!(last_of("one\ntwo\nthree\n", 9), "three\n");
        assert_eq!(last_of("one\ntwö", 3), "");
        assert_eq!(first_of("twö", 3, in_text), "tw");
        assert_eq!(first_of("twö", 30, in_text), "twö");
        assert_eq!(first_of("a\"b", 3, in_json), "a\"");
        assert_eq!((first_of("a\u{1}b", 6, in_json), first_of("a\u{1}b", 5, in_text)), ("a", "a\u{1}"));
    }

    /// A quotation mark takes two bytes in JSON, and a character that acts on a terminal up to eight.
    #[test]
    fn what_has_to_be_escaped_stays_within_the_limit() {
        for text in ["\"", "\x1b[2K\n", "\u{202e}", "\u{1}\\", "ü\t"] {
            let mut account = Account::default();
            (0..2_000).for_each(|_| writeln!(account, "{}", text.repeat(9).replace('\n', "")).unwrap());
            for json in [true, false] {
                let printed = account.composed("failed", Some(&text.repeat(20_000)), None, json);
                assert!(printed.len() <= LIMIT && printed.len() > LIMIT - 1_000, "{text:?} {json}: {}", printed.len());
                assert_eq!(printed, if json { shown_in_json(&printed) } else { shown(&printed) });
            }
        }
    }

    #[test]
    fn a_long_boot_stays_within_its_bounds() {
        let mut account = Account::default();
        for number in 0..100_000 {
            writeln!(account, "line {number} ü\"\"").unwrap();
        }
        let said = account.said.borrow();
        assert!(said.len() <= 4 * LIMIT && said.ends_with("line 99999 ü\"\"\n") && said.starts_with("line "), "{}", said.len());
    }
}
