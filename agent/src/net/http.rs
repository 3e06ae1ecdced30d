//! One exchange by HTTP/1.1, over plain TCP or TLS: what AWS, IMDS and the services of this machine are asked with.
//!
//! On hyper, with what every exchange of ours needs: an end to every wait, connections [opened ahead](Client::open_ahead) of
//! the request, and a bound on [interim answers](interim). It never uses a proxy, follows no redirect, and tries once.

mod connector;
pub(super) mod interim;

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};
pub(crate) use url::Url;

use self::connector::Connector;
pub(crate) use self::connector::{Names, names};

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(90);

/// What tells one client from another.
pub(crate) struct Settings {
    pub(crate) tls: rustls::ClientConfig,
    pub(crate) names: Names,
    /// How long a connection may take, TLS included.
    pub(crate) connecting: Option<Duration>,
    /// How long the other side may be silent, before an answer and in the middle of one.
    pub(crate) silence: Option<Duration>,
    /// How many connections to one place are kept while nobody uses them.
    pub(crate) kept: usize,
}

/// A handle on connections. Clones share them.
#[derive(Clone)]
pub(crate) struct Client {
    hyper: legacy::Client<Connector, Body>,
    connector: Connector,
    silence: Option<Duration>,
}

/// What is asked.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// How long all of it may take, the body of the answer included.
    pub(crate) timeout: Option<Duration>,
}

impl Request {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::default(), timeout: None }
    }
}

/// What is sent behind the head.
#[derive(Default)]
pub(crate) struct Body {
    content: Bytes,
    /// The longest piece, and who hears of each that leaves.
    pieces: Option<(usize, Box<dyn Fn() + Send>)>,
}

impl Body {
    /// A body that leaves in pieces of so many bytes; `moves` is called for each, and first once there is a connection.
    pub(crate) fn in_pieces(content: Bytes, longest: usize, moves: impl Fn() + Send + 'static) -> Self {
        Self { content, pieces: Some((longest, Box::new(moves))) }
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(content: B) -> Self {
        Self { content: content.into(), pieces: None }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let longest = self.pieces.as_ref().map_or(usize::MAX, |(longest, moves)| {
            moves();
            *longest
        });
        let length = self.content.len().min(longest);
        let piece = self.content.split_to(length);
        Poll::Ready((length > 0).then_some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.len() as u64)
    }
}

/// An answer, of which the body is still to come.
#[derive(Debug)]
pub(crate) struct Response {
    head: http::response::Parts,
    body: Incoming,
    patience: Patience,
}

impl Response {
    pub(crate) fn status(&self) -> StatusCode {
        self.head.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// How many bytes the body has, if its head says so.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    ///
    /// Also if it is shorter than its head says.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        loop {
            let body = &mut self.body;
            let next = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
            match self.patience.bound(next).await? {
                None => return Ok(None),
                Some(Err(error)) => return Err(ExchangeError::Broken(error.into())),
                // What is no data is a trailer.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_) => continue,
                },
            }
        }
    }
}

impl Client {
    pub(crate) fn new(settings: Settings) -> Self {
        let Settings { tls, names, connecting, silence, kept } = settings;
        let connector = Connector::new(tls, names, connecting);
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(kept);
        Self { hyper: builder.build(connector.clone()), connector, silence }
    }

    /// Begins to connect to where `url` leads: it will be asked for something soon. Once for each place, and without a word
    /// where it cannot be done: the request will say why.
    pub(crate) fn open_ahead(&self, url: &str) {
        if let Ok(place) = url.parse() {
            self.connector.open_ahead(place);
        }
    }

    /// Asks once.
    ///
    /// # Errors
    ///
    /// If no head of an answer comes. Every status is an answer.
    pub(crate) async fn execute(&self, request: Request) -> Result<Response, ExchangeError> {
        let Request { method, url, mut headers, body, timeout } = request;
        headers.entry(ACCEPT).or_insert_with(|| HeaderValue::from_static("*/*"));
        let mut message = http::Request::new(body);
        *message.method_mut() = method;
        *message.uri_mut() = url.as_str().parse().map_err(ExchangeError::Url)?;
        *message.headers_mut() = headers;
        interim::bound(&mut message);
        let patience = Patience { until: timeout.map(|timeout| Instant::now() + timeout), silence: self.silence };
        let answer = patience.bound(self.hyper.request(message)).await?;
        let (head, body) = answer.map_err(ExchangeError::of)?.into_parts();
        Ok(Response { head, body, patience })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("silence", &self.silence).finish_non_exhaustive()
    }
}

/// How long to wait.
#[derive(Debug, Clone, Copy)]
struct Patience {
    until: Option<Instant>,
    silence: Option<Duration>,
}

impl Patience {
    async fn bound<T>(self, future: impl Future<Output = T>) -> Result<T, ExchangeError> {
        let silent = self.silence.map(|silence| Instant::now() + silence);
        match self.until.into_iter().chain(silent).min() {
            None => Ok(future.await),
            Some(end) => timeout_at(end, future).await.map_err(|_| ExchangeError::Late),
        }
    }
}

/// Why there is no answer, or not all of one. What a person can use is its innermost cause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("it is no URL that can be asked for")]
    Url(#[source] http::uri::InvalidUri),
    #[error("there is no connection")]
    Connect(#[source] legacy::Error),
    #[error("the connection failed")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    #[error("no answer in time")]
    Late,
}

impl ExchangeError {
    fn of(error: legacy::Error) -> Self {
        if error.is_connect() { Self::Connect(error) } else { Self::Broken(error.into()) }
    }

    /// Whether there was no connection.
    pub(crate) fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_))
    }

    /// Whether it took too long.
    pub(crate) fn is_timeout(&self) -> bool {
        let mut chain = std::iter::successors(Some(self as &(dyn Error + 'static)), |&error| error.source());
        let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
        matches!(self, Self::Late) || chain.any(|error| error.downcast_ref().is_some_and(timed_out))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::*;

    /// One that trusts nobody and knows no name.
    pub(super) fn client() -> Client {
        let versions = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let tls = versions.with_safe_default_protocol_versions().unwrap().with_root_certificates(rustls::RootCertStore::empty());
        let nobody = |name: String| async move { Err::<Vec<IpAddr>, _>(format!("there is no {name}")) };
        let second = Some(Duration::from_secs(1));
        Client::new(Settings { tls: tls.with_no_client_auth(), names: names(nobody), connecting: second, silence: second, kept: 1 })
    }

    async fn failure(url: &str) -> ExchangeError {
        client().execute(Request::new(Method::GET, url.parse().unwrap())).await.unwrap_err()
    }

    #[tokio::test]
    async fn it_is_known_whether_there_was_a_connection_and_whether_it_was_late() {
        let told = |error: &ExchangeError| (error.is_connect(), error.is_timeout());
        let name = failure("http://shop.example.com").await;
        assert_eq!(told(&name), (true, false), "{name:?}");
        // Nobody accepts: the kernel does, until its queue is full, and then nobody answers at all.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = socket.local_addr().unwrap();
        let _listener = socket.listen(1).unwrap();
        assert_eq!(told(&failure(&format!("http://{at}")).await), (false, true));
        let in_time = |_| std::net::TcpStream::connect_timeout(&at, Duration::from_millis(200)).ok();
        let queued: Vec<_> = (0..100).map_while(in_time).collect();
        assert_eq!(told(&failure(&format!("http://{at}")).await), (true, true), "{} in the queue", queued.len());
    }

    #[test]
    fn a_body_says_how_long_it_is_and_tells_of_each_piece() {
        let moves = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let told = moves.clone();
        let mut body = Body::in_pieces(Bytes::from_static(b"12345"), 2, move || {
            told.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        let mut pieces = Vec::new();
        let mut context = Context::from_waker(std::task::Waker::noop());
        while !body.is_end_stream() {
            let left = body.size_hint().exact();
            let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut context) else { panic!("it ends early") };
            pieces.push((left, frame.into_data().unwrap()));
        }
        assert_eq!(pieces, [(Some(5), "12".into()), (Some(3), "34".into()), (Some(1), "5".into())]);
        assert_eq!(moves.load(std::sync::atomic::Ordering::Relaxed), 3);
    }
}
