//! Decodes gzip, zstd and base64 in any nesting, with limits on depth and memory.
//!
//! gzip and zstd are recognized by their magic numbers, base64 by containing only base64 characters. The decoded
//! content is not examined, except to distinguish truncated base64 from text that never was base64.

use std::borrow::Cow;
use std::error::Error;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use flate2::read::MultiGzDecoder;

use super::beginnings::{BYTE_ORDER_MARK, begins_as_message};
use super::bounds::{MAX_LAYERS, MAX_UNWRAPPED};
use super::error::{Encoding, EncodingError};

/// The largest zstd window, as a power of two: how much of the output the decoder keeps to decode the rest.
///
/// It is 16 MiB, the same as the limit on the output, so that up to level 19 (8 MiB) no frame that fits is refused
/// because of its window. The decoder's default is 128 MiB.
const MAX_ZSTD_WINDOW: u32 = MAX_UNWRAPPED.ilog2();

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The decoded content, and the memory that decoding took.
#[derive(Debug)]
pub(crate) struct Unwrapped<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    /// The size of the largest decoded layer in bytes, which a limit on the total should count.
    pub(crate) largest: usize,
}

/// Decodes up to [`MAX_LAYERS`] encodings, none of whose outputs may exceed `limit` bytes.
///
/// Holds at most two layers and a zstd window in memory at a time.
pub(crate) fn unwrap(bytes: &[u8], limit: usize) -> Result<Unwrapped<'_>, Fault> {
    let mut bytes = Cow::Borrowed(bytes);
    let mut largest = 0;
    let mut layers = 0;
    while let Some(inner) = unwrap_once(&bytes, limit)? {
        if layers == MAX_LAYERS {
            return Err(Fault::TooDeep);
        }
        layers += 1;
        largest = largest.max(inner.len());
        bytes = Cow::Owned(inner);
    }
    if bytes.len() > limit {
        return Err(Fault::TooLarge);
    }
    Ok(Unwrapped { largest: largest.max(bytes.len()), bytes })
}

fn unwrap_once(bytes: &[u8], limit: usize) -> Result<Option<Vec<u8>>, Fault> {
    if is_gzip(bytes) {
        gunzip(bytes, limit).map(Some)
    } else if is_zstd(bytes) {
        unzstd(bytes, limit).map(Some)
    } else if is_base64(bytes) {
        match decode_base64(bytes, limit) {
            // A word is not treated as damaged base64, unless it decodes to the beginning of a form that ingot reads.
            Err(Fault::Corrupt(..)) if !begins_as_ours(bytes, MAX_LAYERS) => Ok(None),
            decoded => decoded.map(Some),
        }
    } else {
        Ok(None)
    }
}

/// The readable beginning of bytes that [`unwrap`] refuses: each encoding is decoded as far as possible, up to `limit`
/// bytes.
pub(crate) fn as_far_as_it_goes(bytes: &[u8], limit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..MAX_LAYERS {
        bytes = if is_gzip(&bytes) {
            whole_part(MultiGzDecoder::new(bytes.as_slice()), limit)
        } else if is_zstd(&bytes) {
            zstd_decoder(&bytes).map(|decoder| whole_part(decoder, limit)).unwrap_or_default()
        } else if is_base64(&bytes) && begins_as_ours(&bytes, MAX_LAYERS) {
            whole_base64(&bytes, limit)
        } else {
            break;
        };
    }
    bytes.truncate(limit);
    bytes
}

/// The output before the damaged position.
fn whole_part(reader: impl Read, limit: usize) -> Vec<u8> {
    let mut output = Vec::new();
    // The bytes read before the error are kept.
    let _ = reader.take(limit as u64).read_to_end(&mut output);
    output
}

/// By the magic number, of which possibly only one byte has arrived.
fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP_MAGIC) || bytes == &GZIP_MAGIC[..1]
}

/// By the magic number of a frame, or of a skippable frame, which parallel compressors write first.
fn is_zstd(bytes: &[u8]) -> bool {
    let cut_short = (2..4).contains(&bytes.len()) && ZSTD_MAGIC.starts_with(bytes);
    cut_short || bytes.starts_with(&ZSTD_MAGIC) || skippable_frame(bytes)
}

/// Whether a skippable frame begins here: magic 0x184D2A50 to 5F, RFC 8878 section 3.1.2.
fn skippable_frame(bytes: &[u8]) -> bool {
    matches!(bytes, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

fn gunzip(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let mut output = Vec::new();
    // Stops at `limit`, and verifies the checksum only if nothing is left to read.
    read_up_to(limit, MultiGzDecoder::new(bytes), &mut output).map_err(|error| match error {
        Stopped::AtLimit => Fault::TooLarge,
        Stopped::By(error) => Fault::Corrupt(Encoding::Gzip, error.into()),
    })?;
    Ok(output)
}

fn unzstd(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let corrupt = |error: std::io::Error| Fault::Corrupt(Encoding::Zstd, error.into());
    let decoder = zstd_decoder(bytes).map_err(corrupt)?;
    let mut output = Vec::new();
    // Decodes frame by frame, and checks the length and the checksum that each frame states.
    read_up_to(limit, decoder, &mut output).map_err(|error| match error {
        Stopped::AtLimit => Fault::TooLarge,
        Stopped::By(error) if error.to_string() == WINDOW_TOO_LARGE => Fault::TooLarge,
        Stopped::By(error) => corrupt(error),
    })?;
    Ok(output)
}

fn zstd_decoder(bytes: &[u8]) -> std::io::Result<zstd::Decoder<'static, &[u8]>> {
    let mut decoder = zstd::Decoder::with_buffer(bytes)?;
    decoder.window_log_max(MAX_ZSTD_WINDOW)?;
    Ok(decoder)
}

/// The decoder's error for a frame that needs more than [`MAX_ZSTD_WINDOW`].
const WINDOW_TOO_LARGE: &str = "Frame requires too much memory for decoding";

enum Stopped {
    AtLimit,
    By(std::io::Error),
}

/// Reads to the end, unless `output` would exceed `limit` bytes.
fn read_up_to(limit: usize, reader: impl Read, output: &mut Vec<u8>) -> Result<(), Stopped> {
    let left = limit.saturating_sub(output.len());
    reader.take(left as u64 + 1).read_to_end(output).map_err(Stopped::By)?;
    if output.len() > limit { Err(Stopped::AtLimit) } else { Ok(()) }
}

/// Whether there is only white space and base64, of the standard or the URL-safe alphabet.
fn is_base64(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let expected = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte) || byte.is_ascii_whitespace();
    bytes.iter().all(expected) && !bytes.trim_ascii().is_empty()
}

/// Decodes base64 of either alphabet, with or without padding, and with white space anywhere.
pub(crate) fn decode_base64(bytes: &[u8], limit: usize) -> Result<Vec<u8>, Fault> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let symbols = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
    let length = symbols.clone().count();
    if length / 4 * 3 > limit.saturating_add(2) {
        return Err(Fault::TooLarge);
    }
    let mut standard = Vec::with_capacity(length);
    standard.extend(symbols.map(|symbol| match symbol {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    }));
    // The decoder's own message would quote the offending byte.
    let corrupt = |_| Fault::Corrupt(Encoding::Base64, "it ends within a byte, or contains characters that are not base64".into());
    let decoded = STANDARD_PAD_INDIFFERENT.decode(&standard).map_err(corrupt)?;
    if decoded.len() > limit { Err(Fault::TooLarge) } else { Ok(decoded) }
}

/// The intact part of damaged base64: up to the first invalid symbol, or to the last complete group.
pub(crate) fn whole_base64(bytes: &[u8], limit: usize) -> Vec<u8> {
    let is_symbol = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let symbols = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).take_while(is_symbol);
    let symbols: Vec<u8> = symbols.collect();
    decode_base64(&symbols[..symbols.len() / 4 * 4], limit).unwrap_or_default()
}

/// Whether the beginning of `base64` decodes, through at most `layers` layers, to the beginning of a form that ingot
/// reads.
fn begins_as_ours(base64: &[u8], layers: usize) -> bool {
    /// How many symbols are examined: enough for `#cloud-config` in three layers of base64.
    const ENOUGH: usize = 64;

    let head: Vec<u8> = base64.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=').take(ENOUGH).collect();
    let whole_groups = &head[..head.len() / 4 * 4];
    let Ok(decoded) = decode_base64(whole_groups, ENOUGH) else { return false };
    let content = decoded.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&decoded);
    is_gzip(content)
        || is_zstd(content)
        || content.starts_with(b"#ingot")
        || content.starts_with(b"#cloud-config")
        || begins_as_message(content)
        || layers > 1 && is_base64(content) && begins_as_ours(content, layers - 1)
}

/// Why data could not be unwrapped: an [`EncodingError`] without the name of its part.
#[derive(Debug)]
pub(crate) enum Fault {
    TooDeep,
    TooLarge,
    Corrupt(Encoding, Box<dyn Error + Send + Sync>),
}

impl Fault {
    pub(crate) fn of(self, part: &str) -> EncodingError {
        let part = part.to_owned();
        match self {
            Self::TooDeep => EncodingError::TooDeep { part },
            Self::TooLarge => EncodingError::TooLarge { part },
            Self::Corrupt(encoding, source) => EncodingError::Corrupt { part, encoding, source },
        }
    }
}
