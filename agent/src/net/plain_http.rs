//! One HTTP/1.1 request without TLS, on a connection of its own.
//!
//! For the instance metadata service, in whose place anything may answer. All other HTTP goes through reqwest, which
//! reads interim responses (status 1xx) until the request times out and reports none of them, so a server that sends
//! nothing else keeps a CPU busy. Here the request fails after [`INTERIM_LIMIT`] of them.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{HeaderValue, Request, Response, Uri};
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

/// Sends `request`, whose URI is absolute, and returns the response as soon as its head has arrived. Only the time to
/// connect is limited.
///
/// # Errors
///
/// [`SendError`]; nothing is sent a second time.
pub(crate) async fn send(
    mut request: Request<String>,
    resolver: &SystemResolver,
    connect_timeout: Duration,
) -> Result<Response<Incoming>, SendError> {
    let connecting = timeout(connect_timeout, connect(request.uri(), resolver)).await;
    let stream = connecting.map_err(|_| SendError::ConnectTimeout)?.map_err(SendError::Connect)?;
    address(&mut request);
    let received = Arc::new(AtomicUsize::new(0));
    let counter = received.clone();
    hyper::ext::on_informational(&mut request, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let (inner, writer) = stream.into_split();
    let reader = Reader { inner, interim: received.clone() };
    let failed = |error| if is_over(&received) { SendError::Interim } else { SendError::Exchange(error) };
    let (mut sender, connection) = http1::handshake(TokioIo::new(join(reader, writer))).await.map_err(failed)?;
    // The task ends with the response, or when the response is dropped.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(failed)
}

/// The next piece of the body; `None` at its end.
pub(crate) async fn chunk(response: &mut Response<Incoming>) -> Result<Option<Bytes>, hyper::Error> {
    let body = response.body_mut();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        // Other frames are trailers.
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
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
/// Source: RFC 9112, section 3.2.1, and for `close` section 9.6.
fn address(request: &mut Request<String>) {
    let host = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let path = request.uri().path_and_query().cloned();
    request.headers_mut().extend(host.map(|host| (HOST, host)));
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
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

    async fn sent(request: http::request::Builder) -> Result<Response<Incoming>, SendError> {
        send(request.body(String::new()).unwrap(), &SystemResolver::default(), CONNECT_TIMEOUT).await
    }

    /// The outcome of a request that receives `interim` `times` times and then `last`, plus what the server received
    /// and the number of bytes it could send.
    async fn answered(request: &str, interim: &str, times: usize, last: &str) -> (Result<Response<Incoming>, SendError>, String, usize) {
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
        let (response, (heard, length)) = tokio::join!(sent(request), serve);
        (response, heard, length)
    }

    #[tokio::test]
    async fn a_request_names_the_server_and_asks_for_no_other_request_on_its_connection() {
        for method in ["GET", "PUT"] {
            let (response, heard, _) = answered(method, "", 0, EMPTY).await;
            assert_eq!(response.unwrap().status(), 204);
            let (first, headers) = heard.split_once("\r\n").unwrap();
            let (host, headers) = headers.split_once("\r\n").unwrap();
            assert_eq!((first, headers), (&*format!("{method} /latest/a%20b?c HTTP/1.1"), "connection: close\r\n\r\n"));
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
            let mut body = Vec::new();
            let end = loop {
                match chunk(&mut response).await {
                    Ok(Some(piece)) => body.extend_from_slice(&piece),
                    end => break end,
                }
            };
            assert_eq!((body.as_slice(), end.is_ok()), (b"abc".as_slice(), whole), "{text}");
        }
    }

    #[tokio::test]
    async fn interim_responses_are_skipped() {
        for interim in ["100 Continue\r\n", "102 Processing\r\n", "103 Early Hints\r\nLink: </x>\r\n"] {
            for times in [1, 3, INTERIM_LIMIT] {
                let (response, ..) = answered("GET", &format!("HTTP/1.1 {interim}\r\n"), times, EMPTY).await;
                assert_eq!(response.unwrap().status(), 204, "{times} times {interim}");
            }
        }
    }

    /// Regression: they were read until the request timed out, which used a quarter of a CPU or more.
    #[tokio::test]
    async fn interim_responses_without_an_end_fail_the_request_at_once() {
        for interim in ["100 Continue\r\n", "103 Early Hints\r\nLink: </x>\r\n"] {
            let many = format!("HTTP/1.1 {interim}\r\n").repeat(64);
            let (response, _, length) = answered("GET", &many, 1_000_000, "").await;
            let error = response.unwrap_err();
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
            let error = sent(Request::get(format!("http://{host}/"))).await.unwrap_err();
            assert!(error.is_connect(), "{host}: {error:?}");
        }
    }
}
