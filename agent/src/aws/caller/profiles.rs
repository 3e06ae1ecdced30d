//! The profiles in `~/.aws/config` and `~/.aws/credentials`, read as Python's configparser and botocore read them.
//!
//! | | |
//! |---|---|
//! | names | `[default]`, `[profile work]`, `[profile "my work"]` in the first file; the bare name in the second |
//! | settings | `name = value` or `name: value`, in any case; comments are whole lines that begin with `#` or `;` |
//! | values | continue in more deeply indented lines, as in the nested settings of `s3 =` |
//!
//! Sources: <https://docs.python.org/3/library/configparser.html#supported-ini-file-structure>, and `configloader.py`
//! of botocore. An error never quotes a line, since the line may be a secret.

use std::collections::BTreeMap;

/// The settings of a profile.
pub(super) type Profile = BTreeMap<String, String>;

/// The number of an invalid line, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidLine(pub(super) usize);

/// The sections of a file, in order.
pub(super) fn sections(text: &str) -> Result<Vec<(String, Profile)>, InvalidLine> {
    let mut sections: Vec<(String, Profile)> = Vec::new();
    // The setting that an indented line continues, and the setting's own indentation.
    let mut open: Option<(String, usize)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let settings = sections.last_mut().map(|(_, settings)| settings);
        match (&open, settings) {
            (Some((name, deeper_than)), Some(settings)) if indent > *deeper_than => {
                let value = settings.entry(name.clone()).or_default();
                value.push('\n');
                value.push_str(line);
            }
            _ if line.starts_with('[') => {
                let name = line[1..].rsplit_once(']').map(|(name, _)| name).filter(|name| !name.is_empty()).ok_or(InvalidLine(number))?;
                if sections.iter().any(|(known, _)| known == name) {
                    return Err(InvalidLine(number));
                }
                sections.push((name.to_owned(), Profile::new()));
                open = None;
            }
            (_, settings) => {
                let (name, value) = line.split_once(['=', ':']).ok_or(InvalidLine(number))?;
                let (name, value) = (name.trim().to_lowercase(), value.trim().to_owned());
                if name.is_empty() || settings.ok_or(InvalidLine(number))?.insert(name.clone(), value).is_some() {
                    return Err(InvalidLine(number));
                }
                open = Some((name, indent));
            }
        }
    }
    Ok(sections)
}

/// The profile that a section of the config file describes. `None` if the section is not a profile.
pub(super) fn profile_of(section: &str) -> Option<String> {
    if section == "default" {
        return Some(section.to_owned());
    }
    match &words(section.strip_prefix("profile").map(|_| section)?)?[..] {
        [_, name] => Some(name.clone()),
        _ => None,
    }
}

/// Splits a text into words as a shell does. `None` if a quote is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (Some(open), _) if character == open => quote = None,
            (None, '\\') => word.get_or_insert_default().push(characters.next()?),
            (Some('"'), '\\') => match characters.next()? {
                escaped @ ('"' | '\\') => word.get_or_insert_default().push(escaped),
                other => word.get_or_insert_default().extend(['\\', other]),
            },
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Settings = Vec<(String, String)>;

    fn read(text: &str) -> Result<Vec<(String, Settings)>, InvalidLine> {
        Ok(sections(text)?.into_iter().map(|(name, settings)| (name, settings.into_iter().collect())).collect())
    }

    #[test]
    fn settings_are_read_as_python_reads_them() {
        let a = |value: &str| Ok(vec![("x".to_owned(), vec![("a".to_owned(), value.to_owned())])]);
        assert_eq!(read("[x]\na=1"), a("1"));
        assert_eq!(read("# c\n[x] ; d\n  A : 1\n\n;e\n"), a("1"));
        assert_eq!(read("[x]\r\na = 1 # not a comment\r\n"), a("1 # not a comment"));
        assert_eq!(read("[x]\na =\n  b = 1\n\n  # c\n  d = 2\n"), a("\nb = 1\nd = 2"));
        assert_eq!(read("[x]\n  a = b=c;\\#\n"), a("b=c;\\#"));
        let two = read("[x]\n a = 1\n b = 2\n").unwrap();
        assert_eq!(two[0].1.len(), 2);
        for (text, line) in [("a=1", 1), ("[x]\nb", 2), ("[x\n", 1), ("[x]\na=1\na=2", 3), ("[x]\n[y]\n[x]", 3), ("[]", 1), ("[x]\n=1", 2)]
        {
            assert_eq!(read(text), Err(InvalidLine(line)), "{text:?}");
        }
    }

    #[test]
    fn a_profile_has_a_name_in_quotes_or_not() {
        let named = |section: &str| profile_of(section).unwrap_or_default();
        assert_eq!(named("default"), "default");
        assert_eq!(named("profile work"), "work");
        assert_eq!(named("profile \t work"), "work");
        assert_eq!(named("profile \"my work\""), "my work");
        assert_eq!(named("profile 'it''s'"), "its");
        assert_eq!(named("profile \"a\\\"b\""), "a\"b");
        assert_eq!(named("profile my\\ work"), "my work");
        for section in ["work", "profile", "profile a b", "profile \"a", "sso-session corp", "services x"] {
            assert_eq!(profile_of(section), None, "{section}");
        }
    }
}
