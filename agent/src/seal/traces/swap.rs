//! Swap: memory of the build machine, including secrets of its processes.
//!
//! Swap files are removed with their lines in fstab: those that fstab names, and those with the usual names that
//! contain swap. A partition is not ours to wipe.

use std::path::{Path, PathBuf};

use super::Trace;
use super::found::{Action, Found, TEXT_LIMIT, one};
use crate::host::{FileKind, HostError};
use crate::image::scrub::{Scrubber, Spot};

/// The names that installers and guides use.
const USUAL: [&str; 4] = ["/swapfile", "/swap.img", "/var/swapfile", "/var/swap"];

pub(super) fn find(trace: &Trace, image: &Scrubber) -> Result<Vec<Found>, HostError> {
    let mut found = Vec::new();
    let mut named = Vec::new();
    for at in trace.at {
        let spot = Spot::of(Path::new(at));
        let content = image.read(&spot, TEXT_LIMIT)?.unwrap_or_default();
        for (line, number, source) in swap_lines(&String::from_utf8_lossy(&content)) {
            if !is_file(&source) {
                let mut partition = one(trace, spot.clone(), Some(number), Action::Nothing);
                partition.finding.rule = "swap-partition".into();
                partition.finding.says = format!("swap on {source}, which may contain memory of the build machine");
                partition.finding.hint = "build the image without it, and put swap on an instance store with `mounts:`".into();
                found.push(partition);
                continue;
            }
            let file = PathBuf::from(&source);
            let action = Action::RemoveSwap { file: image.find(&Spot::of(&file))?.map(|_| file.clone()), line: Some(line) };
            found.push(one(trace, spot.clone(), Some(number), action));
            named.push(file);
        }
    }
    for path in USUAL.map(PathBuf::from).into_iter().filter(|path| !named.contains(path)) {
        let spot = Spot::of(&path);
        // The name alone proves nothing, so the file must also have the signature of swap.
        if image.find(&spot)?.is_some_and(|found| found.kind == FileKind::File) && image.is_swap(&spot)? {
            found.push(one(trace, spot, None, Action::RemoveSwap { file: Some(path), line: None }));
        }
    }
    Ok(found)
}

fn is_file(source: &str) -> bool {
    source.starts_with('/') && !source.starts_with("/dev/") && !source.contains("..")
}

/// The lines of fstab(5) for swap, with their numbers and devices or files.
fn swap_lines(fstab: &str) -> Vec<(String, u64, String)> {
    let lines = fstab.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with('#'));
    let swap = lines.filter_map(|(line, number)| {
        let mut fields = line.split_whitespace();
        let source = fields.next()?;
        (fields.nth(1)? == "swap").then(|| (line.to_owned(), number, source.to_owned()))
    });
    swap.collect()
}
