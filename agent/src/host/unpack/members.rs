//! A gzip file of any number of members, one after the other, with zeros behind them or not.
//!
//! Writers fill the last record of a tape or a pipe up with zeros, and gzip(1) takes no notice of them.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// Decompresses all members, and reads what follows them to its end.
pub(super) struct Members<R> {
    /// The member that is being read; none at the end.
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

/// What comes behind zeros; `None` if nothing does.
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
            // As gzip begins. The decoder would take what is shorter than its header for a member that is cut.
            Some(0x1f) => return Ok(Some(input)),
            Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "invalid gzip header")),
        }
    }
}
