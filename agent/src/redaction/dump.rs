//! A row of a hex dump, as `xxd`, `hexdump` and `od` write it: an offset, some bytes in hexadecimal, and often the same
//! bytes as text. Each row is redacted by itself, while a secret may span several.
//!
//! Rows without offset and text, as `od -An` writes them, are read by [`hex`](super::hex).

use std::ops::Range;

use super::view::View;

/// The least number of digits of an offset.
const OFFSET_FROM: usize = 6;

/// The least number of bytes of a row: fewer reveal nothing of a secret.
const BYTES_FROM: usize = 4;

/// The offset is among this many first words of a line: at most a date and a name come before it.
const TRIED: usize = 8;

/// The digits of a two-byte word, which `hexdump` and `od -x` write in reversed byte order.
const WORD: usize = 4;

/// The bytes of a row, if `line` ends with one: in hexadecimal and, if the row repeats them, as text.
pub(super) fn row(line: &View) -> Vec<View> {
    let signs = line.text();
    let (mut at, mut tried) = (0, 0);
    while at < signs.len() && tried < TRIED {
        let digits = signs[at..].iter().take_while(|sign| sign.is_ascii_hexdigit()).count();
        let after = at + digits + usize::from(signs.get(at + digits) == Some(&b':'));
        let is_offset = digits >= OFFSET_FROM && signs.get(after) == Some(&b' ');
        tried += usize::from(is_offset);
        if let Some(views) = is_offset.then(|| Bytes::of(signs, after)).flatten().map(|bytes| bytes.views(line)) {
            return views;
        }
        // Not an offset: skip the word.
        at += digits;
        at += signs[at..].iter().take_while(|sign| **sign != b' ').count().max(1);
        at += signs[at.min(signs.len())..].iter().take_while(|sign| **sign == b' ').count();
    }
    Vec::new()
}

/// What follows an offset.
struct Bytes {
    /// Each byte, and where its digits are.
    bytes: Vec<(u8, Range<usize>)>,
    /// Where the bytes are repeated as text.
    text: Option<Range<usize>>,
    /// Whether all groups of digits except the last are two-byte words.
    are_words: bool,
}

impl Bytes {
    fn of(signs: &[u8], mut at: usize) -> Option<Self> {
        let mut found = Self { bytes: Vec::new(), text: None, are_words: true };
        loop {
            let blanks = signs[at..].iter().take_while(|sign| **sign == b' ').count();
            let rest = at + blanks..at + signs[at..].trim_ascii_end().len().max(blanks);
            if blanks > 1 && found.is_text(signs, rest.clone()) || rest.is_empty() {
                return Some(found).filter(|found| found.bytes.len() >= BYTES_FROM);
            }
            let digits = signs[rest.clone()].iter().take_while(|sign| sign.is_ascii_hexdigit()).count();
            if blanks == 0 || digits == 0 || digits % 2 > 0 {
                return None;
            }
            let pair = |at: usize| Some((u8::from_str_radix(std::str::from_utf8(&signs[at..at + 2]).ok()?, 16).ok()?, at..at + 2));
            found.bytes.extend((rest.start..rest.start + digits).step_by(2).filter_map(pair));
            found.are_words &= digits == WORD;
            at = rest.start + digits;
        }
    }

    /// Whether the bytes so far are repeated as text at `place`, with a dot for each that is not
    /// printable. Trailing spaces may be missing.
    fn is_text(&mut self, signs: &[u8], place: Range<usize>) -> bool {
        let within = match &signs[place.clone()] {
            [b'|', .., b'|'] | [b'>', .., b'<'] => place.start + 1..place.end - 1,
            _ => place,
        };
        let shown = |byte: u8| if matches!(byte, b' '..=b'~') { byte } else { b'.' };
        let bytes = self.bytes.iter().map(|(byte, _)| shown(*byte));
        let is_text = within.len() <= self.bytes.len()
            && !within.is_empty()
            && bytes.clone().zip(&signs[within.clone()]).all(|(byte, sign)| byte == *sign)
            && bytes.skip(within.len()).all(|byte| byte == b' ');
        self.text = Some(within).filter(|_| is_text);
        is_text
    }

    fn views(&self, line: &View) -> Vec<View> {
        let mut views = vec![self.placed(line, |at| (at, self.bytes[at].1.clone()))];
        if let Some(text) = &self.text {
            // Only spaces after the last character may be missing.
            let shown = |at: usize| (text.start + at).min(text.end - 1);
            views.push(self.placed(line, |at| (at, shown(at)..shown(at) + 1)));
        } else if self.are_words {
            // Hiding a byte hides the whole of its word.
            let word = |at: usize| self.bytes[at & !1].1.start..self.bytes[at | 1].1.end;
            views.push(self.placed(line, |at| (at ^ 1, word(at))));
        }
        views
    }

    /// The bytes in the order that `each` gives, with their places.
    fn placed(&self, line: &View, each: impl Fn(usize) -> (usize, Range<usize>)) -> View {
        let mut view = View::empty(self.bytes.len());
        for (byte, place) in (0..self.bytes.len()).map(each) {
            view.push(self.bytes[byte].0, line.place(place));
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<String> {
        row(&View::of(line.as_bytes())).iter().map(|view| String::from_utf8_lossy(view.text()).into_owned()).collect()
    }

    #[test]
    fn rows_of_every_program_are_read() {
        for (line, times) in [
            ("00000000: 6865 6c6c 6f20 776f 726c 6421 2121 2121  hello world!!!!!", 2),
            ("00000000: 68 65 6c 6c 6f 20 77 6f 72 6c 64 21 21 21 21 21  hello world!!!!!", 2),
            ("00000000: 68656c6c6f20776f726c642121212121  hello world!!!!!", 2),
            ("00000000  68 65 6c 6c 6f 20 77 6f  72 6c 64 21 21 21 21 21  |hello world!!!!!|", 2),
            ("0000000 68 65 6c 6c 6f 20 77 6f 72 6c 64 21 21 21 21 21  >hello world!!!!!<", 2),
            ("0000000 68 65 6c 6c 6f 20 77 6f 72 6c 64 21 21 21 21 21", 1),
            ("Dec 01 app[7]: 00000000: 6865 6c6c 6f20 776f 726c 6421 2121 2121  hello world!!!!!", 2),
        ] {
            assert_eq!(read(line), vec!["hello world!!!!!"; times], "{line}");
        }
        assert_eq!(read("00000010: 6865 6c6c 6f0a 00                        hello..  "), ["hello\n\0"; 2]);
        assert_eq!(read("00000010: 6865 6c6c 6f20 20                        hello"), ["hello  "; 2]);
        assert_eq!(read("0000000 6568 6c6c 206f 6f77")[1], "hello wo");
        // The text column looks like hexadecimal.
        assert_eq!(read("00000010: 3132 3334  1234"), ["1234"; 2]);
    }

    #[test]
    fn what_is_no_row_is_left_alone() {
        for line in
            ["", "2026-12-01 12:34:56 started", "deadbeef", "deadbeef: 12", "00000000: 6865 6c6c  other", "decade 12 34 of", "0000000 1 2"]
        {
            assert!(row(&View::of(line.as_bytes())).is_empty(), "{line}");
        }
    }

    #[test]
    fn every_byte_knows_both_of_its_places() {
        let line = View::of(b"00000000: 6162 6364 65  abcde");
        let places = |at: usize, range: Range<usize>| row(&line)[at].place(range);
        assert_eq!((places(0, 1..3), places(1, 1..3)), (12..17, 25..27));
        let words = View::of(b"0000000 6261 6463");
        assert_eq!(row(&words)[1].place(1..2), 8..12);
    }
}
