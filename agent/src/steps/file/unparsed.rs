//! Rendered text that does not parse: the position, and the line itself with secrets removed.

use std::fmt;

use crate::failure::Failure;
use crate::step::Context;
use crate::template::FormatError;
use crate::text::shown_on_a_line;

/// Maximum number of characters shown. Longer lines are cut around the column, to keep reports readable.
const WIDTH: usize = 120;

/// The rendered text of a file that does not parse.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unparsed {
    /// The path of the file to be written.
    path: String,
    error: FormatError,
    /// The line at which the parser stopped, without any value from a secret. May be empty.
    line: String,
}

impl Unparsed {
    /// `rendered` is the text that was parsed.
    pub(super) fn of(error: FormatError, rendered: &str, cx: &Context<'_>) -> Self {
        let line = error.line.and_then(|line| rendered.lines().nth(line.checked_sub(1)?)).unwrap_or_default();
        let shown = cx.world.redactor.redact_content(line);
        Self { path: cx.key().to_owned(), line: around(shown_on_a_line(shown.trim()).as_ref(), error.column.unwrap_or(1)), error }
    }
}

/// The part of a line that is shown.
fn around(line: &str, column: usize) -> String {
    let length = line.chars().count();
    if length <= WIDTH {
        return line.to_owned();
    }
    let from = column.saturating_sub(WIDTH * 3 / 4).min(length - WIDTH);
    let shown: String = line.chars().skip(from).take(WIDTH).collect();
    let cut = |is_cut: bool| if is_cut { "…" } else { "" };
    format!("{}{shown}{}", cut(from > 0), cut(from + WIDTH < length))
}

impl fmt::Display for Unparsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        for number in [self.error.line, self.error.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, " is not {}: ", self.error.format.name())?;
        match self.line.as_str() {
            "" => write!(f, "it {}", self.error.reason),
            line => write!(f, "the line `{line}` {}", self.error.reason),
        }
    }
}

impl std::error::Error for Unparsed {}

impl Failure for Unparsed {
    fn hint(&self) -> Option<String> {
        self.error.hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        assert_eq!(around("{ x }", 3), "{ x }");
        let long = format!("{}x{}", "a".repeat(500), "b".repeat(500));
        let shown = around(&long, 501);
        assert_eq!((shown.chars().count(), shown.starts_with("…a"), shown.ends_with("b…")), (WIDTH + 2, true, true));
        assert!(shown.contains("axb"), "{shown}");
        assert!(around(&long, 1).starts_with("aaa") && around(&long, 1001).ends_with("bbb"));
    }
}
