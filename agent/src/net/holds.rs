//! Holds: before an application is stopped, a worker that feeds it is asked to finish what it has there, and to send nothing
//! more. Both ends of that, over a socket in the file system.
//!
//! Two bytes ask, and name the port that is about to be stopped; one byte answers, once nothing is in hand there. A hold lasts as
//! long as its connection, which ends with the process that asked, however that ends: no one can leave a worker held.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::AsyncReadExt as _;
use tokio::net::{UnixListener, UnixStream};

/// Whoever can be held.
#[async_trait(?Send)]
pub(crate) trait Holds {
    /// Asks at a socket. Where no one listens, no one is held.
    async fn hold(&self, socket: &Path, port: u16) -> Box<dyn Hold>;
}

/// Ends when it is dropped.
#[async_trait(?Send)]
pub(crate) trait Hold {
    /// Waits until nothing is in hand, or there is no one who could have it.
    async fn finished(&mut self);
}

/// What listens on this machine.
#[derive(Debug)]
pub(crate) struct NetHolds;

#[async_trait(?Send)]
impl Holds for NetHolds {
    async fn hold(&self, socket: &Path, port: u16) -> Box<dyn Hold> {
        let stream = UnixStream::connect(socket).await.ok();
        // A new connection has room for two bytes.
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

/// Where whoever can be held listens.
#[derive(Debug)]
pub(crate) struct Holding {
    listener: UnixListener,
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    stream: UnixStream,
    /// What is about to be stopped, once that was said.
    port: Option<u16>,
    is_told: bool,
}

impl Holding {
    /// # Errors
    ///
    /// If the directory of the socket is not there, or the path is longer than one of a socket may be.
    pub(crate) fn listen(socket: &Path) -> io::Result<Self> {
        // One of a process that was killed.
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

    /// Tells those who have not been told, where nothing is in hand at their port.
    pub(crate) fn tell(&mut self, is_free: impl Fn(u16) -> bool) {
        for held in self.held.iter_mut().filter(|held| !held.is_told && held.port.is_some_and(&is_free)) {
            held.is_told = held.stream.try_write(&[1]).is_ok();
        }
    }
}

impl Held {
    /// Reads what was said. Returns whether the connection still stands.
    fn goes_on(&mut self, cx: &mut Context<'_>) -> bool {
        while self.stream.poll_read_ready(cx).is_ready() {
            let mut said = [0; 2];
            match self.stream.try_read(&mut said) {
                // Two bytes that were written at once come at once.
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
        // What it left does not hinder to its successor.
        Holding::listen(&socket).unwrap();
    }
}
