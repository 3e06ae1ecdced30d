//! Text with two bytes per character, UTF-16, as programs on Windows write it: converted to one byte per character, so
//! that the rules can read it. Rules only match ASCII, so every other character becomes one that none of them matches.

use std::ops::Range;

use crate::image::contents::Part;

/// The byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The byte order of a file that begins with `content`, if it is such text: it has a byte order
    /// mark, or its first characters are of that kind.
    pub(super) fn of(content: &[u8]) -> Option<Self> {
        match content {
            [0xff, 0xfe, ..] => return Some(Self::Little),
            [0xfe, 0xff, ..] => return Some(Self::Big),
            _ => {}
        }
        let is_text = |letter: u8| letter.is_ascii_graphic() || letter.is_ascii_whitespace();
        let all = |order: Self| content.len() >= 32 && content.chunks_exact(2).take(16).all(|pair| is_text(order.letter(pair)));
        [Self::Little, Self::Big].into_iter().find(|order| all(*order))
    }

    /// The ASCII character of a pair, or 0 if it is not one.
    fn letter(self, pair: &[u8]) -> u8 {
        match (self, pair) {
            (Self::Little, [letter, 0]) | (Self::Big, [0, letter]) if letter.is_ascii() => *letter,
            _ => 0,
        }
    }

    /// A part with one byte per character, and the range of it that is new. The first part keeps its leading newline,
    /// which is not in the file; every other one begins with a whole pair, because parts have even lengths.
    pub(super) fn narrowed(self, part: &Part<'_>) -> (Vec<u8>, Range<usize>) {
        let kept = usize::from(part.is_first);
        let mut bytes = part.bytes[..kept].to_vec();
        bytes.extend(part.bytes[kept..].chunks_exact(2).map(|pair| match self.letter(pair) {
            0 => 0x1a,
            letter => letter,
        }));
        let narrow = |at: usize| at.saturating_sub(kept) / 2 + kept;
        let new = narrow(part.new.start)..narrow(part.new.end).min(bytes.len());
        (bytes, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn text_of_two_bytes_a_letter_is_recognised() {
        assert_eq!(Order::of(b"\xff\xfea\0"), Some(Order::Little));
        assert_eq!(Order::of(b"\xfe\xff\0a"), Some(Order::Big));
        assert_eq!(Order::of(&wide("without_any_mark_at_all=1")), Some(Order::Little));
        for other in [&b"plain text, and a lot of it, really"[..], b"\x7fELF\x02\x01\x01", b"", &[0; 64]] {
            assert_eq!(Order::of(other), None);
        }
    }

    #[test]
    fn a_part_becomes_half_as_long_and_its_lines_stay() {
        let bytes = [b"\n".to_vec(), wide("\u{feff}a\né=b")].concat();
        let part = Part { bytes: &bytes, new: 1..bytes.len(), line: 0, is_first: true };
        assert_eq!(Order::Little.narrowed(&part), (b"\n\x1aa\n\x1a=b".to_vec(), 1..7));
    }
}
