//! An HTTP/1.1 answer, parsed as it arrives: its status, and where it ends. Its content is discarded.
//!
//! Source: RFC 9112, sections 4 to 8.

use crate::net::plain_http::INTERIM_LIMIT;

/// The longest head, in bytes. No application comes near it.
const HEAD: usize = 64 << 10;

/// An answer that may be incomplete.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The bytes of the head so far; empty once it is parsed.
    head: Vec<u8>,
    /// The number of interim responses before it.
    interim: usize,
    read: Option<(u16, Option<String>)>,
    rest: Rest,
    /// Whether the connection can be reused.
    is_kept: bool,
}

/// The state of the answer so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    More,
    /// `is_kept`: the connection stays open for another request.
    Whole {
        status: u16,
        retry_after: Option<String>,
        is_kept: bool,
    },
    CutOff,
    Foreign,
}

/// What follows the head.
#[derive(Debug, Default)]
enum Rest {
    Bytes(u64),
    Chunks(Chunk),
    #[default]
    UntilTheEnd,
}

/// The position where a head ends. A line may end without a carriage return too: RFC 9112, section 2.2.
fn end_of(head: &[u8]) -> Option<usize> {
    let after = |rest: &[u8]| if rest.starts_with(b"\n") { Some(1) } else { rest.starts_with(b"\r\n").then_some(2) };
    let line_ends = head.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    line_ends.map(|(at, _)| at + 1).find_map(|next| Some(next + after(&head[next..])?))
}

/// The position within a chunked body.
#[derive(Debug)]
enum Chunk {
    /// In a size line: the size so far, its number of digits, and whether the digits have ended.
    Size { size: u64, digits: u32, is_read: bool },
    /// This many bytes remain of a chunk and the line break after it.
    Bytes(u64),
    /// After the last chunk, in a line that has this many bytes so far.
    Trailer(usize),
}

const SIZE: Chunk = Chunk::Size { size: 0, digits: 0, is_read: false };

impl Answer {
    /// Parses the next piece.
    pub(super) fn push(&mut self, piece: &[u8]) -> Came {
        if self.read.is_some() {
            return self.body(piece);
        }
        self.head.extend_from_slice(piece);
        loop {
            let Some(end) = end_of(&self.head) else {
                let is_other = !self.head.iter().zip(b"HTTP/1.").all(|(a, b)| a == b);
                return if is_other || self.head.len() > HEAD { Came::Foreign } else { Came::More };
            };
            let rest = self.head.split_off(end);
            let head = std::mem::replace(&mut self.head, rest);
            let Some(Head { status, retry_after, rest, is_kept }) = parsed(&String::from_utf8_lossy(&head)) else {
                return Came::Foreign;
            };
            // `100 Continue` and similar: the answer follows.
            if (100..200).contains(&status) {
                self.interim += 1;
                if self.interim > INTERIM_LIMIT {
                    return Came::Foreign;
                }
                continue;
            }
            self.rest = if matches!(status, 204 | 304) { Rest::Bytes(0) } else { rest };
            (self.read, self.is_kept) = (Some((status, retry_after)), is_kept);
            let body = std::mem::take(&mut self.head);
            return self.body(&body);
        }
    }

    /// Handles the end of the connection.
    pub(super) fn end(&mut self) -> Came {
        match (&self.rest, self.read.take()) {
            (Rest::UntilTheEnd, Some((status, retry_after))) => Came::Whole { status, retry_after, is_kept: false },
            _ => Came::CutOff,
        }
    }

    fn body(&mut self, piece: &[u8]) -> Came {
        // Once the answer is complete, how many bytes arrived beyond it.
        let beyond = match &mut self.rest {
            Rest::UntilTheEnd => None,
            Rest::Bytes(left) => {
                let beyond = (piece.len() as u64).checked_sub(*left);
                *left = left.saturating_sub(piece.len() as u64);
                beyond
            }
            Rest::Chunks(chunk) => match chunk.take(piece) {
                Some(beyond) => beyond,
                None => return Came::Foreign,
            },
        };
        match self.read.take_if(|_| beyond.is_some()) {
            Some((status, retry_after)) => Came::Whole { status, retry_after, is_kept: self.is_kept && beyond == Some(0) },
            None => Came::More,
        }
    }
}

impl Chunk {
    /// After the last chunk, how many bytes follow it; `None` if the input is not a chunk.
    fn take(&mut self, mut piece: &[u8]) -> Option<Option<u64>> {
        while let Some((first, rest)) = piece.split_first() {
            match self {
                Self::Bytes(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                    *left -= taken as u64;
                    piece = &piece[taken..];
                    if *left == 0 {
                        *self = SIZE;
                    }
                    continue;
                }
                Self::Size { size, digits, is_read } => match (char::from(*first).to_digit(16), *first) {
                    (_, b'\n') if *digits == 0 => return None,
                    (_, b'\n') if *size == 0 => *self = Self::Trailer(0),
                    (_, b'\n') => *self = Self::Bytes(size.checked_add(2)?),
                    (Some(digit), _) if !*is_read => {
                        *size = size.checked_mul(16)?.checked_add(digit.into())?;
                        *digits += 1;
                    }
                    _ => *is_read = true,
                },
                Self::Trailer(0) if *first == b'\n' => return Some(Some(rest.len() as u64)),
                Self::Trailer(length) => match first {
                    b'\n' => *length = 0,
                    b'\r' => {}
                    _ => *length += 1,
                },
            }
            piece = rest;
        }
        Some(None)
    }
}

/// The relevant fields of a head.
struct Head {
    status: u16,
    retry_after: Option<String>,
    rest: Rest,
    is_kept: bool,
}

fn parsed(head: &str) -> Option<Head> {
    let mut lines = head.lines();
    let first = lines.next()?.strip_prefix("HTTP/1.")?;
    let status: u16 = number(first.get(2..)?.split(' ').next().filter(|code| code.len() == 3)?)?;
    let (mut retry_after, mut rest, mut length, mut is_kept) = (None, Rest::UntilTheEnd, None, first.starts_with('1'));
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("retry-after") {
            retry_after = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("connection") {
            is_kept &= !value.to_ascii_lowercase().contains("close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.to_ascii_lowercase().ends_with("chunked") {
            rest = Rest::Chunks(SIZE);
        } else if name.eq_ignore_ascii_case("content-length") && !matches!(rest, Rest::Chunks(_)) {
            let said = number(value)?;
            // If there are two different lengths, neither can be trusted.
            if length.replace(said).is_some_and(|before| before != said) {
                return None;
            }
            rest = Rest::Bytes(said);
        }
    }
    (status >= 100).then_some(Head { status, retry_after, rest, is_kept })
}

/// Parses a number that consists of digits only.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of an answer that arrives in pieces of each size, and the result after the connection ends.
    fn came(text: &str) -> (Came, Came) {
        let results: Vec<(Came, Came)> = (1..=text.len())
            .map(|size| {
                let mut answer = Answer::default();
                let mut last = Came::More;
                for piece in text.as_bytes().chunks(size) {
                    assert_eq!(last, Came::More, "{text:?} in pieces of {size}");
                    last = answer.push(piece);
                }
                (last, answer.end())
            })
            .collect();
        let (last, end) =
            results.into_iter().reduce(|one, other| if one == other { one } else { panic!("{text:?}: {one:?}, {other:?}") }).unwrap();
        (last, end)
    }

    fn whole(status: u16) -> Came {
        Came::Whole { status, retry_after: None, is_kept: true }
    }

    fn last(status: u16) -> Came {
        Came::Whole { status, retry_after: None, is_kept: false }
    }

    #[test]
    fn an_answer_ends_where_it_says() {
        for (text, status) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
            ("HTTP/1.1 204\r\n\r\n", 204),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1a;x=2\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\n\r\n", 200),
            ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200),
            ("HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 2\r\n\r\nok", 200),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 201),
        ] {
            assert_eq!(came(text).0, whole(status), "{text:?}");
        }
    }

    #[test]
    fn one_without_a_length_ends_with_its_connection() {
        assert_eq!(came("HTTP/1.0 200 OK\r\n\r\nas long as it takes"), (Came::More, last(200)));
        for text in [
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        ] {
            assert_eq!(came(text), (Came::More, Came::CutOff), "{text:?}");
        }
    }

    #[test]
    fn a_connection_is_kept_if_both_sides_know_where_the_next_answer_begins() {
        assert_eq!(came("HTTP/1.0 500 \r\ncontent-length:0\r\n\r\n").0, last(500));
        assert_eq!(came("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n").0, last(200));
        for more in ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n!"] {
            assert_eq!(Answer::default().push(more.as_bytes()), last(200), "{more}");
        }
    }

    #[test]
    fn what_is_no_answer_is_foreign() {
        for text in [
            "SSH-2.0-OpenSSH\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n",
        ] {
            let mut answer = Answer::default();
            assert_eq!(answer.push(text.as_bytes()), Came::Foreign, "{text:?}");
        }
    }

    #[test]
    fn interim_responses_without_an_end_are_foreign() {
        let after = |times| {
            let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(times);
            Answer::default().push(format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").as_bytes())
        };
        assert_eq!([after(INTERIM_LIMIT), after(INTERIM_LIMIT + 1)], [whole(200), Came::Foreign]);
    }

    #[test]
    fn it_may_ask_to_be_left_alone() {
        let retry_after = Some("120".to_owned());
        assert_eq!(
            came("HTTP/1.1 429 x\r\nRETRY-AFTER:  120\r\nContent-Length: 0\r\n\r\n").0,
            Came::Whole { status: 429, retry_after, is_kept: true }
        );
    }
}
