//! SHA-256 digests: of bundles, included documents, and whatever else is compared or named by its content.
//!
//! This is the only file that calls `ring::digest`.

use std::fmt;

use base64::Engine as _;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sha256(pub(crate) [u8; 32]);

impl Sha256 {
    /// Reads hexadecimal or base64.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = match text.len() {
            64 => (0..32).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()).collect::<Option<Vec<u8>>>()?,
            _ => base64::engine::general_purpose::STANDARD.decode(text).ok()?,
        };
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The first bytes in hexadecimal, two digits a byte: for names, where the whole would be too long.
    pub(crate) fn short(&self, bytes: usize) -> String {
        self.0.iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes the digest of content that arrives in pieces.
pub(crate) struct Hasher(ring::digest::Context);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub(crate) fn finish(self) -> Sha256 {
        Sha256(self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_digests_as_people_and_s3_write_them() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(Sha256::parse(hex), Some(Sha256::of(b"test")));
        assert_eq!(Sha256::parse(&hex.to_uppercase()), Some(Sha256::of(b"test")));
        assert_eq!(Sha256::parse("n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="), Some(Sha256::of(b"test")));
        assert_eq!(Sha256::of(b"test").to_string(), hex);
        for wrong in ["", "abc", &hex[1..], "n4bQ", &"é".repeat(32)] {
            assert_eq!(Sha256::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pieces_have_the_digest_of_the_whole() {
        let mut hasher = Hasher::new();
        [b"te".as_slice(), b"", b"st"].into_iter().for_each(|piece| hasher.update(piece));
        let digest = hasher.finish();
        assert_eq!(digest, Sha256::of(b"test"));
        assert_eq!(digest.short(4), "9f86d081");
    }
}
