//! Checks just before use that a device is still the one that was found.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::disk::{Device, Origin};
use super::sysfs::Sysfs;
use crate::host::device_number::DeviceNumber;
use crate::host::error::HostError;
use crate::host::tree::failed;

/// A device that is held open. Until it is closed, the kernel does not reuse its number.
#[derive(Debug)]
pub(in crate::host) struct Held {
    _open: OwnedFd,
}

/// Opens a device, if it is still the one that was found. Opening it for reading does not disturb other users.
///
/// # Errors
///
/// [`HostError::Replaced`] if the node now refers to another device, or is gone.
pub(in crate::host) fn hold(device: &Device) -> Result<Held, HostError> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let held = match open(&device.node, flags, Mode::empty()) {
        Ok(held) => held,
        Err(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV | Errno::ENOMEDIUM) => return Err(replaced(device, "gone")),
        Err(other) => return Err(failed("open", &device.node, other.into())),
    };
    let number = number(&held).map_err(|source| failed("look at", &device.node, source))?;
    match number {
        Some(number) if number == device.number => {}
        Some(other) => return Err(replaced(device, &owner(other).unwrap_or_else(|| other.to_string()))),
        None => return Err(replaced(device, "no block device")),
    }
    if let Some(volume) = &device.volume {
        let now = owner(device.number);
        if now.as_ref() != Some(volume) {
            return Err(replaced(device, now.as_deref().unwrap_or("no EBS volume")));
        }
    }
    Ok(Held { _open: held })
}

/// Checks that the device is not mounted, not used as swap, and not part of another device.
///
/// # Errors
///
/// "Busy" if it is in use.
pub(super) fn unused(node: &Path, operation: &'static str) -> Result<(), HostError> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_EXCL;
    open(node, flags, Mode::empty()).map(drop).map_err(|errno| failed(operation, node, errno.into()))
}

/// The volume to which the disk or partition with this number belongs.
pub(in crate::host) fn owner(number: DeviceNumber) -> Option<String> {
    match Sysfs::default().behind(number).ok()??.0.origin {
        Origin::Volume(id) => Some(id),
        Origin::InstanceStore(_) | Origin::Other => None,
    }
}

pub(in crate::host) fn replaced(device: &Device, found: &str) -> HostError {
    let wanted = device.volume.clone().unwrap_or_else(|| device.number.to_string());
    HostError::Replaced { node: device.node.clone(), wanted, found: found.to_owned() }
}

fn number(held: &OwnedFd) -> io::Result<Option<DeviceNumber>> {
    let stat = fstat(held)?;
    let is_block = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFBLK;
    Ok(is_block.then(|| DeviceNumber::of(stat.st_rdev)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(node: &str) -> Device {
        Device { node: node.into(), number: DeviceNumber { major: 259, minor: 1 }, volume: Some("vol-0a".into()), partition: None }
    }

    #[test]
    fn says_what_is_there_now() {
        for (node, message) in [
            ("/no/such", "/no/such is no longer vol-0a: it is gone now"),
            ("/dev/null", "/dev/null is no longer vol-0a: it is no block device now"),
        ] {
            assert_eq!(hold(&device(node)).unwrap_err().to_string(), message);
        }
        let unnamed = Device { volume: None, ..device("/no/such") };
        assert_eq!(hold(&unnamed).unwrap_err().to_string(), "/no/such is no longer 259:1: it is gone now");
    }
}
