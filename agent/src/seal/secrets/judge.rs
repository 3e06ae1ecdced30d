//! Finds the secrets in a file, part by part.
//!
//! A single pass finds every keyword of every rule; a rule is tried only at its keywords. A keyword belongs to the part
//! in which it is new; whatever else a secret needs is included in the part as overlap.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use aho_corasick::Input;
use aho_corasick::automaton::{Automaton as _, OverlappingState};

use crate::gather::Gather as _;
use crate::image::contents::{Part, Seen};
use crate::seal::finding::Finding;

use super::rule::{BEFORE, Quiet, REACH, Rule};
use super::rules::Rules;
use super::wide::Order;
use super::{keystore, place};

/// How much of a file is checked for a NUL, which shows that it is not text.
const SAMPLE: usize = 8 * 1024;

/// How many lines of a file are reported for each rule. The others are of the same kind, and
/// will be found once these are fixed.
const LINES: usize = 20;

/// The rule of gitleaks that matches any key with any value.
const GENERIC: &str = "generic-api-key";

/// The rule about files that are secrets as a whole: whatever else is found in such a file is the same secret.
const WHOLE: &str = "secret-file";

/// The state of judging a file.
#[derive(Debug, Default)]
pub(super) struct Notes {
    path: String,
    /// Whether rules that guess apply.
    guesses: bool,
    /// Rules about whole files that apply to this one.
    of_file: Vec<usize>,
    /// Rules about some files, with whether they apply to this one, as far as it was checked.
    asked: BTreeMap<usize, bool>,
    /// The byte order, if the file is text with two bytes per character.
    wide: Option<Order>,
    /// Line and rule. Line 0 stands for the file itself.
    found: BTreeSet<(u64, usize)>,
    keystore: Option<&'static str>,
}

impl Notes {
    pub(super) fn new(rules: &Rules, path: &Path, guesses: bool) -> Self {
        let path = place::in_its_root(&path.to_string_lossy()).to_owned();
        let about = rules.of_files.iter().copied().filter(|rule| rules.rules[*rule].is_about(&path));
        let (names, of_file): (Vec<_>, Vec<_>) = about.partition(|rule| rules.rules[*rule].is_about_names());
        let found = names.into_iter().map(|rule| (0, rule)).gather();
        Self { path, guesses, of_file, found, ..Self::default() }
    }

    /// Whether a rule applies to this file.
    fn hears(&mut self, rules: &Rules, number: usize) -> bool {
        let rule = &rules.rules[number];
        let may = self.guesses || !rule.guesses;
        may && (!rule.is_choosy() || *self.asked.entry(number).or_insert_with(|| rule.is_about(&self.path)))
    }

    fn add(&mut self, line: u64, rule: usize) {
        if self.found.iter().filter(|(_, other)| *other == rule).count() < LINES {
            self.found.insert((line, rule));
        }
    }

    /// The findings in the file. A line with a match of a rule that does not guess needs no guesses.
    pub(super) fn findings(self, rules: &Rules, file: &Seen<'_>) -> Vec<Finding> {
        let mut known: BTreeSet<u64> = BTreeSet::new();
        known.extend(self.found.iter().filter(|(_, rule)| !rules.rules[*rule].guesses).map(|(line, _)| *line));
        let mut said = BTreeSet::new();
        if let Some(says) = self.keystore {
            return vec![finding(file, 0, "keystore", says)];
        }
        if let Some((line, number)) = self.found.iter().find(|(_, number)| rules.rules[*number].id == WHOLE) {
            return vec![finding(file, *line, WHOLE, &rules.rules[*number].says)];
        }
        // What is found in a file shows what is wrong with it better than its name does.
        let is_shown_within = self.found.last().is_some_and(|(line, _)| *line > 0);
        let mut findings = Vec::new();
        for (line, number) in &self.found {
            let (line, rule) = (*line, &rules.rules[*number]);
            // Of several guesses, the first one that is not the generic rule suffices.
            let of_others = || self.found.range((line, 0)..(line + 1, 0)).any(|(_, other)| other != number);
            let is_said = match line {
                0 => is_shown_within || !said.insert(0),
                _ if rule.id == GENERIC => of_others(),
                _ => rule.guesses && (known.contains(&line) || !said.insert(line)),
            };
            if !is_said {
                findings.push(finding(file, line, &rule.id, &rule.says));
            }
        }
        findings
    }
}

fn finding(file: &Seen<'_>, line: u64, rule: &str, says: &str) -> Finding {
    let hint = match rule {
        _ if file.member == Some("") => "deploy without `.git`; replace every secret that was ever committed",
        "shadow-password" => "lock the account with `passwd --lock`, or remove its password with `usermod --password '!'`",
        _ if line == 0 => "remove the file and have a `secrets:` or `files:` step write it at boot",
        _ => "remove it and have a `secrets:` step fetch it at boot; replace every secret that was ever in an image",
    };
    let within = match file.member {
        None => String::new(),
        Some("") => ", in the git history".into(),
        Some(name) if line == 0 => format!(", in {name}"),
        Some(name) => format!(", in line {line} of {name}"),
    };
    Finding {
        path: file.path.to_owned(),
        line: (line > 0 && file.member.is_none()).then_some(line),
        rule: rule.into(),
        says: format!("{says}{within}"),
        hint: format!("{hint}; if it is not a secret, allow it with a reason in /etc/ingot/seal.yaml"),
    }
}

/// Searches for secrets in the next part of a file.
pub(super) fn judge(rules: &Rules, part: &Part<'_>, notes: &mut Notes) {
    if part.is_first {
        let content = &part.bytes[1..];
        notes.keystore = keystore::recognised(content, place::is_for_trust(&notes.path));
        notes.wide = Order::of(content);
    }
    match notes.wide {
        None => judge_text(rules, part, notes),
        Some(order) => {
            let (bytes, new) = order.narrowed(part);
            judge_text(rules, &Part { bytes: &bytes, new, line: part.line, is_first: part.is_first }, notes);
        }
    }
}

fn judge_text(rules: &Rules, part: &Part<'_>, notes: &mut Notes) {
    if part.is_first {
        let content = &part.bytes[1..];
        notes.guesses &= !content[..content.len().min(SAMPLE)].contains(&0);
    }
    let text = std::str::from_utf8(part.bytes).ok();
    let mut found: Vec<(Range<usize>, usize)> = Vec::new();
    let mut latest = None;
    let path = notes.path.clone();
    let quiet = Quiet { path: &path, everywhere: &rules.allowances };

    // The last keyword that begins in the new bytes may end after them.
    let end = part.bytes.len().min(part.new.end + rules.longest);
    let input = Input::new(part.bytes).range(part.new.start..end);
    let mut state = OverlappingState::start();
    while rules.automaton.try_find_overlapping(&input, &mut state).is_ok() {
        let Some(keyword) = state.get_match() else { break };
        if keyword.start() >= part.new.end {
            continue;
        }
        for number in &rules.of_keyword[keyword.pattern().as_usize()] {
            let rule = &rules.rules[*number];
            if !rule.may_begin(part.bytes, keyword.start()) || !notes.hears(rules, *number) {
                continue;
            }
            let secrets = match text {
                Some(text) => rule.at(text, keyword.range(), &quiet),
                None => {
                    let known = latest.take().filter(|run: &Run| run.covers(keyword.start()));
                    let run = known.unwrap_or_else(|| Run::around(part.bytes, keyword.start()));
                    let found = run.judged(rule, keyword.range(), &quiet);
                    latest = Some(run);
                    found
                }
            };
            found.extend(secrets.into_iter().map(|secret| (secret, *number)));
        }
    }
    if part.is_first {
        for number in notes.of_file.iter().filter(|number| rules.rules[**number].wants_all()) {
            let text = same_length_text(part.bytes);
            let secrets = rules.rules[*number].anywhere(&text, 1..text.len(), &quiet);
            found.extend(secrets.into_iter().map(|secret| (secret, *number)));
        }
    }
    let (mut counted, mut line) = (0, part.line);
    for (at, rule) in once(found, rules) {
        line += part.bytes[counted..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        counted = at;
        notes.add(line, rule);
    }
}

/// Where each secret begins, in order, with one of the rules that found it: one that knows rather than one that guesses.
fn once(mut found: Vec<(Range<usize>, usize)>, rules: &Rules) -> Vec<(usize, usize)> {
    let rank = |number: usize| {
        let rule = &rules.rules[number];
        (rule.id != WHOLE, rule.guesses, rule.id == GENERIC, number)
    };
    found.sort_unstable_by_key(|(range, number)| (range.start, rank(*number)));
    let mut kept: Vec<(Range<usize>, usize)> = Vec::new();
    for (range, number) in found {
        match kept.last_mut().filter(|(last, _)| range.start < last.end) {
            Some((last, other)) if rank(number) < rank(*other) => (*last, *other) = (range, number),
            Some(_) => {}
            None => kept.push((range, number)),
        }
    }
    kept.into_iter().map(|(range, number)| (range.start, number)).collect()
}

/// Readable text in a binary file: a run of text bytes, as programs store their strings.
struct Run {
    text: String,
    /// The position in the part of its first character, a newline that is not in the file.
    at: usize,
    /// Keywords before this position have all the text they need in the run.
    serves: usize,
}

impl Run {
    /// The shortest run that is judged. Every secret that a rule matches is longer.
    const SHORTEST: usize = 16;

    fn around(bytes: &[u8], keyword: usize) -> Self {
        const FAR: usize = 4 * REACH;
        let readable = |byte: &&u8| byte.is_ascii_graphic() || b" \t\r\n".contains(byte);
        let before = bytes[1..keyword].iter().rev().take(BEFORE).take_while(readable).count();
        let after = bytes[keyword..].iter().take(FAR).take_while(readable).count();
        let end = keyword + after;
        let text = format!("\n{}", String::from_utf8_lossy(&bytes[keyword - before..end]));
        Self { text, at: keyword - before - 1, serves: if after < FAR { end } else { end - REACH } }
    }

    fn covers(&self, keyword: usize) -> bool {
        (self.at + 1..self.serves).contains(&keyword)
    }

    fn judged(&self, rule: &Rule, keyword: Range<usize>, quiet: &Quiet<'_>) -> Vec<Range<usize>> {
        let keyword = keyword.start - self.at..keyword.end - self.at;
        if self.text.len() < Self::SHORTEST || keyword.end > self.text.len() {
            return Vec::new();
        }
        let found = rule.at(&self.text, keyword, quiet);
        found.into_iter().map(|secret| self.at + secret.start..self.at + secret.end).collect()
    }
}

/// The bytes as text of the same length, with every position unchanged. Rules only match ASCII.
fn same_length_text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut ascii = bytes.to_vec();
    ascii.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = 0x1a);
    Cow::Owned(String::from_utf8(ascii).unwrap_or_default())
}
