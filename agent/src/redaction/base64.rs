//! Text in base64: in any alphabet, with or without padding, starting at any character.

use super::view::View;

/// The length of four bytes in base64; four bytes are the shortest secret.
const SHORTEST: usize = 6;

/// The shortest line, in bytes, after which a line break may split base64: programs break lines
/// after 60, 64 or 76 characters.
pub(super) const LINE: usize = 45;

/// A part of a text, decoded.
pub(super) struct Decoded {
    pub(super) view: View,
    /// Whether its beginning is the beginning of the text.
    pub(super) at_the_start: bool,
    /// Whether its end is the end of the text.
    pub(super) at_the_end: bool,
}

/// Passes to `each` every way to read a part of `text` as base64: starting at its first,
/// second, third or fourth character.
pub(super) fn decoded(text: &View, each: &mut dyn FnMut(Decoded)) {
    let signs = text.text();
    let mut at = 0;
    while at < signs.len() {
        let length = signs[at..].iter().take_while(|sign| value(**sign).is_some()).count();
        if length >= SHORTEST {
            // The padding is replaced together with the text.
            let padding = signs[at + length..].iter().take(2).take_while(|sign| **sign == b'=').count();
            let at_the_end = at + length + padding == signs.len();
            (0..4).for_each(|skipped| {
                let at_the_start = at + skipped == 0;
                each(Decoded { view: read(text, at + skipped, at + length, padding), at_the_start, at_the_end });
            });
        }
        at += length.max(1);
    }
}

/// Decodes a range of characters. With each byte comes the range of the characters that hold any of its bits; that of
/// the last bytes includes the padding.
fn read(text: &View, from: usize, to: usize, padding: usize) -> View {
    let mut view = View::empty((to - from) * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for at in from..to {
        bits = (bits << 6 | u32::from(value(text.text()[at]).unwrap_or_default())) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            let end = if at + 1 == to { to + padding } else { at + 1 };
            view.push((bits >> held) as u8, text.place(at - 1..end));
        }
    }
    view
}

/// The six bits that a character stands for.
fn value(sign: u8) -> Option<u8> {
    Some(match sign {
        b'A'..=b'Z' => sign - b'A',
        b'a'..=b'z' => sign - b'a' + 26,
        b'0'..=b'9' => sign - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(String, std::ops::Range<u32>)> {
        let mut all = Vec::new();
        let whole = View::of(text.as_bytes());
        let unbroken = whole.unbroken();
        let mut add = |one: Decoded| {
            let bytes = one.view.text();
            all.push((String::from_utf8_lossy(bytes).into_owned(), one.view.place(0..bytes.len())));
        };
        std::iter::once(&whole).chain(&unbroken).for_each(|text| decoded(text, &mut add));
        all
    }

    #[test]
    fn it_is_read_wherever_it_begins() {
        for text in ["aHVudGVyMjI=", "/aHVudGVyMjI=", "p/aHVudGVyMjI", "p1/aHVudGVyMjI,"] {
            assert!(all(text).iter().any(|(read, _)| read == "hunter22"), "{text}: {:?}", all(text));
        }
        assert_eq!(all("x=aHVudGVyMjI= y")[0], ("hunter22".into(), 2..14));
        assert_eq!(all("-_-_-_-_")[0].0, all("+/+/+/+/")[0].0);
        assert!(all("short one, two").is_empty());
    }

    #[test]
    fn it_is_read_over_line_breaks() {
        for text in ["aHVudG\\nVyMjI=", "aHVudG\\r\\nVyMj\\\\nI=", "aHVudG\nVyM\r\njI=", "x \\naHVudG\\nVyMjI=", "aHVudGVyMjI\\n="] {
            let place = |place: &std::ops::Range<u32>| place.end as usize == text.len();
            assert!(all(text).iter().any(|(read, at)| read.ends_with("hunter22") && place(at)), "{text}: {:?}", all(text));
        }
    }
}
