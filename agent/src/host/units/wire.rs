//! D-Bus messages, as far as systemd's few methods need them: outgoing calls with string arguments, and incoming
//! replies and signals. Every type can be read, and is rendered as systemctl would; only strings can be written.
//!
//! Source: <https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol>.

use std::io;
use std::ops::Range;

const CALL: u8 = 1;
pub(super) const REPLY: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

/// The length of the first part of a message, which contains the length of the rest.
pub(super) const HEAD: usize = 16;

/// The position of the message's serial number in it.
const SERIAL: Range<usize> = 8..12;

/// The longest message that is read, in bytes. All properties of a unit are about 20 kB.
const LIMIT: usize = 8 << 20;

/// Little-endian: systemd answers in its machine's byte order, and every EC2 instance is little-endian.
const LITTLE_ENDIAN: u8 = b'l';

/// The terminator of each part of a rendered struct, and the separator between structs in a list: both parts and
/// structs may contain spaces.
pub(super) const PART: char = '\u{1f}';
pub(super) const ENTRY: char = '\u{1e}';

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A call of a method of one of systemd's objects.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) arguments: &'a [&'a str],
}

impl Call<'_> {
    /// Encodes it as a message without a serial number.
    pub(super) fn encoded(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.arguments.iter().for_each(|argument| put_text(&mut body, argument));
        let mut message = vec![LITTLE_ENDIAN, CALL, 0, 1];
        message.extend(length(&body));
        message.extend([0; SERIAL.end - SERIAL.start]);
        // Filled in with the length of the fields once they are known.
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

/// The same message with a serial number.
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

/// The length of the rest of a message.
///
/// # Errors
///
/// If the message is malformed or too long.
pub(super) fn rest(head: &[u8; HEAD]) -> io::Result<usize> {
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let rest = number(12).next_multiple_of(8).saturating_add(number(4));
    if head[0] == LITTLE_ENDIAN && rest <= LIMIT { Ok(rest) } else { Err(malformed()) }
}

pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a D-Bus message that can be read")
}

/// A received message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    /// The serial of the call that this message answers, or 0.
    pub(super) answers: u32,
    pub(super) path: String,
    pub(super) member: String,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// Parses a message. `None` if it is malformed.
    pub(super) fn decode(head: &[u8; HEAD], rest: &[u8]) -> Option<Self> {
        let fields = u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize;
        let mut message = Self { kind: head[1], ..Self::default() };
        // The head is twice as long as the largest alignment, so the rest can be aligned relative to its own start.
        let mut reader = Reader { bytes: rest.get(..fields)?, at: 0 };
        while reader.at < fields {
            reader.align(8)?;
            let code = reader.byte()?;
            let signature = reader.signature()?;
            let value = reader.shown(signature)?;
            match code {
                REPLY_SERIAL => message.answers = value.parse().ok()?,
                PATH => message.path = value,
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

/// Reads values from a message, one by one. `None` if the message ends too early.
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

    /// A value preceded by its type.
    pub(super) fn variant(&mut self) -> Option<String> {
        let signature = self.signature()?;
        self.shown(signature)
    }

    /// The requested properties from a value of type `a{sv}`.
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

    /// Appends the value of the first type in `signature` as text. Returns the remaining types.
    fn show<'s>(&mut self, signature: &'s [u8], into: &mut String) -> Option<&'s [u8]> {
        let (kind, mut after) = signature.split_first()?;
        match kind {
            b's' | b'o' => into.push_str(self.text()?),
            b'b' => into.push_str(if self.number()? == 0 { "no" } else { "yes" }),
            b'u' => into.push_str(&self.number()?.to_string()),
            b'i' => into.push_str(&self.number()?.cast_signed().to_string()),
            b'v' => into.push_str(&self.variant()?),
            // None of the properties that are read has one of these types.
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
            b't' => {
                self.align(8)?;
                into.push_str(&u64::from_le_bytes(self.take(8)?.try_into().ok()?).to_string());
            }
            b'x' | b'd' => {
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
                        into.push(if after[0] == b'(' { ENTRY } else { ' ' });
                    }
                }
                return behind(after);
            }
            b'(' | b'{' => {
                self.align(8)?;
                while !matches!(after.first()?, b')' | b'}') {
                    after = self.show(after, into)?;
                    into.push(PART);
                }
                return Some(&after[1..]);
            }
            _ => return None,
        }
        Some(after)
    }
}

/// The types of a signature after the first one.
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
pub(super) mod tests;
