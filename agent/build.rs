//! Packs the texts that ingot carries within it.
#![expect(clippy::disallowed_methods, reason = "a build script reads the sources, and writes beside them")]

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

const SCHEMA: &str = "src/document/schema.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&std::fs::read(SCHEMA)?)?;
    let directory = std::env::var_os("OUT_DIR").ok_or("cargo names the directory to write to")?;
    std::fs::write(Path::new(&directory).join("schema.json.gz"), packed.finish()?)?;
    Ok(())
}
