//! `{{pgpass x}}`: a field of PostgreSQL's password file, `host:port:database:user:password`.

use serde_json::Value;

use super::scalar;
use crate::template::refusal::Refusal;
use crate::template::scope::Buffer;

/// Escapes `:` and `\`, and a value of just `*`, which would match anything. No other backslash is processed by every
/// reader: Go's pgx processes just these two. A `#` only starts a comment at the beginning of a line, where the host
/// is, and host names never contain one.
///
/// # Errors
///
/// A line break or a NUL: each line of the file is an entry, and a line break cannot be escaped.
///
/// Source: PostgreSQL, "The Password File", `passwordFromFile` and `pwdfMatchesString` in libpq's fe-connect.c, and
/// `parseLine` in <https://github.com/jackc/pgpassfile>.
pub(in crate::template) fn pgpass(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    let text = scalar(value)?;
    if text.contains(['\n', '\r', '\0']) {
        return Err(Refusal::of_content("contains a line break or a NUL, which a password file cannot contain"));
    }
    for character in text.chars() {
        if matches!(character, ':' | '\\') || text.as_str() == "*" {
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
    fn escapes_what_separates_and_what_matches_anything() {
        for (text, expected) in [
            ("plain", Some("plain")),
            (r"a:b\c", Some(r"a\:b\\c")),
            ("*", Some(r"\*")),
            ("*a", Some("*a")),
            ("#1*", Some("#1*")),
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
