//! Mistakes in a document: file, line, column, the line itself, the problem and a hint.

use std::collections::BTreeMap;
use std::fmt;
use std::str::Chars;
use std::sync::Arc;

use serde::Serialize;

use crate::document::scalar::Within;
use crate::failure::{Failure, Objection};
use crate::gather::Gather as _;
use crate::sorting::Sort as _;
use crate::template::TemplateError;
use crate::text::{Place, is_unshowable};

/// One mistake. Its message is a lower-case fragment, its hint one imperative sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub place: Option<Place>,
    pub message: String,
    pub hint: Option<String>,
    /// Whether something is missing that a later layer, such as user data, may provide.
    pub(crate) may_come_later: bool,
    /// The character that it is about, within a string that begins at `place`.
    pub(crate) within: Option<Within>,
}

impl Mistake {
    pub fn at(place: &Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), message: message.into(), hint: Some(hint.into()), may_come_later: false, within: None }
    }

    /// An objection to the value at `place`.
    pub fn of(place: &Place, objection: Objection) -> Self {
        Self::at(place, objection.message, objection.hint)
    }

    /// A template that does not parse: `text` is a string of the document that begins at `start`.
    pub(crate) fn of_template(start: &Place, text: &str, error: &TemplateError) -> Self {
        let within = error.position().offset_in(text).and_then(|offset| Within::at(text, offset));
        Self { hint: error.hint(), within, ..Self::at(start, error.to_string(), "") }
    }

    /// The same for a template that is a file.
    pub(crate) fn of_template_file(file: Arc<str>, error: &TemplateError) -> Self {
        let at = error.position();
        Self { hint: error.hint(), ..Self::at(&Place { file, line: at.line, column: at.column }, error.to_string(), "") }
    }

    /// A mistake without a line, such as a file that does not exist.
    pub fn of_a_file(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { place: None, message: message.into(), hint, may_come_later: false, within: None }
    }
}

/// The text of every document that was read, by its file name in a [`Place`].
pub type Sources = BTreeMap<Arc<str>, Arc<str>>;

/// Every mistake of a document, in the order of files and lines.
#[derive(Debug, thiserror::Error)]
pub struct DocumentError {
    mistakes: Vec<Mistake>,
    sources: Sources,
    /// The prefix of each message.
    word: &'static str,
}

impl DocumentError {
    pub fn new(mut mistakes: Vec<Mistake>, sources: Sources) -> Self {
        find_within(&mut mistakes, &sources);
        mistakes.order_by(|a, b| (&a.place, &a.message).cmp(&(&b.place, &b.message)));
        mistakes.dedup();
        Self { mistakes, sources, word: "" }
    }

    /// Warnings: what an author should know although it is not a mistake.
    pub fn warnings(mistakes: Vec<Mistake>, sources: Sources) -> Self {
        Self { word: "warning: ", ..Self::new(mistakes, sources) }
    }

    /// The mistakes, and the texts that contain them.
    pub(crate) fn into_parts(self) -> (Vec<Mistake>, Sources) {
        (self.mistakes, self.sources)
    }

    /// The same with one more mistake.
    pub(crate) fn with(mut self, mistake: Mistake) -> Self {
        self.mistakes.push(mistake);
        Self { word: self.word, ..Self::new(self.mistakes, self.sources) }
    }

    /// Separates what a later layer may provide from what is wrong in any case. The first is `None` if nothing is wrong
    /// in any case.
    pub(crate) fn without_what_may_come(self) -> (Option<Self>, Vec<Mistake>) {
        let (later, now): (Vec<Mistake>, Vec<Mistake>) = self.mistakes.into_iter().partition(|mistake| mistake.may_come_later);
        ((!now.is_empty()).then_some(Self { mistakes: now, sources: self.sources, word: self.word }), later)
    }

    /// The mistakes in machine-readable form.
    pub fn entries(&self) -> Vec<Entry> {
        if self.mistakes.is_empty() {
            return Vec::new();
        }
        let mut lines = Lines::of(&self.sources);
        self.mistakes
            .iter()
            .map(|mistake| Entry {
                file: mistake.place.as_ref().map(|place| place.file.to_string()),
                line: mistake.place.as_ref().map(|place| place.line),
                column: mistake.place.as_ref().map(|place| place.column),
                source: mistake.place.as_ref().and_then(|place| lines.around(place, SOURCE_WIDTH)).map(|(shown, _)| shown),
                message: mistake.message.clone(),
                hint: mistake.hint.clone(),
                may_come_later: mistake.may_come_later,
            })
            .collect()
    }

    /// One line for each mistake, without the source line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |mistake: &Mistake| {
            let place = mistake.place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
            let hint = mistake.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
            format!("{place}{}{}{hint}", self.word, mistake.message)
        };
        self.mistakes.iter().map(line).collect()
    }
}

/// Locates the mistakes that are about a character of a string.
fn find_within(mistakes: &mut [Mistake], sources: &Sources) {
    let mut lines: BTreeMap<Arc<str>, Vec<&str>> = BTreeMap::new();
    for mistake in mistakes {
        let (Some(within), Some(place)) = (mistake.within.take(), &mut mistake.place) else { continue };
        let lines = lines
            .entry(place.file.clone())
            .or_insert_with(|| sources.get(&place.file).map_or_else(Vec::new, |text| text.lines().collect()));
        if let Some(found) = within.place(lines, place) {
            *place = found;
        }
    }
}

/// One mistake in `--json`.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub file: Option<String>,
    pub line: Option<usize>,
    pub column: Option<usize>,
    /// The source line. A long one is cut around the column.
    pub source: Option<String>,
    pub message: String,
    pub hint: Option<String>,
    /// See [`Mistake::may_come_later`].
    #[serde(skip)]
    pub(crate) may_come_later: bool,
}

/// Lines longer than this, in characters, are cut around the column: in the text output, and in JSON. A document may be
/// a single line with a mistake in every word.
const SHOWN_WIDTH: usize = 120;
const SOURCE_WIDTH: usize = 1000;

/// Marks where text was cut off.
const ELLIPSIS: char = '…';

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Lines::of(&self.sources);
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            match &mistake.place {
                Some(place) => write!(f, "{place}: {}{}", self.word, mistake.message)?,
                None => write!(f, "{}{}", self.word, mistake.message)?,
            }
            if let Some((place, (shown, column))) =
                mistake.place.as_ref().and_then(|place| Some((place, lines.around(place, SHOWN_WIDTH)?)))
            {
                let shown: String = shown.trim_end().chars().map(in_one_column).collect();
                write!(f, "\n{:>5} | {shown}\n      | {:>column$}", place.line, "^")?;
            }
            if let Some(hint) = &mistake.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

/// The lines of all documents, from which the surroundings of places are shown one after another.
struct Lines<'a> {
    by_file: BTreeMap<&'a str, Vec<&'a str>>,
    /// The position reached in the last line, because the next place may be in the same line.
    last: Option<(Place, Walk<'a>)>,
}

impl<'a> Lines<'a> {
    fn of(sources: &'a Sources) -> Self {
        Self { by_file: sources.iter().map(|(file, text)| (&**file, text.lines().collect())).gather(), last: None }
    }

    /// Up to `width` characters of the line, without [signatures](Walk), and the position of the column of `place` in
    /// them.
    fn around(&mut self, place: &Place, width: usize) -> Option<(String, usize)> {
        let line = *self.by_file.get(&*place.file)?.get(place.line.checked_sub(1)?)?;
        let is_wide = line.chars().nth(width).is_some();
        let from = if is_wide { place.column.saturating_sub(width * 3 / 4) } else { 0 };
        let last = self.last.take().filter(|(last, walk)| last.file == place.file && last.line == place.line && walk.passed <= from);
        let mut walk = last.map_or_else(|| Walk::of(line), |(_, walk)| walk);
        while walk.passed < from && walk.next().is_some() {}
        self.last = Some((place.clone(), walk.clone()));
        let mut shown: String = walk.by_ref().take(width).collect();
        if from > 0
            && let Some(first) = shown.chars().next()
        {
            shown.replace_range(..first.len_utf8(), ELLIPSIS.encode_utf8(&mut [0; 4]));
        }
        if walk.next().is_some() && shown.pop().is_some() {
            shown.push(ELLIPSIS);
        }
        Some((shown, place.column - from))
    }
}

/// The characters of a line, with the query of every URL replaced character by character: anyone who has a signed URL,
/// such as that of a wait condition, can use it.
#[derive(Debug, Clone)]
struct Walk<'a> {
    rest: Chars<'a>,
    passed: usize,
    /// The last three characters.
    before: [char; 3],
    has_url: bool,
    is_hidden: bool,
}

impl<'a> Walk<'a> {
    fn of(line: &'a str) -> Self {
        Self { rest: line.chars(), passed: 0, before: [' '; 3], has_url: false, is_hidden: false }
    }
}

impl Iterator for Walk<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        let [_, second, last] = self.before;
        self.is_hidden = match character {
            '?' => self.has_url && !last.is_whitespace(),
            _ => self.is_hidden && !character.is_whitespace() && !matches!(character, '"' | '\'' | '}' | ','),
        };
        self.before = [second, last, character];
        self.has_url |= self.before == [':', '/', '/'];
        self.passed += 1;
        Some(if self.is_hidden && character != '?' { '*' } else { character })
    }
}

/// A character as shown in a terminal: tabs become one space, and control characters become a replacement mark, so that
/// the caret is in the right column.
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

    /// The text shown of a line around a column, and the position of the column in it.
    fn around(line: &str, columns: &[usize], width: usize) -> Vec<(String, usize)> {
        let file: Arc<str> = "a".into();
        let sources = Sources::from([(file.clone(), line.into())]);
        let mut lines = Lines::of(&sources);
        columns.iter().map(|column| lines.around(&Place { file: file.clone(), line: 1, column: *column }, width).unwrap()).collect()
    }

    #[test]
    fn a_signed_url_is_shown_without_its_signature() {
        let line = r#"  w: { wait_condition_url: "https://s3.example/x?Expires=1&Signature=abc", stack: shop } # why? who knows"#;
        let shown: String = Walk::of(line).collect();
        assert_eq!(shown, r#"  w: { wait_condition_url: "https://s3.example/x?***********************", stack: shop } # why? who knows"#);
        let long = format!("https://s3.example/x?{}Signature=abc y", "a".repeat(500));
        assert_eq!(around(&long, &[532], 20), [("…**************** y".into(), 15)]);
    }

    #[test]
    fn nothing_in_a_line_acts_on_the_terminal() {
        let shown: String = "a\tb\u{1b}[2J\u{202e}c\u{9b}d".chars().map(in_one_column).collect();
        assert_eq!(shown, "a b\u{fffd}[2J\u{fffd}c\u{fffd}d");
    }

    #[test]
    fn cuts_a_long_line_around_its_column() {
        let line = format!("{}X{}Y{}", "a".repeat(500), "ä".repeat(70), "b".repeat(500));
        // Also covers a second place in the same line, and a place before the first.
        for (shown, (mark, is_begun)) in
            around(&line, &[501, 572, 501, 1], SHOWN_WIDTH).into_iter().zip([('X', true), ('Y', true), ('X', true), ('a', false)])
        {
            let (shown, column) = shown;
            assert_eq!(shown.chars().nth(column - 1), Some(mark));
            assert_eq!(shown.chars().count(), SHOWN_WIDTH);
            assert!(shown.ends_with(ELLIPSIS) && shown.starts_with(ELLIPSIS) == is_begun, "{shown}");
        }
        let whole = "a".repeat(SHOWN_WIDTH);
        assert_eq!(around(&whole, &[110], SHOWN_WIDTH), [(whole.clone(), 110)]);
    }

    /// Regression: 2,000 warnings in one line of 200 KB produced 400 MB of JSON.
    #[test]
    fn a_document_of_one_line_is_not_shown_again_for_each_of_its_mistakes() {
        let (file, line): (Arc<str>, String) = ("a".into(), "{\"ä\": \"b\"}, ".repeat(16_000));
        let at = |n: usize| Mistake::at(&Place { file: file.clone(), line: 1, column: n * 12 + 1 }, "wrong", "correct it");
        let error = DocumentError::new((0..16_000).map(at).collect(), Sources::from([(file.clone(), line.into())]));
        let now = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
        let began = now();
        let entries = error.entries();
        let took = std::time::Duration::from(now() - began);
        assert!(took.as_secs() < 8, "{took:?}");
        assert!(entries.iter().all(|entry| entry.source.as_ref().is_some_and(|source| source.len() <= 4 * SOURCE_WIDTH)));
    }
}
