//! Connections opened ahead of the request that needs them, since TCP and TLS take as long as fetching credentials from
//! IMDS.
//!
//! A layer of the HTTP client's connector. [`Ahead::open`] makes the client start a request, keeps the connection that
//! the client starts to open for it, and drops the request before any byte is sent. The next request to the same place
//! gets that connection. A connection that fails, or is not used in time, is silently replaced by a new one.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

/// The maximum age of a connection that was never used. AWS closes idle connections after at least some ten seconds.
const LIMIT: Duration = Duration::from_secs(5);

/// Connections being opened, by their destination.
#[derive(Debug, Clone, Default)]
pub(super) struct Ahead(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether to keep the next connection that is requested.
    keeps: AtomicBool,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    asked: BTreeSet<String>,
    /// Type-erased, because only the inner connector knows the type of a connection: the client does not name it.
    kept: BTreeMap<String, (Instant, Box<dyn Any + Send>)>,
}

impl Ahead {
    /// Starts to open a connection to the host of `url`, unless that was already done. Does not wait for it.
    pub(super) fn open(&self, client: &reqwest::Client, url: &reqwest::Url) {
        if !self.places().asked.insert(url.origin().ascii_serialization()) {
            return;
        }
        self.0.keeps.store(true, Ordering::Relaxed);
        // One poll gets the request as far as the connector, and no further.
        let _ = client.head(url.clone()).send().now_or_never();
        self.0.keeps.store(false, Ordering::Relaxed);
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<C: 'static>(&self, place: &str) -> Option<JoinHandle<C>> {
        let (began, kept) = self.places().kept.remove(place)?;
        let kept = *kept.downcast().ok()?;
        (began.elapsed() < LIMIT).then_some(kept)
    }
}

impl<S> Layer<S> for Ahead {
    type Service = Connector<S>;

    fn layer(&self, inner: S) -> Connector<S> {
        Connector { inner, ahead: self.clone() }
    }
}

/// A connector that uses the connections opened ahead.
#[derive(Debug, Clone)]
pub(super) struct Connector<S> {
    inner: S,
    ahead: Ahead,
}

impl<S, R> Service<R> for Connector<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Send + 'static,
    R: Debug,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, to: R) -> Self::Future {
        // The debug form holds everything known about the destination, and is the same for every request to one place.
        let place = format!("{to:?}");
        let opening = self.inner.call(to);
        if self.ahead.0.keeps.swap(false, Ordering::Relaxed) {
            let kept: Box<dyn Any + Send> = Box::new(tokio::spawn(opening));
            self.ahead.places().kept.insert(place, (Instant::now(), kept));
            return std::future::pending().boxed();
        }
        match self.ahead.take::<Result<S::Response, S::Error>>(&place) {
            None => opening.boxed(),
            Some(kept) => async move {
                match kept.await {
                    Ok(Ok(connection)) => Ok(connection),
                    _ => opening.await,
                }
            }
            .boxed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use crate::aws::client::http::Http;
    use crate::aws::loopback::{Loopback, Reply};

    #[tokio::test]
    async fn the_connection_is_there_before_the_request_and_serves_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let http = Http::new(None);
        http.open_ahead(&url);
        http.open_ahead(&url);
        let (mut opened, _) = listener.accept().await.unwrap();

        let client = http.client().unwrap();
        let server = async {
            let mut heard = [0; 3];
            opened.read_exact(&mut heard).await.unwrap();
            opened.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            heard
        };
        let (answer, heard) = futures_util::join!(client.get(&url).send(), server);
        assert_eq!((answer.unwrap().status().as_u16(), &heard), (204, b"GET"));
        assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none(), "a second connection");
    }

    #[tokio::test]
    async fn one_that_failed_is_as_if_it_had_never_been() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let http = Http::new(None);
        http.open_ahead(&format!("http://{address}"));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let server = Loopback::on(std::net::TcpListener::bind(address).unwrap(), |_| Reply::new(200, ""));
        let client = http.client().unwrap();
        for _ in 0..2 {
            assert_eq!(client.get(&server.url).send().await.unwrap().status().as_u16(), 200);
        }
        assert_eq!(server.requests().len(), 2);
    }
}
