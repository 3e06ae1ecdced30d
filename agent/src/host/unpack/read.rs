//! From the bytes of an archive to what is to be made of it: which format it has, and whether it is the one that was meant.
//!
//! Runs on a thread of its own and decompresses; who writes is in [`write`](mod@super::write), one step behind.

use std::fs::File;
use std::io::{self, BufRead as _};

use super::error::{UnpackError, broken, damaged};
use super::feed::Feed;
use super::limit::WINDOW;
use super::sink::Sink;
use super::{Unpacking, tar, zip};
use crate::digest::Sha256;

/// Unpacks all that is fed. Returns digest and length of the archive; whatever was made before an error is for nothing.
pub(super) fn unpack(
    mut feed: Feed,
    wanted: &Unpacking,
    scratch: impl FnOnce() -> Result<File, UnpackError>,
    free: u64,
    sink: &mut Sink,
) -> Result<(Sha256, u64), UnpackError> {
    match looks_like(feed.fill_buf().map_err(broken)?) {
        Looks::Gzip => tar::unpack(flate2::bufread::MultiGzDecoder::new(&mut feed), sink)?,
        Looks::Zstd => {
            let mut decoder = ::zstd::Decoder::with_buffer(&mut feed).map_err(broken)?;
            decoder.window_log_max(WINDOW).map_err(broken)?;
            tar::unpack(decoder, sink)?;
        }
        Looks::Zip => {
            let mut file = scratch()?;
            io::copy(&mut feed, &mut file).map_err(|error| zip::unwritten(error, wanted))?;
            let (sha256, length) = feed.finish();
            // All of it is here before anything is made of it, so it can be verified first.
            verify(wanted, sha256, length)?;
            zip::unpack(file, wanted, free, sink)?;
            return Ok((sha256, length));
        }
        Looks::Tar => tar::unpack(&mut feed, sink)?,
        Looks::Other(like) => return Err(UnpackError::NoArchive { like }),
    }
    if !feed.is_at_end().map_err(broken)? {
        return Err(damaged("something follows its end"));
    }
    let (sha256, length) = feed.finish();
    verify(wanted, sha256, length)?;
    Ok((sha256, length))
}

fn verify(wanted: &Unpacking, found: Sha256, length: u64) -> Result<(), UnpackError> {
    match (wanted.length, wanted.sha256) {
        (Some(wanted), _) if wanted != length => Err(UnpackError::Length { wanted, found: length }),
        (_, Some(wanted)) if wanted != found => Err(UnpackError::Digest { wanted, found }),
        _ => Ok(()),
    }
}

enum Looks {
    Gzip,
    Zstd,
    Zip,
    Tar,
    Other(&'static str),
}

/// What begins so.
fn looks_like(content: &[u8]) -> Looks {
    match content {
        [] => Looks::Other("nothing at all"),
        [0x1f, 0x8b, ..] => Looks::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Looks::Zstd,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Looks::Zip,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Looks::Other("xz, which is not read here"),
        [b'B', b'Z', b'h', ..] => Looks::Other("bzip2, which is not read here"),
        [b'7', b'z', 0xbc, 0xaf, ..] => Looks::Other("7z, which is not read here"),
        [b'<', ..] => Looks::Other("HTML or XML"),
        [b'{' | b'[', ..] => Looks::Other("JSON"),
        // A tar begins with a name; one without `ustar` is of before 1988, and told by its checksum.
        _ if content.get(257..262).is_some_and(|magic| magic == b"ustar") || has_checksum(content) => Looks::Tar,
        _ if std::str::from_utf8(&content[..content.len().min(64)]).is_ok() => Looks::Other("text"),
        _ => Looks::Other("something else"),
    }
}

fn has_checksum(content: &[u8]) -> bool {
    let Some(block) = content.get(..512) else { return false };
    let header = ::tar::Header::from_byte_slice(block);
    let sum = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum::<u32>();
    header.cksum().is_ok_and(|stated| stated == sum)
}
