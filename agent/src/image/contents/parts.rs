//! Cuts a file into parts that overlap, so that what lies across a cut is whole in one of them.

use std::io::{self, Read};
use std::ops::Range;

/// How much is read at a time. With the overlap it stays in a core's second-level cache.
const PART: usize = 512 * 1024;

/// How much of the file is seen again before what is new, and in advance after it.
pub(crate) const BEHIND: usize = 1024;
pub(crate) const AHEAD: usize = 20 * 1024;

/// A part of a file.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// Begins with a newline that is not in the file, if it is the first.
    pub(crate) bytes: &'a [u8],
    /// What is new. All of a file is new in one of its parts, and in no other.
    pub(crate) new: Range<usize>,
    /// How many newlines precede `bytes`, that of the first part counted: the number of the line that `bytes` begin in.
    pub(crate) line: u64,
    pub(crate) is_first: bool,
}

/// Reads all of `file` into `buffer`, part by part. Returns its length.
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

    /// Each byte that was new, and the line that each part says of its first new one.
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
