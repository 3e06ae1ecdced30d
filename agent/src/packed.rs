//! Texts that are embedded in ingot, compressed by the build: the schema from 90 to 10 kB, the
//! rules for secrets to 20 kB.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

/// The schema of boot documents.
pub(crate) const SCHEMA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.json.gz"));
/// The sections of the manual page that are not generated.
pub(crate) const MANUAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/man.roff.gz"));
/// gitleaks's rules for secrets.
pub(crate) const GITLEAKS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gitleaks.toml.gz"));
/// The rules that gitleaks lacks.
pub(crate) const RULES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ingot.toml.gz"));

/// One of these texts, unpacked.
pub(crate) fn text(packed: &[u8]) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(packed).read_to_string(&mut text).expect("what the build has packed can be unpacked");
    text
}
