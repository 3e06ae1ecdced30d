//! Takes secrets out of text that other programs wrote, before anyone sees it.
//!
//! ingot's own messages never hold a secret, by construction ([`SecretText`] does not print). What a command, a
//! unit's journal or a `check:` says is another matter: every such line passes through a [`Redactor`] that
//! knows the secrets of this boot.

use std::cell::RefCell;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::text::SecretText;

/// What stands in place of a secret.
const MARK: &str = "[redacted]";

/// Below this many bytes a secret is taken out only where it stands as a word of its own: `80` is a fine port
/// number to keep in `1080`, and a fine PIN to hide.
const WORD_ONLY_BELOW: usize = 4;

/// Knows the secrets of this boot, in the forms in which programs print them.
#[derive(Debug, Default)]
pub(crate) struct Redactor {
    /// Longest first, so that a secret which contains another disappears whole.
    needles: RefCell<Vec<SecretText>>,
}

impl Redactor {
    /// Learns every string and number in `value`.
    pub(crate) fn learn(&self, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.learn_text(text),
            serde_json::Value::Number(number) => self.learn_text(&number.to_string()),
            serde_json::Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            serde_json::Value::Object(fields) => fields.values().for_each(|field| self.learn(field)),
            serde_json::Value::Null | serde_json::Value::Bool(_) => {}
        }
    }

    fn learn_text(&self, secret: &str) {
        // Output arrives line by line, so a secret of several lines is looked for line by line.
        for line in secret.lines().map(str::trim) {
            for form in forms(line) {
                self.add(form);
            }
        }
        if secret.len() >= WORD_ONLY_BELOW {
            self.add(STANDARD.encode(secret));
        }
    }

    fn add(&self, needle: String) {
        let mut needles = self.needles.borrow_mut();
        if needle.is_empty() || needles.iter().any(|known| known.expose() == needle) {
            return;
        }
        let at = needles.partition_point(|known| known.expose().len() >= needle.len());
        needles.insert(at, needle.into());
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
        clean
    }
}

/// A secret as it stands in files and output of the usual formats: as it is, in JSON and TOML, between single and double
/// quotes of a shell or an environment file, and in a URL.
fn forms(secret: &str) -> [String; 5] {
    let json = serde_json::Value::from(secret).to_string();
    let double = secret.chars().fold(String::new(), |mut out, c| {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
        out
    });
    let url = secret.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    });
    [secret.to_owned(), json[1..json.len() - 1].to_owned(), secret.replace('\'', r"'\''"), double, url]
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

    #[test]
    fn takes_out_what_a_shell_or_a_url_makes_of_it() {
        let redactor = redactor(json!("it's $5"));
        assert_eq!(redactor.redact(r#"'it'\''s $5' "it's \$5" ?p=it%27s%20%245"#), r#"'[redacted]' "[redacted]" ?p=[redacted]"#);
    }

    #[test]
    fn takes_out_the_base64_form() {
        assert_eq!(redactor(json!("hunter22")).redact("aHVudGVyMjI="), "[redacted]");
    }
}
