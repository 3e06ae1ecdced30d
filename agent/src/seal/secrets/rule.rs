//! One rule of gitleaks's format, and how it judges the place of a keyword.
//!
//! # Which rules guess
//!
//! A rule either knows a secret by its own looks (`ghp_…`, a PEM block) or guesses from the words around it
//! (`password = …`). A rule that guesses is heard in text only, and not in places that gitleaks's path lists name
//! (`node_modules`, Python's packages, lock files, images): what others have published is full of such words, and a bake
//! that fails for them would soon have its scan turned off. Those lists are made for repositories, where such
//! directories are not deployed; in an image they are. So a rule that does not guess is heard there, too.
//!
//! `gitleaks:allow` in a file is not heeded: an image's allow list gives reasons.

use std::ops::Range;
use std::sync::OnceLock;

use regex_lite::{Captures, Regex};
use serde::Deserialize;

use super::allowance::{Allowance, AllowanceText, Matched};
use super::expression::{self, Head, IDENTIFIER, Mark, from_go};
use super::pem;

/// Tells what looks like a secret from one.
type Check = fn(&str) -> bool;

/// Rules whose finds are decoded before they count.
const CHECKS: [(&str, Check); 2] = [("private-key", pem::is_key), ("private-key-base64", pem::is_encoded_key)];

/// How far a secret may reach from where its expression begins. A private key of 16,384 bits has 12.7 KiB of base64.
pub(super) const REACH: usize = 16 * 1024;

/// What is looked at on either side of a keyword that may stand anywhere in its expression.
const AROUND: (usize, usize) = (160, 640);

/// The same, of a rule that is about few files.
const WIDELY_AROUND: (usize, usize) = (BEFORE, 2 * 1024);

/// The farthest that anything looks back.
pub(super) const BEFORE: usize = 512;

/// Nobody writes scripts of such lines: a program has put them together, of words that look like secrets.
const MINIFIED: usize = 1000;
const SCRIPTS: [&str; 5] = [".js", ".mjs", ".cjs", ".css", ".map"];

/// How much of a line an allow list sees on either side of a match.
const LINE: usize = 1024;

/// `[[rules]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RuleText {
    pub(super) id: String,
    description: String,
    #[serde(default)]
    regex: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    secret_group: Option<usize>,
    #[serde(default)]
    entropy: Option<f64>,
    #[serde(default)]
    keywords: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    allowlists: Vec<AllowanceText>,
}

/// A rule, ready to judge. Its expressions are compiled when they are first needed: an image meets few of them.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) says: String,
    pub(super) keywords: Vec<String>,
    pub(super) guesses: bool,
    expression: Option<Expression>,
    path: Option<Regex>,
    /// Of which such a path has one, if any are known.
    path_marks: Vec<Mark>,
    /// Whether what looks like it is it.
    check: Option<Check>,
    secret_group: Option<usize>,
    entropy: f64,
    allowances: Vec<Allowance>,
}

#[derive(Debug)]
struct Expression {
    text: String,
    begins: Begins,
    begins_a_word: bool,
    assigns: bool,
    /// Whether it takes an ordinary word for a sign.
    guesses: bool,
    compiled: OnceLock<Option<Regex>>,
}

/// Where a match may begin.
#[derive(Debug)]
enum Begins {
    AtKeyword(Vec<Head>),
    /// Before or after a keyword, with one of these.
    With(Vec<Head>),
    /// Anywhere near a keyword, which is spelled so if that is known.
    Anywhere(Option<String>),
}

impl Rule {
    pub(super) fn compile(text: RuleText) -> Result<Self, regex_lite::Error> {
        let keywords: Vec<String> = text.keywords.iter().map(|keyword| keyword.to_ascii_lowercase()).collect();
        let expression = text.regex.map(|regex| Expression::new(from_go(&regex), &keywords));
        let guesses = text.tags.iter().any(|tag| tag == "guess") || expression.as_ref().is_some_and(|expression| expression.guesses);
        Ok(Self {
            says: fragment(&text.description),
            guesses,
            expression,
            path: text.path.as_deref().map(|path| Regex::new(&from_go(path))).transpose()?,
            path_marks: text.path.as_deref().map(expression::marks).unwrap_or_default(),
            check: CHECKS.iter().find(|(rule, _)| *rule == text.id).map(|(_, check)| *check),
            secret_group: text.secret_group,
            entropy: text.entropy.unwrap_or_default(),
            allowances: text.allowlists.iter().map(Allowance::compile).collect::<Result<_, _>>()?,
            keywords,
            id: text.id,
        })
    }

    /// Takes what an allow list covers for nothing.
    pub(super) fn allow(&mut self, list: &AllowanceText) -> Result<(), regex_lite::Error> {
        self.allowances.push(Allowance::compile(list)?);
        Ok(())
    }

    /// Whether it is about files of that path.
    pub(super) fn is_about(&self, path: &str) -> bool {
        let may = self.path_marks.is_empty() || self.path_marks.iter().any(|mark| mark.is_on(path));
        may && self.path.as_ref().is_none_or(|regex| regex.is_match(path))
    }

    /// Whether it is about some files only.
    pub(super) fn is_choosy(&self) -> bool {
        self.path.is_some()
    }

    /// Whether being there is enough for a file to be found.
    pub(super) fn is_about_names(&self) -> bool {
        self.expression.is_none()
    }

    /// Whether the whole of a file must be tried.
    pub(super) fn wants_all(&self) -> bool {
        self.keywords.is_empty() && !self.is_about_names()
    }

    #[cfg(test)]
    pub(super) fn compiles(&self) -> bool {
        self.expression.as_ref().is_none_or(|expression| expression.regex().is_some())
    }

    /// A look at the bytes of a keyword and around it, which spares most tries.
    pub(super) fn may_begin(&self, bytes: &[u8], at: usize) -> bool {
        self.expression.as_ref().is_some_and(|expression| expression.may_begin(bytes, at))
    }

    /// The secrets whose keyword stands at `keyword`, as where they are in `text`. Something precedes the keyword.
    pub(super) fn at(&self, text: &str, keyword: Range<usize>, quiet: &Quiet<'_>) -> Vec<Range<usize>> {
        let Some(expression) = &self.expression else { return Vec::new() };
        let (before, after) = if self.path.is_some() { WIDELY_AROUND } else { AROUND };
        let around =
            |before: usize, at: usize, after: usize| boundary(text, at.saturating_sub(before))..boundary(text, text.len().min(at + after));
        let tried = |window| self.tried(expression, text, window, quiet);
        let found: Vec<Found> = match &expression.begins {
            Begins::AtKeyword(_) => tried(around(1, keyword.start, REACH)),
            Begins::With(heads) => {
                let window = around(before, keyword.start, after);
                let begins = |at: &usize| expression.begins_at(heads, text.as_bytes(), *at);
                window.filter(begins).flat_map(|at| tried(around(1, at, REACH))).collect()
            }
            Begins::Anywhere(_) => {
                let holds = |found: &Found| found.whole.start <= keyword.start && keyword.end <= found.whole.end;
                tried(around(before, keyword.start, after)).into_iter().filter(holds).collect()
            }
        };
        found.into_iter().map(|found| found.secret).collect()
    }

    /// The secrets in all of `window`.
    pub(super) fn anywhere(&self, text: &str, window: Range<usize>, quiet: &Quiet<'_>) -> Vec<Range<usize>> {
        let Some(expression) = &self.expression else { return Vec::new() };
        self.tried(expression, text, window, quiet).into_iter().map(|found| found.secret).collect()
    }

    fn tried(&self, expression: &Expression, text: &str, window: Range<usize>, quiet: &Quiet<'_>) -> Vec<Found> {
        let Some(regex) = expression.regex() else { return Vec::new() };
        let place = |range: Range<usize>| window.start + range.start..window.start + range.end;
        let mut found = Vec::new();
        for captures in regex.captures_iter(&text[window.clone()]) {
            let Some(whole) = captures.get(0).map(|whole| place(whole.range())) else { continue };
            // `$` matches where the window was cut, too.
            if whole.end == window.end && window.end < text.len() {
                continue;
            }
            let whole = expression.whole(text, whole);
            let secret = self.secret(&captures).map_or_else(|| whole.clone(), place);
            if self.means(text, &secret, &whole, quiet) {
                found.push(Found { secret, whole });
            }
        }
        found
    }

    fn secret(&self, captures: &Captures<'_>) -> Option<Range<usize>> {
        let group = match self.secret_group {
            Some(group) => captures.get(group),
            None => captures.iter().skip(1).flatten().find(|group| !group.is_empty()),
        };
        group.map(|group| group.range())
    }

    fn means(&self, text: &str, secret: &Range<usize>, whole: &Range<usize>, quiet: &Quiet<'_>) -> bool {
        let matched = Matched { secret: &text[secret.clone()], whole: &text[whole.clone()], line: lines(text, whole.clone()) };
        let enough = self.entropy == 0.0 || entropy(matched.secret) > self.entropy;
        if self.guesses && matched.line.len() > MINIFIED && SCRIPTS.iter().any(|end| quiet.path.ends_with(end)) {
            return false;
        }
        let path = self.guesses.then_some(quiet.path);
        let mut allowances = self.allowances.iter().chain(quiet.everywhere);
        enough && self.check.is_none_or(|check| check(matched.whole)) && !allowances.any(|allowance| allowance.covers(matched, path))
    }
}

/// Where a secret stands, and the match it is of.
struct Found {
    secret: Range<usize>,
    whole: Range<usize>,
}

/// What quiets any rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet<'a> {
    pub(super) path: &'a str,
    pub(super) everywhere: &'a [Allowance],
}

impl Expression {
    fn new(regex: String, keywords: &[String]) -> Self {
        let assigns = expression::assigns(&regex);
        // Whatever precedes the keyword in an identifier, the keyword decides.
        let bare = if assigns { regex.replace(IDENTIFIER, "") } else { regex.clone() };
        let begins = match expression::heads(&bare) {
            Some(heads) if expression::are_keywords(&heads, keywords) => Begins::AtKeyword(heads),
            // Of rules without keywords the whole file is tried.
            Some(heads) if !keywords.is_empty() => Begins::With(heads),
            _ => Begins::Anywhere(expression::spelling(&regex, keywords)),
        };
        let begins_a_word = expression::begins_a_word(&bare);
        let by_words = keywords.iter().any(|keyword| keyword.bytes().all(|byte| byte.is_ascii_alphabetic()));
        let at_keyword = matches!(begins, Begins::AtKeyword(_));
        let guesses = assigns || expression::skips(&bare) || (!at_keyword && by_words);
        // The character in front comes first, for what it says of the boundary of a word.
        let text = match begins {
            Begins::Anywhere(_) => regex,
            _ => format!(r"\A(?s:.)(?:{bare})"),
        };
        Self { text, begins, begins_a_word, assigns, guesses, compiled: OnceLock::new() }
    }

    fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref()
    }

    /// Whether a keyword at `at` is worth a try.
    fn may_begin(&self, bytes: &[u8], at: usize) -> bool {
        match &self.begins {
            Begins::AtKeyword(heads) => self.begins_at(heads, bytes, at),
            Begins::With(_) | Begins::Anywhere(None) => true,
            Begins::Anywhere(Some(spelling)) => bytes[at..].starts_with(spelling.as_bytes()),
        }
    }

    fn begins_at(&self, heads: &[Head], bytes: &[u8], at: usize) -> bool {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let Some((before, rest)) = at.checked_sub(1).map(|before| (bytes[before], &bytes[at..])) else { return false };
        heads.iter().any(|head| head.is_at(rest)) && !(self.begins_a_word && is_word(before)) && (!self.assigns || assignment_follows(rest))
    }

    /// The match, with what was left away of the identifier.
    fn whole(&self, text: &str, mut whole: Range<usize>) -> Range<usize> {
        if matches!(self.begins, Begins::Anywhere(_)) {
            return whole;
        }
        whole.start += text[whole.clone()].chars().next().map_or(0, char::len_utf8);
        if self.assigns {
            let of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
            whole.start -= text.as_bytes()[..whole.start].iter().rev().take(50).take_while(|byte| of_a_name(byte)).count();
        }
        whole
    }
}

impl Head {
    fn is_at(&self, bytes: &[u8]) -> bool {
        bytes.get(..self.text.len()).is_some_and(|bytes| match self.exact {
            true => bytes == self.text.as_bytes(),
            false => bytes.eq_ignore_ascii_case(self.text.as_bytes()),
        })
    }
}

/// Whether a name goes on to a sign of assignment, and that to something without a space that may be a secret.
fn assignment_follows(bytes: &[u8]) -> bool {
    /// The longest name with what gitleaks admits around it.
    const NAME: usize = 128;
    /// No rule takes a shorter secret.
    const SHORTEST: usize = 8;
    let in_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.- \t\r\n'\"".contains(byte);
    let assigns = |byte: &u8| b"=:>|?,".contains(byte);
    let around = |byte: &u8| assigns(byte) || b"`'\" \t\r\n".contains(byte);
    let sign = bytes.iter().take(NAME).position(|byte| !in_a_name(byte));
    let Some(sign) = sign.filter(|at| assigns(&bytes[*at])) else { return false };
    let rest = &bytes[sign..];
    let value = rest.iter().take(16).take_while(|byte| around(byte)).count();
    rest[value..].iter().take(SHORTEST).filter(|byte| byte.is_ascii_graphic()).count() == SHORTEST
}

/// The lines that `range` is of, or what is near of them.
fn lines(text: &str, range: Range<usize>) -> &str {
    let from = boundary(text, range.start.saturating_sub(LINE));
    let to = boundary(text, text.len().min(range.end + LINE));
    let start = text[from..range.start].rfind('\n').map_or(from, |at| from + at + 1);
    let end = text[range.end..to.max(range.end)].find('\n').map_or(to.max(range.end), |at| range.end + at);
    &text[start..end]
}

/// The last boundary of a character that is not after `at`.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// Shannon's entropy, in bits a character.
fn entropy(text: &str) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    text.chars().for_each(|character| *counts.entry(character).or_insert(0_u32) += 1);
    let length = text.chars().count() as f64;
    counts.values().map(|count| f64::from(*count) / length).map(|share| -share * share.log2()).sum()
}

/// «Uncovered a possible X key, potentially compromising …» is said as «a possible X key».
fn fragment(description: &str) -> String {
    const VERBS: [&str; 6] = ["Uncovered ", "Identified ", "Detected ", "Discovered ", "Found ", "Possible "];
    let first = description.split([',', ';']).next().unwrap_or(description).trim_end_matches('.');
    let said = VERBS.iter().find_map(|verb| first.strip_prefix(verb)).unwrap_or(first);
    said.strip_prefix("a pattern that may indicate ").or(said.strip_prefix("a pattern that resembles ")).unwrap_or(said).to_owned()
}
