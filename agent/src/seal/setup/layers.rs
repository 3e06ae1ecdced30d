//! The boot document in an image: its layers, merged as in a boot, and their templates.
//!
//! User data is merged on top of them, and may add values and steps to which they refer. So a reference to something
//! that does not exist is only a note, unless something with a similar name exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::found::{Setup, finding};
use crate::address::Address;
use crate::document::BootDocument;
use crate::document::error::Entry;
use crate::document::source::{self, LAYERS, Layers};
use crate::gather::Gather as _;
use crate::host::{FileKind, Files, HostError};
use crate::plan::Plan;
use crate::sorting::Sort as _;
use crate::steps::worker::unit;
use crate::template::TEMPLATES;

/// What the layers require of the image.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The units they start, except those of workers.
    pub(super) units: Vec<String>,
    /// The units of workers.
    pub(super) workers: Vec<String>,
    /// Whether they mount anything.
    pub(super) mounts: bool,
    pub(super) applications: bool,
    /// The units of ingot's own that ingot starts.
    pub(super) own: Vec<&'static str>,
    /// The programs they run, if they give absolute paths.
    pub(super) programs: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
    mounted: Vec<PathBuf>,
}

impl Asked {
    /// Whether something exists at `path` once a boot has reached it.
    pub(super) fn brings(&self, path: &Path) -> bool {
        self.files.contains(path) || self.mounted.iter().any(|at| path.starts_with(at))
    }

    pub(super) fn brings_unit(&self, name: &str) -> bool {
        let directories = ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"];
        directories.iter().any(|directory| self.files.contains(&Path::new(directory).join(name)))
    }
}

pub(super) async fn read(files: &dyn Files, setup: &mut Setup) -> Result<Asked, HostError> {
    let mut layers = Layers::default();
    layers.add_directory(Path::new(LAYERS), files).await;
    setup.layers = layers.sources.keys().map(|name| PathBuf::from(&**name)).collect();
    setup.notes.append(&mut layers.passed_over);
    if layers.nodes.is_empty() && layers.mistakes.is_empty() {
        setup.notes.push(format!("there is no layer in {LAYERS}: the boot document comes from user data alone"));
        return Ok(Asked::default());
    }
    let document = BootDocument::of(layers);
    let asked = asked(&document);
    let named = document.template_paths();
    let templates = source::read_templates(&named, &[], files).await;
    setup.templates = templates.iter().filter(|(_, text)| text.is_ok()).map(|(path, _)| path.clone()).collect();
    if let Err(error) = Plan::compile(document, &templates) {
        error.entries().into_iter().for_each(|mistake| judge(mistake, setup));
    }
    for path in in_directory(Path::new(TEMPLATES), files).await?.into_iter().filter(|path| !named.contains(path)) {
        setup.notes.push(format!("no layer uses the template {}", path.display()));
    }
    Ok(asked)
}

fn judge(mistake: Entry, setup: &mut Setup) {
    let Entry { file, line, column, message, hint, may_come_later, .. } = mistake;
    let file = file.unwrap_or_else(|| LAYERS.into());
    if may_come_later {
        let place = line.map_or_else(String::new, |line| format!(":{line}"));
        setup.notes.push(format!("{file}{place}: {message}, unless user data defines it"));
        return;
    }
    let says = column.map_or_else(|| message.clone(), |column| format!("column {column}: {message}"));
    let hint = hint.unwrap_or_else(|| "correct the layer".into());
    setup.findings.push(finding(file, line.map(|line| line as u64), "layer", says, hint));
}

fn asked(document: &BootDocument) -> Asked {
    let mut asked = Asked::default();
    let of_kind = |kind: &'static str| {
        document
            .items
            .keys()
            .chain(document.broken.iter().map(|(address, _)| address))
            .filter(move |address| address.kind() == kind)
            .map(Address::key)
    };
    asked.units = of_kind("services").map(str::to_owned).collect();
    asked.workers = of_kind("workers").map(unit).collect();
    asked.mounts = of_kind("mounts").next().is_some();
    asked.applications = of_kind("applications").next().is_some();
    let of_drains = of_kind("drains").next().map(|_| "ingot-drain.service");
    // A drain orders this target between itself and units that are stopped after it.
    let beside_drains = of_drains.map(|_| "ingot-after@.target");
    asked.own = [of_drains, beside_drains].into_iter().flatten().collect();
    asked.files = of_kind("files").map(PathBuf::from).gather();
    asked.mounted = of_kind("mounts").map(PathBuf::from).collect();
    for item in document.items.values() {
        let programs = item.step.programs().into_iter().filter(|program| program.is_plain() && program.raw().starts_with('/'));
        asked.programs.extend(programs.map(|program| PathBuf::from(program.raw())));
    }
    asked
}

/// Every file below a directory.
async fn in_directory(directory: &Path, files: &dyn Files) -> Result<Vec<PathBuf>, HostError> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for name in files.list(&next).await? {
            let path = next.join(name);
            match files.stat(&path).await?.map(|stat| stat.kind) {
                Some(FileKind::Directory) => left.push(path),
                Some(_) => found.push(path),
                None => {}
            }
        }
    }
    found.order();
    Ok(found)
}
