//! Texts that ingot carries within it, as the build packs them: 90 kB of the schema are 10, and of the rules for secrets 20.

use std::io::Read as _;

use flate2::read::MultiGzDecoder;

/// The schema of boot documents.
pub(crate) const SCHEMA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.json.gz"));
/// The sections of the manual page that no definition has.
pub(crate) const MANUAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/man.roff.gz"));
/// The rules of gitleaks for secrets.
pub(crate) const GITLEAKS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gitleaks.toml.gz"));
/// The rules that gitleaks lacks.
pub(crate) const RULES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/ingot.toml.gz"));

/// One of these, as it was written.
pub(crate) fn text(packed: &[u8]) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(packed).read_to_string(&mut text).expect("what the build has packed can be unpacked");
    text
}
