//! The braces that open and close a tag.

/// Where two such braces stand side by side for the first time. As `str::find` of both, whose preparation would cost more
/// than the search of so short a text.
pub(super) fn first_pair(text: &str, brace: u8) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| pair == [brace, brace])
}
