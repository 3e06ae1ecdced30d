//! The least that a boot with secrets can take: the same exchanges as ingot makes, as deep as they depend on each
//! other, of about the same bytes, and nothing else. No TLS, no JSON, no document. `rustc --edition=2024 -O floor.rs`,
//! standard library only.
//!
//! Usage: floor IMDS_HOST:PORT AWS_HOST:PORT SECRETS PARAMETERS DATE, such as 20260101T000000Z

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

struct Connection(TcpStream);

impl Connection {
    fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the stand-in listens");
        stream.set_nodelay(true).expect("a TCP socket");
        Self(stream)
    }

    /// Sends a request whole, and reads the answer by its Content-Length.
    fn exchange(&mut self, head: &str, headers: &str, body: &str) -> String {
        let request = format!("{head} HTTP/1.1\r\nhost: floor\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
        self.0.write_all(request.as_bytes()).expect("the other side reads");
        let mut answer = Vec::new();
        let mut part = [0; 65536];
        loop {
            let count = self.0.read(&mut part).expect("the other side answers");
            assert!(count > 0, "{head}: the answer was cut short");
            answer.extend_from_slice(&part[..count]);
            let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            assert!(text.starts_with("http/1.1 200"), "{head}: {text}");
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).expect("a length").trim();
            let length: usize = length.parse().expect("a number");
            if answer.len() >= end + 4 + length {
                return String::from_utf8_lossy(&answer[end + 4..end + 4 + length]).into_owned();
            }
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [imds, aws, secrets, parameters, date] = arguments.as_slice() else { panic!("see the first lines of this file") };
    let (secrets, parameters): (u32, u32) = (secrets.parse().expect("a number"), parameters.parse().expect("a number"));

    let mut first = Connection::to(imds);
    let token = first.exchange("PUT /latest/api/token", "x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n", "");
    let token = &format!("x-aws-ec2-metadata-token: {}\r\n", token.trim());
    thread::scope(|scope| {
        let beside = ["user-data", "dynamic/instance-identity/document"];
        let read = |path| scope.spawn(move || Connection::to(imds).exchange(&format!("GET /latest/{path}"), token, ""));
        let beside = beside.map(read);
        let roles = "GET /latest/meta-data/iam/security-credentials/";
        let role = first.exchange(roles, token, "");
        first.exchange(&format!("{roles}{}", role.trim()), token, "");
        beside.into_iter().for_each(|thread| drop(thread.join().expect("it ended well")));
    });

    // As long as a signature by AWS's rules, which nobody checks here.
    let call = |service: &str, target: &str, body: String| {
        let scope = format!("AKIDEXAMPLEEXAMPLE12/20260101/eu-central-1/{service}/aws4_request");
        let names = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target;x-amz-user-agent";
        let signature = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={}", "0".repeat(64));
        let session = "x".repeat(400);
        let headers = format!(
            "content-type: application/x-amz-json-1.1\r\nx-amz-target: {target}\r\nx-amz-date: {date}\r\n\
             x-amz-security-token: {session}\r\nauthorization: {signature}\r\n"
        );
        Connection::to(aws).exchange("POST /", &headers, &body)
    };
    let quoted = |count: u32, prefix: &str| (0..count).map(|number| format!("\"{prefix}{number}\"")).collect::<Vec<_>>().join(",");
    thread::scope(|scope| {
        let ids = format!("{{\"SecretIdList\":[{}]}}", quoted(secrets, "bench/s"));
        scope.spawn(|| call("secretsmanager", "secretsmanager.BatchGetSecretValue", ids));
        let names = format!("{{\"Names\":[{}],\"WithDecryption\":true}}", quoted(parameters, "/bench/p"));
        call("ssm", "AmazonSSM.GetParameters", names);
    });
}
