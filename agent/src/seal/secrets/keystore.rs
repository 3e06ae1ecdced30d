//! Private keys in files that are no text: DER, PKCS #12, Java keystores. Told by their first bytes, whatever their name.
//!
//! A store that holds certificates only, such as Java's `cacerts`, is none.

/// Object identifiers, as DER has them after their tag and length.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const RSA_PSS: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
const ELLIPTIC: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
const DATA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
/// PBES2, and the older schemes of PKCS #5 and PKCS #12.
const ENCRYPTED: [&[u8]; 3] = [
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05",
    b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01",
    b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x05",
];

const JAVA: [&[u8]; 2] = [b"\xfe\xed\xfe\xed\0\0\0", b"\xce\xce\xce\xce\0\0\0"];

/// What is kept in a file that begins with `bytes`, if it is a private key.
pub(super) fn recognised(bytes: &[u8]) -> Option<&'static str> {
    java(bytes).or_else(|| {
        let fields = sequence(bytes)?;
        key(fields).or_else(|| encrypted(fields)).or_else(|| pkcs12(fields))
    })
}

/// A key has version 0 or 1, and then says of which kind it is, or, of old, is a row of numbers.
fn key(fields: &[u8]) -> Option<&'static str> {
    let says = "a private key, in DER";
    let after = fields.strip_prefix(b"\x02\x01\x00").or_else(|| fields.strip_prefix(b"\x02\x01\x01"))?;
    let named = sequence(after).is_some_and(|kind| [RSA, RSA_PSS, ELLIPTIC, ED25519].iter().any(|algorithm| kind.starts_with(algorithm)));
    // PKCS #1: a modulus of at least 512 bits. SEC 1: 32, 48 or 66 octets.
    let rsa = after.starts_with(b"\x02\x82") || after.starts_with(b"\x02\x81") || after.starts_with(b"\x02\x41");
    let elliptic = [b"\x04\x20", b"\x04\x30", b"\x04\x42"].iter().any(|octets| after.starts_with(*octets));
    (named || rsa || elliptic).then_some(says)
}

fn encrypted(fields: &[u8]) -> Option<&'static str> {
    let scheme = sequence(fields)?;
    ENCRYPTED.iter().any(|known| scheme.starts_with(known)).then_some("an encrypted private key, in DER")
}

fn pkcs12(fields: &[u8]) -> Option<&'static str> {
    let content = sequence(fields.strip_prefix(b"\x02\x01\x03")?)?;
    content.starts_with(DATA).then_some("a PKCS #12 file, which as a rule holds a private key")
}

/// Magic, version, number of entries, and of the first entry its kind: 1 is a key.
fn java(bytes: &[u8]) -> Option<&'static str> {
    let known = JAVA.iter().any(|magic| bytes.starts_with(magic));
    (known && bytes.get(12..16)? == [0, 0, 0, 1]).then_some("a Java keystore with a private key")
}

/// What follows the tag and the length of a sequence.
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
        let key = |tail: &[&[u8]]| recognised(&der(tail));
        assert!(key(&[b"\x02\x01\x00\x30\x0d", RSA]).is_some(), "PKCS #8, RSA");
        assert!(key(&[b"\x02\x01\x00\x30\x13", ELLIPTIC]).is_some(), "PKCS #8, elliptic");
        assert!(key(&[b"\x02\x01\x00\x30\x05", ED25519]).is_some(), "PKCS #8, Ed25519");
        assert!(key(&[b"\x02\x01\x00\x02\x82\x01\x01"]).is_some(), "PKCS #1");
        assert!(recognised(b"\x30\x77\x02\x01\x01\x04\x20aaaa").is_some(), "SEC 1");
        assert!(key(&[b"\x30\x57", ENCRYPTED[0], b"\x0d"]).is_some(), "PKCS #8, encrypted");
        assert!(key(&[b"\x02\x01\x03\x30\x82\x04\x84", DATA]).is_some(), "PKCS #12");
    }

    #[test]
    fn recognises_java_keystores_with_a_key() {
        assert!(recognised(b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x01").is_some());
        assert!(recognised(b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x8c\0\0\0\x02").is_none(), "certificates only");
    }

    #[test]
    fn takes_nothing_else_for_a_key() {
        assert!(recognised(&der(&[b"\x30\x82\x03\x90\xa0\x03\x02\x01\x02"])).is_none(), "a certificate");
        assert!(recognised(&der(&[b"\x30\x0d", RSA])).is_none(), "a public key");
        for bytes in [&b""[..], b"\x30", b"0 apples", b"\x7fELF\x02\x01\x01"] {
            assert!(recognised(bytes).is_none());
        }
    }
}
