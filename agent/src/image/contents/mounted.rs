//! Filesystems that are mounted in the tree of an image but are not part of it.

use std::path::Path;

use nix::libc;
use nix::sys::statfs::{FsType, statfs};

/// Filesystems that are not on a disk, from `linux/magic.h`.
const OF_THE_KERNEL: [libc::c_long; 21] = [
    0x9fa0,                          // proc
    0x6265_6572,                     // sysfs
    0x0102_1994,                     // tmpfs, devtmpfs
    0x8584_58f6_u32 as libc::c_long, // ramfs
    0x1cd1,                          // devpts
    0x0027_e0eb,                     // cgroup
    0x6367_7270,                     // cgroup2
    0x6462_6720,                     // debugfs
    0x7472_6163,                     // tracefs
    0x7363_6673,                     // securityfs
    0xf97c_ff8c_u32 as libc::c_long, // selinuxfs
    0x6165_676c,                     // pstore
    0xcafe_4a11_u32 as libc::c_long, // bpf
    0x6265_6570,                     // configfs
    0x9584_58f6_u32 as libc::c_long, // hugetlbfs
    0x1980_0202,                     // mqueue
    0xde5e_81e4_u32 as libc::c_long, // efivarfs
    0x6e73_6673,                     // nsfs
    0x4249_4e4d,                     // binfmt_misc
    0x0187,                          // autofs
    0x6759_6969,                     // rpc_pipefs
];

/// Network filesystems: NFS, SMB, CIFS, Ceph, 9P; and FUSE, which is used to mount buckets and shares.
const OF_OTHERS: [libc::c_long; 6] =
    [0x6573_5546, 0x6969, 0xfe53_4d42_u32 as libc::c_long, 0xff53_4d42_u32 as libc::c_long, 0x00c3_6400, 0x0102_1997];

/// Read-only images that packages bring, such as a snap: squashfs, EROFS.
const OF_PACKAGES: [libc::c_long; 2] = [0x7371_7368, 0xe0f5_e1e2_u32 as libc::c_long];

/// Whether the filesystem at `directory` is not part of the image.
pub(super) fn is_no_part(directory: &Path) -> bool {
    let Ok(filesystem) = statfs(directory) else { return false };
    let mut others = OF_THE_KERNEL.iter().chain(&OF_OTHERS).chain(&OF_PACKAGES);
    others.any(|magic| FsType(*magic) == filesystem.filesystem_type())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_kernels_filesystems_from_a_disk() {
        assert!(is_no_part(Path::new("/proc")));
        assert!(is_no_part(Path::new("/sys")));
        assert!(is_no_part(Path::new("/dev")));
        assert!(!is_no_part(Path::new("/")));
    }
}
