//! What an EC2 NVMe controller reports about its disk: the name in the block device mapping.
//!
//! sysfs has the serial but not this name, which is read with Identify Controller, as ebsnvme-id(8) does.
//!
//! Source: <https://github.com/amazonlinux/amazon-ec2-utils/blob/main/ebsnvme>, and "Identify Controller Data
//! Structure" of the NVM Express base specification.

use std::fs::File;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;

/// The length of the answer to Identify, in bytes.
const ANSWER: usize = 4096;

/// Amazon's PCI vendor id. The layout of the vendor-specific part applies to this vendor only.
const AMAZON: u16 = 0x1D0F;

/// The range of the name in the answer: the first 32 bytes of the vendor-specific part.
const NAME: std::ops::Range<usize> = 3072..3104;

/// The admin command "Identify", and the selector of the controller data structure.
const IDENTIFY: u8 = 0x06;
const CONTROLLER: u32 = 1;

/// `struct nvme_admin_cmd` of linux/nvme_ioctl.h, 72 bytes.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct AdminCommand {
    opcode: u8,
    flags: u8,
    rsvd1: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    addr: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    timeout_ms: u32,
    result: u32,
}

nix::ioctl_readwrite!(nvme_admin, b'N', 0x41, AdminCommand);

/// What a controller reports about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Identity {
    /// The serial, such as `vol0123456789abcdef0`.
    pub(super) serial: String,
    /// The name in the block device mapping, with `/dev/`.
    pub(super) attached_as: Option<String>,
    /// The number of an instance store in the block device mapping.
    pub(super) store: Option<u32>,
}

/// Queries the controller of an open disk. Needs CAP_SYS_ADMIN.
pub(super) fn identify(disk: &File) -> Result<Identity, Errno> {
    // The kernel may pass a small buffer to the controller as it is, and controllers expect it to be aligned.
    let mut answer = Box::new([0_u64; ANSWER / 8]);
    let mut command = AdminCommand {
        opcode: IDENTIFY,
        addr: answer.as_mut_ptr() as u64,
        data_len: ANSWER as u32,
        cdw10: CONTROLLER,
        ..AdminCommand::default()
    };
    // SAFETY: the kernel writes to `command` and at most `data_len` bytes from `addr` on, which is the whole of
    // `answer`; both live until the call has returned.
    let status = unsafe { nvme_admin(disk.as_raw_fd(), &raw mut command) }?;
    if status != 0 {
        // A positive value is a status code of the controller.
        return Err(Errno::EIO);
    }
    let bytes: Vec<u8> = answer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(parse(&bytes))
}

/// Parses the answer to Identify. Fields that are missing, or not Amazon's, are empty.
fn parse(answer: &[u8]) -> Identity {
    let vendor = answer.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
    let serial = text(answer.get(4..24).unwrap_or_default());
    if vendor != Some(AMAZON) {
        return Identity { serial, ..Identity::default() };
    }
    let name = text(answer.get(NAME).unwrap_or_default());
    // An instance store has `ephemeral0:sdb` or `ephemeral0:none` in this field.
    let (store, name) = match name.strip_prefix("ephemeral").and_then(|rest| rest.split_once(':')) {
        Some((number, name)) => (number.parse().ok(), name),
        None => (None, name.as_str()),
    };
    let name = name.strip_prefix("/dev/").unwrap_or(name);
    let is_name = !matches!(name, "" | "none") && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let attached_as = is_name.then(|| format!("/dev/{name}"));
    Identity { serial, attached_as, store }
}

/// Text of a fixed length, padded with spaces or NULs.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(vendor: u16, serial: &str, name: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; ANSWER];
        bytes[..2].copy_from_slice(&vendor.to_le_bytes());
        bytes[4..24].copy_from_slice(format!("{serial:<20}").as_bytes());
        bytes[NAME.start..NAME.start + name.len()].copy_from_slice(name);
        bytes
    }

    #[test]
    fn reads_what_a_controller_says() {
        let spaces = |name: &str| format!("{name:<32}").into_bytes();
        for (vendor, name, attached_as, store) in [
            (AMAZON, spaces("/dev/sdf"), Some("/dev/sdf"), None),
            (AMAZON, spaces("sdf"), Some("/dev/sdf"), None),
            (AMAZON, b"xvdba\0\0".to_vec(), Some("/dev/xvdba"), None),
            (AMAZON, b"ephemeral0:sdb\0".to_vec(), Some("/dev/sdb"), Some(0)),
            (AMAZON, b"ephemeral23:none".to_vec(), None, Some(23)),
            (AMAZON, b"ephemeral:".to_vec(), None, None),
            (AMAZON, spaces(""), None, None),
            (AMAZON, vec![0; 32], None, None),
            (AMAZON, vec![0xff; 32], None, None),
            // Another vendor may store anything there.
            (0x1B36, spaces("/dev/sdf"), None, None),
        ] {
            let found = parse(&answer(vendor, "vol0123456789abcdef0", &name));
            assert_eq!(found.serial, "vol0123456789abcdef0");
            assert_eq!(found.attached_as.as_deref(), attached_as);
            assert_eq!(found.store, store);
        }
        assert_eq!(parse(&[]), Identity::default());
        assert_eq!(parse(&answer(AMAZON, "x", b"")[..30]).serial, "x");
    }

    #[test]
    fn asks_as_the_kernel_expects() {
        assert_eq!(size_of::<AdminCommand>(), 72);
        assert_eq!(nix::request_code_readwrite!(b'N', 0x41, size_of::<AdminCommand>()), 0xC048_4E41);
    }

    #[test]
    fn what_is_no_nvme_disk_says_nothing() {
        assert!(identify(&File::open("/dev/null").unwrap()).is_err());
    }
}
