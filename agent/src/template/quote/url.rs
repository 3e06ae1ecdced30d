//! `{{url x}}`: a part of a URL, percent-encoded: a user name, a password, a path segment, or a value in the query.

use std::fmt::Write;

use serde_json::Value;

use super::scalar;
use crate::template::refusal::Refusal;
use crate::template::scope::Buffer;

/// Encodes every byte that is not unreserved, so that the result can be used in any component.
///
/// Source: RFC 3986, 2.1 and 2.3
pub(in crate::template) fn url(value: &Value, out: &mut Buffer) -> Result<(), Refusal> {
    for byte in scalar(value)?.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing to a buffer in memory cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn encodes_all_but_unreserved_characters() {
        for (value, expected) in [
            (json!("Az09-._~"), "Az09-._~"),
            (json!("p@ss:w/rd?#&=+ %"), "p%40ss%3Aw%2Frd%3F%23%26%3D%2B%20%25"),
            (json!("ü\n\0"), "%C3%BC%0A%00"),
            (json!(5432), "5432"),
            (json!(""), ""),
        ] {
            let mut out = Buffer::new();
            url(&value, &mut out).unwrap();
            assert_eq!(out.into_secret().expose(), expected);
        }
    }
}
