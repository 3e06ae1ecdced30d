//! `{{pgpass x}}`: a field of PostgreSQL's password file, `host:port:database:user:password`.

use serde_json::Value;

use super::scalar;
use crate::template::refusal::Refusal;
use crate::template::scope::Buffer;

/// Escapes `:` and `\`, and what would make a field match anything (`*`) or a line a comment (`#`).
///
/// # Errors
///
/// A line break or a NUL: a line of the file is an entry, and nothing escapes its end.
///
/// Source: PostgreSQL, "The Password File", and `passwordFromFile` in libpq's fe-connect.c
pub(in crate::template) fn pgpass(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    let text = scalar(value)?;
    if text.contains(['\n', '\r', '\0']) {
        return Err(Refusal::of_content("holds a line break or a NUL, which a password file cannot hold"));
    }
    for (n, character) in text.chars().enumerate() {
        if matches!(character, ':' | '\\') || (n == 0 && matches!(character, '*' | '#')) {
            out.push('\\');
        }
        out.push(character);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn escapes_what_separates_matches_and_comments() {
        for (text, expected) in [
            ("plain", Some("plain")),
            (r"a:b\c", Some(r"a\:b\\c")),
            ("*", Some(r"\*")),
            ("#1*", Some(r"\#1*")),
            ("", Some("")),
            ("a\nb", None),
            ("a\r", None),
        ] {
            let mut out = Buffer::new();
            let written = pgpass(&json!(text), &mut out).ok().map(|()| out.into_secret().expose().to_owned());
            assert_eq!(written.as_deref(), expected, "{text:?}");
        }
    }
}
