//! Which connections are used again, and what happens when one does not work any more.

use super::*;
use crate::fake::suspended::SuspendedClock;

const WHOLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";

/// A server whose connections the test holds in its hands.
struct Server {
    listener: TcpListener,
    url: String,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        Self { listener, url }
    }

    async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Answers a request of `client`, which has no idle connection.
    async fn connected(&self, client: &Client) -> TcpStream {
        let serve = async {
            let mut stream = self.accept().await;
            answer(&mut stream, WHOLE).await;
            stream
        };
        let (asked, stream) = soon(async { tokio::join!(asked(client, &self.url), serve) }).await;
        asked.unwrap();
        stream
    }

    /// Answers a request of `client`, which has `stream` as an idle connection.
    async fn reused(&self, client: &Client, stream: &mut TcpStream) {
        soon(async { tokio::join!(asked(client, &self.url), answer(stream, WHOLE)) }).await.0.unwrap();
    }

    /// That nobody has connected who was not accepted.
    async fn is_left_alone(&self) -> bool {
        timeout(Duration::from_millis(20), self.listener.accept()).await.is_err()
    }
}

/// Sends a request, and reads the response, which has to be [`WHOLE`].
async fn asked(client: &Client, url: &str) -> Result<(), SendError> {
    let mut received = sent(client, Request::get(url)).await?;
    assert_eq!(body(client, &mut received).await, (b"abc".to_vec(), true));
    Ok(())
}

async fn request_on(stream: &mut TcpStream) -> String {
    let mut request = [0; 1024];
    let length = stream.read(&mut request).await.unwrap();
    assert_ne!(length, 0, "a request, not the end of the connection");
    String::from_utf8_lossy(&request[..length]).into_owned()
}

async fn answer(stream: &mut TcpStream, text: &str) {
    request_on(stream).await;
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Whether the client closes the connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(timeout(TEST_LIMIT, stream.read(&mut [0])).await, Ok(Ok(0)))
}

async fn is_open(stream: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(20), stream.read(&mut [0])).await.is_err()
}

async fn advance(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_whole_response() {
    let hints = format!("{}{WHOLE}", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(INTERIM_LIMIT));
    let (server, client) = (Server::start().await, Client::default());
    let mut stream = server.connected(&client).await;
    for text in [WHOLE, &hints, &hints, WHOLE] {
        soon(async { tokio::join!(asked(&client, &server.url), answer(&mut stream, text)) }).await.0.unwrap();
    }
    assert!(server.is_left_alone().await);
}

#[tokio::test]
async fn a_connection_is_used_for_one_server_only() {
    let ([first, second], client) = ([Server::start().await, Server::start().await], Client::default());
    let mut to_first = first.connected(&client).await;
    let mut to_second = second.connected(&client).await;
    first.reused(&client, &mut to_first).await;
    second.reused(&client, &mut to_second).await;
    drop(to_first);
    first.connected(&client).await;
    second.reused(&client, &mut to_second).await;
}

#[tokio::test]
async fn a_response_with_which_the_connection_ends_is_the_last_even_if_the_server_does_not_close_it() {
    for text in ["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"]
    {
        let (server, client) = (Server::start().await, Client::default());
        let mut first = server.connected(&client).await;
        soon(async { tokio::join!(asked(&client, &server.url), answer(&mut first, text)) }).await.0.unwrap();
        server.connected(&client).await;
        assert!(is_closed(&mut first).await, "{text}");
    }
}

#[tokio::test]
async fn a_response_that_is_not_read_to_its_end_leaves_no_connection() {
    let half = &WHOLE[..WHOLE.len() - 1];
    for (text, pieces) in [(half, 0), (half, 1), (WHOLE, 0), (WHOLE, 1)] {
        for is_held in [true, false] {
            let (server, client) = (Server::start().await, Client::default());
            let part = async {
                let mut received = sent(&client, Request::get(&server.url)).await.unwrap();
                for _ in 0..pieces {
                    assert!(client.chunk(&mut received).await.unwrap().is_some());
                }
                is_held.then_some(received)
            };
            let serve = async {
                let mut stream = server.accept().await;
                answer(&mut stream, text).await;
                stream
            };
            let (held, mut first) = soon(async { tokio::join!(part, serve) }).await;
            server.connected(&client).await;
            drop(held);
            assert!(is_closed(&mut first).await, "{text}, {pieces} read");
        }
    }
}

#[tokio::test]
async fn requests_at_the_same_time_share_connections_from_the_second_time_on() {
    let (server, client) = (Server::start().await, Client::default());
    let accepted = AtomicUsize::new(0);
    let serve = async {
        loop {
            let mut stream = server.accept().await;
            accepted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                while stream.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {
                    stream.write_all(WHOLE.as_bytes()).await.unwrap();
                }
            });
        }
    };
    let one = async || asked(&client, &server.url).await.unwrap();
    let ask = async {
        for _ in 0..5 {
            tokio::join!(one(), one());
        }
        for _ in 0..2 {
            tokio::join!(one(), one(), one(), one(), one(), one());
        }
    };
    soon(async {
        tokio::select! {
            () = serve => {}
            () = ask => {}
        }
    })
    .await;
    // Two, four more for six at a time, and the two of these that were not kept once more.
    assert_eq!(accepted.load(Ordering::Relaxed), 2 + 4 + 2);
}

#[tokio::test]
async fn of_five_connections_the_one_that_was_idle_first_is_not_kept() {
    let (server, client) = (Server::start().await, Client::default());
    let serve = async {
        let mut streams = Vec::new();
        for _ in 0..5 {
            streams.push(server.accept().await);
        }
        for stream in &mut streams {
            answer(stream, WHOLE).await;
            // The client has read that before the next.
            assert!(is_open(stream).await);
        }
        streams
    };
    let one = || asked(&client, &server.url);
    let (_, _, _, _, _, mut streams) = soon(async { tokio::join!(one(), one(), one(), one(), one(), serve) }).await;
    assert!(is_closed(&mut streams[0]).await);
    for stream in &mut streams[1..] {
        assert!(is_open(stream).await);
    }
}

#[tokio::test]
async fn a_request_to_which_the_server_closes_an_idle_connection_is_sent_once_more() {
    for method in ["GET", "PUT"] {
        for is_read in [true, false] {
            let (server, client) = (Server::start().await, Client::default());
            let mut first = server.connected(&client).await;
            let request = || Request::builder().method(method).uri(&server.url).header("x-token", "secret");
            let serve = async {
                // Closed with unread bytes, a connection is reset.
                if is_read {
                    request_on(&mut first).await;
                } else {
                    first.readable().await.unwrap();
                }
                drop(first);
                let mut second = server.accept().await;
                let heard = request_on(&mut second).await;
                second.write_all(EMPTY.as_bytes()).await.unwrap();
                (second, heard)
            };
            let ask = async { body(&client, &mut sent(&client, request()).await.unwrap()).await };
            let (answered, (mut second, heard)) = soon(async { tokio::join!(ask, serve) }).await;
            assert_eq!(answered, (Vec::new(), true), "{method}");
            let host = server.url.trim_start_matches("http://").trim_end_matches('/');
            assert_eq!(heard, format!("{method} / HTTP/1.1\r\nx-token: secret\r\nhost: {host}\r\n\r\n"));

            // That was kept. A new connection that fails is not tried again.
            let serve = async {
                request_on(&mut second).await;
                drop(second);
                request_on(&mut server.accept().await).await;
            };
            let (failed, ()) = soon(async { tokio::join!(sent(&client, request()), serve) }).await;
            assert!(matches!(failed, Err(SendError::Exchange(_))), "{method}");
            assert!(server.is_left_alone().await);
        }
    }
}

#[tokio::test]
async fn a_server_that_closes_one_idle_connection_is_asked_on_no_other() {
    let (server, client) = (Server::start().await, Client::default());
    let (first, second) = two_idle(&server, &client).await;
    let serve = async {
        let (mut tried, mut other) = asked_first(first, second).await;
        request_on(&mut tried).await;
        drop(tried);
        let mut third = server.accept().await;
        assert!(is_closed(&mut other).await);
        answer(&mut third, WHOLE).await;
        third
    };
    let (answered, mut third) = soon(async { tokio::join!(asked(&client, &server.url), serve) }).await;
    answered.unwrap();
    server.reused(&client, &mut third).await;
}

#[tokio::test]
async fn too_many_interim_responses_on_an_idle_connection_are_not_asked_for_again() {
    let (server, client) = (Server::start().await, Client::default());
    let mut stream = server.connected(&client).await;
    let many = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(INTERIM_LIMIT + 1);
    let serve = async {
        request_on(&mut stream).await;
        // The client may close the connection before it has read all.
        let _ = stream.write_all(many.as_bytes()).await;
    };
    let (answered, ()) = soon(async { tokio::join!(asked(&client, &server.url), serve) }).await;
    assert!(matches!(answered, Err(SendError::Interim)), "{answered:?}");
    assert!(server.is_left_alone().await);
    server.connected(&client).await;
}

/// Regression: it cost the time limit of the request, once for each idle connection.
#[tokio::test]
async fn an_idle_connection_that_died_without_a_word_costs_a_second() {
    let (server, client) = (Server::start().await, Client::default());
    let (first, second) = two_idle(&server, &client).await;
    let serve = async {
        let (mut silent, mut other) = asked_first(first, second).await;
        request_on(&mut silent).await;
        advance(Duration::from_millis(900)).await;
        assert!(is_open(&mut silent).await && server.is_left_alone().await);
        advance(Duration::from_millis(100)).await;
        let mut third = server.accept().await;
        assert!(is_closed(&mut silent).await && is_closed(&mut other).await);
        answer(&mut third, WHOLE).await;
        third
    };
    let begun = tokio::time::Instant::now();
    let (answered, mut third) = soon(async { tokio::join!(asked(&client, &server.url), serve) }).await;
    answered.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(is_closed(&mut third).await);
}

/// A server that is slow looks like a dead connection.
#[tokio::test]
async fn a_slow_server_receives_a_request_twice_at_most_once_a_minute() {
    let (server, client) = (Server::start().await, Client::default());
    let mut idle = server.connected(&client).await;
    let slow = async || {
        let mut stream = server.accept().await;
        request_on(&mut stream).await;
        advance(Duration::from_secs(4)).await;
        stream.write_all(WHOLE.as_bytes()).await.unwrap();
    };
    let twice = async {
        request_on(&mut idle).await;
        advance(IDLE_PATIENCE).await;
        slow().await;
    };
    soon(async { tokio::join!(asked(&client, &server.url), twice) }).await.0.unwrap();
    for _ in 0..3 {
        soon(async { tokio::join!(asked(&client, &server.url), slow()) }).await.0.unwrap();
        assert!(server.is_left_alone().await);
    }
    advance(DISTRUST).await;
    let mut kept = server.connected(&client).await;
    server.reused(&client, &mut kept).await;
}

#[tokio::test]
async fn a_connection_that_was_idle_for_30_seconds_is_not_used_even_if_the_machine_was_suspended() {
    let clock = SuspendedClock::start();
    let client = Client { clock: Box::new(clock.clone()), ..Client::default() };
    let server = Server::start().await;
    let mut first = server.connected(&client).await;
    for _ in 0..3 {
        advance(Duration::from_secs(25)).await;
        server.reused(&client, &mut first).await;
    }
    advance(Duration::from_secs(30)).await;
    let mut second = server.connected(&client).await;
    assert!(is_closed(&mut first).await);
    clock.set_slept(Duration::from_secs(25));
    server.reused(&client, &mut second).await;
    clock.set_slept(Duration::from_secs(55));
    server.connected(&client).await;
    assert!(is_closed(&mut second).await);
}

/// Two idle connections of `client`.
async fn two_idle(server: &Server, client: &Client) -> (TcpStream, TcpStream) {
    let serve = async {
        let (mut first, mut second) = (server.accept().await, server.accept().await);
        tokio::join!(answer(&mut first, WHOLE), answer(&mut second, WHOLE));
        (first, second)
    };
    let asked = || asked(client, &server.url);
    let (one, other, streams) = soon(async { tokio::join!(asked(), asked(), serve) }).await;
    one.and(other).unwrap();
    streams
}

/// The connection on which a request arrives, and the other one.
async fn asked_first(first: TcpStream, second: TcpStream) -> (TcpStream, TcpStream) {
    let is_first = tokio::select! {
        readable = first.readable() => readable.is_ok(),
        _ = second.readable() => false,
    };
    if is_first { (first, second) } else { (second, first) }
}
