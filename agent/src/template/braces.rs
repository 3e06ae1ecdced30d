//! The braces that open and close a tag.

/// The position of the first pair of adjacent `brace`s. Equivalent to `str::find` of the pair, whose set-up would cost
/// more than the search of such short texts.
pub(super) fn first_pair(text: &str, brace: u8) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| pair == [brace, brace])
}
