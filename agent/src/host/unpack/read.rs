//! From the bytes of an archive to its entries: detects the format, and verifies that it is the expected archive.
//!
//! Runs on a thread of its own and decompresses; the thread that writes, one step behind, is in
//! [`write`](mod@super::write).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, Cursor, Read};

use super::error::{UnpackError, broken, damaged};
use super::feed::Feed;
use super::format::{self, BEGINNING, Foreign, Format, WINDOW};
use super::members::Members;
use super::sink::Sink;
use super::{Compression, Form, Unpacking, tar, zip};
use crate::digest::Sha256;
use crate::failure::Objection;

/// Unpacks everything received. Returns digest and length of the archive; after an error, what was created is
/// incomplete.
pub(super) fn unpack(
    mut feed: Feed,
    wanted: &Unpacking,
    scratch: impl FnOnce() -> Result<File, UnpackError>,
    free: u64,
    sink: &mut Sink,
) -> Result<(Sha256, u64), UnpackError> {
    if let Form::File { name, mode, compression } = &wanted.form {
        one_file(&mut feed, name, *mode, *compression, sink)?;
    } else {
        match format::of(feed.beginning(BEGINNING).map_err(broken)?) {
            Format::Gzip => compressed(Members::new(&mut feed), "gzip", sink)?,
            Format::Zstd => compressed(zstd(&mut feed)?, "zstd", sink)?,
            Format::Zip => {
                let mut file = scratch()?;
                io::copy(&mut feed, &mut file).map_err(|error| zip::unwritten(error, wanted))?;
                let (sha256, length) = feed.finish();
                // The whole archive is in the file, so it can be verified before anything is created from it.
                verify(wanted, sha256, length)?;
                zip::unpack(file, wanted, free, sink)?;
                return Ok((sha256, length));
            }
            Format::Tar => tar::unpack(&mut feed, sink)?,
            Format::Foreign(foreign) => return Err(UnpackError::Unreadable(judged(foreign, &mut feed)?.objection(None))),
        }
    }
    if !feed.is_at_end().map_err(broken)? {
        return Err(damaged("something follows its end"));
    }
    let (sha256, length) = feed.finish();
    verify(wanted, sha256, length)?;
    Ok((sha256, length))
}

fn zstd(feed: &mut Feed) -> Result<::zstd::Decoder<'static, &mut Feed>, UnpackError> {
    let mut decoder = ::zstd::Decoder::with_buffer(feed).map_err(broken)?;
    decoder.window_log_max(WINDOW).map_err(broken)?;
    Ok(decoder)
}

/// Unpacks a compressed tar. The decompressed content may have any format, so it is checked as well.
fn compressed(mut decoder: impl Read, with: &'static str, sink: &mut Sink) -> Result<(), UnpackError> {
    let mut beginning = Vec::with_capacity(BEGINNING);
    decoder.by_ref().take(BEGINNING as u64).read_to_end(&mut beginning).map_err(broken)?;
    let foreign = match format::of(&beginning) {
        Format::Tar => return tar::unpack(Cursor::new(beginning).chain(decoder), sink),
        Format::Gzip => Foreign::Known("a gzip file", "compress it once"),
        Format::Zstd => Foreign::Known("a zstd file", "compress it once"),
        Format::Zip => Foreign::Known("a zip", "publish the zip as it is"),
        Format::Foreign(foreign) => foreign,
    };
    Err(UnpackError::Unreadable(foreign.objection(Some(with))))
}

/// Writes the content as the only file.
fn one_file(feed: &mut Feed, name: &str, mode: u32, compression: Option<Compression>, sink: &mut Sink) -> Result<(), UnpackError> {
    let format = format::of(feed.beginning(BEGINNING).map_err(broken)?);
    match (compression, format) {
        (_, Format::Foreign(_)) if feed.beginning(1).map_err(broken)?.is_empty() => {
            Err(UnpackError::Unreadable(Objection::new("this is an empty file", "publish the release again, and look at its size")))
        }
        (None, _) => sink.only_file(name, mode, feed),
        (Some(Compression::Gzip), Format::Gzip) => sink.only_file(name, mode, &mut Members::new(feed)),
        (Some(Compression::Zstd), Format::Zstd) => sink.only_file(name, mode, &mut zstd(feed)?),
        (Some(compression), _) => {
            let what = match compression {
                Compression::Gzip => "gzip",
                Compression::Zstd => "zstd",
            };
            let message = format!("this is not {what}, though it is named so");
            Err(UnpackError::Unreadable(Objection::new(message, "publish it under a name that says what it is")))
        }
    }
}

/// Refines the result: the last part of a split zip has no signature at its beginning, but it ends with the central
/// directory.
fn judged(foreign: Foreign, feed: &mut Feed) -> Result<Foreign, UnpackError> {
    if !matches!(foreign, Foreign::NoArchive("something else")) {
        return Ok(foreign);
    }
    let mut end = VecDeque::new();
    loop {
        let content = feed.fill_buf().map_err(broken)?;
        if content.is_empty() {
            break;
        }
        end.extend(content);
        let length = content.len();
        feed.consume(length);
        end.drain(..end.len().saturating_sub(zip::LONGEST_END));
    }
    Ok(if zip::ends_a_split_one(end.make_contiguous()) { format::SPLIT } else { foreign })
}

fn verify(wanted: &Unpacking, found: Sha256, length: u64) -> Result<(), UnpackError> {
    match (wanted.length, wanted.sha256) {
        (Some(wanted), _) if wanted != length => Err(UnpackError::Length { wanted, found: length }),
        (_, Some(wanted)) if wanted != found => Err(UnpackError::Digest { wanted, found }),
        _ => Ok(()),
    }
}
