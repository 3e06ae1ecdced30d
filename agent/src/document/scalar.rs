//! Finds the position of a character of a string in the document's source, across quotes, escapes and folded lines.

use crate::text::Place;

/// A character of a string, identified by the number of visible characters before it: YAML changes only the white space
/// of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Within {
    seen: usize,
    character: char,
}

impl Within {
    /// The character at a byte offset of a string; `None` at its end or on white space.
    pub(crate) fn at(text: &str, offset: usize) -> Option<Self> {
        let character = text.get(offset..)?.chars().next().filter(|character| !character.is_whitespace())?;
        Some(Self { seen: text[..offset].chars().filter(|character| !character.is_whitespace()).count(), character })
    }

    /// Its place in the lines of the document, for a string that begins at `start`.
    pub(super) fn place(self, lines: &[&str], start: &Place) -> Option<Place> {
        let first = lines.get(start.line - 1)?;
        let (mut skipped, mut line) = (start.column - 1, start.line);
        let style = first.chars().nth(skipped)?;
        match style {
            '|' | '>' => (skipped, line) = (0, line + 1),
            '"' | '\'' => skipped += 1,
            _ => {}
        }
        let mut left = self.seen;
        loop {
            let mut characters = lines.get(line - 1)?.chars().enumerate().skip(std::mem::take(&mut skipped)).peekable();
            while let Some((at, mut character)) = characters.next() {
                match (style, character) {
                    ('"', '\\') => match escaped(&mut characters) {
                        Some(meant) => character = meant,
                        // The string continues in the next line.
                        None => break,
                    },
                    ('"', '"') => return None,
                    ('\'', '\'') => {
                        characters.next().filter(|(_, next)| *next == '\'')?;
                    }
                    _ => {}
                }
                if character.is_whitespace() {
                    continue;
                }
                if left == 0 {
                    return (character == self.character).then(|| Place { file: start.file.clone(), line, column: at + 1 });
                }
                left -= 1;
            }
            line += 1;
        }
    }
}

/// The character that an escape stands for, after its backslash has been read; `None` at the end of a line.
fn escaped(characters: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let (_, character) = characters.next()?;
    let digits = match character {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        'n' | 't' | 'r' | 'v' | 'f' | ' ' | '\t' | 'N' | '_' | 'L' | 'P' => return Some(' '),
        _ => return Some(character),
    };
    let code = characters.take(digits).fold(0, |code, (_, digit)| code * 16 + digit.to_digit(16).unwrap_or(0));
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::tree::{Value, parse};

    /// Each text contains one `{{`, and begins in its first line after `a: `.
    #[test]
    fn a_character_is_found_in_every_style() {
        for (document, line, column) in [
            ("a: x {{b}}", 1, 6),
            ("a: x\n  y {{b}}", 2, 5),
            ("a: 'it''s {{b}}'", 1, 11),
            ("a: \"\\t\\n\\\"\\u00e4\\x20 {{b}}\"", 1, 22),
            ("a: \"x\n\n  y\\\n  z {{b}}\"", 4, 5),
            ("a: |\n  x\n\n    y {{b}}\n", 4, 7),
            ("a: |2-\n   x\n  y {{b}}\n", 3, 5),
            ("a: >-\n  x\n  y\n\n  z ä {{b}}\n", 5, 7),
            ("a: # why\n  >\n  x {{b}}\n", 3, 5),
        ] {
            let node = parse(&"x".into(), document).0.unwrap();
            let value = node.get("a").unwrap();
            let Value::String(text) = &value.value else { panic!("{document}") };
            let within = Within::at(text, text.find("{{").unwrap()).unwrap();
            let place = within.place(&document.lines().collect::<Vec<_>>(), &value.place);
            assert_eq!(place.map(|place| (place.line, place.column)), Some((line, column)), "{document}");
        }
    }
}
