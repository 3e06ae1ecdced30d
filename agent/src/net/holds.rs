//! Holds: before an application is stopped, the worker that feeds it is asked to finish its current messages for that
//! application and to send no more. This file has both sides of that exchange, over a socket in the file system.
//!
//! The request is two bytes, the port that is about to be stopped; the answer is one byte, sent once no message is in
//! progress at that port. A hold lasts as long as its connection, which ends with the process that asked, in whatever
//! way that process ends, so a worker can never stay held.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};

/// Workers that can be held.
#[async_trait(?Send)]
pub(crate) trait Holds {
    /// Sends a request to a socket. If nothing listens there, nothing is held.
    async fn hold(&self, socket: &Path, port: u16) -> Box<dyn Hold>;
}

/// A hold. It ends when this is dropped.
#[async_trait(?Send)]
pub(crate) trait Hold {
    /// Waits until no message is in progress, or no worker is left that could have one.
    async fn finished(&mut self);
}

/// The workers that listen on this machine.
#[derive(Debug)]
pub(crate) struct NetHolds;

#[async_trait(?Send)]
impl Holds for NetHolds {
    async fn hold(&self, socket: &Path, port: u16) -> Box<dyn Hold> {
        let stream = UnixStream::connect(socket).await.ok();
        // The buffer of a new connection always has room for two bytes.
        Box::new(Connected(stream.filter(|stream| stream.try_write(&port.to_be_bytes()).is_ok())))
    }
}

struct Connected(Option<UnixStream>);

#[async_trait(?Send)]
impl Hold for Connected {
    async fn finished(&mut self) {
        if let Some(stream) = &mut self.0 {
            let _ = stream.read(&mut [0]).await;
        }
    }
}

/// The listening socket of a worker that can be held.
#[derive(Debug)]
pub(crate) struct Holding {
    listener: UnixListener,
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    stream: UnixStream,
    /// The port that is about to be stopped, once it is known.
    port: Option<u16>,
    is_told: bool,
}

impl Holding {
    /// # Errors
    ///
    /// If the directory of the socket does not exist, or the path is too long for a socket.
    pub(crate) fn listen(socket: &Path) -> io::Result<Self> {
        // A socket left by a process that was killed.
        let _ = std::fs::remove_file(socket);
        Ok(Self { listener: UnixListener::bind(socket)?, held: Vec::new() })
    }

    /// Waits until a hold begins or ends.
    pub(crate) async fn changed(&mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(Ok((stream, _))) = self.listener.poll_accept(cx) {
            self.held.push(Held { stream, port: None, is_told: false });
        }
        let (before, mut is_asked) = (self.held.len(), false);
        self.held.retain_mut(|held| {
            let had = held.port;
            let goes_on = held.goes_on(cx);
            is_asked |= held.port != had;
            goes_on
        });
        if is_asked || self.held.len() != before { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The ports that are about to be stopped.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        self.held.iter().filter_map(|held| held.port)
    }

    /// Answers the holds that have not been answered yet and whose port has no message in progress.
    pub(crate) fn tell(&mut self, is_free: impl Fn(u16) -> bool) {
        for held in self.held.iter_mut().filter(|held| !held.is_told && held.port.is_some_and(&is_free)) {
            held.is_told = held.stream.try_write(&[1]).is_ok();
        }
    }
}

impl Held {
    /// Reads the request. Returns whether the connection is still open.
    fn goes_on(&mut self, cx: &mut Context<'_>) -> bool {
        while self.stream.poll_read_ready(cx).is_ready() {
            let mut said = [0; 2];
            match self.stream.try_read(&mut said) {
                // Two bytes that were written together arrive together.
                Ok(2) => self.port = Some(u16::from_be_bytes(said)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    async fn soon(work: impl Future<Output = ()>) {
        tokio::time::timeout(LONG, work).await.expect("it takes no time");
    }

    #[tokio::test]
    async fn who_asks_is_answered_once_nothing_is_in_hand_and_holds_until_it_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("hold");
        let mut holding = Holding::listen(&socket).unwrap();
        let mut hold = NetHolds.hold(&socket, 15_000).await;
        soon(holding.changed()).await;
        assert_eq!(holding.ports().collect::<Vec<_>>(), [15_000]);
        holding.tell(|port| port != 15_000);
        assert!(tokio::time::timeout(Duration::from_millis(50), hold.finished()).await.is_err(), "something is in hand");
        holding.tell(|port| port == 15_000);
        soon(hold.finished()).await;
        assert_eq!(holding.ports().count(), 1, "it is held on");
        drop(hold);
        soon(holding.changed()).await;
        assert_eq!(holding.ports().count(), 0);
    }

    #[tokio::test]
    async fn where_nobody_listens_or_who_listened_is_gone_nothing_is_in_hand() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("hold");
        soon(NetHolds.hold(&socket, 1).await.finished()).await;
        let holding = Holding::listen(&socket).unwrap();
        let mut hold = NetHolds.hold(&socket, 1).await;
        drop(holding);
        soon(hold.finished()).await;
        // The socket file it left does not prevent a successor from listening.
        Holding::listen(&socket).unwrap();
    }
}
