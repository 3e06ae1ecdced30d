//! Removes secrets from text that other programs wrote, before anyone sees it.
//!
//! ingot's own messages never contain a secret, by construction ([`SecretText`](crate::text::SecretText) does not
//! print). The output of a command, a unit's journal or a `check:` may: every such line passes through a [`Redactor`]
//! that knows the secrets of this boot. It searches for them in the line as it is, in the line without quotes and
//! escapes ([`view`]), and in what the line contains in base64 ([`base64`]), in hexadecimal ([`hex`]) or as a row of a
//! dump ([`dump`]), each also in UTF-16 if it is ASCII. [`common`] decides which scalars of a secret count. The time
//! grows with the length of the line, and hardly with the number of secrets.

mod base64;
mod common;
mod dump;
mod hex;
mod needles;
mod pieces;
mod view;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use zeroize::{Zeroize as _, Zeroizing};

use self::base64::Decoded;
use self::needles::Needles;
use self::pieces::{PIECE_FROM, Pieces, ROW_FROM};
use self::view::View;

use crate::sorting::Sort as _;

/// The replacement for a secret.
const MARK: &str = "[redacted]";

/// The longest line of output that is kept, in bytes. A line of this length was cut, and may end within a secret.
pub(crate) const LINE_LIMIT: usize = 16 * 1024;

/// A line that was cut is up to this many bytes shorter than the limit, so that it does not end within a character.
const CUT_CHARACTER: usize = 3;

/// The longest notation of a single character, in bytes: `\ud83d\ude00`.
const LONGEST_ESCAPE: usize = 12;

/// How much of a broken escape may be left when it is read as plain text, in bytes.
const BROKEN_ESCAPE: usize = 6;

/// The shortest beginning of a secret that is recognized at the end of a cut line, in bytes: a shorter one may be there
/// by chance.
const SURELY_BEGUN: usize = 4;

/// Lines of a binary secret that are shorter than this do not count as text, in bytes.
const BINARY_LINE_FROM: usize = 8;

/// How many levels of base64 and hexadecimal within each other are searched.
const DEPTH: usize = 2;

/// Knows the secrets of this boot, in the forms in which programs print them.
#[derive(Default)]
pub(crate) struct Redactor(RefCell<Known>);

#[derive(Default)]
struct Known {
    /// Every line of every secret.
    plain: Needles,
    /// The same in the form of [`View::bare`].
    bare: Needles,
    /// Whole secrets, to recognize pieces of them, because programs break long lines.
    pieces: Pieces,
    /// Texts that are not secret although they occur in a secret, such as its user name.
    public: BTreeSet<String>,
    /// Scalars of secrets that are [too common](common) to be removed from a log.
    common: BTreeSet<String>,
}

impl Drop for Known {
    fn drop(&mut self) {
        std::mem::take(&mut self.common).into_iter().for_each(|mut text| text.zeroize());
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Learns every string and number in `value` that is a secret, except the fields at the paths of `public`.
    pub(crate) fn learn(&self, value: &serde_json::Value, public: &[String]) {
        self.learn_below(value, "", public);
    }

    fn learn_below(&self, value: &serde_json::Value, path: &str, public: &[String]) {
        if public.iter().any(|public| public == path) {
            return self.0.borrow_mut().publish(value);
        }
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            serde_json::Value::String(text) => {
                self.0.borrow_mut().learn(text);
                // A program may parse a text that ingot passes as a whole.
                if text.trim_start().starts_with(['{', '['])
                    && let Ok(within) = crate::number::from_json(text)
                {
                    self.learn_below(&within, path, public);
                }
            }
            // As it was written, and as helpers and programs rewrite it.
            serde_json::Value::Number(number) => {
                crate::number::spellings(number).iter().for_each(|text| self.0.borrow_mut().learn(text));
            }
            serde_json::Value::Array(items) => {
                items.iter().enumerate().for_each(|(at, item)| self.learn_below(item, &below(&at.to_string()), public));
            }
            serde_json::Value::Object(fields) => fields.iter().for_each(|(name, field)| self.learn_below(field, &below(name), public)),
            serde_json::Value::Bool(truth) => drop(self.0.borrow_mut().common.insert(truth.to_string())),
            serde_json::Value::Null => {}
        }
    }

    /// Learns what was made from the secrets `of`. If all of these are public, the result is public as well.
    pub(crate) fn learn_made(&self, made: &serde_json::Value, of: &[&serde_json::Value]) {
        let mut known = self.0.borrow_mut();
        if of.iter().all(|value| known.is_public(value)) {
            return known.publish(made);
        }
        drop(known);
        self.learn(made, &[]);
    }

    /// Learns the text in a binary secret, if there is any.
    pub(crate) fn learn_bytes(&self, secret: &[u8]) {
        let text = Zeroizing::new(String::from_utf8_lossy(secret).into_owned());
        text.lines().filter(|line| line.len() >= BINARY_LINE_FROM).for_each(|line| self.0.borrow_mut().learn(line));
    }

    /// `line` without any secret.
    pub(crate) fn redact(&self, line: &str) -> String {
        let known = self.0.borrow();
        if known.plain.is_empty() {
            return line.to_owned();
        }
        let cut = (LINE_LIMIT - CUT_CHARACTER..=LINE_LIMIT).contains(&line.len());
        let line = if cut { before_a_broken_escape(line) } else { line };
        replaced(line, known.find(line, cut))
    }

    /// `line` of a file with secrets, without any scalar of a secret, however short or common.
    pub(crate) fn redact_content(&self, line: &str) -> String {
        let known = self.0.borrow();
        let mut stretches = known.find(line, false);
        stretches.extend(known.find_common(line));
        replaced(line, stretches)
    }
}

impl Known {
    fn learn(&mut self, secret: &str) {
        let whole = secret.trim();
        let (secrets, short): (Vec<&str>, Vec<&str>) = secret.lines().map(str::trim).partition(|line| common::is_secret(line));
        if !common::is_json_of_lines(whole) {
            // Braces and the like occur in every file, and in no scalar that is worth hiding.
            let scalars = short.into_iter().filter(|line| line.contains(char::is_alphanumeric));
            self.common.extend(scalars.map(str::to_owned));
        }
        if !common::is_secret(whole) {
            return;
        }
        // Output arrives line by line, so a secret of several lines is searched for line by line. If none of its lines
        // counts as a secret, as in a list of codes, the whole text does.
        for secret in if secrets.is_empty() { vec![whole] } else { secrets } {
            self.plain.add(secret.as_bytes());
            self.bare.add(View::of(secret.as_bytes()).unescaped(&mut |_| {}).bare().text());
        }
        // With its line breaks for decoded text, and without them for lines that are broken differently.
        let joined = Zeroizing::new(secret.lines().collect::<String>());
        for whole in [secret, joined.as_str()] {
            self.pieces.add(whole.as_bytes());
        }
    }

    /// Allows every scalar of `value` to be printed, and what is made only from such scalars.
    fn publish(&mut self, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => drop(self.public.insert(text.clone())),
            serde_json::Value::Number(number) => self.public.extend([number.to_string()]),
            serde_json::Value::Array(items) => items.iter().for_each(|item| self.publish(item)),
            serde_json::Value::Object(fields) => fields.values().for_each(|field| self.publish(field)),
            serde_json::Value::Null | serde_json::Value::Bool(_) => {}
        }
    }

    /// Whether everything in `value` was published.
    fn is_public(&self, value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => self.public.contains(text),
            serde_json::Value::Number(number) => self.public.contains(&number.to_string()),
            serde_json::Value::Array(items) => items.iter().all(|item| self.is_public(item)),
            serde_json::Value::Object(fields) => fields.values().all(|field| self.is_public(field)),
            serde_json::Value::Null | serde_json::Value::Bool(_) => true,
        }
    }

    /// The ranges of `line` that are scalars too common to be secrets in a log.
    fn find_common(&self, line: &str) -> Vec<Range<usize>> {
        let whole = View::of(line.as_bytes());
        let bare = View::of(line.as_bytes()).unescaped(&mut |_| {}).bare();
        let mut stretches = Vec::new();
        for text in &self.common {
            let read = View::of(text.as_bytes()).unescaped(&mut |_| {}).bare();
            for (view, needle) in [(&whole, text.as_bytes()), (&bare, read.text())] {
                let found = memchr::memmem::find_iter(view.text(), needle).filter(|_| !needle.is_empty());
                let places = found.map(|at| view.place(at..at + needle.len()));
                stretches.extend(places.map(|place| place.start as usize..place.end as usize));
            }
        }
        stretches
    }

    /// The ranges of `line` that are secrets, in any order.
    fn find(&self, line: &str, cut: bool) -> Vec<Range<usize>> {
        let mut stretches = Vec::new();
        let mut found = |place: Range<u32>| stretches.push(place.start as usize..place.end as usize);
        let whole = View::of(line.as_bytes());
        let looked = Cell::new(0);
        dump::row(&whole).iter().for_each(|row| self.find_broken(row, ROW_FROM, &looked, &mut found));
        self.find_decoded(whole, cut, DEPTH, &looked, &mut found);
        let alone = line.trim();
        if self.pieces.holds(alone.as_bytes(), PIECE_FROM, &looked) {
            let from = line.len() - line.trim_start().len();
            stretches.push(from..from + alone.len());
        }
        stretches
    }

    /// Searches for secrets in bytes that continue in the lines before and after.
    fn find_broken(&self, bytes: &View, from: usize, looked: &Cell<usize>, found: &mut dyn FnMut(Range<u32>)) {
        let narrow = bytes.narrow();
        for bytes in std::iter::once(bytes).chain(&narrow) {
            search(&self.plain, bytes, false, found);
            search_begun(&self.plain, bytes, found);
            search_ended(&self.plain, bytes, found);
            if self.pieces.holds(bytes.text(), from, looked) {
                found(bytes.place(0..bytes.text().len()));
            }
        }
    }

    /// Searches for secrets in a text as it is, without escapes, without quotes, and in base64 and hexadecimal.
    fn find_decoded(&self, text: View, cut: bool, depth: usize, looked: &Cell<usize>, found: &mut dyn FnMut(Range<u32>)) {
        if let Some(narrow) = text.narrow() {
            self.find_decoded(narrow, cut, depth, looked, found);
        }
        search(&self.plain, &text, cut, found);
        let unescaped = text.unescaped(&mut |text| search(&self.plain, text, cut, found));
        search(&self.bare, &unescaped.bare(), cut, found);
        if let Some(apart) = unescaped.apart() {
            search(&self.bare, &apart.bare(), cut, found);
        }
        // Base64 of base64 consists of ASCII only.
        if depth == 0 || (depth < DEPTH && !unescaped.text().is_ascii()) {
            return;
        }
        let is_line = depth == DEPTH;
        let mut look = |Decoded { view, at_the_start, at_the_end }, line| {
            // Programs break encoded text into lines, and each line is redacted by itself.
            if is_line && at_the_end && view.text().len() >= line {
                search_begun(&self.plain, &view, found);
            }
            if is_line && at_the_start && at_the_end {
                search_ended(&self.plain, &view, found);
            }
            let cut = cut && at_the_end;
            if self.pieces.holds(view.text(), PIECE_FROM, looked) {
                found(view.place(0..view.text().len()));
            }
            self.find_decoded(view, cut, depth - 1, looked, found);
        };
        let unbroken = unescaped.unbroken();
        for text in std::iter::once(&unescaped).chain(&unbroken) {
            base64::decoded(text, &mut |decoded| look(decoded, base64::LINE));
            hex::decoded(text, &mut |decoded| look(decoded, hex::LINE));
        }
    }
}

/// Reports where in the line a needle is found in `view`; at the end of a cut line, also the beginning of a needle.
fn search(needles: &Needles, view: &View, cut: bool, found: &mut dyn FnMut(Range<u32>)) {
    let text = view.text();
    needles.find(text, &mut |range| found(view.place(range)));
    if !cut {
        return;
    }
    // After the last whole character there may be the first bytes of an escape, which read as something else.
    for broken in 0..=text.len().min(BROKEN_ESCAPE) {
        let whole = &text[..text.len() - broken];
        if let Some(from) = needles.begun_at_the_end(whole).filter(|from| broken == 0 || whole.len() - from >= SURELY_BEGUN) {
            found(view.place(from..text.len()));
        }
    }
}

/// Reports where in the line a needle begins that continues in the next line.
fn search_begun(needles: &Needles, view: &View, found: &mut dyn FnMut(Range<u32>)) {
    let text = view.text();
    if let Some(from) = needles.begun_at_the_end(text).filter(|from| text.len() - from >= SURELY_BEGUN) {
        found(view.place(from..text.len()));
    }
}

/// Reports where in the line a needle ends that began in the previous line.
fn search_ended(needles: &Needles, view: &View, found: &mut dyn FnMut(Range<u32>)) {
    if let Some(to) = needles.ended_at_the_start(view.text()).filter(|to| *to >= SURELY_BEGUN) {
        found(view.place(0..to));
    }
}

/// `line` without an escape at its end that may be incomplete.
fn before_a_broken_escape(line: &str) -> &str {
    let last = line.floor_char_boundary(line.len().saturating_sub(LONGEST_ESCAPE));
    line[last..].find(['%', '\\', '&']).map_or(line, |at| &line[..last + at])
}

/// `line` with every range replaced by the mark.
fn replaced(line: &str, mut stretches: Vec<Range<usize>>) -> String {
    stretches.order_by_key(|stretch| (stretch.start, stretch.end));
    let (mut out, mut end) = (String::with_capacity(line.len()), 0);
    for stretch in stretches {
        let (from, to) = (line.floor_char_boundary(stretch.start), line.ceil_char_boundary(stretch.end));
        if from >= end && to > from {
            out.push_str(&line[end..from]);
            out.push_str(MARK);
        }
        end = end.max(to);
    }
    out.push_str(&line[end..]);
    out
}

#[cfg(test)]
mod tests;
