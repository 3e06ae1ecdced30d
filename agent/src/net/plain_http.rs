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
use std::sync::{Arc, Mutex, PoisonError};
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
use tokio::time::timeout;

use super::resolver::SystemResolver;

/// The maximum number of interim responses to one request. A server needs only a handful: `100 Continue`, early hints,
/// and progress notices.
pub(super) const INTERIM_LIMIT: usize = 100;

/// Sends requests. A connection whose response was read to its end serves the next request to the same server, so that
/// regular requests do not count as new connections on a machine whose metadata service is a local program.
#[derive(Default)]
pub(crate) struct Client {
    idle: Mutex<Option<Connection>>,
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

impl Client {
    /// Sends `request`, whose URI is absolute, and returns the response as soon as its head has arrived. Only the time to
    /// connect is limited.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing is sent a second time.
    pub(crate) async fn send(
        &self,
        mut request: Request<String>,
        resolver: &SystemResolver,
        connect_timeout: Duration,
    ) -> Result<Received, SendError> {
        let uri = request.uri().clone();
        address(&mut request);
        if let Some(connection) = self.reusable(&uri).await {
            match connection.exchange(request).await {
                Ok(received) => return Ok(received),
                // The server closed the connection while it was idle.
                Err((_, Some(unsent))) => request = unsent,
                Err((error, None)) => return Err(error),
            }
        }
        let connection = Connection::open(&uri, resolver, connect_timeout).await?;
        connection.exchange(request).await.map_err(|(error, _)| error)
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
            *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        }
        Ok(None)
    }

    /// The idle connection, if it leads to the server of `uri` and is still open.
    async fn reusable(&self, uri: &Uri) -> Option<Connection> {
        let mut connection =
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).take().filter(|idle| idle.to.as_ref() == uri.authority())?;
        connection.sender.ready().await.ok()?;
        Some(connection)
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

    /// Sends `request`. An error comes with the request if none of it was sent.
    async fn exchange(mut self, mut request: Request<String>) -> Result<Received, (SendError, Option<Request<String>>)> {
        self.interim.store(0, Ordering::Relaxed);
        let counter = self.interim.clone();
        hyper::ext::on_informational(&mut request, move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                Ok(Received { head, body, connection: Some(self) })
            }
            Err(_) if is_over(&self.interim) => Err((SendError::Interim, None)),
            Err(mut error) => {
                let unsent = error.take_message();
                Err((SendError::Exchange(error.into_error()), unsent))
            }
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
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";

    async fn sent(client: &Client, request: http::request::Builder) -> Result<Received, SendError> {
        client.send(request.body(String::new()).unwrap(), &SystemResolver::default(), CONNECT_TIMEOUT).await
    }

    async fn body(client: &Client, received: &mut Received) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            match client.chunk(received).await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                end => return (body, end.is_ok()),
            }
        }
    }

    /// The outcome of a request that receives `interim` `times` times and then `last`, plus what the server received
    /// and the number of bytes it could send.
    async fn answered(request: &str, interim: &str, times: usize, last: &str) -> (Result<Received, SendError>, String, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let request = Request::builder().method(request).uri(format!("http://{}/latest/a%20b?c", listener.local_addr().unwrap()));
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = [0; 1024];
            let length = stream.read(&mut heard).await.unwrap();
            let (heard, mut sent) = (String::from_utf8_lossy(&heard[..length]).into_owned(), 0);
            for _ in 0..times {
                match stream.write_all(interim.as_bytes()).await {
                    Ok(()) => sent += interim.len(),
                    Err(_) => return (heard, sent),
                }
            }
            let _ = stream.write_all(last.as_bytes()).await;
            (heard, sent)
        };
        let client = Client::default();
        let (response, (heard, length)) = tokio::join!(sent(&client, request), serve);
        (response, heard, length)
    }

    #[tokio::test]
    async fn a_request_names_the_server() {
        for method in ["GET", "PUT"] {
            let (response, heard, _) = answered(method, "", 0, EMPTY).await;
            assert_eq!(response.unwrap().head.status, 204);
            let (first, headers) = heard.split_once("\r\n").unwrap();
            let (host, headers) = headers.split_once("\r\n").unwrap();
            assert_eq!((first, headers), (&*format!("{method} /latest/a%20b?c HTTP/1.1"), "\r\n"));
            assert!(host.starts_with("host: 127.0.0.1:"), "{host}");
        }
    }

    #[tokio::test]
    async fn a_body_comes_whole_or_fails() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nA: b\r\n\r\n";
        for (text, whole) in [
            (chunked, true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", false),
        ] {
            let mut response = answered("GET", "", 0, text).await.0.unwrap();
            let (body, is_whole) = body(&Client::default(), &mut response).await;
            assert_eq!((body.as_slice(), is_whole), (b"abc".as_slice(), whole), "{text}");
        }
    }

    #[tokio::test]
    async fn interim_responses_are_skipped() {
        for interim in ["100 Continue\r\n", "102 Processing\r\n", "103 Early Hints\r\nLink: </x>\r\n"] {
            for times in [1, 3, INTERIM_LIMIT] {
                let (response, ..) = answered("GET", &format!("HTTP/1.1 {interim}\r\n"), times, EMPTY).await;
                assert_eq!(response.unwrap().head.status, 204, "{times} times {interim}");
            }
        }
    }

    /// Regression: they were read until the request timed out, which used a quarter of a CPU or more.
    #[tokio::test]
    async fn interim_responses_without_an_end_fail_the_request_at_once() {
        for interim in ["100 Continue\r\n", "103 Early Hints\r\nLink: </x>\r\n"] {
            let many = format!("HTTP/1.1 {interim}\r\n").repeat(64);
            let (response, _, length) = answered("GET", &many, 1_000_000, "").await;
            let error = response.err().unwrap();
            assert_eq!(error.to_string(), "more than 100 interim responses (status 1xx) and no final one");
            assert!(!error.is_connect());
            // Most of these bytes are in the kernel's buffers on both sides.
            assert!(length < 32 << 20, "{length} bytes");
        }
    }

    #[tokio::test]
    async fn without_a_connection_there_is_no_exchange() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        for host in [nobody.to_string(), "localhost:1".into(), "[::1]:1".into()] {
            let error = sent(&Client::default(), Request::get(format!("http://{host}/"))).await.err().unwrap();
            assert!(error.is_connect(), "{host}: {error:?}");
        }
    }

    /// Serves one connection with `texts`, a request each, and closes it.
    async fn served(listener: &TcpListener, texts: &[&str]) {
        let (mut stream, _) = listener.accept().await.unwrap();
        for text in texts {
            assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_connection_is_used_again_only_after_a_whole_response_of_a_server_that_keeps_it() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        let closes = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
        let hints = format!("{}{whole}", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(INTERIM_LIMIT));
        // For each connection the responses on it.
        for connections in
            [vec![vec![whole; 3]], vec![vec![&*hints; 3]], vec![vec![whole, closes], vec![whole]], vec![vec![whole], vec![whole, whole]]]
        {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (client, url) = (Client::default(), format!("http://{}/", listener.local_addr().unwrap()));
            let serve = async {
                for texts in &connections {
                    served(&listener, texts).await;
                }
            };
            let ask = async {
                for _ in 0..3 {
                    let mut response = sent(&client, Request::get(&url)).await.unwrap();
                    assert_eq!(body(&client, &mut response).await, (b"abc".to_vec(), true), "{connections:?}");
                    // The server may close the connection now.
                    tokio::task::yield_now().await;
                }
            };
            tokio::join!(serve, ask);
        }
        // A response that is dropped half read.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, url) = (Client::default(), format!("http://{}/", listener.local_addr().unwrap()));
        let serve = async {
            served(&listener, &[whole]).await;
            served(&listener, &[whole]).await;
        };
        let ask = async {
            drop(sent(&client, Request::get(&url)).await.unwrap());
            let mut response = sent(&client, Request::get(&url)).await.unwrap();
            assert_eq!(body(&client, &mut response).await, (b"abc".to_vec(), true));
        };
        tokio::join!(serve, ask);
    }
}
