//! Packs the texts that are embedded in ingot, and determines the libc it is linked with.
#![expect(clippy::disallowed_methods, reason = "a build script reads the sources, and writes beside them")]

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

const TEXTS: [&str; 4] = ["src/document/schema.json", "src/cli/man.roff", "src/seal/gitleaks.toml", "src/seal/ingot.toml"];

/// The libc version whose parts `host::unlinked` knows individually.
const KNOWN: &str = "2.36";

#[cfg(target_env = "gnu")]
fn glibc() -> Option<String> {
    unsafe extern "C" {
        safe fn gnu_get_libc_version() -> *const std::ffi::c_char;
    }
    // SAFETY: the string is a constant of libc.
    let version = unsafe { std::ffi::CStr::from_ptr(gnu_get_libc_version()) };
    version.to_str().ok().map(str::to_owned)
}

#[cfg(not(target_env = "gnu"))]
fn glibc() -> Option<String> {
    None
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::var_os("OUT_DIR").ok_or("cargo names the directory to write to")?;
    for text in TEXTS {
        println!("cargo::rerun-if-changed={text}");
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(&std::fs::read(text)?)?;
        let name = text.rsplit('/').next().unwrap_or(text);
        std::fs::write(Path::new(&directory).join(format!("{name}.gz")), packed.finish()?)?;
    }
    println!("cargo::rustc-check-cfg=cfg(glibc_2_36)");
    let is_cross = std::env::var("HOST") != std::env::var("TARGET");
    if !is_cross && glibc().as_deref() == Some(KNOWN) {
        println!("cargo::rustc-cfg=glibc_2_36");
    }
    Ok(())
}
