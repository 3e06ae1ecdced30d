//! `{{env x}}`: the value of an assignment in an environment file.
//!
//! Readers of environment files agree on little. systemd and shells process backslashes in double quotes; node's dotenv
//! processes only `\n` and `\r` there. python-dotenv also processes `\\` and `\'` in single quotes, and replaces
//! `${NAME}` everywhere. docker and podman process nothing, so quotes become part of the value. A value is written in a
//! form that systemd, shells, python-dotenv and node's dotenv all read back, and without quotes where they all allow
//! that, which docker can read too. If there is no such form, the value is written for systemd and shells, and
//! rendering reports that. A second argument names the only reader to write for: `{{env x "systemd"}}`, `{{env x
//! "dotenv"}}` or `{{env x "docker"}}`; a value that this reader cannot represent is rejected.
//!
//! Sources: systemd's src/basic/env-file.c (v252 to v262; v239 drops every backslash in either kind of quotes, and some
//! versions after it process only `\"`); POSIX.1-2024, Shell Command Language, 2.2; python-dotenv's parser.py and
//! variables.py; node dotenv's lib/main.js; docker's opts/file.go. tests/boot/test_quoting.py and
//! tests/machine/test_environment_files.py run them.

use serde_json::Value;

use super::scalar;
use crate::template::refusal::{Reason, Refusal};
use crate::template::scope::Buffer;
use crate::text::SecretText;

/// The maximum size of a variable's value on Linux, in bytes: `MAX_ARG_STRLEN` less room for the name, an `=` and a
/// NUL.
const LONGEST: usize = 32 * 4096 - 256;

/// The maximum size of a value for docker, whose lines are shorter than 64 KiB, less the same room.
const LONGEST_FOR_DOCKER: usize = 64 * 1024 - 256;

/// ASCII punctuation that has no special meaning in an unquoted value, for any of the readers.
const PLAIN: &str = "_-.,:/@%+=^?*[]{}!~";

/// # Errors
///
/// A value that the reader cannot represent; without a reader, one that neither systemd nor a shell can represent.
pub(in crate::template) fn env(value: &Value, reader: Option<&Value>, out: &mut Buffer) -> Result<(), Refusal> {
    let text = scalar(value)?;
    if text.len() > LONGEST {
        return Err(Refusal::of_content("is longer than the 128 KiB that Linux allows a variable").hint("pass it in a separate file"));
    }
    match reader.map(|reader| reader.as_str().unwrap_or_default()) {
        None | Some("dotenv") => {
            refuse_what_systemd_does(&text)?;
            match (common_form(&text), reader) {
                (Ok(None), _) => out.push_str(&text),
                (Ok(Some(quote)), _) => quoted(quote, &text, out),
                (Err(_), None) => for_systemd(&text, out),
                (Err(why), Some(_)) => {
                    let hint = "change the value; if only systemd and shells read this file, write {{env x \"systemd\"}}";
                    return Err(Refusal::of_content(why).hint(hint));
                }
            }
        }
        Some("systemd") => {
            refuse_what_systemd_does(&text)?;
            for_systemd(&text, out);
        }
        Some("docker") => return for_docker(&text, out),
        Some(_) => {
            return Err(Refusal::of_content("is not a known reader of environment files")
                .hint("write \"systemd\", \"dotenv\" or \"docker\", or leave the second argument out")
                .at(1));
        }
    }
    Ok(())
}

/// A value in the form that systemd reads back from an `EnvironmentFile=`.
///
/// # Errors
///
/// Why no variable can hold the value, as the end of a sentence.
pub(crate) fn environment_value(text: &str) -> Result<SecretText, &'static str> {
    let content = |refusal: Refusal| match refusal.reason {
        Reason::Content(why) => why,
        Reason::Type { found, .. } => found,
    };
    if text.len() > LONGEST {
        return Err("is longer than the 128 KiB that Linux allows a variable");
    }
    refuse_what_systemd_does(text).map_err(content)?;
    let mut out = Buffer::with_capacity(text.len() + 2);
    for_systemd(text, &mut out);
    Ok(out.into_secret())
}

/// The same in the form that most readers accept, including systemd: unquoted if possible.
///
/// # Errors
///
/// As [`environment_value`].
pub(crate) fn dotenv_value(text: &str) -> Result<SecretText, &'static str> {
    match common_form(text) {
        Ok(None) if text.len() <= LONGEST => Ok(text.into()),
        _ => environment_value(text),
    }
}

/// Whether there is no form of a value that systemd, shells and dotenv libraries all read back.
pub(in crate::template) fn is_for_systemd_only(value: &Value) -> bool {
    scalar(value).is_ok_and(|text| common_form(&text).is_err())
}

/// The quote with which every reader reads the text back, if it needs one; or why there is none.
fn common_form(text: &str) -> Result<Option<char>, &'static str> {
    if text.contains('\r') {
        return Err("contains a carriage return, which dotenv libraries read as a line break");
    }
    if interpolates(text) {
        return Err("contains `${…}`, which python-dotenv replaces even in quotes");
    }
    if is_plain(text) {
        return Ok(None);
    }
    if !text.contains('\'') {
        let misread = text.contains(r"\\") || text.ends_with('\\');
        let why = "contains two backslashes in a row or ends with one, which dotenv libraries read differently";
        return if misread { Err(why) } else { Ok(Some('\'')) };
    }
    if text.contains(['"', '$', '`']) || escapes(text) {
        return Err("contains a single quote together with `\"`, `$`, `` ` `` or a backslash, which node's dotenv cannot read");
    }
    Ok(Some('"'))
}

/// In double quotes, where systemd and POSIX shells process the same four escapes. v239 accepts this form too.
fn for_systemd(text: &str, out: &mut Buffer) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\' | '`' | '$') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

/// Unquoted: docker and podman take everything up to the end of the line as the value.
fn for_docker(text: &str, out: &mut Buffer) -> Result<(), Refusal> {
    if text.contains(['\n', '\r', '\0']) {
        return Err(
            Refusal::of_content("contains a line break or a NUL, which `--env-file` cannot contain").hint("pass it in a separate file")
        );
    }
    if text.len() > LONGEST_FOR_DOCKER {
        return Err(Refusal::of_content("is longer than the 64 KiB that docker reads of a line").hint("pass it in a separate file"));
    }
    out.push_str(text);
    Ok(())
}

/// No reader can put a NUL into a variable, and systemd ignores the whole file if it contains a noncharacter.
fn refuse_what_systemd_does(text: &str) -> Result<(), Refusal> {
    if text.contains('\0') {
        return Err(Refusal::of_content("contains a NUL, which no variable can contain"));
    }
    if text.chars().any(is_noncharacter) {
        return Err(Refusal::of_content("contains a character that systemd refuses in an environment file"));
    }
    Ok(())
}

fn is_noncharacter(character: char) -> bool {
    matches!(character, '\u{fdd0}'..='\u{fdef}') || u32::from(character) & 0xfffe == 0xfffe
}

/// Whether every reader takes the text literally. A shell replaces `~` at the start and after a colon.
fn is_plain(text: &str) -> bool {
    let plain = |character: char| match character {
        _ if character.is_ascii() => character.is_ascii_alphanumeric() || PLAIN.contains(character),
        // JavaScript trims it like white space.
        '\u{feff}' => false,
        _ => !character.is_whitespace() && !character.is_control(),
    };
    text.chars().all(plain) && !text.starts_with('~') && !text.contains(":~")
}

/// Whether python-dotenv would replace a variable: `${NAME}` or `${NAME:-default}`, whatever the name is.
fn interpolates(text: &str) -> bool {
    text.match_indices("${").any(|(at, open)| {
        let rest = &text[at + open.len()..];
        match rest.find(['}', ':']).map(|end| &rest[end..]) {
            Some(end) => end.starts_with('}') || (end.starts_with(":-") && end.contains('}')),
            None => false,
        }
    })
}

/// Whether a backslash within double quotes has a special meaning for any reader.
fn escapes(text: &str) -> bool {
    text.match_indices('\\').any(|(at, _)| text[at + 1..].chars().next().is_none_or(|next| "\\\n'abfnrtv".contains(next)))
}

fn quoted(quote: char, text: &str, out: &mut Buffer) {
    out.push(quote);
    out.push_str(text);
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::template::environment;

    fn written(text: &str, reader: Option<&str>) -> Option<String> {
        let mut out = Buffer::new();
        env(&json!(text), reader.map(Value::from).as_ref(), &mut out).ok()?;
        Some(out.into_secret().expose().to_owned())
    }

    /// The text in the file, for all readers at once. The machine tests run the readers over the same forms.
    #[test]
    fn writes_the_one_form_that_all_read() {
        for (text, form) in [
            ("", ""),
            ("https://a.b/c?d=%20e", ""),
            ("a[b]{c}*,d:e+f@g^h!i~j", ""),
            ("ünï🦀", ""),
            ("~root", "'"),
            ("a:~b", "'"),
            ("two words", "'"),
            (" padded ", "'"),
            ("a#b", "'"),
            ("#", "'"),
            ("tab\there", "'"),
            ("$HOME `id` $(id) \"x\"", "'"),
            ("{$}", "'"),
            (r"C:\new\table", "'"),
            ("two\nlines\n", "'"),
            ("a;b&c|d<e>f(g)", "'"),
            ("\u{a0}", "'"),
            ("a\u{2028}b", "'"),
            ("a\u{feff}b", "'"),
            ("it's", "\""),
            ("'", "\""),
            ("it's two\nlines # and more", "\""),
            (r"it's C:\Dir\%x", "\""),
        ] {
            for reader in [None, Some("dotenv")] {
                assert_eq!(written(text, reader), Some(format!("{form}{text}{form}")), "{text:?}");
            }
            assert!(!is_for_systemd_only(&json!(text)), "{text:?}");
        }
    }

    #[test]
    fn what_has_no_common_form_is_for_systemd_and_told() {
        for (text, form) in [
            ("a\rb", "a\rb"),
            ("a\r\nb", "a\r\nb"),
            ("${x}", r"\${x}"),
            ("a${b:-c}d", r"a\${b:-c}d"),
            ("${}", r"\${}"),
            (r"\\", r"\\\\"),
            (r"a\", r"a\\"),
            ("it's $5", r"it's \$5"),
            ("it's \"5\"", r#"it's \"5\""#),
            ("it's `5`", r"it's \`5\`"),
            (r"it's \n", r"it's \\n"),
            (r"it's \\", r"it's \\\\"),
            (r"it's\", r"it's\\"),
        ] {
            assert_eq!(written(text, None), Some(format!("\"{form}\"")), "{text:?}");
            assert_eq!(written(text, Some("dotenv")), None, "{text:?}");
            assert!(is_for_systemd_only(&json!(text)), "{text:?}");
        }
        // python-dotenv does not treat this as a variable.
        assert_eq!(written("$x ${x ${x:y}", Some("dotenv")).as_deref(), Some("'$x ${x ${x:y}'"));
        assert!(!is_for_systemd_only(&json!("$x ${x ${x:y}")) && !is_for_systemd_only(&json!(null)));
    }

    #[test]
    fn refuses_what_neither_systemd_nor_a_shell_holds() {
        for text in ["a\0b", "\u{fffe}", "\u{fdd0}", "\u{1ffff}"] {
            assert_eq!(written(text, None), None, "{text:?}");
            assert_eq!(written(text, Some("systemd")), None, "{text:?}");
        }
        assert!(written(&"x".repeat(LONGEST), None).is_some() && written(&"x".repeat(LONGEST + 1), None).is_none());
    }

    #[test]
    fn writes_for_one_reader_what_others_cannot_hold() {
        for (text, systemd, docker) in [
            ("plain", r#""plain""#, Some("plain")),
            ("it's \"5\" $x `y` \\", r#""it's \"5\" \$x \`y\` \\""#, Some("it's \"5\" $x `y` \\")),
            ("${x}", r#""\${x}""#, Some("${x}")),
            (" # ", "\" # \"", Some(" # ")),
            ("a\nb", "\"a\nb\"", None),
            ("a\rb", "\"a\rb\"", None),
        ] {
            assert_eq!(written(text, Some("systemd")).as_deref(), Some(systemd), "{text:?}");
            assert_eq!(written(text, Some("docker")).as_deref(), docker, "{text:?}");
        }
        assert_eq!(written("a\0b", Some("docker")), None);
        let long = "x".repeat(LONGEST_FOR_DOCKER + 1);
        assert!(written(&long, Some("systemd")).is_some() && written(&long, Some("docker")).is_none());
    }

    #[test]
    fn refuses_a_reader_that_it_does_not_know() {
        for reader in [json!("fish"), json!(1)] {
            let refusal = env(&json!("x"), Some(&reader), &mut Buffer::new()).unwrap_err();
            assert_eq!(refusal.argument, 1, "{reader}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(text in any::<String>(), more in "[ '\"\\\\$`\n\ta#;={}n]*") {
            for (text, reader) in [(&text, None), (&more, None), (&text, Some("systemd")), (&more, Some("systemd"))] {
                if let Some(form) = written(text, reader) {
                    let mut found = Vec::new();
                    environment::parse(&format!("A={form}\nB=end"), |_, value| found.push(value.to_owned())).unwrap();
                    prop_assert_eq!(&found, &[text.as_str(), "end"]);
                }
            }
        }
    }
}
