//! `{{ini x}}`: the value of a key in an INI file, a format without a standard.
//!
//! Without a second argument, the value is written for Python's configparser with its defaults: `%` is doubled, nothing
//! is quoted, and `;`, `#`, quotes and backslashes are ordinary characters. The parsers of git, MySQL and MariaDB
//! differ: they process quotes and backslashes, and treat `#` as the start of a comment. `{{ini x "mysql"}}` and `{{ini
//! x "git"}}` write for these.
//!
//! Sources: Python's configparser, "Supported INI File Structure"; git-config(1), "Syntax"; MariaDB's
//! mysys/my_default.c. tests/boot/test_quoting.py runs them.

use serde_json::Value;

use super::scalar;
use crate::template::refusal::Refusal;
use crate::template::scope::Buffer;

/// # Errors
///
/// A value that the reader cannot represent: one with a line break, or with white space at either end if no quotes can
/// preserve it.
pub(in crate::template) fn ini(value: &Value, reader: Option<&Value>, out: &mut Buffer) -> Result<(), Refusal> {
    let text = scalar(value)?;
    if text.contains(|character: char| character.is_control() && character != '\t') {
        return Err(Refusal::of_content("contains a line break or another control character, which INI cannot contain"));
    }
    match reader.map(|reader| reader.as_str().unwrap_or_default()) {
        None | Some("python") => for_python(&text, out),
        Some("mysql" | "git") => {
            for_mysql(&text, out);
            Ok(())
        }
        Some(_) => Err(Refusal::of_content("is not a known reader of INI")
            .hint("write \"python\", \"mysql\" or \"git\", or leave the second argument out")
            .at(1)),
    }
}

fn for_python(text: &str, out: &mut Buffer) -> Result<(), Refusal> {
    if text.trim() != text {
        return Err(Refusal::of_content("begins or ends with whitespace, which Python's configparser drops")
            .hint("remove the whitespace with `trim`, or write {{ini x \"mysql\"}} if the reader undoes quotes"));
    }
    for character in text.chars() {
        if character == '%' {
            out.push('%');
        }
        out.push(character);
    }
    Ok(())
}

/// Unquoted if nothing in it has a special meaning for these readers; otherwise in double quotes, with `"` and `\`
/// escaped by a backslash.
fn for_mysql(text: &str, out: &mut Buffer) {
    let special = |character: char| matches!(character, '"' | '\'' | '\\' | ';' | '#' | '$' | '`' | '\t');
    if !text.contains(special) && text.trim() == text {
        return out.push_str(text);
    }
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(value: Value, reader: Option<&str>) -> Option<String> {
        let mut out = Buffer::new();
        ini(&value, reader.map(Value::from).as_ref(), &mut out).ok()?;
        Some(out.into_secret().expose().to_owned())
    }

    #[test]
    fn writes_for_python_unless_told_otherwise() {
        for (value, python, quoted) in [
            (json!("a=b: c"), Some("a=b: c"), "a=b: c"),
            (json!(""), Some(""), ""),
            (json!(true), Some("true"), "true"),
            (json!("100%"), Some("100%%"), "100%"),
            (json!("%(x)s"), Some("%%(x)s"), "%(x)s"),
            (json!(" padded"), None, r#"" padded""#),
            (json!(r##"p#1;"\"##), Some(r##"p#1;"\"##), r##""p#1;\"\\""##),
        ] {
            assert_eq!(written(value.clone(), None).as_deref(), python, "{value}");
            assert_eq!(written(value.clone(), Some("python")).as_deref(), python, "{value}");
            assert_eq!(written(value.clone(), Some("mysql")).as_deref(), Some(quoted), "{value}");
            assert_eq!(written(value.clone(), Some("git")).as_deref(), Some(quoted), "{value}");
        }
    }

    #[test]
    fn refuses_what_ini_cannot_hold() {
        for text in ["a\nb", "a\rb", "a\0", "a\u{85}b"] {
            assert_eq!(written(json!(text), None), None, "{text:?}");
            assert_eq!(written(json!(text), Some("mysql")), None, "{text:?}");
        }
        assert_eq!(written(json!("a"), Some("windows")), None);
    }
}
