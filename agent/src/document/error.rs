//! Mistakes in a document: file, line, column, the line itself, what is wrong, what to do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::failure::{Failure, Objection};
use crate::template::TemplateError;
use crate::text::{Place, is_unshowable};

/// One mistake. Its message is a lower-case fragment, its hint one imperative sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Whether it is something missing that a further layer, such as user data, may bring.
    pub(crate) may_come_later: bool,
}

impl Mistake {
    pub(crate) fn at(place: &Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), message: message.into(), hint: Some(hint.into()), may_come_later: false }
    }

    /// An objection to the value at `place`.
    pub(crate) fn of(place: &Place, objection: Objection) -> Self {
        Self::at(place, objection.message, objection.hint)
    }

    /// A template that does not parse, at its own line: counted from `start`, where the template begins.
    pub(crate) fn of_template(start: &Place, error: &TemplateError) -> Self {
        let at = error.position();
        let place = match at.line {
            1 => Place { column: start.column + at.column - 1, ..start.clone() },
            line => Place { line: start.line + line - 1, column: at.column, ..start.clone() },
        };
        Self { place: Some(place), message: error.to_string(), hint: error.hint(), may_come_later: false }
    }

    /// A mistake that has no line, such as a file that is not there.
    pub(crate) fn of_a_file(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { place: None, message: message.into(), hint, may_come_later: false }
    }
}

/// The text of every document that was read, by the name it goes by in a [`Place`].
pub(crate) type Sources = BTreeMap<Arc<str>, Arc<str>>;

/// Every mistake of a document, in the order of files and lines.
#[derive(Debug, thiserror::Error)]
pub(crate) struct DocumentError {
    mistakes: Vec<Mistake>,
    sources: Sources,
    /// Stands before each message.
    word: &'static str,
}

impl DocumentError {
    pub(crate) fn new(mut mistakes: Vec<Mistake>, sources: Sources) -> Self {
        mistakes.sort_unstable_by(|a, b| (&a.place, &a.message).cmp(&(&b.place, &b.message)));
        mistakes.dedup();
        Self { mistakes, sources, word: "" }
    }

    /// What an author should know, though it is not a mistake.
    pub(crate) fn warnings(mistakes: Vec<Mistake>, sources: Sources) -> Self {
        Self { word: "warning: ", ..Self::new(mistakes, sources) }
    }

    /// The same, with one more.
    pub(crate) fn with(mut self, mistake: Mistake) -> Self {
        self.mistakes.push(mistake);
        Self { word: self.word, ..Self::new(self.mistakes, self.sources) }
    }

    /// Parts what a further layer may bring from what is wrong in any case; `None` if nothing is.
    pub(crate) fn without_what_may_come(self) -> (Option<Self>, Vec<Mistake>) {
        let (later, now): (Vec<Mistake>, Vec<Mistake>) = self.mistakes.into_iter().partition(|mistake| mistake.may_come_later);
        ((!now.is_empty()).then_some(Self { mistakes: now, sources: self.sources, word: self.word }), later)
    }

    /// The same for machines.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let lines = self.lines_by_file();
        self.mistakes
            .iter()
            .map(|mistake| Entry {
                file: mistake.place.as_ref().map(|place| place.file.to_string()),
                line: mistake.place.as_ref().map(|place| place.line),
                column: mistake.place.as_ref().map(|place| place.column),
                source: mistake.place.as_ref().and_then(|place| line_at(&lines, place)),
                message: mistake.message.clone(),
                hint: mistake.hint.clone(),
                may_come_later: mistake.may_come_later,
            })
            .collect()
    }

    /// Each on a line of its own, without the line that it is about.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |mistake: &Mistake| {
            let place = mistake.place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
            let hint = mistake.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
            format!("{place}{}{}{hint}", self.word, mistake.message)
        };
        self.mistakes.iter().map(line).collect()
    }

    fn lines_by_file(&self) -> BTreeMap<&str, Vec<&str>> {
        self.sources.iter().map(|(file, text)| (&**file, text.lines().collect())).collect()
    }
}

/// The line that a mistake is about, as it may be shown.
fn line_at(lines: &BTreeMap<&str, Vec<&str>>, place: &Place) -> Option<String> {
    lines.get(&*place.file)?.get(place.line.checked_sub(1)?).map(|line| without_signatures(line))
}

/// One mistake in `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) file: Option<String>,
    pub(crate) line: Option<usize>,
    pub(crate) column: Option<usize>,
    /// The line itself.
    pub(crate) source: Option<String>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// See [`Mistake::may_come_later`].
    #[serde(skip)]
    pub(crate) may_come_later: bool,
}

/// Wider lines are cut around the column.
const SHOWN_WIDTH: usize = 120;

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines_by_file();
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            match &mistake.place {
                Some(place) => write!(f, "{place}: {}{}", self.word, mistake.message)?,
                None => write!(f, "{}{}", self.word, mistake.message)?,
            }
            if let Some((place, line)) = mistake.place.as_ref().and_then(|place| Some((place, line_at(&lines, place)?))) {
                let (shown, column) = cut(&line, place.column);
                write!(f, "\n{:>5} | {shown}\n      | {:>column$}", place.line, "^")?;
            }
            if let Some(hint) = &mistake.hint {
                write!(f, "\n hint: {hint}")?;
            }
        }
        Ok(())
    }
}

/// A line in which nobody can read what a URL asks with, character for character: whoever has a signed one, such as that of
/// a wait condition, may use it.
fn without_signatures(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    let mut hidden = false;
    for character in line.chars() {
        hidden = match character {
            '?' => shown.ends_with(|before: char| !before.is_whitespace()) && shown.contains("://"),
            _ => hidden && !character.is_whitespace() && !matches!(character, '"' | '\'' | '}' | ','),
        };
        shown.push(if hidden && character != '?' { '*' } else { character });
    }
    shown
}

/// A line that fits a terminal, and where the column is in it. Tabs become one space, and what would act on the terminal a
/// mark of its own, so that the caret stands right.
fn cut(line: &str, column: usize) -> (String, usize) {
    let from = column.saturating_sub(SHOWN_WIDTH * 3 / 4);
    let shown: String = line.chars().skip(from).take(SHOWN_WIDTH).map(in_one_column).collect();
    (shown.trim_end().to_owned(), column - from)
}

fn in_one_column(character: char) -> char {
    match character {
        '\t' | '\n' => ' ',
        _ if is_unshowable(character) => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

impl Failure for DocumentError {
    fn hint(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_line_and_marks_the_column() {
        let file: Arc<str> = "shop.yaml".into();
        let place = Place { file: file.clone(), line: 2, column: 3 };
        let sources = Sources::from([(file, "version: 1\n  servces: {}\n".into())]);
        let error = DocumentError::new(vec![Mistake::at(&place, "unknown key `servces`", "did you mean `services`?")], sources);
        insta::assert_snapshot!(error, @r"
        shop.yaml:2:3: unknown key `servces`
            2 |   servces: {}
              |   ^
         hint: did you mean `services`?
        ");
    }

    #[test]
    fn a_signed_url_is_shown_without_its_signature() {
        let line = r#"  w: { wait_condition_url: "https://s3.example/x?Expires=1&Signature=abc", stack: shop } # why? who knows"#;
        let shown = without_signatures(line);
        assert_eq!(shown.chars().count(), line.chars().count());
        assert_eq!(shown, r#"  w: { wait_condition_url: "https://s3.example/x?***********************", stack: shop } # why? who knows"#);
    }

    #[test]
    fn nothing_in_a_line_acts_on_the_terminal() {
        assert_eq!(cut("a\tb\u{1b}[2J\u{202e}c\u{9b}d", 6).0, "a b\u{fffd}[2J\u{fffd}c\u{fffd}d");
    }

    #[test]
    fn cuts_a_long_line_around_its_column() {
        let (shown, column) = cut(&format!("{}X{}", "a".repeat(500), "b".repeat(500)), 501);
        assert_eq!(shown.chars().nth(column - 1), Some('X'));
        assert_eq!(shown.chars().count(), SHOWN_WIDTH);
    }
}
