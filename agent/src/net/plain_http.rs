//! HTTP/1.1 requests without TLS, one after the other on one connection.
//!
//! For the instance metadata service, in whose place anything may answer. All other HTTP goes through reqwest, which
//! reads interim responses (status 1xx) until the request times out and reports none of them, so a server that sends
//! nothing else keeps a CPU busy. Here the request fails after [`INTERIM_LIMIT`] of them.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::response::Parts;
use http::uri::Authority;
use http::{HeaderValue, Request, Uri};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf, join};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::resolver::SystemResolver;
use crate::host::Clock;
use crate::host::clock::SystemClock;

/// The maximum number of interim responses to one request. A server needs only a handful: `100 Continue`, early hints,
/// and progress notices.
pub(super) const INTERIM_LIMIT: usize = 100;

/// The maximum number of idle connections that are kept: callers read several items at the same time.
const IDLE_LIMIT: usize = 4;

/// How long a connection is kept idle.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// How long the head of a response may take on a connection that was idle. The connection may have died without a word,
/// because a firewall forgot it, which should not cost the time limit of a request. IMDS answers within milliseconds.
const IDLE_PATIENCE: Duration = Duration::from_secs(1);

/// How long no connection is kept after a response took longer than [`IDLE_PATIENCE`]. A server that is slow, not dead,
/// receives that request twice, and should not receive every request twice.
const DISTRUST: Duration = Duration::from_mins(1);

/// Sends requests. A connection whose response was read to its end serves another request to the same server, so that
/// regular requests do not count as new connections on a machine whose metadata service is a local program.
pub(crate) struct Client {
    clock: Box<dyn Clock + Send + Sync>,
    kept: Mutex<Kept>,
}

/// Times are those of [`passed`](Clock::passed), because a connection also ages while the machine is suspended.
#[derive(Default)]
struct Kept {
    /// The most recently used last.
    idle: Vec<Idle>,
    /// Until when no connection is kept.
    distrust: Duration,
}

struct Idle {
    since: Duration,
    connection: Connection,
}

struct Connection {
    to: Option<Authority>,
    sender: http1::SendRequest<String>,
    /// The number of interim responses to the current request.
    interim: Arc<AtomicUsize>,
}

/// A response whose head has arrived.
pub(crate) struct Received {
    pub(crate) head: Parts,
    body: Incoming,
    connection: Option<Connection>,
}

impl Default for Client {
    fn default() -> Self {
        Self { clock: Box::new(SystemClock::start()), kept: Mutex::default() }
    }
}

impl Client {
    /// Sends `request`, whose URI is absolute, and returns the response as soon as its head has arrived. Only the time
    /// to connect is limited.
    ///
    /// # Errors
    ///
    /// [`SendError`]. If the exchange on a connection that was idle fails or is late, the request is sent a second
    /// time, on a new connection: `request` must be idempotent.
    pub(crate) async fn send(
        &self,
        mut request: Request<String>,
        resolver: &SystemResolver,
        connect_timeout: Duration,
    ) -> Result<Received, SendError> {
        let uri = request.uri().clone();
        address(&mut request);
        if let Some(connection) = self.taken(&uri) {
            match timeout(IDLE_PATIENCE, connection.exchange_again(request.clone())).await {
                Ok(Err(SendError::Exchange(_))) => self.close_idle(&uri, Duration::ZERO),
                Ok(sent) => return sent,
                Err(_) => self.close_idle(&uri, DISTRUST),
            }
        }
        Connection::open(&uri, resolver, connect_timeout).await?.exchange(request).await
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn chunk(&self, received: &mut Received) -> Result<Option<Bytes>, hyper::Error> {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut received.body).poll_frame(cx)).await {
            // Other frames are trailers.
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        if let Some(connection) = received.connection.take() {
            self.keep(connection);
        }
        Ok(None)
    }

    fn keep(&self, connection: Connection) {
        let (since, mut kept) = (self.clock.passed(), self.kept());
        if since < kept.distrust {
            return;
        }
        if kept.idle.len() == IDLE_LIMIT {
            kept.idle.remove(0);
        }
        kept.idle.push(Idle { since, connection });
    }

    /// The connection to the server of `uri` that became idle last.
    fn taken(&self, uri: &Uri) -> Option<Connection> {
        let (now, mut kept) = (self.clock.passed(), self.kept());
        kept.idle.retain(|one| now.saturating_sub(one.since) < IDLE_TIME);
        let last = kept.idle.iter().rposition(|one| one.connection.to.as_ref() == uri.authority())?;
        Some(kept.idle.remove(last).connection)
    }

    /// Closes the idle connections to the server of `uri`, since what ended one of them has probably ended all, and
    /// keeps none for as long as `distrust`.
    fn close_idle(&self, uri: &Uri, distrust: Duration) {
        let (now, mut kept) = (self.clock.passed(), self.kept());
        kept.idle.retain(|one| one.connection.to.as_ref() != uri.authority());
        kept.distrust = kept.distrust.max(now + distrust);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn open(to: &Uri, resolver: &SystemResolver, connect_timeout: Duration) -> Result<Self, SendError> {
        let connecting = timeout(connect_timeout, connect(to, resolver)).await;
        let stream = connecting.map_err(|_| SendError::ConnectTimeout)?.map_err(SendError::Connect)?;
        let interim = Arc::new(AtomicUsize::new(0));
        let (inner, writer) = stream.into_split();
        let reader = Reader { inner, interim: interim.clone() };
        let (sender, connection) = http1::handshake(TokioIo::new(join(reader, writer))).await.map_err(SendError::Exchange)?;
        // The task ends when the sender and the response are dropped, or when the server closes the connection.
        tokio::spawn(connection);
        Ok(Self { to: to.authority().cloned(), sender, interim })
    }

    /// As [`exchange`](Self::exchange), on a connection that was idle.
    async fn exchange_again(mut self, request: Request<String>) -> Result<Received, SendError> {
        // Lets the runtime notice that the server has closed the connection.
        yield_now().await;
        self.sender.ready().await.map_err(SendError::Exchange)?;
        self.exchange(request).await
    }

    async fn exchange(mut self, mut request: Request<String>) -> Result<Received, SendError> {
        self.interim.store(0, Ordering::Relaxed);
        let counter = self.interim.clone();
        hyper::ext::on_informational(&mut request, move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        match self.sender.send_request(request).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                Ok(Received { head, body, connection: Some(self) })
            }
            Err(_) if is_over(&self.interim) => Err(SendError::Interim),
            Err(error) => Err(SendError::Exchange(error)),
        }
    }
}

async fn connect(to: &Uri, resolver: &SystemResolver) -> Result<TcpStream, Box<dyn Error + Send + Sync>> {
    let host = to.host().unwrap_or_default().trim_matches(['[', ']']);
    let found = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => resolver.look_up(host).await?,
    };
    let port = to.port_u16().unwrap_or(80);
    let addresses: Vec<_> = found.into_iter().map(|address| SocketAddr::new(address, port)).collect();
    let stream = TcpStream::connect(&addresses[..]).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Moves the server's name from the URI to the `Host` header.
///
/// Source: RFC 9112, section 3.2.1.
fn address(request: &mut Request<String>) {
    let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let path = request.uri().path_and_query().cloned();
    request.headers_mut().extend(host.map(|host| (HOST, host)));
    *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
}

fn is_over(interim: &AtomicUsize) -> bool {
    interim.load(Ordering::Relaxed) > INTERIM_LIMIT
}

/// The server's bytes, until it has sent too many interim responses. hyper keeps reading as long as bytes arrive, so
/// only the reader can stop it.
struct Reader {
    inner: OwnedReadHalf,
    interim: Arc<AtomicUsize>,
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if is_over(&self.interim) {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("cannot connect")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    #[error("more than {INTERIM_LIMIT} interim responses (status 1xx) and no final one")]
    Interim,
    #[error("the exchange failed")]
    Exchange(#[source] hyper::Error),
}

impl SendError {
    /// Whether no connection was made.
    pub(crate) fn is_connect(&self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::Connect(_))
    }
}

#[cfg(test)]
mod tests;
