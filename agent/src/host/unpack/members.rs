//! A gzip file with any number of concatenated members, optionally followed by zeros.
//!
//! Programs that write to tapes or pipes pad the last record with zeros, and gzip(1) ignores them.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// Decompresses all members, and reads to the end of the input.
pub(super) struct Members<R> {
    /// The member that is being read; `None` at the end.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self { member: Some(GzDecoder::new(input)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let length = member.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let rest = self.member.take().map(GzDecoder::into_inner);
            self.member = rest.map(after_zeros).transpose()?.flatten().map(GzDecoder::new);
        }
        Ok(0)
    }
}

/// Skips zeros. `None` if nothing follows them.
fn after_zeros<R: BufRead>(mut input: R) -> io::Result<Option<R>> {
    loop {
        let content = input.fill_buf()?;
        if content.is_empty() {
            return Ok(None);
        }
        let zeros = content.iter().take_while(|byte| **byte == 0).count();
        let next = content.get(zeros).copied();
        input.consume(zeros);
        match next {
            None => {}
            // The first byte of gzip. The decoder would report anything shorter than its header as a truncated member.
            Some(0x1f) => return Ok(Some(input)),
            Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "invalid gzip header")),
        }
    }
}
