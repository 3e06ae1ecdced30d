//! Reads files of `KEY=value` lines, as systemd's `EnvironmentFile=` and dotenv libraries do.
//!
//! Stricter than systemd, which silently drops what it cannot read: a line without `=`, an invalid name, an unclosed
//! quote.
//!
//! Source: systemd.exec(5), `EnvironmentFile=`

use std::iter::Peekable;
use std::str::Chars;

use zeroize::Zeroizing;

/// The number of a line, counted from 1, and what is wrong with it.
pub(super) type Mistake = (usize, &'static str);

/// Passes every assignment to `see`, in order: the name, and the value as systemd would set it.
pub(super) fn parse(text: &str, mut see: impl FnMut(&str, &str)) -> Result<(), Mistake> {
    let mut reader = Reader { rest: text.chars().peekable(), line: 1 };
    // One buffer for all values, large enough for any of them: a string that grows leaves its old content in memory.
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    loop {
        reader.skip(char::is_whitespace);
        match reader.rest.peek() {
            None => return Ok(()),
            Some('#' | ';') => reader.skip(|character| character != '\n'),
            Some(_) => {
                value.clear();
                let name = reader.assignment(&mut value)?;
                see(&name, &value);
            }
        }
    }
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        self.line += usize::from(character == '\n');
        Some(character)
    }

    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        while self.rest.peek().is_some_and(|&character| unwanted(character)) {
            self.next();
        }
    }

    fn assignment(&mut self, value: &mut String) -> Result<String, Mistake> {
        let line = self.line;
        let mut name = String::new();
        loop {
            match self.next() {
                Some('=') => break,
                None | Some('\n') => return Err((line, "has no `=`")),
                Some(character) => name.push(character),
            }
        }
        let name = name.trim_end().to_owned();
        let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !starts_well || !name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_') {
            return Err((line, "has a name that is not only letters, digits and underscores"));
        }
        self.skip(|character| matches!(character, ' ' | '\t' | '\r'));
        match self.rest.peek() {
            Some(&quote @ ('"' | '\'')) => self.quoted(quote, value)?,
            _ => self.unquoted(value),
        }
        Ok(name)
    }

    fn quoted(&mut self, quote: char, value: &mut String) -> Result<(), Mistake> {
        let line = self.line;
        self.next();
        loop {
            match self.next() {
                None => return Err((line, "opens a quote that never ends")),
                Some(character) if character == quote => break,
                Some('\\') if quote == '"' => match self.next() {
                    None => return Err((line, "opens a quote that never ends")),
                    Some('\n') => {}
                    Some(escaped @ ('"' | '\\' | '`' | '$')) => value.push(escaped),
                    Some(other) => value.extend(['\\', other]),
                },
                Some(character) => value.push(character),
            }
        }
        let line = self.line;
        self.skip(|character| matches!(character, ' ' | '\t' | '\r'));
        match self.next() {
            None | Some('\n') => Ok(()),
            Some(_) => Err((line, "has more text after the closing quote")),
        }
    }

    fn unquoted(&mut self, value: &mut String) {
        loop {
            match self.next() {
                None | Some('\n') => break,
                Some('\\') => match self.next() {
                    None | Some('\n') => {}
                    Some(escaped) => value.push(escaped),
                },
                Some(character) => value.push(character),
            }
        }
        let kept = value.trim_end_matches([' ', '\t', '\r']).len();
        value.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        parse(text, |name, value| found.push((name.to_owned(), value.to_owned()))).unwrap();
        found
    }

    #[test]
    fn reads_as_systemd_does() {
        let text = "# comment\n; comment\n\nA=plain\nB = spaced out \nC='it $HOME \\n'\nD=\"a\\\"b\\$c\\nd\"\nE=\nF=one\\\ntwo\nG='two\nlines'\r\n  H=a\"b";
        let expected = [
            ("A", "plain"),
            ("B", "spaced out"),
            ("C", "it $HOME \\n"),
            ("D", "a\"b$c\\nd"),
            ("E", ""),
            ("F", "onetwo"),
            ("G", "two\nlines"),
            ("H", "a\"b"),
        ];
        assert_eq!(values(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn refuses_what_systemd_would_drop() {
        for (text, line) in [("A=1\nnonsense\n", 2), ("export A=1", 1), ("1A=x", 1), ("A='open\n\n", 1), ("\nA='a' b", 2), ("=x", 1)] {
            assert_eq!(parse(text, |_, _| {}).unwrap_err().0, line, "{text:?}");
        }
    }
}
