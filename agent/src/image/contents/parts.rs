//! Splits a file into overlapping parts, so that a match across a boundary is complete in one of them.

use std::io::{self, Read};
use std::ops::Range;

/// How many bytes are read at a time. Together with the overlap, this fits into a core's second-level cache.
const PART: usize = 512 * 1024;

/// How many bytes of the file a part repeats before its new bytes, and how many it contains after them.
pub(crate) const BEHIND: usize = 1024;
pub(crate) const AHEAD: usize = 20 * 1024;

/// A part of a file.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// In the first part, begins with a newline that is not in the file.
    pub(crate) bytes: &'a [u8],
    /// The new bytes. Each byte of a file is new in exactly one of its parts.
    pub(crate) new: Range<usize>,
    /// How many newlines precede `bytes`, including the one added to the first part. This is the number of the line in
    /// which `bytes` begin.
    pub(crate) line: u64,
    pub(crate) is_first: bool,
}

/// Reads all of `file` into `buffer`, part by part. Returns the file's length.
pub(super) fn cut(file: &mut (impl Read + ?Sized), buffer: &mut Vec<u8>, mut take: impl FnMut(&Part<'_>)) -> io::Result<u64> {
    buffer.clear();
    buffer.push(b'\n');
    let (mut from, mut line, mut length, mut is_first) = (1, 0, 0, true);
    loop {
        let read = Read::take(&mut *file, PART as u64).read_to_end(buffer)?;
        length += read as u64;
        let is_last = read < PART;
        let to = if is_last { buffer.len() } else { buffer.len() - AHEAD };
        take(&Part { bytes: buffer, new: from..to, line, is_first });
        if is_last {
            return Ok(length);
        }
        let drop = to.saturating_sub(BEHIND);
        line += buffer[..drop].iter().filter(|byte| **byte == b'\n').count() as u64;
        buffer.drain(..drop);
        (from, is_first) = (to - drop, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All new bytes, and the line number that each part states for its first new byte.
    fn parts(content: &[u8]) -> (Vec<u8>, Vec<u64>, usize) {
        let (mut new, mut lines, mut widest) = (Vec::new(), Vec::new(), 0);
        let length = cut(&mut &content[..], &mut Vec::new(), |part| {
            new.extend_from_slice(&part.bytes[part.new.clone()]);
            let before = part.bytes[..part.new.start].iter().filter(|byte| **byte == b'\n').count() as u64;
            lines.push(part.line + before);
            widest = widest.max(part.bytes.len());
        });
        assert_eq!(length.unwrap(), content.len() as u64);
        (new, lines, widest)
    }

    #[test]
    fn all_of_a_file_is_new_once_and_its_lines_are_counted() {
        for size in [0, 1, PART - 1, PART, PART + 1, 3 * PART + 7] {
            let content: Vec<u8> = (0..size).map(|at| if at % 10 == 9 { b'\n' } else { b'a' }).collect();
            let (new, lines, widest) = parts(&content);
            assert!(new == content, "{size}");
            let mut at = 0;
            for line in lines {
                let expected = 1 + content[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
                assert_eq!(line, expected, "{size}");
                at += if at == 0 { PART - AHEAD } else { PART };
            }
            assert!(widest <= PART + AHEAD + BEHIND + 1, "{widest}");
        }
    }
}
