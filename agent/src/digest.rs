//! SHA-256 digests: of bundles, included documents, and everything else that is compared or named by its content. Also
//! the older digests that package managers use.
//!
//! This is the only file that calls `ring::digest`.

use std::fmt;
use std::io::{self, Read};

use base64::Engine as _;
use md5::Digest as _;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sha256(pub(crate) [u8; 32]);

impl Sha256 {
    /// Parses hexadecimal or base64.
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

    /// The first bytes in hexadecimal, two digits per byte: for names in which the whole digest would be too long.
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
        Sha256(self.0.finish().as_ref().try_into().expect("SHA-256 is 32 bytes long"))
    }
}

/// A digest in the list of a package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Md5([u8; 16]),
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Known {
    /// The kind follows from the length. `None` if no digest has that length.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Some(match bytes.len() {
            16 => Self::Md5(bytes.try_into().ok()?),
            20 => Self::Sha1(bytes.try_into().ok()?),
            32 => Self::Sha256(bytes.try_into().ok()?),
            _ => return None,
        })
    }

    /// Parses hexadecimal.
    pub(crate) fn of_hex(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len().is_multiple_of(2) && text.is_ascii())?;
        let bytes = (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok());
        Self::of_bytes(&bytes.collect::<Option<Vec<u8>>>()?)
    }

    /// Whether it is the digest of `content`.
    ///
    /// # Errors
    ///
    /// If `content` cannot be read to its end.
    pub(crate) fn is_of(&self, content: &mut impl Read) -> io::Result<bool> {
        let algorithm = match self {
            Self::Md5(_) => None,
            Self::Sha1(_) => Some(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha256(_) => Some(&ring::digest::SHA256),
        };
        let mut context = algorithm.map(ring::digest::Context::new);
        let mut md5 = md5::Md5::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = content.read(&mut buffer)?;
            match &mut context {
                _ if read == 0 => break,
                Some(context) => context.update(&buffer[..read]),
                None => md5.update(&buffer[..read]),
            }
        }
        let found = context.map(ring::digest::Context::finish);
        Ok(match self {
            Self::Md5(wanted) => md5.finalize()[..] == wanted[..],
            Self::Sha1(wanted) => found.is_some_and(|found| found.as_ref() == wanted),
            Self::Sha256(wanted) => found.is_some_and(|found| found.as_ref() == wanted),
        })
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

    #[test]
    fn a_file_is_known_by_the_digest_of_its_package_manager() {
        let digests = [
            "098f6bcd4621d373cade4e832627b4f6",
            "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ];
        for hex in digests {
            let known = Known::of_hex(hex.as_bytes()).unwrap();
            assert!(known.is_of(&mut &b"test"[..]).unwrap() && !known.is_of(&mut &b"tests"[..]).unwrap(), "{hex}");
        }
        for wrong in ["", "abc", "newconffile", &digests[0][1..], &"é".repeat(16)] {
            assert_eq!(Known::of_hex(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
