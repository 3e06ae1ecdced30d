//! Splits the output of a program into lines that people can read.

use zeroize::Zeroizing;

use crate::redaction::LINE_LIMIT;

/// Receives each line of output. A named type, because `async_trait` would give the line's lifetime a name.
pub(crate) type OnLine<'a> = &'a mut dyn FnMut(&str);

/// Splits bytes into lines and passes each one on: invalid UTF-8 is replaced, and a line is cut after [`LINE_LIMIT`]
/// bytes.
pub(super) struct Lines<'a> {
    on_line: OnLine<'a>,
    /// The current line. Allocated at full size, because growing would leave copies of a secret behind.
    line: Zeroizing<Vec<u8>>,
    begun: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(on_line: OnLine<'a>) -> Self {
        Self { on_line, line: Zeroizing::new(Vec::with_capacity(LINE_LIMIT)), begun: false }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.add(&bytes[..end]);
            self.hand_on();
            bytes = &bytes[end + 1..];
        }
        self.begun |= !bytes.is_empty();
        self.add(bytes);
    }

    /// Passes on a last line that has no line break.
    pub(super) fn finish(&mut self) {
        if self.begun {
            self.hand_on();
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = LINE_LIMIT - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn hand_on(&mut self) {
        let line = match self.line.len() {
            // A partial character would be decoded as another one, and hide the secret that it ends from the redactor.
            LINE_LIMIT => whole_characters(&self.line),
            _ => self.line.strip_suffix(b"\r").unwrap_or(&self.line),
        };
        let text = String::from_utf8_lossy(line);
        // An invalid byte is replaced by three bytes.
        let mut end = text.len().min(LINE_LIMIT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        (self.on_line)(&text[..end]);
        self.line.clear();
        self.begun = false;
    }
}

/// `line` without an incomplete character at its end.
fn whole_characters(line: &[u8]) -> &[u8] {
    let last = line.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    // Bytes that are invalid whatever follows form chunks of their own.
    let goes_on = std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
    if goes_on { &line[..line.len() - last.len()] } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut all = Vec::new();
        let mut on_line = |line: &str| all.push(line.to_owned());
        let mut lines = Lines::new(&mut on_line);
        chunks.iter().for_each(|chunk| lines.push(chunk));
        lines.finish();
        all
    }

    #[test]
    fn joins_chunks_and_keeps_the_last_line() {
        assert_eq!(lines(&[b"on", b"e\r\n\ntw", b"o\n", b"three"]), ["one", "", "two", "three"]);
        assert_eq!(lines(&[b"one\n"]), ["one"]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; 3 * LINE_LIMIT];
        let all = lines(&[&long, &long, b"\nnext\n"]);
        assert_eq!((all.len(), all[0].len(), all[1].as_str()), (2, LINE_LIMIT, "next"));
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        for before in LINE_LIMIT - 4..=LINE_LIMIT {
            let all = lines(&[&vec![b'x'; before], "\u{20ac}\u{20ac}".as_bytes()]);
            assert!(all[0].len() <= LINE_LIMIT && all[0].chars().all(|character| "x\u{20ac}".contains(character)), "{before}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_within_the_limit() {
        let all = lines(&[&vec![0xff; LINE_LIMIT + 1], b"\n", b"a\xffb\0c"]);
        assert!(all[0].len() <= LINE_LIMIT && all[0].chars().all(|character| character == '\u{fffd}'));
        assert_eq!(all[1], "a\u{fffd}b\0c");
    }
}
