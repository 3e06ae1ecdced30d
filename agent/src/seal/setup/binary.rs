//! Whether the instances of an image can run its ingot.

use std::path::Path;

use crate::host::{FileKind, HostError};
use crate::image::scrub::{self, Scrubber, Spot};
use crate::seal::finding::Finding;

/// The path of ingot in an image.
pub(crate) const BINARY: &str = "/usr/bin/ingot";

/// systemd itself; in most images, one of these is a link to the other.
const SYSTEMD: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

/// The largest binary that is read, in bytes: much larger than ingot ever was.
pub(crate) const BINARY_LIMIT: u64 = 256 << 20;

/// The first bytes of systemd, if the image has it.
pub(super) fn systemd(image: &Scrubber) -> Result<Option<Vec<u8>>, HostError> {
    for path in SYSTEMD {
        if let Some(header) = image.head(&Spot::of(Path::new(path)), HEADER)? {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

/// The architecture of an image's programs: that of its systemd or, if it has none, of its ingot.
pub(super) fn architecture(image: &Scrubber, systemd: Option<&[u8]>) -> Result<Option<String>, HostError> {
    let ingot = image.head(&Spot::of(Path::new(BINARY)), HEADER)?;
    Ok(systemd.or(ingot.as_deref()).and_then(machine).map(named))
}

/// What is wrong with the ingot of the image. `live` if the image is the machine on which this process runs.
pub(super) fn check(image: &Scrubber, systemd: Option<&[u8]>, live: bool) -> Result<Option<Finding>, HostError> {
    let spot = Spot::of(Path::new(BINARY));
    let wrong = |rule: &str, says: String, hint: &str| {
        Some(Finding { path: BINARY.into(), line: None, rule: rule.into(), says, hint: hint.into() })
    };
    if image.find(&spot)?.is_none_or(|found| found.kind != FileKind::File) {
        return Ok(wrong("ingot-missing", "there is no ingot in the image".into(), "install the binary of the release there, mode 0755"));
    }
    if image.mode(&spot)?.is_some_and(|mode| mode & 0o111 != 0o111) {
        return Ok(wrong("ingot-binary", "it is not executable for everyone".into(), "run `chmod 0755 /usr/bin/ingot`"));
    }
    let header = image.head(&spot, HEADER)?.unwrap_or_default();
    let Some(own) = machine(&header) else {
        return Ok(wrong(
            "ingot-binary",
            "it is not a Linux program (ELF)".into(),
            "install the binary of the release there, not its archive",
        ));
    };
    if let Some(of_image) = systemd.and_then(machine).filter(|of_image| *of_image != own) {
        let says = format!("it is built for {}, but the image is for {}", named(own), named(of_image));
        return Ok(wrong("ingot-binary", says, "install the binary of the image's architecture"));
    }
    if live && image.read(&spot, BINARY_LIMIT)? != scrub::running_program()? {
        let says = "it is not the ingot that is running now".to_owned();
        return Ok(wrong("ingot-binary", says, "seal the image with its own ingot: `/usr/bin/ingot seal`"));
    }
    Ok(None)
}

/// The length in bytes of the part of an ELF header that names the architecture.
const HEADER: usize = 20;

/// `e_machine` of an ELF header. Source: elf(5).
fn machine(header: &[u8]) -> Option<u16> {
    let bytes = [*header.get(18)?, *header.get(19)?];
    header.starts_with(b"\x7fELF").then(|| if header[5] == 2 { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

fn named(machine: u16) -> String {
    match machine {
        62 => "x86_64".into(),
        183 => "arm64".into(),
        3 => "i386".into(),
        40 => "arm".into(),
        other => format!("ELF machine {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_program_is_for() {
        let mut header = [0; HEADER];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        header[18] = 183;
        assert_eq!(machine(&header).map(named).as_deref(), Some("arm64"));
        assert_eq!(machine(b"#!/bin/sh"), None);
    }
}
