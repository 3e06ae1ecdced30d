//! One request on a new connection. What happens to connections afterwards is in [`kept`].

mod kept;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For everything that depends on the client. One that is broken should fail a test, not hang it.
const TEST_LIMIT: Duration = Duration::from_secs(10);
const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";

async fn soon<T>(whole: impl Future<Output = T>) -> T {
    timeout(TEST_LIMIT, whole).await.expect("everything happens within the limit")
}

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
    let (response, (heard, length)) = soon(async { tokio::join!(sent(&client, request), serve) }).await;
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
        let (body, is_whole) = soon(body(&Client::default(), &mut response)).await;
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
        let error = soon(sent(&Client::default(), Request::get(format!("http://{host}/")))).await.err().unwrap();
        assert!(error.is_connect(), "{host}: {error:?}");
    }
}
