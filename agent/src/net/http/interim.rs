//! Interim answers: status 1xx, such as `100 Continue`, of which any number may come before the one that counts.
//!
//! Nobody wants them here, and who sends them without an end would keep this machine busy until the time is over: a
//! connection that brings more than [`MOST`] for one request is given up at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{Extensions, Request};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, capture_connection};

/// How many may come. A server has a handful to say: to go on, what may be fetched ahead, that it is still at work.
pub(in crate::net) const MOST: usize = 100;

/// Gives up the connection of `message` if too many come.
pub(super) fn bound<B>(message: &mut Request<B>) {
    let (connection, came) = (capture_connection(message), AtomicUsize::new(0));
    hyper::ext::on_informational(message, move |_| {
        if came.fetch_add(1, Ordering::Relaxed) >= MOST
            && let Some(connected) = &*connection.connection_metadata()
        {
            let mut extras = Extensions::new();
            connected.get_extras(&mut extras);
            extras.get::<GivenUp>().into_iter().for_each(|given_up| given_up.0.store(true, Ordering::Relaxed));
        }
    });
}

/// What went wrong, for people.
pub(in crate::net) fn trouble() -> String {
    format!("more than {MOST} interim answers (status 1xx) came, and none that is final")
}

/// Whether nothing more is to be read of a connection.
#[derive(Debug, Clone, Default)]
struct GivenUp(Arc<AtomicBool>);

/// A connection that can be given up.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    given_up: GivenUp,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, given_up: GivenUp::default() }
    }
}

impl<S: Connection> Connection for Bounded<S> {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.given_up.clone())
    }
}

impl<S: Read + Unpin> Read for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.given_up.0.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::Error::other(trouble())));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Write + Unpin> Write for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use http::Method;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::tests::client;
    use super::super::{ExchangeError, Request};
    use super::*;

    /// What comes of a request that is answered so many times with `again`, and then with `last`; and how many bytes left the
    /// server.
    async fn asked(again: &str, times: usize, last: &str) -> (Result<u16, ExchangeError>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let client = client();
        let serve = async {
            let (mut opened, _) = listener.accept().await.unwrap();
            assert!(opened.read(&mut [0; 1024]).await.unwrap() > 0);
            let mut sent = 0;
            for _ in 0..times {
                match opened.write_all(again.as_bytes()).await {
                    Ok(()) => sent += again.len(),
                    Err(_) => return sent,
                }
            }
            let _ = opened.write_all(last.as_bytes()).await;
            sent
        };
        let ask = client.execute(Request::new(Method::GET, url.parse().unwrap()));
        let (answer, sent) = tokio::join!(ask, serve);
        (answer.map(|answer| answer.status().as_u16()), sent)
    }

    #[tokio::test]
    async fn as_many_as_a_server_has_to_say_are_passed_over() {
        for again in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n"]
        {
            for times in [1, 3, MOST] {
                let (answer, _) = asked(again, times, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                assert_eq!(answer.unwrap(), 200, "{times} times {again}");
            }
        }
    }

    /// It was read until the time was over, for a quarter of a core or more.
    #[tokio::test]
    async fn without_an_end_they_end_the_try_at_once() {
        for again in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"] {
            let (answer, sent) = asked(&again.repeat(64), 1_000_000, "").await;
            let error = answer.unwrap_err();
            let innermost = std::iter::successors(Some(&error as &(dyn Error + 'static)), |&error| error.source()).last();
            assert_eq!(
                innermost.map(ToString::to_string),
                Some("more than 100 interim answers (status 1xx) came, and none that is final".into())
            );
            assert!(!error.is_connect() && !error.is_timeout());
            // What the kernel keeps on both sides is most of it.
            assert!(sent < 32 << 20, "{sent} bytes");
        }
    }
}
