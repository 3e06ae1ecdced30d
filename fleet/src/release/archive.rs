//! Archives, judged by the code that instances unpack with: read to their end, known by their bytes and not by their name.

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::path::Path;

use crate::exit::Exit;
use crate::failure::Failure;

/// What instances make of an archive: its format, and what an operator should know. `from` is what it was made of.
pub(crate) fn judge(file: &mut File, from: &Path) -> Result<(&'static str, Vec<String>), Failure> {
    let unread = |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot read {}", from.display())).because(&error);
    let length = file.metadata().map_err(unread)?.len();
    let scratch = tempfile::tempfile().map_err(unread)?;
    let judged = ingot::bundled::judge_archive(BufReader::new(&*file), length, scratch).map_err(|refusal| {
        let failure = Failure::new(Exit::Failed, format!("{} is no release", from.display())).why(refusal.message);
        match refusal.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    file.rewind().map_err(unread)?;
    Ok((judged.format, judged.warnings))
}
