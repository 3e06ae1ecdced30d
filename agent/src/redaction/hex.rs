//! Text in hexadecimal, in either case: consecutive digits, or separate pairs, as `xxd`, `od` and `hexdump` write them.

use super::base64::Decoded;
use super::view::View;

/// The shortest secret, in bytes.
const SHORTEST: usize = 4;

/// The shortest line that a program writes, in bytes: that of `xxd -i`. `od` and `hexdump`
/// write sixteen, and `xxd -p` thirty.
pub(super) const LINE: usize = 12;

/// The most characters between two bytes: two spaces in the middle of a line of `hexdump -C`.
const APART: usize = 2;

/// Passes to `each` the bytes in a part of `text`, starting at its first digit and at its second.
pub(super) fn decoded(text: &View, each: &mut dyn FnMut(Decoded)) {
    let signs = text.text();
    let mut at = 0;
    while at < signs.len() {
        let digits = signs[at..].iter().take_while(|sign| sign.is_ascii_hexdigit()).count();
        let mut end = at + digits.max(1);
        for from in at..at + digits.min(2) {
            let (view, to) = read(text, from);
            end = end.max(to);
            if view.text().len() >= SHORTEST {
                let at_the_start = matches!(signs[..from].trim_ascii(), [] | [b'0', b'x' | b'X']);
                // The line may be cut within a byte, and a list such as `0x41, 0x42,` may continue in the next line.
                let at_the_end = matches!(signs[to..].trim_ascii(), [] | [b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' | b',']);
                each(Decoded { view, at_the_start, at_the_end });
            }
        }
        at = end;
    }
}

/// The bytes from one place on, and where they end.
fn read(text: &View, from: usize) -> (View, usize) {
    let signs = text.text();
    let (mut view, mut at, mut end) = (View::empty(0), from, from);
    while let Some(byte) = pair(&signs[at..]) {
        end = at + 2;
        view.push(byte, text.place(at..end));
        let blanks = signs[end..].iter().take(APART).take_while(|sign| b" :,-".contains(sign)).count();
        at = end + blanks;
        if blanks > 0 && matches!(signs[at..], [b'0', b'x' | b'X', ..]) {
            at += 2;
        }
    }
    (view, end)
}

fn pair(signs: &[u8]) -> Option<u8> {
    let digit = |sign: u8| char::from(sign).to_digit(16);
    let [high, low, ..] = signs else { return None };
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(String, std::ops::Range<u32>)> {
        let mut all = Vec::new();
        decoded(&View::of(text.as_bytes()), &mut |one| {
            let bytes = one.view.text();
            all.push((String::from_utf8_lossy(bytes).into_owned(), one.view.place(0..bytes.len())));
        });
        all
    }

    #[test]
    fn it_is_read_however_it_is_grouped() {
        for text in [
            "68756e7465723232",
            "68756E7465723232",
            "0x68756e7465723232",
            "a68756e7465723232",
            "6875 6e74 6572 3232",
            "68 75 6e 74  65 72 32 32  |hunter22|",
            "68:75:6e:74:65:72:32:32",
            "[68, 75, 6e, 74, 65, 72, 32, 32]",
            "{ 0x68, 0x75, 0x6e, 0x74, 0x65, 0x72, 0x32, 0x32 }",
            "0X68,0X75,0X6E,0X74,0X65,0X72,0X32,0X32",
            "00000000: 6875 6e74 6572 3232  hunter22",
            "0000000 68 75 6e 74 65 72 32 32",
        ] {
            assert!(all(text).iter().any(|(read, _)| read.ends_with("hunter22")), "{text}: {:?}", all(text));
        }
        assert_eq!(all("x=68756e74 y")[0], ("hunt".into(), 2..10));
        assert!(all("short: 68756e, and words such as decade").is_empty());
    }
}
