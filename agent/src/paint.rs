//! Text for people, line by line: with colors and line breaks on a terminal, and as bare text elsewhere.
//!
//! Nothing in it acts on the terminal except the colors in this file: see [`shown`].

use std::fmt::Write as _;

use crate::text::shown;

/// The narrowest terminal for which lines are wrapped, in columns. Below this, wrapped lines
/// are harder to read than those that the terminal wraps.
const NARROWEST: usize = 40;

/// The style of a part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    /// A name, or a result.
    Strong,
    /// Less important text.
    Soft,
    Good,
    Notice,
    Bad,
}

impl Style {
    /// The parameter of "Select Graphic Rendition". Only colors that every terminal has, as its own theme defines them.
    ///
    /// Source: ECMA-48, 8.3.117
    fn code(self) -> Option<u8> {
        match self {
            Self::Plain => None,
            Self::Strong => Some(1),
            Self::Soft => Some(2),
            Self::Good => Some(32),
            Self::Notice => Some(33),
            Self::Bad => Some(31),
        }
    }
}

/// A line in parts. Text that does not fit continues in the column `hanging`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    hanging: usize,
    parts: Vec<(Style, String)>,
}

impl Style {
    pub(crate) fn line(self, text: impl Into<String>) -> Line {
        Line::default().then(self, text)
    }
}

impl Line {
    pub(crate) fn hanging(column: usize) -> Self {
        Self { hanging: column, parts: Vec::new() }
    }

    pub(crate) fn then(mut self, style: Style, text: impl Into<String>) -> Self {
        self.parts.push((style, text.into()));
        self
    }
}

/// The output for text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Canvas {
    /// The number of columns; `None` if lines are not wrapped.
    pub(crate) width: Option<usize>,
    pub(crate) colored: bool,
}

impl Canvas {
    /// The lines as text to print.
    pub(crate) fn draw(self, lines: &[Line]) -> String {
        let mut out = String::new();
        for line in lines {
            self.line(line, &mut out);
            out.push('\n');
        }
        out
    }

    fn line(self, line: &Line, out: &mut String) {
        let width = self.width.filter(|width| *width >= NARROWEST.max(2 * line.hanging));
        let mut column = 0;
        for (style, text) in &line.parts {
            let code = style.code().filter(|_| self.colored && !text.trim().is_empty());
            code.into_iter().for_each(|code| out.push_str(&format!("\x1b[{code}m")));
            for word in shown(text).split_inclusive(' ') {
                let length = word.trim_end_matches(' ').chars().count();
                if width.is_some_and(|width| column > line.hanging && column + length > width) {
                    out.truncate(out.trim_end_matches(' ').len());
                    let _ = write!(out, "\n{:1$}", "", line.hanging);
                    column = line.hanging;
                }
                out.push_str(word);
                column += word.chars().count();
            }
            code.into_iter().for_each(|_| out.push_str("\x1b[0m"));
        }
        out.truncate(out.trim_end_matches(' ').len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> [Line; 2] {
        let long = "write /etc/shop/shop.toml (mode 0640, owner shop), as its template says";
        [Style::Strong.line("files./etc/a"), Line::hanging(6).then(Style::Plain, "    ").then(Style::Good, "+ ").then(Style::Plain, long)]
    }

    #[test]
    fn text_for_no_terminal_is_bare_and_unbroken() {
        let long = "write /etc/shop/shop.toml (mode 0640, owner shop), as its template says";
        assert_eq!(Canvas::default().draw(&lines()), format!("files./etc/a\n    + {long}\n"));
    }

    #[test]
    fn a_terminal_has_its_width_and_its_colors() {
        let narrow = Canvas { width: Some(48), colored: false }.draw(&lines());
        insta::assert_snapshot!(narrow, @r"
        files./etc/a
            + write /etc/shop/shop.toml (mode 0640,
              owner shop), as its template says
        ");
        let colored = Canvas { width: None, colored: true }.draw(&lines()[..1]);
        assert_eq!(colored, "\x1b[1mfiles./etc/a\x1b[0m\n");
        let tiny = Canvas { width: Some(20), colored: false }.draw(&lines());
        assert_eq!(tiny, Canvas::default().draw(&lines()));
    }

    #[test]
    fn what_others_said_does_not_act_on_the_terminal() {
        let drawn = Canvas { width: Some(60), colored: true }.draw(&[Style::Bad.line("a\x1b[2J\u{202e}b")]);
        assert_eq!(drawn, "\x1b[31ma\\x1b[2J\\u{202e}b\x1b[0m\n");
    }
}
