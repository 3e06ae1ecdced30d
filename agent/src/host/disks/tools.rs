//! Makes, checks and grows filesystems with the programs for that purpose.
//!
//! The identity of the device is checked again before each run, and the device is held open while the program runs, so
//! that the kernel cannot give its number to another disk.

use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use tokio::time::{Instant, sleep};

use super::disk::Device;
use super::filesystem::{Filesystem, NewFilesystem};
use super::identity::{Held, hold, unused};
use crate::host::blocking;
use crate::host::commands::{Commands, End, Invocation, SEARCH_PATH};
use crate::host::error::HostError;
use crate::host::tree::failed;
use crate::text::SecretText;

/// How many of a program's first and of its last lines an error keeps: some programs name the error first and then
/// print their usage, others name it last.
const FIRST: usize = 2;
const LAST: usize = 3;

/// How long a device may be busy before that is an error. A program that was killed together with the previous boot may
/// not be gone yet, and other programs open a new disk briefly. A process that holds the device exclusively for longer
/// does so on purpose.
const LETS_GO: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// A program name and its arguments.
type Argv = Vec<String>;

pub(super) struct Tools {
    commands: Rc<dyn Commands>,
}

impl Tools {
    pub(super) fn new(commands: Rc<dyn Commands>) -> Self {
        Self { commands }
    }

    pub(super) async fn make(&self, device: &Device, new: &NewFilesystem, timeout: Duration) -> Result<(), HostError> {
        let operation = "make a filesystem on";
        let _held = held(operation, device, true).await?;
        run_tool(&*self.commands, &making(&device.node, new), &device.node, timeout, |code| code == 0).await
    }

    pub(super) async fn check(&self, device: &Device, filesystem: Filesystem, timeout: Duration) -> Result<(), HostError> {
        // The others are checked when they are mounted.
        if filesystem != Filesystem::Ext4 {
            return Ok(());
        }
        let _held = held("check", device, true).await?;
        let argv = vec!["e2fsck".to_owned(), "-p".to_owned(), text(&device.node)];
        // 1: errors were corrected; 2: the same, and a reboot is required if it is the root filesystem.
        run_tool(&*self.commands, &argv, &device.node, timeout, |code| matches!(code, 0..=2)).await
    }

    pub(super) async fn grow(&self, device: &Device, filesystem: Filesystem, at: &Path, timeout: Duration) -> Result<(), HostError> {
        let _held = held("grow the filesystem on", device, false).await?;
        let Some(argv) = growing(&device.node, filesystem, at) else { return Ok(()) };
        run_tool(&*self.commands, &argv, &device.node, timeout, |code| code == 0).await?;
        synced(at).await
    }
}

/// Runs a program on a device or a mount, and fails unless it succeeds. The error contains its last lines of output.
pub(in crate::host) async fn run_tool(
    commands: &dyn Commands,
    argv: &[String],
    on: &Path,
    timeout: Duration,
    is_good: fn(i32) -> bool,
) -> Result<(), HostError> {
    let invocation = Invocation {
        argv: argv.iter().map(|argument| SecretText::from(argument.as_str())).collect(),
        environment: vec![("PATH".into(), SEARCH_PATH.into()), ("LC_ALL".into(), "C".into())],
        directory: "/".into(),
        user: None,
        timeout,
        lease: None,
    };
    let mut lines: Vec<String> = Vec::new();
    let end = commands.run(&invocation, &mut |line| lines.push(line.trim().to_owned())).await?;
    lines.retain(|line| !line.is_empty());
    let said = match end {
        End::Exited(code) if is_good(code) => return Ok(()),
        End::TimedOut => format!("it did not finish within {timeout:?}"),
        End::Signalled(signal) => format!("it was killed by signal {signal}"),
        End::Exited(code) if lines.is_empty() => format!("it exited with {code}"),
        End::Exited(_) => shortened(&lines).join("; "),
    };
    Err(HostError::Tool { program: argv.first().cloned().unwrap_or_default(), on: on.to_owned(), said })
}

fn shortened(lines: &[String]) -> Vec<&str> {
    let all = lines.iter().map(String::as_str);
    if lines.len() <= FIRST + LAST {
        return all.collect();
    }
    all.clone().take(FIRST).chain(["…"]).chain(all.skip(lines.len() - LAST)).collect()
}

/// The command that makes a filesystem. It must not ask questions, and must not discard blocks: a new volume is empty,
/// and discarding an old one takes minutes.
fn making(node: &Path, new: &NewFilesystem) -> Argv {
    let program: &[&str] = match new.kind {
        Filesystem::Xfs => &["mkfs.xfs", "-q", "-f", "-K"],
        // The inode tables are initialized in the background after it is mounted.
        Filesystem::Ext4 => &["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=1"],
        Filesystem::Btrfs => &["mkfs.btrfs", "-q", "-f", "-K"],
        Filesystem::Swap => &["mkswap", "-f"],
    };
    let mut argv: Argv = program.iter().map(|&argument| argument.to_owned()).collect();
    argv.extend(new.label.iter().flat_map(|label| ["-L".to_owned(), label.clone()]));
    argv.extend(new.uuid.iter().flat_map(|uuid| match new.kind {
        Filesystem::Xfs => ["-m".to_owned(), format!("uuid={uuid}")],
        Filesystem::Ext4 | Filesystem::Btrfs | Filesystem::Swap => ["-U".to_owned(), uuid.clone()],
    }));
    argv.push(text(node));
    argv
}

/// The command that grows a mounted filesystem. `None` for a kind that is not mounted.
fn growing(node: &Path, filesystem: Filesystem, at: &Path) -> Option<Argv> {
    Some(match filesystem {
        Filesystem::Xfs => vec!["xfs_growfs".into(), text(at)],
        Filesystem::Ext4 => vec!["resize2fs".into(), text(node)],
        Filesystem::Btrfs => ["btrfs", "filesystem", "resize", "max"].map(str::to_owned).into_iter().chain([text(at)]).collect(),
        Filesystem::Swap => return None,
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Opens the device, if it is the one that was found. With `unused_only`, it must also not be in use.
async fn held(operation: &'static str, device: &Device, unused_only: bool) -> Result<Held, HostError> {
    let deadline = Instant::now() + LETS_GO;
    loop {
        let wanted = device.clone();
        let work = move || {
            let held = hold(&wanted)?;
            if unused_only {
                unused(&wanted.node, operation)?;
            }
            Ok(held)
        };
        match blocking::work(operation, &device.node, work).await {
            Err(HostError::Path { source, .. }) if source.kind() == ErrorKind::ResourceBusy && Instant::now() < deadline => {
                sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Writes the new size to the superblock on the disk, where it is read the next time.
async fn synced(at: &Path) -> Result<(), HostError> {
    let (path, operation) = (at.to_owned(), "sync");
    blocking::work(operation, at, move || {
        let opened = open(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        opened.and_then(nix::unistd::syncfs).map_err(|errno| failed(operation, &path, errno.into()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_each_filesystem_by_its_program() {
        let named = |kind| NewFilesystem { kind, label: Some("data".into()), uuid: Some("1b4e28ba-2fa1-11d2-883f-0016d3cca427".into()) };
        for (kind, expected) in [
            (Filesystem::Xfs, "mkfs.xfs -q -f -K -L data -m uuid=1b4e28ba-2fa1-11d2-883f-0016d3cca427 /dev/x"),
            (Filesystem::Ext4, "mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=1 -L data -U 1b4e28ba-2fa1-11d2-883f-0016d3cca427 /dev/x"),
            (Filesystem::Btrfs, "mkfs.btrfs -q -f -K -L data -U 1b4e28ba-2fa1-11d2-883f-0016d3cca427 /dev/x"),
            (Filesystem::Swap, "mkswap -f -L data -U 1b4e28ba-2fa1-11d2-883f-0016d3cca427 /dev/x"),
        ] {
            assert_eq!(making(Path::new("/dev/x"), &named(kind)).join(" "), expected);
        }
        let plain = NewFilesystem { kind: Filesystem::Xfs, label: None, uuid: None };
        assert_eq!(making(Path::new("/dev/x"), &plain).join(" "), "mkfs.xfs -q -f -K /dev/x");
    }

    #[test]
    fn keeps_the_beginning_and_the_end_of_what_was_said() {
        let lines = |count: usize| (1..=count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(shortened(&lines(5)).join(" "), "1 2 3 4 5");
        assert_eq!(shortened(&lines(9)).join(" "), "1 2 … 7 8 9");
    }

    #[test]
    fn names_the_package_of_a_program_that_is_missing() {
        let source = std::io::ErrorKind::NotFound.into();
        let error = HostError::Spawn { program: "mkfs.btrfs".into(), source };
        insta::assert_snapshot!(crate::failure::Explanation::of(&error).to_string(), @r"
        cannot run mkfs.btrfs: entity not found
          hint: install btrfs-progs in the image: it contains mkfs.btrfs
        ");
    }

    #[test]
    fn grows_each_filesystem_by_its_program() {
        for (kind, expected) in [
            (Filesystem::Xfs, Some("xfs_growfs /srv")),
            (Filesystem::Ext4, Some("resize2fs /dev/x")),
            (Filesystem::Btrfs, Some("btrfs filesystem resize max /srv")),
            (Filesystem::Swap, None),
        ] {
            let argv = growing(Path::new("/dev/x"), kind, Path::new("/srv"));
            assert_eq!(argv.map(|argv| argv.join(" ")).as_deref(), expected);
        }
    }
}
