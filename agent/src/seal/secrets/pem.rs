//! Whether what looks like a private key in text is one: it is decoded, so that bare headings, keys that documentation
//! has shortened, and invented ones do not count.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::keystore;

/// Decodes a text that may be cut anywhere.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// The shortest run of letters that counts as base64. Shorter ones are words around a key: `n` of `\n`, `"`, `+`, `//`.
const RUN: usize = 8;

/// The length of the shortest key in bytes: a bare Ed25519 or X25519 key.
const SHORTEST: usize = 32;

/// Whether `text`, from `-----BEGIN` to `-----END`, contains a key.
pub(super) fn is_key(text: &str) -> bool {
    let mut parts = text.split("-----");
    let heading = parts.by_ref().find(|part| part.starts_with("BEGIN")).unwrap_or_default();
    let body = parts.next().unwrap_or_default().replace("\\n", "\n").replace("\\r", "");
    // Headers, such as those of an encrypted key, end with an empty line.
    let empty = ["\n\n", "\n\r\n", "\n \n"].iter().find_map(|end| body.trim_start().split_once(end).map(|(_, rest)| rest));
    let is_encrypted = body.contains("ENCRYPTED");
    let key = decoded(if is_encrypted || heading.contains("PGP") { empty.unwrap_or(&body) } else { &body });
    match heading {
        _ if key.len() < SHORTEST => false,
        _ if heading.contains("OPENSSH") => key.starts_with(b"openssh-key-v1\0") && key.len() > 100,
        // A secret key or subkey, in the old or the new packet format.
        _ if heading.contains("PGP") => matches!(key[0], 0x94..=0x97 | 0x9c..=0x9f | 0xc5 | 0xc7),
        _ if heading.contains("SSH2") => key.starts_with(&[0x3f, 0x6f, 0xf9, 0xeb]),
        _ if is_encrypted && !key.starts_with(&[0x30]) => true,
        _ if ["BEGIN PRIVATE", "BEGIN ENCRYPTED", "BEGIN RSA", "BEGIN EC ", "BEGIN DSA"].iter().any(|known| heading.starts_with(known)) => {
            is_encrypted && key.len() >= 2 * SHORTEST || keystore::is_whole_key(&key)
        }
        _ => true,
    }
}

/// The same for a text that is encoded in base64 once more.
pub(super) fn is_encoded_key(text: &str) -> bool {
    // A word after it may have been taken for another line of it.
    is_key(&String::from_utf8_lossy(&decoded(text)))
}

fn decoded(text: &str) -> Vec<u8> {
    let of_base64 = |character: char| character.is_ascii_alphanumeric() || "+/=".contains(character);
    let runs = text.split(|character| !of_base64(character)).filter(|run| run.len() >= RUN || run.ends_with('='));
    let mut letters: String = runs.collect();
    letters.truncate(letters.find('=').unwrap_or(letters.len()));
    // A single remaining letter is less than a byte.
    letters.truncate(letters.len() - usize::from(letters.len() % 4 == 1));
    LENIENT.decode(letters).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ed25519 key, made of zeros.
    const ED25519: &str = "MC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn pem(kind: &str, body: &str) -> String {
        format!("-----BEGIN {kind}PRIVATE KEY-----{body}-----END {kind}PRIVATE KEY-----")
    }

    #[test]
    fn a_key_is_one_however_it_is_written() {
        let (first, second) = ED25519.split_at(30);
        for body in [
            format!("\n{ED25519}\n"),
            format!("\\n{ED25519}\\n"),
            format!("\r\n    {first}\r\n    {second}\r\n"),
            format!("\\n\" +\n  \"{first}\\n\" +\n  \"{second}\\n\" +\n \""),
            format!("\n// {first}\n// {second}\n// "),
        ] {
            assert!(is_key(&pem("", &body)), "{body}");
        }
        assert!(is_key(&pem("RSA ", &format!("\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{}\n", "QUJD".repeat(200)))));
    }

    #[test]
    fn a_heading_an_invented_key_and_a_shortened_one_are_none() {
        for body in [
            "\n...\n",
            "\nMIIEpAIBAAKCAQEA...\n",
            "\nYOUR KEY HERE\n",
            "\nabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0123456789abcdef\n",
            "",
        ] {
            assert!(!is_key(&pem("RSA ", body)), "{body}");
        }
        assert!(!is_key(&pem("", &format!("\n{}\n", &ED25519[..40]))));
        assert!(!is_key(&pem("OPENSSH ", &format!("\n{ED25519}\n"))));
    }

    #[test]
    fn a_key_in_base64_twice_is_one() {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        assert!(is_encoded_key(&encode(&pem("", &format!("\n{ED25519}\n")))));
        assert!(!is_encoded_key(&encode(&pem("", "\n...\n"))));
    }
}
