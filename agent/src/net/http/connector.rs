//! Connections, over TCP or TLS, and those that are opened ahead of the request that needs them: TCP and TLS take as long as
//! credentials do to come from IMDS.
//!
//! The next request to a place has the connection that was opened to it. One that failed, or that waited too long, is
//! replaced by another as if it had never been.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tower_service::Service;

use super::interim::Bounded;

/// How old a connection may be that was never used. AWS closes those that say nothing after some ten seconds at the least.
const LIMIT: Duration = Duration::from_secs(5);

/// When the kernel asks whether the other side is still there, how often, and how long what was sent may remain without a word
/// that it came. Sooner than the kernel's own two hours and fifteen minutes.
const KEEPALIVE: (Duration, u32) = (Duration::from_secs(15), 3);
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

type BoxError = Box<dyn Error + Send + Sync>;
type Stream = Bounded<MaybeHttpsStream<TokioIo<TcpStream>>>;
type Connecting = BoxFuture<'static, Result<Stream, BoxError>>;
type Addresses = Result<Vec<IpAddr>, BoxError>;

/// Looks up the addresses of a host.
#[derive(Clone)]
pub(crate) struct Names(Arc<dyn Fn(String) -> BoxFuture<'static, Addresses> + Send + Sync>);

/// Names, as `look_up` knows them.
pub(crate) fn names<F, E>(look_up: impl Fn(String) -> F + Send + Sync + 'static) -> Names
where
    F: Future<Output = Result<Vec<IpAddr>, E>> + Send + 'static,
    E: Into<BoxError>,
{
    Names(Arc::new(move |name| look_up(name).map(|found| found.map_err(Into::into)).boxed()))
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = (self.0)(name.as_str().to_owned());
        // The connector knows the port.
        let at = |addresses: Vec<IpAddr>| addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>();
        async move { Ok(at(found.await?).into_iter()) }.boxed()
    }
}

/// Makes connections. Clones share those that were opened ahead.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector<Names>>,
    limit: Option<Duration>,
    ahead: Arc<Mutex<Ahead>>,
}

/// Connections on their way, by where they lead.
#[derive(Default)]
struct Ahead {
    asked: BTreeSet<String>,
    kept: BTreeMap<String, (Instant, JoinHandle<Result<Stream, BoxError>>)>,
}

impl Connector {
    /// A connection may take as long as `limit`, TLS included.
    pub(super) fn new(tls: rustls::ClientConfig, names: Names, limit: Option<Duration>) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(names);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared by the addresses that a name has.
        tcp.set_connect_timeout(limit);
        let (every, times) = KEEPALIVE;
        tcp.set_keepalive(Some(every));
        tcp.set_keepalive_interval(Some(every));
        tcp.set_keepalive_retries(Some(times));
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
        Self { https: HttpsConnector::from((tcp, tls)), limit, ahead: Arc::default() }
    }

    /// Begins to connect to `place`, unless that was done before. Does not wait for it.
    pub(super) fn open_ahead(&self, place: Uri) {
        let mut ahead = self.ahead();
        if let Some(name) = name(&place)
            && ahead.asked.insert(name.clone())
        {
            let opening = tokio::spawn(self.in_time(self.connect(place)));
            ahead.kept.insert(name, (Instant::now(), opening));
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect(&self, to: Uri) -> Connecting {
        self.https.clone().call(to).map(|opened| opened.map(Bounded::new)).boxed()
    }

    fn in_time(&self, opening: Connecting) -> Connecting {
        let Some(limit) = self.limit else { return opening };
        let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut).into());
        timeout(limit, opening).map(move |opened| opened.unwrap_or_else(late)).boxed()
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Connecting {
        let kept = name(&to).and_then(|name| self.ahead().kept.remove(&name));
        let opening = self.connect(to);
        let Some((_, kept)) = kept.filter(|(since, _)| since.elapsed() < LIMIT) else { return self.in_time(opening) };
        let either = async move {
            match kept.await {
                Ok(Ok(connection)) => Ok(connection),
                _ => opening.await,
            }
        };
        self.in_time(either.boxed())
    }
}

/// The same for every request to one place.
fn name(place: &Uri) -> Option<String> {
    Some(format!("{}://{}", place.scheme()?, place.authority()?))
}

#[cfg(test)]
mod tests {
    use http::Method;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::tests::client;
    use super::super::{Client, Request};

    async fn status(client: &Client, url: &str) -> u16 {
        client.execute(Request::new(Method::GET, url.parse().unwrap())).await.unwrap().status().as_u16()
    }

    /// What it hears first on the next connection, which it answers.
    async fn serve(listener: &TcpListener) -> [u8; 3] {
        let (mut opened, _) = listener.accept().await.unwrap();
        let mut heard = [0; 3];
        opened.read_exact(&mut heard).await.unwrap();
        opened.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        heard
    }

    #[tokio::test]
    async fn the_connection_is_there_before_the_request_and_serves_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let client = client();
        client.open_ahead(&url);
        client.open_ahead(&url);
        let (mut opened, _) = listener.accept().await.unwrap();

        let server = async {
            let mut heard = [0; 3];
            opened.read_exact(&mut heard).await.unwrap();
            opened.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            heard
        };
        let (answered, heard) = tokio::join!(status(&client, &url), server);
        assert_eq!((answered, &heard), (204, b"GET"));
        assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none(), "a second connection");
    }

    #[tokio::test]
    async fn one_that_failed_is_as_if_it_had_never_been() {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let client = client();
        client.open_ahead(&url);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let listener = socket.listen(1).unwrap();
        let (answered, heard) = tokio::join!(status(&client, &url), serve(&listener));
        assert_eq!((answered, &heard), (204, b"GET"));
    }
}
