//! Parses JSON in bytes with the only reader that is linked: serde_json has a separate reader for slices, which would
//! duplicate everything that deserializes a type.

use serde::Deserialize;
use serde::de::Error as _;

/// As [`serde_json::from_slice`].
///
/// # Errors
///
/// If the bytes are not UTF-8, not JSON, or not a `T`.
pub(crate) fn of_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> serde_json::Result<T> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(error) => Err(serde_json::Error::custom(error)),
    }
}

/// The beginning of a truncated document, closed after the last complete entry of one of its immediate maps and lists,
/// and closed after the last complete entry of the document itself. An incomplete entry at a deeper level is left out
/// together with its parent. The second text is for a map that lacks what its type needs if it is incomplete.
pub(crate) fn closed(text: &str) -> [Option<String>; 2] {
    let (mut open, mut in_string, mut escaped) = (Vec::new(), false, false);
    let mut ends = [None, None];
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' => open.push('}'),
            b'[' => open.push(']'),
            b'}' | b']' => {
                open.pop();
            }
            b',' if open.len() == 1 || open.len() == 2 => {
                let end = Some((at, open.iter().rev().collect::<String>()));
                if open.len() == 1 {
                    ends[1].clone_from(&end);
                }
                ends[0] = end;
            }
            _ => {}
        }
    }
    ends.map(|end| end.map(|(at, closing)| format!("{}{closing}", &text[..at])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_is_closed_behind_its_last_entry() {
        let whole = r#"{"a": 1, "b": [{"c": "},]\"", "d": 2}, {"c": [3, 4]}, 5]}"#;
        let closed_at = |at: usize| closed(&whole[..at]);
        assert_eq!(closed_at(4), [None, None]);
        assert_eq!(closed_at(12), [r#"{"a": 1}"#; 2].map(|text| Some(text.into())));
        assert_eq!(closed_at(36), [r#"{"a": 1}"#; 2].map(|text| Some(text.into())));
        let both = [r#"{"a": 1, "b": [{"c": "},]\"", "d": 2}, {"c": [3, 4]}]}"#, r#"{"a": 1}"#];
        assert_eq!(closed_at(whole.len() - 3), both.map(|text| Some(text.into())));
        for at in 0..whole.len() {
            closed_at(at).into_iter().flatten().for_each(|text| drop(serde_json::from_str::<serde_json::Value>(&text).unwrap()));
        }
        assert_eq!(closed("[]"), [None, None]);
        assert_eq!(closed("}}},"), [None, None]);
    }

    #[test]
    fn what_is_no_text_is_no_json() {
        assert_eq!(of_bytes::<Vec<u8>>(b"[1, 2]").unwrap(), [1, 2]);
        assert!(of_bytes::<String>(b"\"\xff\"").unwrap_err().to_string().starts_with("invalid utf-8"));
    }
}
