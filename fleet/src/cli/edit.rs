//! Edits fleet.yaml after the user has confirmed what the edit is for, and reverts the edit if that fails. The revert
//! is made by the command that made the edit, or by the one that sees the end of its deployment.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::input;
use super::operator::Operator;
use super::output::talk;
use crate::aws::objects::Objects;
use crate::aws::records::Records;
use crate::deployment::record::State;
use crate::deployment::terms::Edited;
use crate::digest::Sha256;
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

    /// Writes the new text, once. Does not overwrite what was changed in the meantime.
    pub(super) fn make(&self) -> Result<(), Failure> {
        if self.is_made.get() || self.new == self.former {
            return Ok(());
        }
        if self.text()? != self.former {
            return Err(Failure::new(Exit::Failed, format!("{} has been changed in the meantime", self.file.display()))
                .hint("run the same command again to edit the file as it is now"));
        }
        write(&self.file, &self.new)?;
        self.is_made.set(true);
        Ok(())
    }

    /// The edit, for the command that sees the end of the deployment. `None` if nothing changes.
    pub(super) fn edited(&self) -> Option<Edited> {
        (self.new != self.former).then(|| Edited { former: self.former.clone(), new: Sha256::of(self.new.as_bytes()) })
    }

    /// Tells the user what happened to the file, unless it has its previous text.
    pub(super) fn tell(&self) -> Result<(), Failure> {
        let name = self.file.display();
        match self.text()? {
            _ if !self.is_made.get() => {}
            text if text == self.former => {}
            text if text == self.new => talk(&format!(
                "{name} keeps the new properties; if the deployment fails, the command that detects the failure restores the previous text"
            )),
            _ => talk(&format!("{name} has been changed in the meantime, and keeps the new properties: remove them by hand")),
        }
        Ok(())
    }

    /// Restores the previous text, unless the file has been changed in the meantime.
    pub(super) fn take_back(&self) -> Result<(), Failure> {
        match self.is_made.get() && self.text()? == self.new {
            true => restore(&self.file, &self.former),
            false => Ok(()),
        }
    }

    fn text(&self) -> Result<String, Failure> {
        input::text(&self.file).map_err(Failure::told)
    }
}

/// Restores the previous text of fleet.yaml if the deployment of its edit has failed. The file stays as it is if it has
/// been changed since, or if the edit was made in another directory. A failure to restore it is only a warning: the
/// deployment's result counts. Returns whether the file has changed.
pub(super) async fn undo(operator: &Operator, number: u64) -> bool {
    let Some(file) = operator.file() else { return false };
    undo_in(&operator.records(), number, file).await.unwrap_or_else(|failure| {
        talk(&format!("warning: {}; check whether {} should keep the new properties", failure.sentence(), file.display()));
        false
    })
}

async fn undo_in<O: Objects>(records: &Records<'_, O>, number: u64, file: &Path) -> Result<bool, Failure> {
    let Some(record) = records.read(number).await?.map(|kept| kept.record) else { return Ok(false) };
    if !matches!(record.state, State::Failed | State::Undone) {
        return Ok(false);
    }
    let Some(Edited { former, new }) = records.terms(&record).await?.and_then(|terms| terms.fixed.edit) else { return Ok(false) };
    if Sha256::of(input::text(file).map_err(Failure::told)?.as_bytes()) != new {
        return Ok(false);
    }
    restore(file, &former).map(|()| true)
}

/// The error after the previous text was restored and before anything was started: the text that this command has read
/// is out of date.
pub(super) fn is_taken_back(file: &Path) -> Failure {
    Failure::new(Exit::Failed, format!("nothing was started: {} has changed since it was read", file.display()))
        .hint("run the same command again")
}

fn restore(file: &Path, former: &str) -> Result<(), Failure> {
    write(file, former)?;
    talk(&format!("restored the previous text of {}", file.display()));
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    files::replace(file, text.as_bytes()).map_err(|why| {
        Failure::new(Exit::Failed, format!("cannot write {}", file.display())).why(why).hint("make the file and its directory writable")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::fake::Directory;
    use crate::deployment::record::tests::{beginner, goal};
    use crate::deployment::record::{Kind, Record};
    use crate::deployment::terms::tests::terms;
    use crate::place::Place;

    #[test]
    fn the_former_text_is_restored_unless_the_file_has_changed() {
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

    /// The command that sees the end of a deployment is often not the one that changed the file.
    #[tokio::test]
    async fn the_command_that_sees_the_failure_restores_the_former_text() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fleet.yaml");
        let (objects, place) = (Directory::new(directory.path()), Place::of_shop());
        let records = Records::new(&objects, &place, "prod");
        let edit = Edit::new(&file, "former".into(), "new".into());
        let mut terms = terms(&[]);
        terms.fixed.edit = edit.edited();
        let kept = records.keep_terms(&terms).await.unwrap();
        for (state, text, becomes) in [
            (State::UnderWay, "new", "new"),
            (State::Good, "new", "new"),
            (State::Failed, "new", "former"),
            (State::Undone, "new", "former"),
            (State::Failed, "of somebody else", "of somebody else"),
        ] {
            std::fs::write(&file, text).unwrap();
            let record = Record::begin("shop", "prod", 2, goal("v1"), beginner("ann")).on(Kind::Deploy, kept.clone());
            let record = if state == State::UnderWay { record } else { record.end(state, record.began, None) };
            objects.place("shop/environments/prod/deployments/2.json", &record.write());
            assert_eq!(undo_in(&records, 2, &file).await.unwrap(), text != becomes, "{state} {text}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), becomes, "{state} {text}");
        }
    }

    #[test]
    fn a_change_made_in_the_meantime_is_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fleet.yaml");
        std::fs::write(&file, "of somebody else").unwrap();
        let failure = Edit::new(&file, "former".into(), "new".into()).make().unwrap_err();
        assert!(failure.to_string().contains("has been changed in the meantime") && failure.exit == Exit::Failed, "{failure}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "of somebody else");
    }
}
