//! What the matches of a rule's expression begin with, derived from its text.
//!
//! An expression whose matches can only begin with one of its keywords is tried at those keywords and nowhere else,
//! which accounts for most of the speed of a scan: a failing try ends after a few characters. An expression that begins
//! with other letters is tried where those occur near the keyword, and one whose beginning is unknown in a window
//! around it. Nothing here matches text; the regex library does.

/// How gitleaks writes any identifier before a keyword. Only what follows it decides whether there is a match.
pub(super) const IDENTIFIER: &str = r"[\w.-]{0,50}?";

/// How gitleaks writes any assignment operator.
const ASSIGNMENT: &str = r"(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)";

/// Parts that match any text.
const ANYTHING: [&str; 3] = [".*", "(?s:.)", "(.{"];

/// Converts an expression for Go's library to one for ours: in Go, a `{` that does not start a repetition is literal.
pub(super) fn from_go(expression: &str) -> String {
    let mut text = String::with_capacity(expression.len());
    let mut plain = outline(expression).map(|(at, ..)| at).peekable();
    for (at, character) in expression.char_indices() {
        let is_plain = plain.next_if_eq(&at).is_some();
        if character == '{' && is_plain && !repeats(&expression[at + 1..]) {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// Whether `{` followed by `rest` is a repetition.
fn repeats(rest: &str) -> bool {
    let Some((counts, _)) = rest.split_once('}') else { return false };
    counts.starts_with(|first: char| first.is_ascii_digit()) && counts.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
}

/// The letters with which a match begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) text: String,
    /// Whether they are case-sensitive.
    pub(super) exact: bool,
}

/// Whether the expression is about `name = value` with any name.
pub(super) fn assigns(expression: &str) -> bool {
    expression.contains(ASSIGNMENT)
}

/// Whether any text may be between its parts.
pub(super) fn skips(expression: &str) -> bool {
    ANYTHING.iter().any(|any| expression.contains(any))
}

/// Whether it begins at a word boundary.
pub(super) fn begins_a_word(expression: &str) -> bool {
    expression.trim_start_matches("(?i)").starts_with(r"\b")
}

/// What matches can begin with, if that can be determined.
pub(super) fn heads(expression: &str) -> Option<Vec<Head>> {
    let mut heads = Vec::new();
    collect(expression, true, &mut heads)?;
    Some(heads)
}

/// Whether each head agrees with a keyword, up to the length of the shorter one, and each keyword with a head.
pub(super) fn are_keywords(heads: &[Head], keywords: &[String]) -> bool {
    let agree = |head: &Head, keyword: &str| {
        let head = head.text.to_ascii_lowercase();
        head.starts_with(keyword) || keyword.starts_with(&head)
    };
    heads.iter().all(|head| keywords.iter().any(|keyword| agree(head, keyword)))
        && keywords.iter().all(|keyword| heads.iter().any(|head| agree(head, keyword)))
}

/// The spelling of a case-sensitive expression's only keyword.
pub(super) fn spelling(expression: &str, keywords: &[String]) -> Option<String> {
    let [keyword] = keywords else { return None };
    let any_case = expression.contains("(?i");
    let at = expression.to_ascii_lowercase().find(keyword.as_str()).filter(|_| !any_case)?;
    expression.get(at..at + keyword.len()).map(str::to_owned)
}

/// Marks, at least one of which is on every path that an expression about paths matches: for each alternative, the
/// letters at its end, or its longest run of letters. Empty if they cannot be determined.
pub(super) fn marks(expression: &str) -> Vec<Mark> {
    let Some(before) = expression.strip_suffix('$').filter(|_| !expression.contains("(?i)")) else { return Vec::new() };
    let inner = group(before).filter(|(_, rest)| rest.is_empty() && before.starts_with("(?:")).map_or(before, |(group, _)| &group[2..]);
    let marks: Vec<Mark> = alternatives(inner).into_iter().map(mark).collect();
    if marks.iter().any(|mark| mark.text.len() < 3) { Vec::new() } else { marks }
}

/// Letters that a path contains, at its end or anywhere.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) text: String,
    pub(super) at_end: bool,
}

impl Mark {
    pub(super) fn is_on(&self, path: &str) -> bool {
        if self.at_end { path.ends_with(&self.text) } else { path.contains(&self.text) }
    }
}

/// The last or the longest run of literal letters in `alternative`.
fn mark(alternative: &str) -> Mark {
    let plain = |character: char| character.is_ascii_alphanumeric() || "_-/".contains(character);
    let (mut runs, mut run, mut rest) = (Vec::new(), String::new(), alternative);
    while let Some(next) = rest.chars().next() {
        let (letter, length) = match next {
            '\\' if rest[1..].starts_with('.') => (Some('.'), 2),
            '(' => (None, group(rest).map_or(rest.len(), |(_, after)| rest.len() - after.len())),
            '[' => (None, rest.find(']').map_or(rest.len(), |end| end + 1)),
            letter if plain(letter) => (Some(letter), 1),
            // An escape, or a character with a special meaning.
            '\\' => (None, 2.min(rest.len())),
            other => (None, other.len_utf8()),
        };
        rest = &rest[length..];
        match letter {
            // An optional letter may be missing.
            Some(_) if rest.starts_with(['?', '*', '{']) => runs.push(std::mem::take(&mut run)),
            Some(letter) => run.push(letter),
            None => runs.push(std::mem::take(&mut run)),
        }
    }
    if run.len() >= 3 {
        return Mark { text: run, at_end: true };
    }
    let longest = runs.into_iter().max_by_key(String::len).unwrap_or_default();
    Mark { text: longest, at_end: false }
}

fn collect(expression: &str, exact: bool, heads: &mut Vec<Head>) -> Option<()> {
    alternatives(expression).into_iter().try_for_each(|alternative| head(alternative, exact, heads))
}

fn head(mut rest: &str, mut exact: bool, heads: &mut Vec<Head>) -> Option<()> {
    loop {
        if let Some(after) = rest.strip_prefix("(?i)") {
            (rest, exact) = (after, false);
        } else if let Some(after) = rest.strip_prefix(r"\b") {
            rest = after;
        } else if rest.starts_with('(') {
            let (group, after) = group(rest)?;
            if after.starts_with(['?', '*', '{']) {
                return None;
            }
            let (group, exact) = match group {
                group if group.starts_with("?i:") => (&group[3..], false),
                group if group.starts_with("?-i:") => (&group[4..], true),
                group if group.starts_with("?:") => (&group[2..], exact),
                group if group.starts_with('?') => return None,
                group => (group, exact),
            };
            return collect(group, exact, heads);
        } else {
            let head = literal(rest, exact);
            return (!head.text.is_empty()).then(|| heads.push(head));
        }
    }
}

/// The letters up to the first part that is not a literal letter. `[Aa]` counts as an `a` in either case.
fn literal(mut rest: &str, mut exact: bool) -> Head {
    let mut text = String::new();
    while let Some(next) = rest.chars().next() {
        let bytes = rest.as_bytes();
        let (letter, length) = match next {
            '[' if bytes.len() > 3 && bytes[3] == b']' && bytes[1].eq_ignore_ascii_case(&bytes[2]) => {
                exact = false;
                (bytes[1] as char, 4)
            }
            '\\' => match bytes.get(1) {
                Some(escaped) if escaped.is_ascii_punctuation() => (*escaped as char, 2),
                _ => break,
            },
            '[' | '(' | ')' | '|' | '.' | '^' | '$' | '?' | '*' | '+' | '{' => break,
            letter => (letter, letter.len_utf8()),
        };
        rest = &rest[length..];
        if rest.starts_with(['?', '*', '{']) {
            break;
        }
        text.push(letter);
    }
    Head { text, exact }
}

/// Splits at each `|` that is not within a group or a class.
fn alternatives(expression: &str) -> Vec<&str> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for (at, byte, depth) in outline(expression) {
        if byte == b'|' && depth == 0 {
            parts.push(&expression[from..at]);
            from = at + 1;
        }
    }
    parts.push(&expression[from..]);
    parts
}

/// The group with which `expression` begins, without its parentheses, and what follows it.
fn group(expression: &str) -> Option<(&str, &str)> {
    let end = outline(expression).find(|(_, byte, depth)| *byte == b')' && *depth == 0)?.0;
    Some((&expression[1..end], &expression[end + 1..]))
}

/// Each byte that is neither escaped nor in a class, with the nesting depth of groups.
fn outline(expression: &str) -> impl Iterator<Item = (usize, u8, usize)> {
    let (mut depth, mut class, mut escaped) = (0_usize, false, false);
    expression.bytes().enumerate().filter_map(move |(at, byte)| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b']' => class = false,
            _ if class => {}
            b'[' => class = true,
            b'(' => depth += 1,
            b')' => {
                depth = depth.saturating_sub(1);
                return Some((at, byte, depth));
            }
            _ => return Some((at, byte, depth)),
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(expression: &str, keywords: &[&str]) -> Option<Vec<(String, bool)>> {
        let keywords: Vec<String> = keywords.iter().map(ToString::to_string).collect();
        let heads = heads(expression).filter(|heads| are_keywords(heads, &keywords))?;
        Some(heads.into_iter().map(|head| (head.text, head.exact)).collect())
    }

    fn exactly(texts: &[&str]) -> Option<Vec<(String, bool)>> {
        Some(texts.iter().map(|text| (text.to_string(), true)).collect())
    }

    #[test]
    fn tells_what_a_match_begins_with() {
        assert_eq!(begins(r"\b(AKIA[A-Z2-7]{16})\b", &["akia"]), exactly(&["AKIA"]));
        assert_eq!(begins(r"(?:ghu|ghs)_[0-9a-zA-Z]{36}", &["ghu_", "ghs_"]), exactly(&["ghu", "ghs"]));
        assert_eq!(begins(r"\b(SG\.(?i)[a-z0-9]{66})", &["sg."]), exactly(&["SG."]));
        assert_eq!(begins(r"(?i)\b(npm_[a-z0-9]{36})", &["npm_"]), Some(vec![("npm_".into(), false)]));
        assert_eq!(begins(r"(?:[Mm]eraki|MERAKI)x", &["meraki"]).unwrap().len(), 2);
    }

    #[test]
    fn reads_a_brace_as_go_does() {
        assert_eq!(from_go(r"^\$(?:\d+|{\d+})$"), r"^\$(?:\d+|\{\d+})$");
        assert_eq!(from_go(r"\${[a-z]{2,}}[{]a{3}"), r"\$\{[a-z]{2,}}[{]a{3}");
    }

    #[test]
    fn tells_which_letters_a_path_must_have() {
        let told = |expression: &str| marks(expression).into_iter().map(|mark| (mark.text, mark.at_end)).collect::<Vec<_>>();
        let end = |text: &str| (text.to_string(), true);
        let within = |text: &str| (text.to_string(), false);
        assert_eq!(told(r"(?:^|/)[._]?netrc$"), [end("netrc")]);
        assert_eq!(told(r"\.(?:jks|p12)$"), []);
        assert_eq!(told(r"\.ovpn$"), [end(".ovpn")]);
        assert_eq!(told(r"(?:/munge\.key|/credstore/[^/]+|/mongo[\w.-]*\.key)$"), [end("/munge.key"), within("/credstore/"), end(".key")]);
        assert_eq!(told(r"/\.?vault[_-]?pass(?:word)?$"), [within("vault")]);
        assert_eq!(told("(?i)\\.php$"), []);
        assert_eq!(told("^/etc/x+"), []);
    }

    #[test]
    fn admits_when_it_cannot_tell() {
        assert_eq!(begins(r"[a-z0-9]{14}\.atlasv1\.", &["atlasv1"]), None);
        assert_eq!(begins(r"(?:https?://)?hooks.slack.com/", &["hooks.slack.com"]), None);
        assert_eq!(begins(r"\b(sk-[a-z]{20}T3Blbk)", &["t3blbk"]), None);
        assert_eq!(begins(r"(?:sgp_[a-f]{40}|[a-f]{40})", &["sgp_", "sourcegraph"]), None);
    }
}
