//! Private keys in binary files: DER, PKCS #12, Java keystores, Kerberos keytabs. They are
//! recognized by content, whatever their name.
//!
//! A store that only contains certificates, such as Java's `cacerts`, is not one.

/// Object identifiers as in DER, with their tag and length: RSA, RSA-PSS, elliptic curves,
/// X25519, X448, Ed25519, Ed448, DSA, Diffie-Hellman.
const ALGORITHMS: [&[u8]; 9] = [
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01",
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a",
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
    b"\x06\x03\x2b\x65\x6e",
    b"\x06\x03\x2b\x65\x6f",
    b"\x06\x03\x2b\x65\x70",
    b"\x06\x03\x2b\x65\x71",
    b"\x06\x07\x2a\x86\x48\xce\x38\x04\x01",
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01",
];
/// The content types of a PKCS #12 file, plain and encrypted, and the identifiers of its parts:
/// a key, an encrypted key, a secret.
const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const ENCRYPTED_DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06";
const BAG: &[u8] = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01";
const KEY_BAGS: [u8; 3] = [1, 2, 5];
/// PBES2, and the older schemes of PKCS #5 and PKCS #12.
const ENCRYPTED: [&[u8]; 3] = [
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05",
    b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01",
    b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x05",
];

const JAVA: [&[u8]; 2] = [b"\xfe\xed\xfe\xed\0\0\0", b"\xce\xce\xce\xce\0\0\0"];
const KEYTAB: &[u8] = b"\x05\x02\0\0";

/// What kind of private key a file that begins with `bytes` contains. `is_for_trust` says whether its name is that of a
/// certificate store, whose entries may be encrypted just like keys.
pub(super) fn recognised(bytes: &[u8], is_for_trust: bool) -> Option<&'static str> {
    if bytes.starts_with(KEYTAB) && bytes.len() > 16 {
        return Some("a keytab with Kerberos keys");
    }
    java(bytes).or_else(|| {
        let fields = sequence(bytes)?;
        key(fields).or_else(|| encrypted(fields)).or_else(|| pkcs12(fields, is_for_trust))
    })
}

/// Whether `bytes` are a private key in DER, with at least the length that they state.
pub(super) fn is_whole_key(bytes: &[u8]) -> bool {
    let stated = match bytes {
        [0x30, 0x81, length, ..] => usize::from(*length),
        [0x30, 0x82, high, low, ..] => usize::from(*high) << 8 | usize::from(*low),
        [0x30, length @ ..=0x7f, ..] => usize::from(*length),
        _ => return false,
    };
    bytes.len() >= stated
        && sequence(bytes).is_some_and(|fields| key(fields).or_else(|| encrypted(fields)).is_some() || is_of_any_algorithm(fields))
}

/// Whether a version is followed by the identifier of any algorithm: enough if a heading says that it is a key.
fn is_of_any_algorithm(fields: &[u8]) -> bool {
    let after = fields.strip_prefix(b"\x02\x01\x00").or_else(|| fields.strip_prefix(b"\x02\x01\x01"));
    after.and_then(sequence).is_some_and(|kind| kind.starts_with(b"\x06"))
}

/// A key has version 0 or 1, followed by its algorithm or, in the legacy formats, by a series of numbers.
fn key(fields: &[u8]) -> Option<&'static str> {
    let says = "a private key, in DER";
    let after = fields.strip_prefix(b"\x02\x01\x00").or_else(|| fields.strip_prefix(b"\x02\x01\x01"))?;
    let named = sequence(after).is_some_and(|kind| ALGORITHMS.iter().any(|algorithm| kind.starts_with(algorithm)));
    // PKCS #1, and legacy DSA: a first number of at least 512 bits. SEC 1: 20 to 72 octets.
    let numbers = after.starts_with(b"\x02\x82") || after.starts_with(b"\x02\x81") || after.starts_with(b"\x02\x41");
    let octets = matches!(after, [0x04, 20..=72, ..]);
    (named || numbers || octets).then_some(says)
}

fn encrypted(fields: &[u8]) -> Option<&'static str> {
    let scheme = sequence(fields)?;
    ENCRYPTED.iter().any(|known| scheme.starts_with(known)).then_some("an encrypted private key, in DER")
}

/// Keys are visible, each encrypted by itself; certificates are usually encrypted together, and so are Java's secrets.
fn pkcs12(fields: &[u8], is_for_trust: bool) -> Option<&'static str> {
    let content = sequence(fields.strip_prefix(b"\x02\x01\x03")?)?;
    if !content.starts_with(DATA) {
        return None;
    }
    let holds = |wanted: &[u8]| memchr::memmem::find(content, wanted).is_some();
    let has_key = memchr::memmem::find_iter(content, BAG).any(|at| content.get(at + BAG.len()).is_some_and(|kind| KEY_BAGS.contains(kind)));
    match (has_key, holds(ENCRYPTED_DATA) && !is_for_trust) {
        (true, _) => Some("a PKCS #12 file with a private key"),
        // If the file had keys as well as certificates, the keys would have been visible.
        (false, true) => Some("a PKCS #12 file with encrypted entries, which may be keys"),
        (false, false) => None,
    }
}

/// The format: magic, version, number of entries; each entry has a kind (1 a key, 2 a certificate, 3 a secret key of
/// JCEKS), a name, a time, and its content.
fn java(bytes: &[u8]) -> Option<&'static str> {
    let version = JAVA.iter().find_map(|magic| bytes.strip_prefix(*magic))?;
    let (version, rest) = version.split_first()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    for _ in 0..u32::from_be_bytes(*count) {
        let (kind, after) = rest.split_first_chunk::<4>()?;
        if matches!(kind, [0, 0, 0, 1 | 3]) {
            return Some("a Java keystore with a key");
        }
        let after = counted::<2>(after)?.get(8..)?;
        let certificate = if *version == 2 { counted::<2>(after)? } else { after };
        rest = counted::<4>(certificate)?;
    }
    None
}

/// What follows a field that is prefixed with its length in `N` bytes.
fn counted<const N: usize>(bytes: &[u8]) -> Option<&[u8]> {
    let (count, rest) = bytes.split_first_chunk::<N>()?;
    rest.get(count.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))..)
}

/// The content of a sequence, after its tag and length.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    let [0x30, length, rest @ ..] = bytes else { return None };
    match length {
        0..=0x80 => Some(rest),
        more => rest.get(usize::from(more & 0x7f)..),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tail: &[&[u8]]) -> Vec<u8> {
        [&b"\x30\x82\x04\xbe"[..], &tail.concat()].concat()
    }

    #[test]
    fn recognises_private_keys_in_der() {
        let key = |tail: &[&[u8]]| recognised(&der(tail), false);
        for algorithm in ALGORITHMS {
            assert!(key(&[b"\x02\x01\x00\x30\x0d", algorithm]).is_some(), "PKCS #8");
        }
        assert!(key(&[b"\x02\x01\x00\x02\x82\x01\x01"]).is_some(), "PKCS #1");
        assert!(recognised(b"\x30\x77\x02\x01\x01\x04\x20aaaa", false).is_some(), "SEC 1");
        assert!(key(&[b"\x30\x57", ENCRYPTED[0], b"\x0d"]).is_some(), "PKCS #8, encrypted");
    }

    #[test]
    fn a_key_of_any_algorithm_is_one_where_a_heading_says_so() {
        // ML-DSA-65, and GOST R 34.10-2012.
        for algorithm in [&b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12"[..], b"\x06\x08\x2a\x85\x03\x07\x01\x01\x01\x01"] {
            let kind = [&[0x30, algorithm.len() as u8], algorithm].concat();
            let fields = [b"\x02\x01\x00", &kind[..], &[0x04, 0x20], &[7; 32]].concat();
            let key = [&[0x30, fields.len() as u8], &fields[..]].concat();
            assert!(is_whole_key(&key) && !is_whole_key(&key[..key.len() - 3]));
            assert!(recognised(&key, false).is_none(), "nothing else says so");
        }
    }

    #[test]
    fn a_pkcs12_file_is_told_by_its_entries() {
        let file = |parts: &[u8], trust| recognised(&der(&[b"\x02\x01\x03\x30\x82\x04\x84", DATA, parts]), trust);
        let with = |kind: u8| [BAG, &[kind]].concat();
        assert!(file(&with(2), true).is_some(), "a key, whatever the name");
        assert!(file(&with(3), false).is_none(), "certificates in the open");
        assert!(file(ENCRYPTED_DATA, false).is_some());
        assert!(file(ENCRYPTED_DATA, true).is_none(), "a store for trust");
    }

    #[test]
    fn each_entry_of_a_java_keystore_is_looked_at() {
        let certificate = [b"\0\0\0\x02\0\x01a".as_slice(), &[0; 8], b"\0\x05X.509\0\0\0\x03abc"].concat();
        let store = |magic: &[u8], entries: &[&[u8]]| {
            let count = u32::try_from(entries.len()).unwrap().to_be_bytes();
            recognised(&[magic, b"\x02", &count, &entries.concat()].concat(), false)
        };
        assert!(store(JAVA[0], &[b"\0\0\0\x01"]).is_some());
        assert!(store(JAVA[0], &[&certificate, &certificate]).is_none(), "certificates only");
        assert!(store(JAVA[0], &[&certificate, b"\0\0\0\x01"]).is_some(), "the last one");
        assert!(store(JAVA[1], &[&certificate, b"\0\0\0\x03"]).is_some(), "a secret key");
        assert!(store(JAVA[0], &[b"\0\0"]).is_none());
    }

    #[test]
    fn takes_nothing_else_for_a_key() {
        assert!(recognised(&der(&[b"\x30\x82\x03\x90\xa0\x03\x02\x01\x02"]), false).is_none(), "a certificate");
        assert!(recognised(&der(&[b"\x30\x0d", ALGORITHMS[0]]), false).is_none(), "a public key");
        for bytes in [&b""[..], b"\x30", b"0 apples", b"\x7fELF\x02\x01\x01", KEYTAB] {
            assert!(recognised(bytes, false).is_none());
        }
        assert!(recognised(b"\x05\x02\0\0\0\x39and more of it..", false).is_some(), "a keytab");
    }
}
