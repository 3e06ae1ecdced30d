//! Decides whether this machine may be a builder of images: `ingot seal --scrub` deletes its host keys, its logs and
//! its login credentials, which must not happen to a workstation by accident.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::host::HostError;
use crate::image::scrub::{Scrubber, Spot};

/// Vendors of virtual machines, by their names in the firmware. Amazon's bare-metal machines use the same name.
const VENDORS: [&str; 12] = [
    "Amazon EC2",
    "QEMU",
    "KVM",
    "Xen",
    "VMware",
    "innotek GmbH",
    "Oracle Corporation",
    "Bochs",
    "Parallels",
    "BHYVE",
    "Google",
    "Microsoft Corporation",
];

/// The reason why no image may be made of this machine; `None` if one may.
///
/// A machine counts as a builder of images if it is a virtual machine or a container, has a directory `/etc/ingot`, and
/// has no graphical session.
pub(crate) fn objection(machine: &Scrubber) -> Result<Option<&'static str>, HostError> {
    if machine.find(&Spot::of(Path::new("/etc/ingot")))?.is_none() {
        return Ok(Some("it has no /etc/ingot"));
    }
    if !is_virtual() {
        return Ok(Some("it is neither a virtual machine nor a container"));
    }
    let shown = ["/tmp/.X11-unix", "/run/user"].iter().any(|at| has_display(Path::new(at), 2));
    Ok(shown.then_some("somebody works on it in a graphical session"))
}

/// Whether `root` is the root of the machine on which this process runs, under any name.
pub(crate) fn is_this_machine(root: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    identity(root).is_some_and(|found| Some(found) == identity(Path::new("/")))
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The user and the group of this process, which own the files that it creates.
pub(crate) fn own() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// How many threads this machine runs in parallel.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn is_virtual() -> bool {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    // arm64 lacks this flag, but always has DMI.
    let flags = text("/proc/cpuinfo");
    let has_flag = flags.lines().any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "hypervisor"));
    let vendor = text("/sys/class/dmi/id/sys_vendor");
    let of_laptops = text("/sys/class/dmi/id/product_name");
    // Microsoft also makes laptops.
    let is_vendor = VENDORS.iter().any(|known| vendor.starts_with(known))
        && (!vendor.starts_with("Microsoft") || of_laptops.trim() == "Virtual Machine");
    let in_container = ["/run/systemd/container", "/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists());
    has_flag || is_vendor || in_container
}

/// Whether `directory` contains a display server's socket, at most `depth` levels deep.
fn has_display(directory: &Path, depth: usize) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_socket = std::os::unix::fs::FileTypeExt::is_socket;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => depth > 1 && has_display(&entry.path(), depth - 1),
            Ok(kind) => is_socket(&kind) && (name.starts_with('X') || name.starts_with("wayland-")),
            Err(_) => false,
        }
    })
}
