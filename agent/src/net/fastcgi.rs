//! One FastCGI request, as nginx sends it to php-fpm, for a probe.
//!
//! Source: the FastCGI specification 1.0, sections 3 to 6.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const BEGIN: u8 = 1;
const END: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// How much of the answer's head is read, in bytes. The status comes first.
const HEAD: usize = 64 << 10;

/// The parameters of a GET of `path` on a site whose scripts are below `root`. The script is the one that the path
/// names, otherwise index.php.
pub(super) fn parameters(root: &str, path: &str) -> Vec<(&'static str, String)> {
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    let named = bare.match_indices(".php").map(|(at, end)| at + end.len()).find(|at| matches!(bare.as_bytes().get(*at), None | Some(b'/')));
    let (script, rest) = named.map_or(("/index.php", ""), |at| bare.split_at(at));
    let owned = [
        ("SCRIPT_FILENAME", format!("{root}{script}")),
        ("SCRIPT_NAME", script.to_owned()),
        ("PATH_INFO", rest.to_owned()),
        ("DOCUMENT_ROOT", root.to_owned()),
        ("DOCUMENT_URI", script.to_owned()),
        ("REQUEST_URI", path.to_owned()),
        ("QUERY_STRING", query.to_owned()),
    ];
    let fixed = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("REQUEST_METHOD", "GET"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_SOFTWARE", "ingot"),
        ("SERVER_NAME", "127.0.0.1"),
        ("SERVER_ADDR", "127.0.0.1"),
        ("SERVER_PORT", "80"),
        ("HTTP_HOST", "127.0.0.1"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_PORT", "0"),
        ("REQUEST_SCHEME", "http"),
        ("REDIRECT_STATUS", "200"),
        ("CONTENT_TYPE", ""),
        ("CONTENT_LENGTH", ""),
    ];
    owned.into_iter().chain(fixed.map(|(name, value)| (name, value.to_owned()))).collect()
}

/// Sends the request and reads the status of the answer.
pub(super) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), parameters: &[(&str, String)]) -> io::Result<u16> {
    let mut request = record(BEGIN, &[0, 1, 0, 0, 0, 0, 0, 0]);
    request.extend(record(PARAMS, &encoded(parameters)));
    request.extend(record(PARAMS, &[]));
    request.extend(record(STDIN, &[]));
    stream.write_all(&request).await?;
    let mut head = Vec::new();
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::other("it closed the connection without a FastCGI response"),
            _ => error,
        })?;
        if header[0] != 1 {
            return Err(io::Error::other("it does not speak FastCGI"));
        }
        let mut content = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]])) + usize::from(header[6])];
        stream.read_exact(&mut content).await?;
        content.truncate(content.len() - usize::from(header[6]));
        if header[1] == STDOUT && head.len() < HEAD {
            head.extend(content);
        }
        if header[1] == END || ends(&head).is_some() {
            return status(&head).ok_or_else(|| io::Error::other("its response has no status"));
        }
    }
}

/// A record of the only request on its connection; at most 65,535 bytes.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    let mut record = vec![1, kind, 0, 1, high, low, 0, 0];
    record.extend_from_slice(&content[..usize::from(length)]);
    record
}

fn encoded(parameters: &[(&str, String)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in parameters {
        for length in [name.len(), value.len()] {
            match u8::try_from(length).ok().filter(|length| *length < 128) {
                Some(short) => bytes.push(short),
                None => bytes.extend((u32::try_from(length).unwrap_or(0) | 1 << 31).to_be_bytes()),
            }
        }
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(value.as_bytes());
    }
    bytes
}

/// The position where the head of an answer ends.
fn ends(head: &[u8]) -> Option<usize> {
    let found = |end: &[u8]| head.windows(end.len()).position(|window| window == end);
    found(b"\r\n\r\n").or_else(|| found(b"\n\n"))
}

/// The status of an answer. It is 200 unless the script sets another one.
fn status(head: &[u8]) -> Option<u16> {
    let head = String::from_utf8_lossy(&head[..ends(head)?]).into_owned();
    let named = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("status").then(|| value.trim().to_owned())
    });
    named.map_or(Some(200), |value| value.split(' ').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: Vec<u8>) -> io::Result<u16> {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 16);
        theirs.write_all(&answer).await?;
        drop(theirs.shutdown().await);
        let asked = ask(&mut ours, &parameters("/opt/shop/public", "/health")).await;
        drop(theirs);
        asked
    }

    #[tokio::test]
    async fn tells_the_status_of_an_answer() {
        let of = |head: &str| record(STDOUT, head.as_bytes());
        assert_eq!(answered(of("Content-type: text/html\r\n\r\nfine")).await.unwrap(), 200);
        assert_eq!(answered([of("Status: 503 Service"), of(" Unavailable\r\nX: y\r\n\r\n")].concat()).await.unwrap(), 503);
        let noisy = [record(7, b"PHP message: careful"), of("status: 302\r\nLocation: /\r\n\r\n")].concat();
        assert_eq!(answered(noisy).await.unwrap(), 302);
        assert_eq!(answered(record(END, &[0; 8])).await.unwrap_err().to_string(), "its response has no status");
        assert_eq!(answered(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await.unwrap_err().to_string(), "it does not speak FastCGI");
        assert_eq!(answered(Vec::new()).await.unwrap_err().to_string(), "it closed the connection without a FastCGI response");
    }

    #[test]
    fn a_path_is_asked_of_the_script_that_nginx_would_ask() {
        let asked = |path: &str| {
            let parameters = parameters("/opt/shop/public", path);
            let of = |name: &str| parameters.iter().find(|(known, _)| *known == name).unwrap().1.clone();
            (of("SCRIPT_FILENAME"), of("PATH_INFO"), of("QUERY_STRING"))
        };
        let index = |query: &str| ("/opt/shop/public/index.php".to_owned(), String::new(), query.to_owned());
        assert_eq!(asked("/health?a=b"), index("a=b"));
        assert_eq!(asked("/a.phpx"), index(""));
        assert_eq!(asked("/status.php/x"), ("/opt/shop/public/status.php".into(), "/x".into(), String::new()));
    }

    #[test]
    fn lengths_are_of_one_byte_or_of_four() {
        assert_eq!(encoded(&[("A", "b".into())]), b"\x01\x01Ab");
        let long = "x".repeat(200);
        assert_eq!(encoded(&[("A", long.clone())])[..5], [1, 0x80, 0, 0, 200]);
    }
}
