//! The least that a worker can take: receive, POST, delete, and nothing else. No TLS, no signatures, no visibility, no
//! readiness, no status. `rustc --edition=2024 -O worker.rs`, standard library only.
//!
//! Usage: worker SQS_HOST:PORT APPLICATION_HOST:PORT CONNECTIONS

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("a TCP socket");
    stream
}

/// The body of the answer, by its Content-Length.
fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 16384];
    loop {
        let count = stream.read(&mut part).expect("the other side answers");
        assert!(count > 0, "the answer was cut short");
        answer.extend_from_slice(&part[..count]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).expect("a length").trim();
        let length: usize = length.parse().expect("a number");
        if answer.len() >= end + 4 + length {
            return String::from_utf8_lossy(&answer[end + 4..end + 4 + length]).into_owned();
        }
    }
}

fn call(stream: &mut TcpStream, operation: &str, body: &str) -> String {
    // As long as a signature by AWS's rules, which nobody checks here.
    let (signature, session) = ("0".repeat(300), "x".repeat(400));
    let request = format!(
        "POST / HTTP/1.1\r\nhost: sqs\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-target: AmazonSQS.{operation}\r\n\
         authorization: {signature}\r\nx-amz-security-token: {session}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("the other side reads");
    answer(stream)
}

fn between<'a>(text: &'a str, begin: &str) -> Option<(&'a str, &'a str)> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once('"')
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [sqs, application, connections] = arguments.as_slice() else { panic!("see the first lines of this file") };
    let connections: usize = connections.parse().expect("a number");
    let url = "https://sqs.eu-central-1.amazonaws.com/123456789012/bench";
    let most = connections.min(10);
    let mut threads = Vec::new();
    // As many loops as there are batches of ten in hand.
    for _ in 0..connections.div_ceil(10) {
        let (sqs, application) = (sqs.clone(), application.clone());
        threads.push(thread::spawn(move || {
            let mut queue = connect(&sqs);
            loop {
                let asked = format!("{{\"QueueUrl\":\"{url}\",\"MaxNumberOfMessages\":{most},\"VisibilityTimeout\":300,\"WaitTimeSeconds\":20}}");
                let received = call(&mut queue, "ReceiveMessage", &asked);
                let (mut receipts, mut rest, mut open) = (Vec::new(), received.as_str(), Vec::new());
                while let Some((id, more)) = between(rest, "\"MessageId\": \"") {
                    let (receipt, more) = between(more, "\"ReceiptHandle\": \"").expect("a receipt");
                    let (body, more) = between(more, "\"Body\": \"").expect("a body");
                    let request = format!(
                        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Aws-Sqsd-Msgid: {id}\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let mut stream = connect(&application);
                    stream.write_all(request.as_bytes()).expect("the other side reads");
                    open.push(stream);
                    receipts.push(receipt.to_owned());
                    rest = more;
                }
                open.iter_mut().for_each(|stream| drop(answer(stream)));
                if receipts.is_empty() {
                    continue;
                }
                let entry = |(at, receipt): (usize, &String)| format!("{{\"Id\":\"{at}\",\"ReceiptHandle\":\"{receipt}\"}}");
                let entries: Vec<String> = receipts.iter().enumerate().map(entry).collect();
                call(&mut queue, "DeleteMessageBatch", &format!("{{\"QueueUrl\":\"{url}\",\"Entries\":[{}]}}", entries.join(",")));
            }
        }));
    }
    threads.into_iter().for_each(|thread| drop(thread.join()));
}
