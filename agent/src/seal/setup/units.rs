//! The units of an image according to its files: where each is, what enables it, what it is
//! ordered after, what it pulls in.
//!
//! systemd is not running there, so it cannot be queried. What generators create at boot is unknown, except for scripts
//! in /etc/init.d. What follows from all units together is determined in [`start`](super::start).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::presets;
use crate::host::units::file::{Setting, drop_in_directories, settings, template_of};
use crate::host::{FileKind, HostError};
use crate::image::scrub::{Scrubber, Spot};
use crate::sorting::Sort as _;

/// The directories of units, in order of precedence. See systemd.unit(5).
const DIRECTORIES: [&str; 4] = ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Kinds of units that may start others. See systemd.unit(5).
const UNITS: [&str; 6] = [".service", ".socket", ".target", ".timer", ".path", ".mount"];

/// Suffixes of directories next to a unit: the units linked in them are started with it.
const PULLING: [&str; 3] = [".wants", ".requires", ".upholds"];

/// Settings with the same effect.
const PULLS: [&str; 4] = ["Wants", "Requires", "BindsTo", "Upholds"];

/// The largest unit file that is read, in bytes.
const UNIT_LIMIT: u64 = 1 << 20;

/// The units according to the image.
#[derive(Debug)]
pub(super) struct Units<'a> {
    image: &'a Scrubber,
    /// The links by which a unit is started with others, by its name.
    pulled: BTreeMap<String, Vec<PathBuf>>,
    /// Aliases of units, with the names they point to.
    aliases: Vec<(String, String)>,
    /// Every name for which there is a file.
    pub(super) names: BTreeSet<String>,
    known: RefCell<BTreeMap<String, Unit>>,
}

/// A name in a unit file, with the file and line.
pub(super) type Named = (String, PathBuf, u64);

/// One unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// Its file, or the script in /etc/init.d. `None` if there is neither.
    pub(super) file: Option<PathBuf>,
    pub(super) masked: bool,
    /// The link that enables it.
    pub(super) enabled_by: Option<PathBuf>,
    /// Whether a first boot would enable it.
    pub(super) enabled_by_preset: bool,
    /// Each name in `After=`.
    pub(super) after: Vec<Named>,
    /// Each name in `Before=`.
    pub(super) before: Vec<Named>,
    /// What is started with it: `Wants=`, `Requires=`, `BindsTo=`, `Upholds=`.
    pub(super) pulls: Vec<Named>,
    /// What it starts on an event: `Service=` of a socket, `Unit=` of a timer or a path.
    pub(super) triggers: Vec<Named>,
    /// What is enabled with it: `Also=`.
    pub(super) also: Vec<Named>,
}

impl<'a> Units<'a> {
    pub(super) fn read(image: &'a Scrubber) -> Result<Self, HostError> {
        let (names, known) = (BTreeSet::new(), RefCell::default());
        let mut units = Self { image, pulled: BTreeMap::new(), aliases: Vec::new(), names, known };
        for directory in DIRECTORIES {
            let spot = Spot::below(Path::new(directory), "");
            for name in image.list(&spot)? {
                let entry = spot.join(&name);
                let name = name.to_string_lossy().into_owned();
                if PULLING.iter().any(|end| name.ends_with(end)) {
                    for pulled in image.list(&entry)? {
                        let link = entry.join(&pulled).path();
                        units.pulled.entry(pulled.to_string_lossy().into_owned()).or_default().push(link);
                    }
                } else if name.ends_with(".d") {
                    continue;
                } else if let Some(target) = image.link(&entry)?
                    && let Some(target) = target.file_name()
                    && target != "null"
                {
                    units.aliases.push((name.clone(), target.to_string_lossy().into_owned()));
                }
                if UNITS.iter().any(|end| name.ends_with(end)) {
                    units.names.insert(name);
                }
            }
        }
        Ok(units)
    }

    /// A unit by any of its names. Read only once.
    pub(super) fn find(&self, name: &str) -> Result<Unit, HostError> {
        if let Some(unit) = self.known.borrow().get(name) {
            return Ok(unit.clone());
        }
        let unit = self.search(name)?;
        self.known.borrow_mut().insert(name.to_owned(), unit.clone());
        Ok(unit)
    }

    fn search(&self, name: &str) -> Result<Unit, HostError> {
        let mut unit = Unit { enabled_by: self.pulled_by(name), ..Unit::default() };
        // An instance is described by its template, unless it has its own file.
        let template = template_of(name);
        for found in std::iter::once(name).chain(template.as_deref()) {
            for directory in DIRECTORIES {
                let spot = Spot::below(Path::new(directory), found);
                let Some(entry) = self.image.find(&spot)? else { continue };
                let link = self.image.link(&spot)?;
                unit.masked = link.as_deref() == Some(Path::new("/dev/null")) || (entry.kind == FileKind::File && entry.size == 0);
                if unit.masked {
                    return Ok(Unit { file: Some(spot.path()), ..unit });
                }
                let real = link.map_or_else(|| spot.path(), |link| spot.path().parent().unwrap_or(Path::new("/")).join(link));
                // Under an alias, it is enabled with the unit to which the alias points.
                let meant = real.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                unit.enabled_by = unit.enabled_by.or_else(|| self.pulled_by(&meant));
                return self.described(unit, name, &meant, real);
            }
        }
        self.of_init_script(unit, name)
    }

    /// Adds the settings of the file and its drop-ins. `meant` is the name of the file, which may
    /// be that of a template or of an alias's target.
    fn described(&self, mut unit: Unit, name: &str, meant: &str, file: PathBuf) -> Result<Unit, HostError> {
        let mut texts = vec![file.clone()];
        texts.extend(self.drop_ins(name, meant)?);
        let (mut is_installable, mut accepts) = (false, false);
        for path in texts {
            let content = self.image.read(&Spot::of(&path), UNIT_LIMIT)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&content);
            is_installable |= text.lines().any(|line| line.trim() == "[Install]");
            for setting in settings(&text) {
                accepts |=
                    setting.is("Socket", "Accept") && setting.words.iter().any(|(word, _)| ["yes", "true", "on", "1"].contains(word));
                take(&mut unit, &setting, &path);
            }
        }
        if unit.triggers.is_empty()
            && let Some(triggered) = triggered_by_name(name, accepts)
        {
            unit.triggers.push((triggered, file.clone(), 1));
        }
        let preset_of = template_of(name).filter(|template| template == meant).unwrap_or_else(|| name.to_owned());
        unit.enabled_by_preset = is_installable && self.begins_with_a_first_boot()? && presets::enables(&preset_of, self.image)?;
        unit.file = Some(file);
        Ok(unit)
    }

    /// The drop-ins of a unit, by all its names. A drop-in overrides those of the same name in later directories; an
    /// empty one, or a link to /dev/null, has no settings.
    fn drop_ins(&self, name: &str, meant: &str) -> Result<Vec<PathBuf>, HostError> {
        let mut found: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        let aliases = self.aliases.iter().filter(|(_, target)| target == meant).map(|(alias, _)| alias.as_str());
        let mut belonging: Vec<String> = Vec::new();
        for name in [name, meant].into_iter().chain(aliases) {
            belonging.extend(drop_in_directories(name).into_iter().filter(|one| !belonging.contains(one)).collect::<Vec<_>>());
        }
        for directory in DIRECTORIES {
            for belonging in &belonging {
                let drop_ins = Spot::below(&Path::new(directory).join(belonging), "");
                for name in self.image.list(&drop_ins)?.into_iter().filter(|name| name.extension().is_some_and(|end| end == "conf")) {
                    let path = drop_ins.join(&name).path();
                    found.entry(name).or_insert(path);
                }
            }
        }
        Ok(found.into_values().collect())
    }

    fn of_init_script(&self, mut unit: Unit, name: &str) -> Result<Unit, HostError> {
        let Some(script) = name.strip_suffix(".service") else { return Ok(unit) };
        let path = Path::new("/etc/init.d").join(script);
        if self.image.find(&Spot::of(&path))?.is_none() {
            return Ok(unit);
        }
        unit.file = Some(path);
        let started = self.image.matching(&format!("/etc/rc[2-5].d/S[0-9][0-9]{script}"))?;
        unit.enabled_by = unit.enabled_by.or_else(|| started.first().map(Spot::path));
        Ok(unit)
    }

    /// The link that starts `name`, or an alias of it, with another unit.
    fn pulled_by(&self, name: &str) -> Option<PathBuf> {
        self.names_of(name).iter().find_map(|name| self.pulled.get(*name)?.first().cloned())
    }

    /// A name, and the aliases that point to it.
    pub(super) fn names_of<'n>(&'n self, name: &'n str) -> Vec<&'n str> {
        let aliases = self.aliases.iter().filter(|(_, target)| target == name).map(|(alias, _)| alias.as_str());
        let mut names: Vec<&str> = aliases.chain([name]).collect();
        names.order();
        names
    }

    /// The unit to which an alias points.
    pub(super) fn meant_by<'n>(&'n self, name: &'n str) -> &'n str {
        self.aliases.iter().find(|(alias, _)| alias == name).map_or(name, |(_, target)| target)
    }

    /// See [`machine_id`](crate::seal::traces).
    fn begins_with_a_first_boot(&self) -> Result<bool, HostError> {
        let id = self.image.read(&Spot::of(Path::new("/etc/machine-id")), 4096)?;
        Ok(id.is_none_or(|id| id.trim_ascii() == b"uninitialized"))
    }
}

/// Adds one setting.
fn take(unit: &mut Unit, setting: &Setting<'_>, path: &Path) {
    let list = match (setting.section, setting.name) {
        ("Unit", "After") => &mut unit.after,
        ("Unit", "Before") => &mut unit.before,
        ("Unit", name) if PULLS.contains(&name) => &mut unit.pulls,
        ("Socket", "Service") | ("Timer" | "Path", "Unit") => &mut unit.triggers,
        ("Install", "Also") => &mut unit.also,
        _ => return,
    };
    list.extend(setting.words.iter().map(|(name, line)| ((*name).to_owned(), path.to_owned(), *line as u64)));
}

/// What a socket, a timer or a path without an explicit unit starts. `accepts` says whether
/// each connection has its own instance.
fn triggered_by_name(name: &str, accepts: bool) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    match kind {
        "socket" if accepts => Some(format!("{stem}@.service")),
        "socket" | "timer" | "path" => Some(format!("{stem}.service")),
        _ => None,
    }
}
