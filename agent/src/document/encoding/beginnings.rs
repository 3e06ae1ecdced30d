//! How each form of user data begins.

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether the first line is `marker`, with or without a remark after a blank.
///
/// cloud-init reads `#cloud-config # web` the same way, and `#cloud-config-archive` is another thing.
pub(super) fn begins_with(content: &[u8], marker: &str) -> bool {
    content.strip_prefix(marker.as_bytes()).is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether a header of MIME begins here.
pub(super) fn begins_as_message(line: &[u8]) -> bool {
    [&b"mime-version:"[..], b"content-type:"]
        .iter()
        .any(|name| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}
