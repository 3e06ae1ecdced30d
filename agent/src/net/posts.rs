//! Posts a message to an application of this machine, and [`NetPosts`]: over loopback.
//!
//! What is sent is sent byte for byte, and of the answer only its status and its `Retry-After` matter. It counts once it is
//! whole: an application that dies in the middle of it has not answered. A connection that the application keeps open is used
//! again if the next message comes at once, which halves the time that the kernel takes for each; one that waits, or was used
//! often, is closed: some applications serve one connection at a time.

mod answer;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use self::answer::{Answer, Came};

/// How long an application may take to accept a connection.
///
/// Source: `ConnectTimeout` of Elastic Beanstalk's worker environments.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection is not made, through no fault of the other side: too many files are open, no port or no memory is left.
const OWN: [i32; 5] = [nix::libc::EMFILE, nix::libc::ENFILE, nix::libc::EADDRNOTAVAIL, nix::libc::ENOBUFS, nix::libc::ENOMEM];

/// How long a connection waits for the next message: longer than SQS takes to bring one where it has some.
const IDLE: Duration = Duration::from_millis(100);

/// How many requests a connection takes.
const USES: u32 = 100;

/// How much of an answer is read at once.
const PIECE: usize = 2048;

/// A request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) at: SocketAddr,
    /// Head and body.
    pub(crate) bytes: Vec<u8>,
    /// How long the application may send nothing.
    pub(crate) silence: Duration,
    /// How long it may take in all.
    pub(crate) limit: Duration,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    Status {
        status: u16,
        retry_after: Option<String>,
    },
    /// No one accepts connections.
    Refused(String),
    /// The connection ended before the answer did.
    CutOff(String),
    /// Not a byte came for as long as the application may be silent.
    Silent,
    /// It took longer than it may.
    TooLong,
    /// What came is not HTTP.
    Foreign,
    /// This process cannot connect to anybody now.
    Hindered(String),
}

/// Posts to applications of this machine.
#[async_trait(?Send)]
pub(crate) trait Posts {
    async fn post(&self, post: &Post) -> Answered;

    /// Closes connections that no one has used for a while. When it is to be called again, if it is.
    fn tidy(&self) -> Option<Duration> {
        None
    }
}

/// The applications that listen on this machine.
#[derive(Debug, Default)]
pub(crate) struct NetPosts {
    /// Connections that wait for another request, those that were used last behind.
    idle: RefCell<Vec<Idle>>,
}

/// A connection that the application keeps open.
#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    at: SocketAddr,
    since: Instant,
    uses: u32,
}

/// How a request on a connection ended.
enum Ended {
    /// `is_kept`: the connection is good for another one.
    Answered { answered: Answered, is_kept: bool },
    /// The connection ended before a byte came.
    Nothing(String),
}

#[async_trait(?Send)]
impl Posts for NetPosts {
    async fn post(&self, post: &Post) -> Answered {
        timeout(post.limit, self.exchange(post)).await.unwrap_or(Answered::TooLong)
    }

    fn tidy(&self) -> Option<Duration> {
        let mut idle = self.idle.borrow_mut();
        // Called between any two events, with as many of these as messages at the same time.
        let now = idle.first().map(|_| Instant::now())?;
        let over = idle.iter().take_while(|idle| now - idle.since >= IDLE).count();
        idle.drain(..over);
        idle.first().map(|idle| IDLE.saturating_sub(now - idle.since))
    }
}

impl NetPosts {
    async fn exchange(&self, post: &Post) -> Answered {
        let Some(Idle { stream, uses, .. }) = self.take(post.at) else { return self.anew(post).await };
        let begun = Instant::now();
        match self.on(stream, uses + 1, post).await {
            Ok(answered) => answered,
            // It had the request.
            Err(why) if begun.elapsed() > IDLE => Answered::CutOff(why),
            // The application closes what it does not use, or has died: a new connection tells which.
            Err(why) => match self.anew(post).await {
                Answered::Refused(_) => Answered::CutOff(why),
                answered => answered,
            },
        }
    }

    async fn anew(&self, post: &Post) -> Answered {
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(post.at)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.raw_os_error().is_some_and(|code| OWN.contains(&code)) => return Answered::Hindered(error.to_string()),
            Ok(Err(error)) => return Answered::Refused(error.kind().to_string()),
            Err(_) => return Answered::Refused(format!("no connection within {CONNECT_TIMEOUT:?}")),
        };
        // The last piece of a request must not wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        self.on(stream, 1, post).await.unwrap_or_else(Answered::CutOff)
    }

    /// Posts on this connection, and keeps it if it may be used again.
    async fn on(&self, mut stream: TcpStream, uses: u32, post: &Post) -> Result<Answered, String> {
        match converse(&mut stream, post).await {
            Ended::Nothing(why) => Err(why),
            Ended::Answered { answered, is_kept } => {
                if is_kept && uses < USES {
                    self.idle.borrow_mut().push(Idle { stream, at: post.at, since: Instant::now(), uses });
                }
                Ok(answered)
            }
        }
    }

    /// A connection to `at` that is still open, as far as that is known.
    fn take(&self, at: SocketAddr) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        while let Some(last) = idle.pop() {
            // Neither its end has come, nor what no one has asked for.
            let is_silent = last.stream.try_read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
            if last.at == at && is_silent && last.since.elapsed() < IDLE {
                return Some(last);
            }
        }
        None
    }
}

async fn converse(stream: &mut TcpStream, post: &Post) -> Ended {
    let (mut reader, mut writer) = stream.split();
    let is_written = Cell::new(false);
    let write = async {
        // An application may answer before it has read everything: what cannot be written is no matter then, but what is
        // written next would be read as the rest of it.
        is_written.set(writer.write_all(&post.bytes).await.is_ok());
        std::future::pending::<Infallible>().await
    };
    let read = async {
        let (mut answer, mut piece, mut is_first) = (Answer::default(), [0; PIECE], true);
        let ended = |answered| Ended::Answered { answered, is_kept: false };
        loop {
            let came = match timeout(post.silence, reader.read(&mut piece)).await {
                Err(_) => return ended(Answered::Silent),
                Ok(Ok(0)) if is_first => return Ended::Nothing("it closed the connection".into()),
                Ok(Ok(0)) => answer.end(),
                Ok(Ok(length)) => answer.push(&piece[..length]),
                Ok(Err(error)) if is_first => return Ended::Nothing(error.kind().to_string()),
                Ok(Err(error)) => return ended(Answered::CutOff(error.kind().to_string())),
            };
            is_first = false;
            match came {
                Came::More => {}
                Came::Whole { status, retry_after, is_kept } => {
                    let is_kept = is_kept && is_written.get();
                    return Ended::Answered { answered: Answered::Status { status, retry_after }, is_kept };
                }
                Came::CutOff => return ended(Answered::CutOff("it closed the connection".into())),
                Came::Foreign => return ended(Answered::Foreign),
            }
        }
    };
    tokio::select! {
        biased;
        never = write => match never {},
        ended = read => ended,
    }
}
