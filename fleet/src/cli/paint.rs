//! Lines with a color, and whether colors are used, by the rule of NO_COLOR.

use std::env;
use std::ffi::OsStr;

use ingot::desk::shown;

use crate::story::Color;

/// A line of text. Control characters in it are escaped when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) color: Option<Color>,
}

impl Line {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), color: None }
    }

    pub(super) fn of(color: Color, text: impl Into<String>) -> Self {
        Self { text: text.into(), color: Some(color) }
    }

    /// The line as written, with its color or without.
    pub(super) fn written(&self, is_colored: bool) -> String {
        let text = shown(&self.text);
        match self.color.filter(|_| is_colored) {
            Some(color) => format!("\x1b[{}m{text}\x1b[0m", code(color)),
            None => text.into_owned(),
        }
    }
}

/// The basic colors, whose shades the terminal chooses.
const fn code(color: Color) -> u8 {
    match color {
        Color::Red => 31,
        Color::Green => 32,
        Color::Yellow => 33,
        Color::Grey => 90,
    }
}

/// Whether what goes to a stream is colored.
pub(super) fn is_colored(is_terminal: bool) -> bool {
    let [no_color, force, term] = ["NO_COLOR", "CLICOLOR_FORCE", "TERM"].map(env::var_os);
    decided(no_color.as_deref(), force.as_deref(), term.as_deref(), is_terminal)
}

/// Sources: <https://no-color.org> and <https://bixense.com/clicolors>
fn decided(no_color: Option<&OsStr>, force: Option<&OsStr>, term: Option<&OsStr>, is_terminal: bool) -> bool {
    let says = |value: Option<&OsStr>| value.is_some_and(|value| !value.is_empty());
    if says(no_color) {
        return false;
    }
    let is_forced = says(force) && force != Some(OsStr::new("0"));
    is_forced || is_terminal && term != Some(OsStr::new("dumb"))
}

/// A text on one line, for a cell of a table: texts of AWS may have line breaks.
pub(super) fn on_a_line(text: &str) -> String {
    shown(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_takes_precedence() {
        let is = |no_color: Option<&str>, force: Option<&str>, term: &str, is_terminal| {
            decided(no_color.map(OsStr::new), force.map(OsStr::new), Some(OsStr::new(term)), is_terminal)
        };
        assert!(is(None, None, "xterm", true) && !is(None, None, "xterm", false));
        assert!(!is(Some("1"), None, "xterm", true) && !is(Some("0"), Some("1"), "xterm", true), "whatever its value is");
        assert!(is(Some(""), None, "xterm", true), "an empty one says nothing");
        assert!(is(None, Some("1"), "xterm", false) && !is(None, Some("0"), "xterm", false) && !is(None, Some(""), "xterm", false));
        assert!(!is(None, None, "dumb", true));
    }

    #[test]
    fn only_colors_reach_the_terminal() {
        let hostile = Line::of(Color::Red, "a\x1b[2Jb\r");
        assert_eq!(hostile.written(false), "a\\x1b[2Jb\\r");
        assert_eq!(hostile.written(true), "\x1b[31ma\\x1b[2Jb\\r\x1b[0m");
        assert_eq!(Line::plain("a").written(true), "a");
        assert_eq!(on_a_line("a\n\tb\x1b \u{202e}"), "a b\\x1b \\u{202e}");
    }
}
