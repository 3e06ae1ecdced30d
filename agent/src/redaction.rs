//! Takes secrets out of text that other programs wrote, before anyone sees it.
//!
//! ingot's own messages never hold a secret, by construction ([`SecretText`] does not print). What a command, a
//! unit's journal or a `check:` says is another matter: every such line passes through a [`Redactor`] that
//! knows the secrets of this boot.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::text::SecretText;

/// What stands in place of a secret.
const MARK: &str = "[redacted]";

/// Below this many bytes a secret is taken out only where it stands as a word of its own: `80` is a fine port
/// number to keep in `1080`, and a fine PIN to hide.
const WORD_ONLY_BELOW: usize = 4;

/// What a program puts around or into a value that it quotes: for JSON, TOML, YAML, a shell or an environment file, and
/// again where what is quoted is quoted itself. A secret is also looked for as if none of these were there.
const QUOTING: [char; 3] = ['\\', '"', '\''];

/// A secret without its quotes is only looked for from this many bytes on: less may be found by accident.
const BARE_FROM: usize = 6;

/// Lines of a binary secret that are shorter than this are no text that anyone would print.
const BINARY_LINE_FROM: usize = 8;

/// Knows the secrets of this boot, in the forms in which programs print them.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    /// Longest first, so that a secret which contains another disappears whole.
    needles: RefCell<Vec<SecretText>>,
    /// The same without [`QUOTING`].
    bare: RefCell<Vec<SecretText>>,
}

impl Redactor {
    /// Learns every string and number in `value`.
    pub(crate) fn learn(&self, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.learn_text(text),
            // As it was written, and as helpers and programs write it again.
            serde_json::Value::Number(number) => crate::number::spellings(number).iter().for_each(|text| self.learn_text(text)),
            serde_json::Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            serde_json::Value::Object(fields) => fields.values().for_each(|field| self.learn(field)),
            serde_json::Value::Null | serde_json::Value::Bool(_) => {}
        }
    }

    /// Learns the text in a binary secret, as far as there is any.
    pub(crate) fn learn_bytes(&self, secret: &[u8]) {
        let text = Zeroizing::new(String::from_utf8_lossy(secret).into_owned());
        text.lines().filter(|line| line.len() >= BINARY_LINE_FROM).for_each(|line| self.learn_text(line));
    }

    fn learn_text(&self, secret: &str) {
        // Output arrives line by line, so a secret of several lines is looked for line by line.
        for line in secret.lines().map(str::trim) {
            add(&self.needles, line.to_owned());
            let quoted = serde_json::Value::from(line).to_string();
            add(&self.needles, quoted[1..quoted.len() - 1].to_owned());
            add(&self.needles, in_url(line));
            for form in [line.to_owned(), in_ascii(line)] {
                let bare: String = form.chars().filter(|c| !QUOTING.contains(c)).collect();
                if bare.len() >= BARE_FROM {
                    add(&self.bare, bare);
                }
            }
        }
        if secret.len() >= WORD_ONLY_BELOW {
            add(&self.needles, STANDARD.encode(secret));
        }
    }

    /// `line` without any secret.
    pub(crate) fn redact(&self, line: &str) -> String {
        let mut clean = line.to_owned();
        for needle in self.needles.borrow().iter() {
            let needle = needle.expose();
            if !clean.contains(needle) {
                continue;
            }
            clean = if needle.len() < WORD_ONLY_BELOW { replace_words(&clean, needle) } else { clean.replace(needle, MARK) };
        }
        replace_quoted(clean, &self.bare.borrow())
    }
}

fn add(needles: &RefCell<Vec<SecretText>>, needle: String) {
    let mut needles = needles.borrow_mut();
    if needle.is_empty() || needles.iter().any(|known| known.expose() == needle) {
        return;
    }
    let at = needles.partition_point(|known| known.expose().len() >= needle.len());
    needles.insert(at, needle.into());
}

/// As JSON has it where it is kept to ASCII, as Python does.
fn in_ascii(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if character.is_ascii() {
            out.push(character);
        } else {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

/// As a URL has it, percent-encoded.
fn in_url(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Replaces every stretch of `line` that is a secret once its quoting is taken away.
fn replace_quoted(line: String, needles: &[SecretText]) -> String {
    let (mut bare, mut places) = (Zeroizing::new(String::with_capacity(line.len())), Vec::with_capacity(line.len()));
    for (at, character) in line.char_indices().filter(|(_, character)| !QUOTING.contains(character)) {
        bare.push(character);
        places.extend(at..at + character.len_utf8());
    }
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for needle in needles {
        let found = bare.match_indices(needle.expose());
        stretches.extend(found.map(|(at, found)| (places[at], places[at + found.len() - 1] + 1)));
    }
    if stretches.is_empty() {
        return line;
    }
    stretches.sort_unstable();
    let (mut out, mut end) = (String::with_capacity(line.len()), 0);
    for (from, to) in stretches {
        if from >= end {
            out.push_str(&line[end..from]);
            out.push_str(MARK);
        }
        end = end.max(to);
    }
    out.push_str(&line[end..]);
    out
}

fn replace_words(line: &str, word: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let joins = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        out.push_str(before);
        let inside =
            joins(before.chars().next_back().or(out.chars().next_back().filter(|_| before.is_empty()))) || joins(after.chars().next());
        out.push_str(if inside { word } else { MARK });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redactor(value: serde_json::Value) -> Redactor {
        let redactor = Redactor::default();
        redactor.learn(&value);
        redactor
    }

    #[test]
    fn takes_out_every_field_of_a_secret() {
        let redactor = redactor(json!({"user": "shop_rw", "password": "p\"q", "port": 5432}));
        assert_eq!(redactor.redact("shop_rw:p\"q@db:5432 {\"p\\\"q\"}"), "[redacted]:[redacted]@db:[redacted] {\"[redacted]\"}");
    }

    #[test]
    fn takes_out_the_longer_secret_whole() {
        assert_eq!(redactor(json!(["abcd", "abcdefgh"])).redact("x abcdefgh y"), "x [redacted] y");
    }

    #[test]
    fn takes_out_each_line_of_a_key() {
        let redactor = redactor(json!("-----BEGIN-----\nMIIEvQ\n-----END-----\n"));
        assert_eq!(redactor.redact("  MIIEvQ"), "  [redacted]");
    }

    #[test]
    fn takes_out_a_short_secret_only_as_a_word() {
        assert_eq!(redactor(json!("80")).redact("1080 80 x80 (80)"), "1080 [redacted] x80 ([redacted])");
    }

    /// Quoted for an environment file, a shell or JSON within JSON, most of a password used to stay in sight.
    #[test]
    fn takes_out_a_secret_however_it_is_quoted() {
        let redactor = redactor(json!("pass\"wo'rd$\\ä"));
        let quoted = [
            r##"A="pass\"wo'rd\$\\ä""##,
            r##"A='pass"wo'\''rd$\ä'"##,
            r##""{\"a\":\"pass\\\"wo'rd$\\\\ä\"}""##,
            r##"{"a": "pass\"wo'rd$\\\u00e4"}"##,
            "?p=pass%22wo%27rd%24%5C%C3%A4",
        ];
        for quoted in quoted {
            let clean = redactor.redact(quoted);
            assert!(clean.contains(MARK) && !clean.contains("pass") && !clean.contains("rd"), "{quoted} became {clean}");
        }
    }

    #[test]
    fn takes_out_the_text_of_a_binary_secret() {
        let redactor = Redactor::default();
        redactor.learn_bytes(b"\xff\x00\nk\nMIIEvQIBADAN\n\xff");
        assert_eq!(redactor.redact("k MIIEvQIBADAN"), "k [redacted]");
    }

    #[test]
    fn takes_out_the_base64_form() {
        assert_eq!(redactor(json!("hunter22")).redact("aHVudGVyMjI="), "[redacted]");
    }
}
