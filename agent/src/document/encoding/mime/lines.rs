//! Lines of a message, with their places.

/// One line, and where it and the next begin.
pub(super) struct Line<'a> {
    pub(super) start: usize,
    /// Without its end and blanks before it.
    pub(super) content: &'a [u8],
    pub(super) next: usize,
}

pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> + Clone {
    let mut start = 0;
    bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let line = Line { start, content: line.trim_ascii_end(), next: start + line.len() };
        start = line.next;
        line
    })
}
