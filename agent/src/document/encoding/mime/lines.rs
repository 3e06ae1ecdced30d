//! The lines of a message, with their positions.

/// One line, with its start and the start of the next line.
pub(super) struct Line<'a> {
    pub(super) start: usize,
    /// Without the line break and the white space before it.
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
