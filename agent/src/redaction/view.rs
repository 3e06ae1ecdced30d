//! A line without the escapes and quotes that programs add around and inside a value, with the
//! place of every byte in the original line.
//!
//! | written by | undone |
//! |---|---|
//! | URLs and forms | `%41`, `%u0041`, `+`, also twice |
//! | JSON, Python, Rust, JavaScript, shells | `\u0041`, `\u{41}`, `\U00000041`, `\x41`, `\101`, `\/`, `\n` |
//! | the same | quotes, also within one another |
//! | XML and HTML | `&amp;`, `&#65;`, `&#x41;` |
//!
//! Ambiguous text is normalized on both sides: a secret is transformed in the same way before it is searched for.

use std::ops::Range;

use zeroize::Zeroizing;

use super::needles::ESCAPED;

/// How many times a text is unescaped: JSON within a URL within JSON.
const ROUNDS: usize = 3;

/// A text, and the place in the line from which each of its bytes comes.
pub(super) struct View {
    text: Zeroizing<Vec<u8>>,
    places: Vec<Range<u32>>,
}

/// Reads the text at the first character of one kind of escape.
type Rule = fn(&[u8]) -> Found;

/// The text at a character that may begin an escape.
enum Found {
    /// This many bytes, which stand for these.
    Escape(usize, Bytes),
    /// This many bytes, which stand for themselves.
    Plain(usize),
}

/// One character or byte.
struct Bytes {
    bytes: [u8; 4],
    length: usize,
}

impl Bytes {
    const NONE: Self = Self { bytes: [0; 4], length: 0 };

    fn byte(byte: u8) -> Self {
        Self { bytes: [byte, 0, 0, 0], length: 1 }
    }

    fn character(code: u32) -> Option<Self> {
        let mut bytes = [0; 4];
        let length = char::from_u32(code)?.encode_utf8(&mut bytes).len();
        Some(Self { bytes, length })
    }
}

impl View {
    /// The line as it is.
    pub(super) fn of(line: &[u8]) -> Self {
        let places = (0..).zip(1..).take(line.len()).map(|(from, to)| from..to).collect();
        Self { text: Zeroizing::new(line.to_vec()), places }
    }

    pub(super) fn empty(room: usize) -> Self {
        Self { text: Zeroizing::new(Vec::with_capacity(room)), places: Vec::with_capacity(room) }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn push(&mut self, byte: u8, place: Range<u32>) {
        self.text.push(byte);
        self.places.push(place);
    }

    /// The part of the line from which `range` was read.
    pub(super) fn place(&self, range: Range<usize>) -> Range<u32> {
        let places = &self.places[range];
        places.first().map_or(0, |place| place.start)..places.last().map_or(0, |place| place.end)
    }

    /// The text without escapes, but with quotes and with the characters of base64. Passes each
    /// intermediate form to `each`.
    pub(super) fn unescaped(mut self, each: &mut dyn FnMut(&Self)) -> Self {
        for _ in 0..ROUNDS {
            let mut changed = false;
            let rules: [(u8, Rule); 3] = [(b'%', percent), (b'&', entity), (b'\\', backslash)];
            for (sign, rule) in rules {
                if self.undo(sign, rule) {
                    changed = true;
                    each(&self);
                }
            }
            if !changed {
                break;
            }
        }
        self
    }

    /// The text without quotation marks and backslashes, and with one notation for whatever has several, so that two
    /// spellings of one value become equal.
    pub(super) fn bare(&self) -> Self {
        let mut bare = Self::empty(self.text.len());
        for (byte, place) in self.text.iter().zip(&self.places) {
            let byte = match byte {
                // Every second byte of UTF-16 text that is ASCII.
                0 => continue,
                b'\\' | b'"' | b'\'' | b'%' => continue,
                b'+' => b' ',
                // Equal to `\t` whose backslash was removed.
                b'\t' => b't',
                b'\n' => b'n',
                b'\r' => b'r',
                0x0c => b'f',
                0x08 => b'b',
                other => *other,
            };
            bare.push(byte, place.clone());
        }
        bare
    }

    /// The text with a space for every control character, escaped or not. `None` if there are none. In
    /// [`bare`](Self::bare), they would be letters of the adjacent word.
    pub(super) fn apart(&self) -> Option<Self> {
        let mut apart = self.copied();
        let mut changed = apart.undo(b'\\', escaped_control);
        for byte in apart.text.iter_mut().filter(|byte| byte.is_ascii_control()) {
            *byte = b' ';
            changed = true;
        }
        changed.then_some(apart)
    }

    /// The text without line breaks, escaped or not. `None` if there are none. Programs break long lines of base64.
    pub(super) fn unbroken(&self) -> Option<Self> {
        let mut unbroken = self.copied();
        let rules: [(u8, Rule); 3] = [(b'\\', escaped_break), (b'\n', nothing), (b'\r', nothing)];
        let changed = rules.into_iter().fold(false, |changed, (sign, rule)| unbroken.undo(sign, rule) || changed);
        changed.then_some(unbroken)
    }

    /// The text without zeros. `None` if there are none. UTF-16 then reads as without its upper bytes.
    pub(super) fn narrow(&self) -> Option<Self> {
        self.text.contains(&0).then(|| {
            let mut narrow = Self::empty(self.text.len());
            let all = self.text.iter().zip(&self.places).filter(|(byte, _)| **byte != 0);
            all.for_each(|(byte, place)| narrow.push(*byte, place.clone()));
            narrow
        })
    }

    fn copied(&self) -> Self {
        Self { text: self.text.clone(), places: self.places.clone() }
    }

    /// Replaces what `rule` finds at each `sign`. Returns whether there was anything.
    fn undo(&mut self, sign: u8, rule: Rule) -> bool {
        if !self.text.contains(&sign) {
            return false;
        }
        let (mut new, mut at, mut changed) = (Self::empty(self.text.len()), 0, false);
        while at < self.text.len() {
            let found = if self.text[at] == sign { rule(&self.text[at..]) } else { Found::Plain(1) };
            match found {
                Found::Plain(length) => {
                    (at..at + length).for_each(|at| new.push(self.text[at], self.places[at].clone()));
                    at += length;
                }
                Found::Escape(length, Bytes { bytes, length: long }) => {
                    let place = self.place(at..at + length);
                    bytes[..long].iter().for_each(|byte| new.push(*byte, place.clone()));
                    at += length;
                    changed = true;
                }
            }
        }
        *self = new;
        changed
    }
}

/// `\n` and the like, after any number of backslashes, replaced by a space.
fn escaped_control(text: &[u8]) -> Found {
    let run = text.iter().take_while(|byte| **byte == b'\\').count();
    match text.get(run) {
        Some(letter) if ESCAPED.contains(letter) => Found::Escape(run + 1, Bytes::byte(b' ')),
        _ => Found::Plain(run),
    }
}

/// `\n` and `\r`, after any number of backslashes, removed.
fn escaped_break(text: &[u8]) -> Found {
    let run = text.iter().take_while(|byte| **byte == b'\\').count();
    match text.get(run) {
        Some(b'n' | b'r') => Found::Escape(run + 1, Bytes::NONE),
        _ => Found::Plain(run),
    }
}

fn nothing(_: &[u8]) -> Found {
    Found::Escape(1, Bytes::NONE)
}

/// `%41`, also as `%2541`, and JavaScript's legacy `%u0041`.
fn percent(text: &[u8]) -> Found {
    let mut at = 1;
    while text[at..].starts_with(b"25") && hex(&text[at + 2..], 2).is_some() {
        at += 2;
    }
    let byte = hex(&text[at..], 2).and_then(|code| u8::try_from(code).ok()).map(|byte| Found::Escape(at + 2, Bytes::byte(byte)));
    let old = || Some(Found::Escape(6, Bytes::character(hex(text.strip_prefix(b"%u")?, 4)?)?));
    byte.or_else(old).unwrap_or(Found::Plain(1))
}

/// `&amp;` and the like, also as `&amp;amp;`.
fn entity(text: &[u8]) -> Found {
    let mut at = 1;
    while text[at..].starts_with(b"amp;") && name_of_entity(&text[at + 4..]).is_some() {
        at += 4;
    }
    match name_of_entity(&text[at..]) {
        Some((length, bytes)) => Found::Escape(at + length, bytes),
        None => Found::Plain(at),
    }
}

/// The name of a character, with its semicolon.
fn name_of_entity(text: &[u8]) -> Option<(usize, Bytes)> {
    const NAMES: [(&[u8], u8); 6] =
        [(b"amp;", b'&'), (b"lt;", b'<'), (b"gt;", b'>'), (b"quot;", b'"'), (b"apos;", b'\''), (b"nbsp;", b' ')];
    if let Some((name, byte)) = NAMES.iter().find(|(name, _)| text.starts_with(name)) {
        return Some((name.len(), Bytes::byte(*byte)));
    }
    // The longest is `#1114111;`, and there may be leading zeros.
    let end = text.iter().take(12).position(|byte| *byte == b';')?;
    let digits = std::str::from_utf8(text[..end].strip_prefix(b"#")?).ok()?;
    let code = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    Some((end + 1, Bytes::character(code.ok()?)?))
}

/// The number of a character, after any number of backslashes. Other escapes stand for
/// themselves once the backslash is removed.
fn backslash(text: &[u8]) -> Found {
    let run = text.iter().take_while(|byte| **byte == b'\\').count();
    let rest = &text[run..];
    let found = match rest.first() {
        Some(b'u') => unicode(rest),
        Some(b'U') => hex(&rest[1..], 8).and_then(Bytes::character).map(|bytes| (9, bytes)),
        Some(b'x') => hex(&rest[1..], 2).and_then(|code| u8::try_from(code).ok()).map(|byte| (3, Bytes::byte(byte))),
        Some(b'0') => Some(octal(rest).map_or((1, Bytes::byte(0)), |byte| (3, Bytes::byte(byte)))),
        Some(b'1'..=b'3') => octal(rest).map(|byte| (3, Bytes::byte(byte))),
        _ => None,
    };
    match found {
        Some((length, bytes)) => Found::Escape(run + length, bytes),
        None => Found::Plain(run),
    }
}

/// `u0041`, `u{41}`, or a surrogate pair for a character beyond the first 65,536.
fn unicode(text: &[u8]) -> Option<(usize, Bytes)> {
    if let Some(braced) = text.strip_prefix(b"u{") {
        let end = braced.iter().take(7).position(|byte| *byte == b'}')?;
        return Some((end + 3, Bytes::character(hex(braced, end)?)?));
    }
    let first = hex(&text[1..], 4)?;
    if (0xD800..0xDC00).contains(&first) {
        let run = text[5..].iter().take(8).take_while(|byte| **byte == b'\\').count();
        let second = hex(text[5 + run..].strip_prefix(b"u")?, 4).filter(|second| (0xDC00..0xE000).contains(second))?;
        return Some((10 + run, Bytes::character(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))?));
    }
    Some((5, Bytes::character(first)?))
}

fn hex(text: &[u8], digits: usize) -> Option<u32> {
    let digits = text.get(..digits).filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn octal(text: &[u8]) -> Option<u8> {
    let digits = text.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)))?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(text: &str) -> String {
        String::from_utf8_lossy(View::of(text.as_bytes()).unescaped(&mut |_| {}).bare().text()).into_owned()
    }

    #[test]
    fn every_spelling_reads_alike() {
        let table = [
            ("aäb", ["a%C3%A4b", "a%c3%a4b", "a\\u00e4b", "a&#228;b", "a\\303\\244b", "a\\xc3\\xa4b"]),
            ("a/b", ["a%2Fb", "a%252fb", "a\\/b", "a\\u002Fb", "a&#x2F;b", "a\\\\u002fb"]),
            ("a&b", ["a%26b", "a&amp;b", "a&amp;amp;b", "a\\u0026b", "a\\u0026amp;b", "a%26amp%3Bb"]),
            ("a\"b", ["a%22b", "a\\\"b", "a\\\\\\\"b", "a&quot;b", "a'\"'b", "a%5C%22b"]),
            ("a b", ["a+b", "a%20b", "a%2Bb", "a\\x20b", "a&#32;b", "a\\u{20}b"]),
            ("a\tb", ["a\\tb", "a\\\\tb", "a%09b", "a\\u0009b", "a&#9;b", "a\\x09b"]),
            ("a😀b", ["a\\ud83d\\ude00b", "a\\u{1f600}b", "a\\U0001f600b", "a%F0%9F%98%80b", "a&#x1F600;b", "a\\\\ud83d\\\\ude00b"]),
            ("ab", ["a\0b", "a\\0b", "a\\x00b", "a\\u0000b", "a%00b", "a\\000b"]),
            ("a%b", ["a%25b", "a%%b", "a\\u0025b", "a\\%b", "a&#37;b", "a%2525b"]),
        ];
        for (plain, spelled) in table {
            for spelled in spelled {
                assert_eq!(bare(spelled), bare(plain), "{spelled}");
            }
        }
    }

    #[test]
    fn what_is_no_escape_stays() {
        for text in ["50 pounds", "a&b;c", "\u{1f600}", "&#x110000;", "u{}", "x%"] {
            assert_eq!(bare(text), text.replace('%', ""));
        }
        assert_eq!(bare(&"\\".repeat(100)), "");
        for text in ["%", "%2", "\\u", "\\ud83d", "\\u{", "\\x", "&", "&#", "\\1", "%25", "\\ud83d\\"] {
            // Must not be read past its end.
            bare(text);
        }
    }

    #[test]
    fn every_byte_knows_its_place() {
        let view = View::of(b"x%41y\\u00e4z").unescaped(&mut |_| {}).bare();
        assert_eq!(view.text(), "xAyäz".as_bytes());
        assert_eq!(view.place(1..2), 1..4);
        assert_eq!(view.place(3..5), 5..11);
        assert_eq!(view.place(0..6), 0..12);
    }
}
