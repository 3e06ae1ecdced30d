//! Requests to applications on loopback: how they end, and which connections are reused.

use std::rc::Rc;

use tokio::net::TcpListener;

use super::*;

/// Serves one connection: reads the request, sends `answer`, closes.
async fn served(answer: &'static str, pause: Duration) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, from) = listener.accept().await.unwrap();
        assert!(from.ip().is_loopback());
        let mut came = vec![0; 4096];
        let length = stream.read(&mut came).await.unwrap();
        came.truncate(length);
        tokio::time::sleep(pause).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        came
    });
    (at, server)
}

async fn posted(answer: &'static str, pause: Duration, silence: Duration, limit: Duration) -> Answered {
    let (at, server) = served(answer, pause).await;
    let answered = NetPosts::default().post(&Post { at, bytes: b"POST / HTTP/1.1\r\n\r\nbody".to_vec(), silence, limit }).await;
    if matches!(answered, Answered::Status { .. }) {
        assert_eq!(server.await.unwrap(), b"POST / HTTP/1.1\r\n\r\nbody");
    }
    answered
}

const SOON: Duration = Duration::from_millis(80);
const LATER: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_answer_is_a_status() {
    let answered = posted("HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno", Duration::ZERO, LATER, LATER).await;
    assert_eq!(answered, Answered::Status { status: 503, retry_after: Some("7".into()) });
}

#[tokio::test]
async fn an_end_before_the_answer_is_none() {
    for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nno"] {
        assert!(matches!(posted(answer, Duration::ZERO, LATER, LATER).await, Answered::CutOff(_)), "{answer:?}");
    }
    assert_eq!(posted("SSH-2.0-OpenSSH\r\n", Duration::ZERO, LATER, LATER).await, Answered::Foreign);
}

#[tokio::test]
async fn who_is_silent_or_takes_too_long_is_left() {
    assert_eq!(posted("", LATER, SOON, LATER).await, Answered::Silent);
    assert_eq!(posted("", LATER, LATER, SOON).await, Answered::TooLong);
}

#[tokio::test]
async fn where_nobody_listens_it_is_refused() {
    let at = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let post = Post { at, bytes: Vec::new(), silence: LATER, limit: LATER };
    assert_eq!(NetPosts::default().post(&post).await, Answered::Refused("connection refused".into()));
}

/// Answers every request on every connection, and closes each connection after `each` requests. Also returns the
/// number of connections.
async fn server(answer: &'static str, each: usize) -> (SocketAddr, Rc<Cell<usize>>, tokio::task::LocalSet) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, count, local) = (listener.local_addr().unwrap(), Rc::new(Cell::new(0)), tokio::task::LocalSet::new());
    let counter = count.clone();
    local.spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.set(counter.get() + 1);
            tokio::task::spawn_local(async move {
                let mut came = [0; 4096];
                for _ in 0..each {
                    if stream.read(&mut came).await.unwrap_or(0) == 0 || stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (at, count, local)
}

/// How many connections are used for a number of messages sent one after another.
async fn connections(answer: &'static str, each: usize, messages: usize, pause: Duration) -> usize {
    let (at, count, local) = server(answer, each).await;
    let posts = NetPosts::default();
    let post = Post { at, bytes: b"POST / HTTP/1.1\r\n\r\nbody".to_vec(), silence: LATER, limit: LATER };
    local
        .run_until(async {
            for _ in 0..messages {
                assert_eq!(posts.post(&post).await, Answered::Status { status: 200, retry_after: None });
                tokio::time::sleep(pause).await;
                posts.tidy();
            }
        })
        .await;
    count.get()
}

const KEPT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_connection_that_is_kept_open_takes_the_next_message() {
    assert_eq!(connections(KEPT, usize::MAX, 30, Duration::ZERO).await, 1);
    assert_eq!(connections(KEPT, usize::MAX, 150, Duration::ZERO).await, 2, "others have their turn");
    assert_eq!(connections(KEPT, usize::MAX, 3, IDLE).await, 3, "none waits for long");
    for closed in ["HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"] {
        assert_eq!(connections(closed, usize::MAX, 3, Duration::ZERO).await, 3, "{closed}");
    }
}

/// Some applications close a connection without announcing it.
#[tokio::test]
async fn a_connection_that_is_closed_meanwhile_is_made_again() {
    for pause in [Duration::ZERO, Duration::from_millis(10)] {
        assert_eq!(connections(KEPT, 1, 5, pause).await, 5);
    }
}

#[tokio::test]
async fn an_application_that_is_gone_meanwhile_has_cut_the_connection() {
    let (at, _, local) = server(KEPT, 1).await;
    let posts = NetPosts::default();
    let post = Post { at, bytes: b"POST / HTTP/1.1\r\n\r\nbody".to_vec(), silence: LATER, limit: LATER };
    local.run_until(async { assert!(matches!(posts.post(&post).await, Answered::Status { .. })) }).await;
    drop(local);
    assert!(matches!(posts.post(&post).await, Answered::CutOff(_) | Answered::Refused(_)));
}

/// Answers the first request of each connection as soon as its beginning has arrived, and then calls `then` with the
/// connection.
async fn hasty<F: Future<Output = ()> + 'static>(
    then: impl Fn(TcpStream) -> F + 'static,
) -> (SocketAddr, Rc<Cell<usize>>, tokio::task::LocalSet) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, count, local) = (listener.local_addr().unwrap(), Rc::new(Cell::new(0)), tokio::task::LocalSet::new());
    let counter = count.clone();
    local.spawn_local(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counter.set(counter.get() + 1);
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            stream.write_all(KEPT.as_bytes()).await.unwrap();
            tokio::task::spawn_local(then(stream));
        }
    });
    (at, count, local)
}

/// Regression: it was posted again at once, in addition to the queue's own redelivery.
#[tokio::test]
async fn what_an_application_dies_of_is_posted_once() {
    let (at, count, local) = hasty(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        tokio::time::sleep(IDLE * 3).await;
    })
    .await;
    let posts = NetPosts::default();
    let post = Post { at, bytes: b"POST / HTTP/1.1\r\n\r\nbody".to_vec(), silence: LATER, limit: LATER };
    local
        .run_until(async {
            assert!(matches!(posts.post(&post).await, Answered::Status { .. }));
            assert!(matches!(posts.post(&post).await, Answered::CutOff(_)));
        })
        .await;
    assert_eq!(count.get(), 1);
}

/// Regression: the next message was read as the rest of the one before.
#[tokio::test]
async fn a_connection_that_has_not_taken_all_of_a_message_takes_no_other() {
    let (at, count, local) = hasty(|stream| async move {
        tokio::time::sleep(LATER).await;
        drop(stream);
    })
    .await;
    let posts = NetPosts::default();
    let post = |length| Post { at, bytes: vec![b'x'; length], silence: SOON, limit: LATER };
    local
        .run_until(async {
            for length in [32 << 20, 10] {
                assert_eq!(posts.post(&post(length)).await, Answered::Status { status: 200, retry_after: None });
            }
        })
        .await;
    assert_eq!(count.get(), 2);
}
