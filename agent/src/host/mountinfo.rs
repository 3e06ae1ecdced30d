//! Parses /proc/self/mountinfo, which lists the mounts, and /proc/swaps, which uses the same notation.
//!
//! Source: proc_pid_mountinfo(5), proc_swaps(5).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::device_number::DeviceNumber;
use super::error::HostError;
use super::tree::failed;

/// The kernel's list of mounts.
pub(super) const TABLE: &str = "/proc/self/mountinfo";

/// A line of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) at: PathBuf,
    /// The part of the filesystem that is visible there: `/`, or for a bind mount the path of the mounted directory
    /// within its filesystem. For a bind mount of /srv/a/b, where /srv is a mount itself, it is `/a/b`.
    pub(crate) root: PathBuf,
    /// The block device; for btrfs, the one that `source` names; without a block device, a number assigned by the
    /// kernel (major 0).
    pub(crate) device: DeviceNumber,
    pub(crate) filesystem: String,
    /// The source passed to mount(2), such as `/dev/nvme1n1`.
    pub(crate) source: String,
    /// The options of this mount, as the kernel prints them: `rw`, `noatime` …; includes `ro` if the whole filesystem
    /// is read-only.
    pub(crate) options: Vec<String>,
}

/// A line, with the paths as the kernel writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The id of the mount, which /proc/self/fdinfo shows as well.
    pub(super) id: u64,
    pub(super) mounted: Mounted,
}

/// Reads the list of mounts from the kernel.
pub(super) fn lines() -> Result<Vec<Line>, HostError> {
    let text = fs::read(TABLE).map_err(|source| failed("read", Path::new(TABLE), source))?;
    Ok(parse(&text))
}

/// The mount points where the whole filesystem of a device is mounted.
pub(super) fn places_of(device: DeviceNumber) -> Result<Vec<PathBuf>, HostError> {
    let mounted = lines()?.into_iter().map(|line| line.mounted);
    Ok(mounted.filter(|mounted| mounted.device == device && mounted.root == Path::new("/")).map(|mounted| mounted.at).collect())
}

/// Parses every valid line: `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
pub(super) fn parse(text: &[u8]) -> Vec<Line> {
    text.split(|byte| *byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Line> {
    let mut fields = line.split(|byte| *byte == b' ');
    let text = |field: &[u8]| String::from_utf8_lossy(&unescaped(field)).into_owned();
    let id = text(fields.next()?).parse().ok()?;
    let _parent = fields.next()?;
    let device = DeviceNumber::parse(&text(fields.next()?))?;
    let (root, at, own) = (path(fields.next()?), path(fields.next()?), text(fields.next()?));
    // Any number of optional fields, then a dash.
    fields.find(|field| *field == b"-")?;
    let (filesystem, source) = (text(fields.next()?), text(fields.next()?));
    let is_read_only = fields.next().is_some_and(|all| text(all).split(',').any(|option| option == "ro"));
    let options = own.split(',').map(|option| if option == "rw" && is_read_only { "ro" } else { option }.to_owned()).collect();
    Some(Line { id, mounted: Mounted { at, root, device, filesystem, source, options } })
}

/// The block devices among the paths in /proc/swaps, such as `/dev/nvme1n1 partition 1048572 0 -2`.
pub(super) fn swap_devices(text: &[u8]) -> Vec<PathBuf> {
    let lines = text.split(|byte| *byte == b'\n').skip(1);
    let fields = lines.map(|line| line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()));
    fields
        .filter_map(|mut fields| Some((path(fields.next()?), fields.next()?)))
        .filter(|(_, kind)| *kind == b"partition")
        .map(|(path, _)| path)
        .collect()
}

/// The mounts that are visible below `root`, with paths as a process with that root directory sees them. The mount that
/// contains `/` comes first.
pub(super) fn below(root: &Path, lines: Vec<Line>) -> Vec<Line> {
    let inside = |path: &Path| path.strip_prefix(root).ok().map(|rest| Path::new("/").join(rest));
    let holder =
        lines.iter().filter(|line| root.starts_with(&line.mounted.at)).max_by_key(|line| line.mounted.at.as_os_str().len()).cloned();
    // The path of `root` within its filesystem: mounts that show directories below it are visible from there.
    let within = holder.as_ref().and_then(|line| Some(joined(&line.mounted.root, root.strip_prefix(&line.mounted.at).ok()?)));
    let mut seen = Vec::new();
    if let Some(mut line) = holder.clone().filter(|line| line.mounted.at != root) {
        line.mounted.at = "/".into();
        line.mounted.root = "/".into();
        seen.push(line);
    }
    for mut line in lines {
        let Some(at) = inside(&line.mounted.at) else { continue };
        line.mounted.at = at;
        let is_same = holder.as_ref().is_some_and(|holder| holder.mounted.device == line.mounted.device);
        if let Some(rest) = within.as_ref().filter(|_| is_same).and_then(|within| line.mounted.root.strip_prefix(within).ok()) {
            line.mounted.root = Path::new("/").join(rest);
        }
        seen.push(line);
    }
    seen
}

/// Joins paths, without the trailing slash that joining an empty path would add.
fn joined(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}

fn path(field: &[u8]) -> PathBuf {
    OsString::from_vec(unescaped(field)).into()
}

/// Decodes octal escapes, which the kernel uses for spaces and similar characters: `\040`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|digit| matches!(digit, b'0'..=b'7')));
        let code = digits.map(|digits| digits.iter().fold(0_u32, |code, digit| code * 8 + u32::from(digit - b'0')));
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// The mount id of an open file, from its /proc/self/fdinfo.
pub(super) fn mount_id(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

/// The source of a mount, if it is a path in /dev and identifies a device for which the kernel reports no block device
/// number.
pub(super) fn source_node(mounted: &Mounted) -> Option<&Path> {
    let node = Path::new(std::ffi::OsStr::from_bytes(mounted.source.as_bytes()));
    (mounted.device.major == 0 && node.starts_with("/dev") && node != Path::new("/dev")).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = br"22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw,discard
30 27 259:4 / /srv/with\040space\134 rw,noatime shared:2 master:7 propagate_from:3 - xfs /dev/nvme1n1 rw,attr2
31 27 0:40 /@home /home ro,nosuid - btrfs /dev/nvme2n1 rw,subvol=/@home
32 27 259:5 / /mnt rw - ext4 /dev/nvme3n1 ro
33 27 259:1 /tmp/image/srv/a /tmp/image/b rw shared:1 - ext4 /dev/root rw
34 27 259:6 / /tmp/image/data rw - xfs /dev/nvme4n1 rw
35 27 259:1 /var /tmp/image/c rw shared:1 - ext4 /dev/root rw
not a line

36 27 259:9 / /cut
";

    fn at<'l>(lines: &'l [Line], path: &str) -> &'l Mounted {
        &lines.iter().find(|line| line.mounted.at == Path::new(path)).unwrap().mounted
    }

    #[test]
    fn reads_every_line() {
        let lines = parse(TABLE);
        assert_eq!(lines.len(), 8);
        assert_eq!(lines[2].id, 30);
        let xfs = at(&lines, "/srv/with space\\");
        let expected = Mounted {
            at: "/srv/with space\\".into(),
            root: "/".into(),
            device: DeviceNumber { major: 259, minor: 4 },
            filesystem: "xfs".into(),
            source: "/dev/nvme1n1".into(),
            options: vec!["rw".into(), "noatime".into()],
        };
        assert_eq!(*xfs, expected);
        assert_eq!(
            (at(&lines, "/home").root.as_path(), source_node(at(&lines, "/home"))),
            (Path::new("/@home"), Some(Path::new("/dev/nvme2n1")))
        );
        assert_eq!(source_node(at(&lines, "/proc")), None);
        assert_eq!(source_node(xfs), None);
    }

    /// An ext4 filesystem that has met an error is read-only as a whole, even if its mounts say `rw`.
    #[test]
    fn a_filesystem_that_is_read_only_cannot_be_written_through_any_mount() {
        assert_eq!(at(&parse(TABLE), "/mnt").options, ["ro"]);
        assert_eq!(at(&parse(TABLE), "/home").options, ["ro", "nosuid"]);
    }

    #[test]
    fn sees_what_lies_below_a_root_from_there() {
        let seen = below(Path::new("/tmp/image"), parse(TABLE));
        let paths: Vec<(&str, &str)> =
            seen.iter().map(|line| (line.mounted.at.to_str().unwrap(), line.mounted.root.to_str().unwrap())).collect();
        assert_eq!(paths, [("/", "/"), ("/b", "/srv/a"), ("/data", "/"), ("/c", "/var")]);
        // A root that is a mount itself is one line.
        let seen = below(Path::new("/tmp/image/data"), parse(TABLE));
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].mounted.at.as_path(), seen[0].id), (Path::new("/"), 34));
    }

    #[test]
    fn knows_swap_on_a_device_from_swap_in_a_file() {
        let swaps = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/nvme1n1                            partition\t1048572\t\t0\t\t-2\n/swap\\040file                             file\t1\t0\t-3\n";
        assert_eq!(swap_devices(swaps), [PathBuf::from("/dev/nvme1n1")]);
        assert_eq!(swap_devices(b""), Vec::<PathBuf>::new());
    }

    #[test]
    fn finds_the_mount_of_an_open_file() {
        assert_eq!(mount_id("pos:\t0\nflags:\t012200000\nmnt_id:\t27\nino:\t2\n"), Some(27));
        assert_eq!(mount_id("pos:\t0\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_in_a_table_is_too_odd_to_read(bytes: Vec<u8>) {
            parse(&bytes);
            swap_devices(&bytes);
            unescaped(&bytes);
        }
    }

    #[test]
    fn an_escape_is_three_octal_digits_of_a_byte() {
        for (written, read) in
            [("a\\040b", "a b"), ("\\134\\011", "\\\t"), ("\\04", "\\04"), ("\\777", "\\777"), ("\\08x", "\\08x"), ("\\", "\\")]
        {
            assert_eq!(unescaped(written.as_bytes()), read.as_bytes(), "{written}");
        }
    }
}
