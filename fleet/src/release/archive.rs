//! Archives, judged by the code that instances unpack them with: read to the end, and identified by their bytes, not
//! their name.

use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::path::Path;

use crate::exit::Exit;
use crate::failure::Failure;

/// How instances see an archive: its format, and warnings for the operator. `from` is what it was made from.
pub(crate) fn judge(file: &mut File, from: &Path) -> Result<(&'static str, Vec<String>), Failure> {
    let unread = |error: std::io::Error| Failure::new(Exit::Failed, format!("cannot read {}", from.display())).because(&error);
    let length = file.metadata().map_err(unread)?.len();
    let scratch = tempfile::tempfile().map_err(unread)?;
    let judged = ingot::bundled::judge_archive(BufReader::new(&*file), length, scratch).map_err(|refusal| {
        let failure = Failure::new(Exit::Failed, format!("{} cannot be a release", from.display())).why(refusal.message);
        match refusal.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    file.rewind().map_err(unread)?;
    Ok((judged.format, judged.warnings))
}
