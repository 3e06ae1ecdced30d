//! Waits for disks that are added or removed: listens to the events that the kernel sends to udev or, where that is not
//! permitted, polls.
//!
//! The kernel sends an event after the disk's node is in /dev and its partitions have been read.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

use super::DiskWatch;

/// The multicast group of kernel events; group 2 carries the events that udev sends when it is done.
const KERNEL: u32 = 1;

/// The maximum length of a kernel message, in bytes (UEVENT_BUFFER_SIZE).
const MESSAGE: usize = 2048;

/// How often the list of disks is read when events are not available.
const PAUSE: Duration = Duration::from_millis(200);

/// A file with one line for each disk and partition, including its size.
const LIST: &str = "/proc/partitions";

#[derive(Debug)]
pub(super) enum Watch {
    Told(AsyncFd<OwnedFd>),
    Looking(String),
}

impl Watch {
    pub(super) fn new() -> Self {
        match subscribe() {
            Ok(socket) => Self::Told(socket),
            Err(error) => {
                log::debug!("the kernel does not tell of disks, and is asked instead: {error}");
                Self::Looking(list())
            }
        }
    }
}

fn subscribe() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL))?;
    // SAFETY: an `OwnedFd` always returns the same descriptor, which stays open for as long as the `AsyncFd` holds it.
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    Ok(registered?)
}

fn list() -> String {
    fs::read_to_string(LIST).unwrap_or_default()
}

#[async_trait(?Send)]
impl DiskWatch for Watch {
    async fn changed(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        match self {
            Self::Told(socket) => {
                // After the deadline, nothing has changed.
                let _ = timeout_at(deadline, told(socket)).await;
            }
            Self::Looking(seen) => {
                while Instant::now() < deadline {
                    let now = list();
                    if now != *seen {
                        *seen = now;
                        return;
                    }
                    tokio::time::sleep_until(deadline.min(Instant::now() + PAUSE)).await;
                }
            }
        }
    }
}

/// Returns once a message about a disk or partition has arrived and no more messages are pending.
async fn told(socket: &AsyncFd<OwnedFd>) {
    loop {
        // Fails only while the runtime is shut down.
        let Ok(mut ready) = socket.readable().await else { return std::future::pending().await };
        if drained(socket) {
            return;
        }
        ready.clear_ready();
    }
}

/// Reads all pending messages, and returns whether one was about a disk or partition.
fn drained(socket: &AsyncFd<OwnedFd>) -> bool {
    let mut message = [0; MESSAGE];
    let mut is_news = false;
    loop {
        match recv(socket.as_raw_fd(), &mut message, MsgFlags::empty()) {
            Ok(length) => is_news |= is_about_a_disk(&message[..length.min(MESSAGE)]),
            // Messages were lost; any of them may have been about a disk.
            Err(Errno::ENOBUFS) => is_news = true,
            Err(Errno::EINTR) => {}
            Err(_) => return is_news,
        }
    }
}

/// A message is `add@/devices/…` followed by `NAME=value` pairs, each terminated by a NUL.
fn is_about_a_disk(message: &[u8]) -> bool {
    message.split(|byte| *byte == 0).any(|line| line == b"SUBSYSTEM=block")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hears_of_disks_only() {
        assert!(is_about_a_disk(b"add@/devices/x/block/sdb\0ACTION=add\0SUBSYSTEM=block\0DEVNAME=sdb\0"));
        assert!(is_about_a_disk(b"remove@/devices/x\0SUBSYSTEM=block"));
        assert!(!is_about_a_disk(b"add@/devices/x\0SUBSYSTEM=net\0INTERFACE=eth0\0"));
        assert!(!is_about_a_disk(b"libudev\0\xfe\xed\xca\xfe"));
        assert!(!is_about_a_disk(b""));
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_the_time_given() {
        let begin = Instant::now();
        Watch::Looking(list()).changed(Duration::from_secs(3)).await;
        assert!(begin.elapsed() <= Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn sees_what_came_before_it_was_asked() {
        let begin = Instant::now();
        Watch::Looking("another list".into()).changed(Duration::from_secs(3)).await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
