//! fleet.yaml, as the commands read it.

use std::path::Path;

use ingot::desk::{DocumentError, nearest};

use crate::cli::output::talk;
use crate::exit::Exit;
use crate::files;
use crate::fleet::{self, Environment, Fleet, Read};
use crate::place::Place;

/// No fleet.yaml is larger, in bytes.
const LARGEST: u64 = 4 << 20;

/// Reads fleet.yaml, mistakes included.
pub(super) fn read(file: &Path) -> Result<Read, Exit> {
    Ok(fleet::read(&file.display().to_string(), &text(file)?))
}

/// The text of fleet.yaml.
pub(super) fn text(file: &Path) -> Result<String, Exit> {
    let name = file.display();
    let content = files::read(file, LARGEST).map_err(|why| {
        talk(&format!("cannot read {name}: {why}\n  hint: run ingot-fleet in the directory of fleet.yaml, or name the file with --file"));
        Exit::Usage
    })?;
    String::from_utf8(content).map_err(|_| {
        talk(&format!("{name} is not UTF-8 text\n  hint: save it as UTF-8"));
        Exit::Document
    })
}

/// The same, but mistakes are an error.
pub(super) fn sound(file: &Path) -> Result<Read, Exit> {
    sound_text(file, &text(file)?)
}

/// What a file would be with this text.
pub(super) fn sound_text(file: &Path, text: &str) -> Result<Read, Exit> {
    let Read { fleet, sources, mistakes } = fleet::read(&file.display().to_string(), text);
    if !mistakes.is_empty() {
        talk(&DocumentError::new(mistakes, sources).to_string());
        return Err(Exit::Document);
    }
    Ok(Read { fleet, sources, mistakes })
}

/// Where releases and records are, according to a fleet.yaml without mistakes.
pub(super) fn place(file: &Path) -> Result<Place, Exit> {
    let Fleet { application, releases, .. } = sound(file)?.fleet;
    Ok(releases.place(&application))
}

/// The directory that relative paths in fleet.yaml start at.
pub(super) fn directory(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}

/// An environment by its name.
pub(super) fn environment<'f>(fleet: &'f Fleet, name: &str) -> Result<&'f Environment, Exit> {
    let names = || fleet.environments.iter().map(|environment| environment.key.name.as_str());
    fleet.environments.iter().find(|environment| environment.key.name == name).ok_or_else(|| {
        let hint = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("name one of these environments: {}", names().collect::<Vec<_>>().join(", ")),
        };
        talk(&format!("there is no environment `{name}` in fleet.yaml\n  hint: {hint}"));
        Exit::Usage
    })
}
