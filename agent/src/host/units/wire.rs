//! D-Bus messages, as far as systemd's few methods need them: calls with strings for arguments go out, replies and signals
//! come in. Any type can be read, as systemctl would show it; none but strings can be written.
//!
//! Source: <https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol>.

use std::io;
use std::ops::Range;

const CALL: u8 = 1;
pub(super) const REPLY: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

/// The part of a message that says how long it is.
pub(super) const HEAD: usize = 16;

/// Where in it the number of the message stands.
const SERIAL: Range<usize> = 8..12;

/// The longest message that is read, in bytes. All properties of a unit are some 20 kB.
const LIMIT: usize = 8 << 20;

/// Little-endian: systemd answers in the order of its own machine, and no instance has another.
const LITTLE_ENDIAN: u8 = b'l';

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A method of an object of systemd.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) arguments: &'a [&'a str],
}

impl Call<'_> {
    /// As a message that has no number yet.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.arguments.iter().for_each(|argument| put_text(&mut body, argument));
        let mut message = vec![LITTLE_ENDIAN, CALL, 0, 1];
        message.extend(length(&body));
        message.extend([0; SERIAL.end - SERIAL.start]);
        // The length of the fields, once they are there.
        message.extend([0; 4]);
        let fields = [
            (PATH, b'o', self.path),
            (INTERFACE, b's', self.interface),
            (MEMBER, b's', self.member),
            (DESTINATION, b's', "org.freedesktop.systemd1"),
        ];
        for (code, kind, value) in fields {
            pad(&mut message, 8);
            message.extend([code, 1, kind, 0]);
            put_text(&mut message, value);
        }
        if let Ok(count @ 1..) = u8::try_from(self.arguments.len()) {
            pad(&mut message, 8);
            message.extend([SIGNATURE, 1, b'g', 0, count]);
            message.extend(self.arguments.iter().map(|_| b's'));
            message.push(0);
        }
        let fields = length(&message[HEAD..]);
        message[12..HEAD].copy_from_slice(&fields);
        pad(&mut message, 8);
        message.extend(body);
        message
    }
}

/// The same message with a number.
pub(super) fn numbered(mut call: Vec<u8>, serial: u32) -> Vec<u8> {
    call[SERIAL].copy_from_slice(&serial.to_le_bytes());
    call
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("a message of ours is short").to_le_bytes()
}

fn pad(message: &mut Vec<u8>, to: usize) {
    message.resize(message.len().next_multiple_of(to), 0);
}

fn put_text(message: &mut Vec<u8>, text: &str) {
    pad(message, 4);
    message.extend(length(text.as_bytes()));
    message.extend(text.as_bytes());
    message.push(0);
}

/// How long the rest of a message is.
///
/// # Errors
///
/// If it is no message that can be read.
pub(super) fn rest(head: &[u8; HEAD]) -> io::Result<usize> {
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let rest = number(12).next_multiple_of(8).saturating_add(number(4));
    if head[0] == LITTLE_ENDIAN && rest <= LIMIT { Ok(rest) } else { Err(malformed()) }
}

pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a D-Bus message that can be read")
}

/// A message that came in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    /// The serial of the call that it answers, or 0.
    pub(super) answers: u32,
    pub(super) member: String,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Reads a message. `None` if it is malformed.
    pub(super) fn decode(head: &[u8; HEAD], rest: &[u8]) -> Option<Self> {
        let fields = u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize;
        let mut message = Self { kind: head[1], ..Self::default() };
        // The head is as long as the largest alignment twice, so that what follows is aligned by itself.
        let mut reader = Reader { bytes: rest.get(..fields)?, at: 0 };
        while reader.at < fields {
            reader.align(8)?;
            let code = reader.byte()?;
            let signature = reader.signature()?;
            let value = reader.shown(signature)?;
            match code {
                REPLY_SERIAL => message.answers = value.parse().ok()?,
                MEMBER => message.member = value,
                _ => {}
            }
        }
        message.body = rest.get(fields.next_multiple_of(8)..)?.to_vec();
        Some(message)
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { bytes: &self.body, at: 0 }
    }
}

/// Takes values from a message, one by one. `None` wherever it ends too early.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.next_multiple_of(to);
        (self.at <= self.bytes.len()).then_some(())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let count = self.number()? as usize;
        let text = std::str::from_utf8(self.take(count)?).ok()?;
        self.byte()?;
        Some(text)
    }

    fn signature(&mut self) -> Option<&'a [u8]> {
        let count = self.byte()?.into();
        let signature = self.take(count)?;
        self.byte()?;
        Some(signature)
    }

    /// A value whose type is said before it.
    pub(super) fn variant(&mut self) -> Option<String> {
        let signature = self.signature()?;
        self.shown(signature)
    }

    /// What `a{sv}` says of the names that are asked for.
    pub(super) fn properties(&mut self, asked: &[&str]) -> Option<Vec<(String, String)>> {
        let count = self.number()? as usize;
        self.align(8)?;
        let end = self.at + count;
        let mut found = Vec::new();
        while self.at < end {
            self.align(8)?;
            let name = self.text()?;
            let value = self.variant()?;
            if asked.contains(&name) {
                found.push((name.to_owned(), value));
            }
        }
        Some(found)
    }

    fn shown(&mut self, signature: &[u8]) -> Option<String> {
        let mut shown = String::new();
        self.show(signature, &mut shown)?;
        Some(shown)
    }

    /// Appends the value of the first type in `signature`, its parts with spaces between. Returns the types after it.
    fn show<'s>(&mut self, signature: &'s [u8], into: &mut String) -> Option<&'s [u8]> {
        let (kind, mut after) = signature.split_first()?;
        match kind {
            b's' | b'o' => into.push_str(self.text()?),
            b'b' => into.push_str(if self.number()? == 0 { "no" } else { "yes" }),
            b'u' => into.push_str(&self.number()?.to_string()),
            b'i' => into.push_str(&self.number()?.cast_signed().to_string()),
            b'v' => into.push_str(&self.variant()?),
            // Nobody asks for any of these.
            b'g' => {
                self.signature()?;
            }
            b'y' => {
                self.byte()?;
            }
            b'h' => {
                self.number()?;
            }
            b'n' | b'q' => {
                self.align(2)?;
                self.take(2)?;
            }
            b't' | b'x' | b'd' => {
                self.align(8)?;
                self.take(8)?;
            }
            b'a' => {
                let count = self.number()? as usize;
                self.align(alignment(*after.first()?))?;
                let end = self.at.checked_add(count)?;
                while self.at < end {
                    self.show(after, into)?;
                    if self.at < end {
                        into.push(' ');
                    }
                }
                return behind(after);
            }
            b'(' | b'{' => {
                self.align(8)?;
                while !matches!(after.first()?, b')' | b'}') {
                    after = self.show(after, into)?;
                    into.push(' ');
                }
                return Some(&after[1..]);
            }
            _ => return None,
        }
        Some(after)
    }
}

/// The types of a signature after its first.
fn behind(signature: &[u8]) -> Option<&[u8]> {
    let (kind, mut after) = signature.split_first()?;
    match kind {
        b'a' => behind(after),
        b'(' | b'{' => {
            while !matches!(after.first()?, b')' | b'}') {
                after = behind(after)?;
            }
            Some(&after[1..])
        }
        _ => Some(after),
    }
}

fn alignment(kind: u8) -> usize {
    match kind {
        b'(' | b'{' | b't' | b'x' | b'd' => 8,
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        _ => 4,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message as systemd sends it, of a number and strings.
    pub(in crate::host::units) fn message(kind: u8, answers: u32, member: &str, number: Option<u32>, texts: &[&str]) -> Vec<u8> {
        let mut body = Vec::new();
        number.iter().for_each(|number| body.extend(number.to_le_bytes()));
        texts.iter().for_each(|text| put_text(&mut body, text));
        let mut message = vec![LITTLE_ENDIAN, kind, 0, 1];
        message.extend(length(&body));
        message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        message.extend([REPLY_SERIAL, 1, b'u', 0]);
        message.extend(answers.to_le_bytes());
        message.extend([MEMBER, 1, b's', 0]);
        put_text(&mut message, member);
        let fields = length(&message[HEAD..]);
        message[12..HEAD].copy_from_slice(&fields);
        pad(&mut message, 8);
        message.extend(body);
        message
    }

    #[test]
    fn a_call_is_encoded_as_the_specification_says() {
        let call = Call { path: "/o", interface: "i.f", member: "M", arguments: &["ab", ""] };
        let encoded = numbered(call.encoded(), 7);
        assert_eq!(&encoded[..12], b"l\x01\x00\x01\x0d\x00\x00\x00\x07\x00\x00\x00");
        assert_eq!(encoded.len() % 8, 5, "a body of 13 bytes after a head that is a multiple of 8");
        assert!(encoded.ends_with(b"\x02\x00\x00\x00ab\x00\x00\x00\x00\x00\x00\x00"));
        let head: [u8; HEAD] = encoded[..HEAD].try_into().unwrap();
        assert_eq!(rest(&head).unwrap(), encoded.len() - HEAD);
        let message = Message::decode(&head, &encoded[HEAD..]).unwrap();
        assert_eq!((message.kind, message.member.as_str()), (CALL, "M"));
        let mut reader = message.reader();
        assert_eq!((reader.text(), reader.text(), reader.text()), (Some("ab"), Some(""), None));
    }

    #[test]
    fn properties_of_any_type_are_passed_by() {
        // a{sv} of: skipped a(sasbttttuii), an empty array of structs; As ["x", "y"]; Job (uo); No b; N i.
        let mut body = vec![0; 8];
        let mut entry = |name: &str, signature: &str, value: &dyn Fn(&mut Vec<u8>)| {
            pad(&mut body, 8);
            put_text(&mut body, name);
            body.push(u8::try_from(signature.len()).unwrap());
            body.extend(signature.bytes());
            body.push(0);
            value(&mut body);
        };
        let number = |body: &mut Vec<u8>, number: u32| {
            pad(body, 4);
            body.extend(number.to_le_bytes());
        };
        entry("Skipped", "a(sasbttttuii)", &|body| {
            number(body, 0);
            pad(body, 8);
        });
        entry("Time", "t", &|body| {
            pad(body, 8);
            body.extend([1; 8]);
        });
        entry("As", "as", &|body| {
            number(body, 14);
            put_text(body, "x");
            put_text(body, "y");
        });
        entry("Job", "(uo)", &|body| {
            pad(body, 8);
            number(body, 12);
            put_text(body, "/j");
        });
        entry("No", "b", &|body| number(body, 0));
        entry("N", "i", &|body| number(body, u32::MAX));
        let count = u32::try_from(body.len() - 8).unwrap();
        body[..4].copy_from_slice(&count.to_le_bytes());

        let found = Reader { bytes: &body, at: 0 }.properties(&["As", "Job", "No", "N"]).unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, [("As", "x y"), ("Job", "12 /j "), ("No", "no"), ("N", "-1")]);
        for end in 0..body.len() - 1 {
            assert!(Reader { bytes: &body[..end], at: 0 }.properties(&[]).is_none(), "cut off after {end} bytes");
        }
    }
}
