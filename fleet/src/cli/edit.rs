//! Another text for fleet.yaml, written only when the user has agreed to what it is for, and taken back if that fails.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::input;
use super::output::talk;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;

/// One edit of fleet.yaml.
#[derive(Debug)]
pub(super) struct Edit {
    file: PathBuf,
    former: String,
    new: String,
    is_made: Cell<bool>,
}

impl Edit {
    pub(super) fn new(file: &Path, former: String, new: String) -> Self {
        Self { file: file.to_owned(), former, new, is_made: Cell::new(false) }
    }

    /// Writes the new text, once. What somebody else has written meanwhile stays.
    pub(super) fn make(&self) -> Result<(), Failure> {
        if self.is_made.get() || self.new == self.former {
            return Ok(());
        }
        if self.text()? != self.former {
            return Err(Failure::new(Exit::Failed, format!("{} was changed meanwhile", self.file.display()))
                .hint("run it again: it edits the file as it is now"));
        }
        self.write(&self.new)?;
        self.is_made.set(true);
        Ok(())
    }

    /// Says that the new text stays, if it was written.
    pub(super) fn keep(&self) {
        if self.is_made.get() {
            talk(&format!("{} keeps the new properties", self.file.display()));
        }
    }

    /// Brings the former text back, unless somebody has changed it meanwhile.
    pub(super) fn take_back(&self) -> Result<(), Failure> {
        if !self.is_made.get() {
            return Ok(());
        }
        let name = self.file.display();
        if self.text()? != self.new {
            talk(&format!("{name} was changed meanwhile, and keeps the new properties: take them out by hand"));
            return Ok(());
        }
        self.write(&self.former)?;
        talk(&format!("{name} is as it was before"));
        Ok(())
    }

    fn text(&self) -> Result<String, Failure> {
        input::text(&self.file).map_err(Failure::told)
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        files::replace(&self.file, text.as_bytes()).map_err(|why| {
            Failure::new(Exit::Failed, format!("cannot write {}", self.file.display()))
                .why(why)
                .hint("make the file and its directory writable")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_text_comes_back_unless_somebody_has_changed_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fleet.yaml");
        let text = || std::fs::read_to_string(&file).unwrap();
        let edit = || Edit::new(&file, "former".into(), "new".into());
        std::fs::write(&file, "former").unwrap();
        edit().take_back().unwrap();
        assert_eq!(text(), "former", "nothing was written, so nothing is taken back");
        let made = edit();
        made.make().unwrap();
        assert_eq!(text(), "new");
        made.make().unwrap();
        made.take_back().unwrap();
        assert_eq!(text(), "former");
        let made = edit();
        made.make().unwrap();
        std::fs::write(&file, "of somebody else").unwrap();
        made.take_back().unwrap();
        assert_eq!(text(), "of somebody else");
    }

    #[test]
    fn what_somebody_has_written_meanwhile_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fleet.yaml");
        std::fs::write(&file, "of somebody else").unwrap();
        let failure = Edit::new(&file, "former".into(), "new".into()).make().unwrap_err();
        assert!(failure.to_string().contains("was changed meanwhile") && failure.exit == Exit::Failed, "{failure}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "of somebody else");
    }
}
