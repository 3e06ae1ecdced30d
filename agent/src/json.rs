//! JSON that comes as bytes, by the one reader that is linked: serde_json has another one for slices, and with it everything
//! that reads a type would be there twice.

use serde::Deserialize;
use serde::de::Error as _;

/// As [`serde_json::from_slice`].
///
/// # Errors
///
/// If the bytes are no UTF-8, no JSON, or not that of a `T`.
pub(crate) fn of_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(error) => Err(serde_json::Error::custom(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_no_json() {
        assert_eq!(of_bytes::<Vec<u8>>(b"[1, 2]").unwrap(), [1, 2]);
        assert!(of_bytes::<String>(b"\"\xff\"").unwrap_err().to_string().starts_with("invalid utf-8"));
    }
}
