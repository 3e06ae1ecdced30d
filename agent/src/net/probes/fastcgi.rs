//! FastCGI, as far as one GET needs it: a request in records, and the status in those of the answer. Pure.
//!
//! Source: <https://fastcgi-archives.github.io/FastCGI_Specification.html>, sections 3 to 6.

const BEGIN: u8 = 1;
const PARAMETERS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// What stands before the content of a record.
const HEADER: usize = 8;

/// One GET of `target` by a script. The connection ends with it.
pub(super) fn get(script: &str, target: &str) -> Vec<u8> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let name = script.rsplit('/').next().unwrap_or(script);
    let mut parameters = Vec::new();
    for (name, value) in [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_SOFTWARE", "ingot"),
        ("SERVER_NAME", "localhost"),
        ("HTTP_HOST", "localhost"),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", target),
        ("QUERY_STRING", query),
        ("SCRIPT_FILENAME", script),
        ("SCRIPT_NAME", &format!("/{name}")),
    ] {
        for length in [name.len(), value.len()] {
            // The first bit says that the length has four bytes.
            parameters.extend((u32::try_from(length).unwrap_or(0) | 1 << 31).to_be_bytes());
        }
        parameters.extend([name.as_bytes(), value.as_bytes()].concat());
    }
    // The role of a responder, without keeping the connection.
    let begin = record(BEGIN, &[0, 1, 0, 0, 0, 0, 0, 0]);
    [begin, record(PARAMETERS, &parameters), record(PARAMETERS, &[]), record(STDIN, &[])].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(0).to_be_bytes();
    [&[1, kind, 0, 1, high, low, 0, 0], content].concat()
}

/// The status of an answer; `None` of what is none. 200 where it names no other.
pub(super) fn status(mut answer: &[u8]) -> Option<u16> {
    let mut said = Vec::new();
    while let [1, kind, _, _, high, low, padding, _, ..] = answer {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let content = answer.get(HEADER..HEADER + length).unwrap_or(&answer[HEADER..]);
        if *kind == STDOUT {
            said.extend_from_slice(content);
        }
        answer = answer.get(HEADER + length + usize::from(*padding)..).unwrap_or_default();
    }
    let said = String::from_utf8_lossy(&said);
    let mut headers = said.lines().take_while(|line| !line.is_empty()).peekable();
    headers.peek()?;
    let named = headers.find_map(|line| line.strip_prefix("Status:"));
    named.map_or(Some(200), |status| status.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_beginning_parameters_and_two_ends() {
        let asked = get("/opt/shop/index.php", "/health?x=1");
        assert_eq!(asked[..16], [1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(asked[asked.len() - 16..], [1, 4, 0, 1, 0, 0, 0, 0, 1, 5, 0, 1, 0, 0, 0, 0]);
        let text = String::from_utf8_lossy(&asked);
        for pair in ["REQUEST_URI/health?x=1", "QUERY_STRINGx=1", "SCRIPT_FILENAME/opt/shop/index.php", "SCRIPT_NAME/index.php"] {
            assert!(text.contains(pair), "{pair}");
        }
    }

    #[test]
    fn the_status_is_in_the_headers() {
        let answer = |text: &str| [record(7, b"a warning"), record(STDOUT, text.as_bytes()), record(3, &[0; 8])].concat();
        assert_eq!(status(&answer("Content-Type: text/plain\r\n\r\nwell")), Some(200));
        assert_eq!(status(&answer("Status: 500 Internal Server Error\r\n\r\n")), Some(500));
        assert_eq!(status(&answer("X-Y: z\r\n\r\nStatus: 500\r\n")), Some(200));
        assert_eq!((status(&answer("")), status(b"HTTP/1.1 200 OK\r\n")), (None, None));
        // Cut off in the middle of the content.
        let whole = answer("Status: 404 Not Found\r\n\r\nthere is no such page");
        assert_eq!(status(&whole[..60]), Some(404));
    }
}
