//! Splits a part of nginx's configuration into directives and words, as nginx does, without interpreting them.

use std::ops::Range;

/// A top-level directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Its name and its arguments.
    pub(super) words: Vec<String>,
    /// Whether it has a block in braces.
    pub(super) is_block: bool,
    pub(super) line: usize,
    /// Its whole text, including its `;`.
    pub(super) span: Range<usize>,
}

impl Statement {
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// The top-level directives, or the line and text of an error.
pub(super) fn statements(text: &str) -> Result<Vec<Statement>, (usize, &'static str)> {
    const UNENDED: &str = "this directive does not end with `;`";
    const MISSING: &str = "no directive comes before this";
    let bytes = text.as_bytes();
    let line_at = |at: usize| bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let (mut found, mut open, mut words, mut begin, mut at) = (Vec::new(), Vec::new(), Vec::<String>::new(), 0, 0);
    while let Some(byte) = bytes.get(at) {
        let from = at;
        at += 1;
        match byte {
            b'#' => at += bytes[at..].iter().take_while(|byte| **byte != b'\n').count(),
            byte if byte.is_ascii_whitespace() => {}
            b';' | b'{' if words.is_empty() => return Err((line_at(from), MISSING)),
            b';' | b'{' => {
                let (words, is_block) = (std::mem::take(&mut words), *byte == b'{');
                if open.is_empty() {
                    found.push(Statement { words, is_block, line: line_at(begin), span: begin..at });
                }
                if is_block {
                    open.push(from);
                }
            }
            b'}' if !words.is_empty() => return Err((line_at(begin), UNENDED)),
            b'}' if open.pop().is_none() => return Err((line_at(from), "this `}` closes nothing")),
            b'}' => {}
            _ => {
                if words.is_empty() {
                    begin = from;
                }
                at = word_end(bytes, from).ok_or_else(|| (line_at(from), "this quote is not closed"))?;
                words.push(text[from..at].trim_matches(['"', '\'']).to_owned());
            }
        }
    }
    match (open.first(), words.is_empty()) {
        (_, false) => Err((line_at(begin), UNENDED)),
        (Some(from), _) => Err((line_at(*from), "this `{` is not closed")),
        (None, true) => Ok(found),
    }
}

/// Where a word ends; `None` if its quote is not closed.
fn word_end(bytes: &[u8], from: usize) -> Option<usize> {
    let quote = Some(bytes[from]).filter(|byte| matches!(byte, b'"' | b'\''));
    let mut at = from + usize::from(quote.is_some());
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            byte if quote == Some(*byte) => return Some(at + 1),
            // A variable, as in `${name}`.
            b'$' if bytes.get(at + 1) == Some(&b'{') => at += 1,
            b';' | b'{' if quote.is_none() => return Some(at),
            byte if quote.is_none() && byte.is_ascii_whitespace() => return Some(at),
            _ => {}
        }
        at += 1;
    }
    if quote.is_some() { None } else { Some(bytes.len()) }
}
