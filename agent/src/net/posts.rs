//! Posts a message to an application on this machine; [`NetPosts`] does so over loopback.
//!
//! A message is sent byte for byte, and only the status and `Retry-After` of the answer are used. An answer counts once
//! it is complete: an application that dies in the middle of it has not answered. A connection that the application
//! keeps open is reused if the next message follows immediately, which halves the kernel's time for each message. A
//! connection that is idle, or has been used often, is closed, because some applications serve one connection at a
//! time.

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

/// Errors for which no connection is made although the application is not at fault: too many open files, no free port,
/// or no memory.
const OWN: [i32; 5] = [nix::libc::EMFILE, nix::libc::ENFILE, nix::libc::EADDRNOTAVAIL, nix::libc::ENOBUFS, nix::libc::ENOMEM];

/// How long a connection is kept idle: longer than SQS takes to deliver a message that is available.
const IDLE: Duration = Duration::from_millis(100);

/// How many requests are sent on a connection.
const USES: u32 = 100;

/// How much of an answer is read at a time, in bytes.
const PIECE: usize = 2048;

/// A request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) at: SocketAddr,
    /// Head and body.
    pub(crate) bytes: Vec<u8>,
    /// How long the application may send nothing.
    pub(crate) silence: Duration,
    /// How long the application may take in total.
    pub(crate) limit: Duration,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answered {
    Status {
        status: u16,
        retry_after: Option<String>,
    },
    /// Nothing accepts connections.
    Refused(String),
    /// The connection ended before the answer did.
    CutOff(String),
    /// No byte arrived for as long as the application may be silent.
    Silent,
    /// The application took longer than allowed.
    TooLong,
    /// The answer is not HTTP.
    Foreign,
    /// This process cannot open any connection at present.
    Hindered(String),
}

/// Posts to applications on this machine.
#[async_trait(?Send)]
pub(crate) trait Posts {
    async fn post(&self, post: &Post) -> Answered;

    /// Closes idle connections. Returns when to call it again, if at all.
    fn tidy(&self) -> Option<Duration> {
        None
    }
}

/// The applications that listen on this machine.
#[derive(Debug, Default)]
pub(crate) struct NetPosts {
    /// Idle connections, the most recently used last.
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
    /// `is_kept`: the connection can be reused.
    Answered { answered: Answered, is_kept: bool },
    /// The connection ended before any byte arrived.
    Nothing(String),
}

#[async_trait(?Send)]
impl Posts for NetPosts {
    async fn post(&self, post: &Post) -> Answered {
        timeout(post.limit, self.exchange(post)).await.unwrap_or(Answered::TooLong)
    }

    fn tidy(&self) -> Option<Duration> {
        let mut idle = self.idle.borrow_mut();
        // Called between any two events; there are as many idle connections as concurrent messages.
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
            // The application had received the request.
            Err(why) if begun.elapsed() > IDLE => Answered::CutOff(why),
            // The application closed an idle connection, or has died. A new connection tells which.
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

    /// Posts on this connection, and keeps it if it can be reused.
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

    /// An idle connection to `at` that still appears to be open.
    fn take(&self, at: SocketAddr) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        while let Some(last) = idle.pop() {
            // Nothing has arrived: neither the end of the connection nor unrequested bytes.
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
        // An application may answer before it has read the whole request. A failed write is then irrelevant, but a
        // later request on the connection would be read as the rest of this one.
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
