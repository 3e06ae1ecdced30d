//! The units of an image, as its files say: where each is, what enables it, what it is ordered after.
//!
//! systemd does not run there yet, so nobody can be asked. What generators make at boot is unknown but for scripts in
//! /etc/init.d.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::presets;
use crate::host::FileKind;
use crate::host::HostError;
use crate::image::scrub::{Scrubber, Spot};

/// Where units are, the first first. See systemd.unit(5).
const DIRECTORIES: [&str; 4] = ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Directories beside a unit whose links start other units with it.
const PULLING: [&str; 3] = [".wants", ".requires", ".upholds"];

/// Unit files larger than this are none.
const UNIT_LIMIT: u64 = 1 << 20;

/// What is said of units by the image.
#[derive(Debug)]
pub(super) struct Units<'a> {
    image: &'a Scrubber,
    /// The links by which a unit is started with others, by its name.
    pulled: BTreeMap<String, Vec<PathBuf>>,
    /// Other names of units, with what they lead to.
    aliases: Vec<(String, String)>,
}

/// One unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// Its file, or the script of /etc/init.d. None where there is none.
    pub(super) file: Option<PathBuf>,
    pub(super) masked: bool,
    /// What enables it.
    pub(super) enabled_by: Option<PathBuf>,
    /// Whether a first boot would enable it.
    pub(super) enabled_by_preset: bool,
    /// Each name in `After=`, with file and line.
    pub(super) after: Vec<(String, PathBuf, u64)>,
}

impl<'a> Units<'a> {
    pub(super) fn read(image: &'a Scrubber) -> Result<Self, HostError> {
        let mut units = Self { image, pulled: BTreeMap::new(), aliases: Vec::new() };
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
                } else if let Some(target) = image.link(&entry)?
                    && let Some(target) = target.file_name()
                    && target != "null"
                {
                    units.aliases.push((name, target.to_string_lossy().into_owned()));
                }
            }
        }
        Ok(units)
    }

    pub(super) fn find(&self, name: &str) -> Result<Unit, HostError> {
        let mut unit = Unit { enabled_by: self.pulled_by(name), ..Unit::default() };
        // An instance is described by its template, unless it has a file of its own.
        let template = name.split_once('@').and_then(|(stem, rest)| Some(format!("{stem}@.{}", rest.rsplit_once('.')?.1)));
        for name in std::iter::once(name).chain(template.as_deref()) {
            for directory in DIRECTORIES {
                let spot = Spot::below(Path::new(directory), name);
                let Some(found) = self.image.find(&spot)? else { continue };
                let link = self.image.link(&spot)?;
                unit.masked = link.as_deref() == Some(Path::new("/dev/null")) || (found.kind == FileKind::File && found.size == 0);
                if unit.masked {
                    return Ok(Unit { file: Some(spot.path()), ..unit });
                }
                let real = link.map_or_else(|| spot.path(), |link| spot.path().parent().unwrap_or(Path::new("/")).join(link));
                // By another name, it is enabled with the unit that the name stands for.
                let meant = real.file_name().map(|name| name.to_string_lossy().into_owned());
                unit.enabled_by = unit.enabled_by.or_else(|| self.pulled_by(&meant?));
                return self.described(unit, name, real);
            }
        }
        self.of_init_script(unit, name)
    }

    /// Adds what the file and its drop-ins say.
    fn described(&self, mut unit: Unit, name: &str, file: PathBuf) -> Result<Unit, HostError> {
        let mut texts = vec![file.clone()];
        for directory in DIRECTORIES {
            let drop_ins = Spot::below(&Path::new(directory).join(format!("{name}.d")), "");
            let names = self.image.list(&drop_ins)?.into_iter().filter(|name| name.extension().is_some_and(|end| end == "conf"));
            texts.extend(names.map(|name| drop_ins.join(name).path()));
        }
        let mut is_installable = false;
        for path in texts {
            let content = self.image.read(&Spot::of(&path), UNIT_LIMIT)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&content);
            is_installable |= text.lines().any(|line| line.trim() == "[Install]");
            for (line, number) in text.lines().zip(1..) {
                let after = line.trim().strip_prefix("After").and_then(|rest| rest.trim_start().strip_prefix('='));
                unit.after.extend(after.into_iter().flat_map(str::split_whitespace).map(|name| (name.to_owned(), path.clone(), number)));
            }
        }
        unit.enabled_by_preset = is_installable && self.begins_with_a_first_boot()? && presets::enables(name, self.image)?;
        unit.file = Some(file);
        Ok(unit)
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
        let aliases = self.aliases.iter().filter(|(_, target)| target == name).map(|(alias, _)| alias.as_str());
        let mut names: Vec<&str> = aliases.chain([name]).collect();
        names.sort_unstable();
        names.iter().find_map(|name| self.pulled.get(*name)?.first().cloned())
    }

    /// See [`machine_id`](crate::seal::traces).
    fn begins_with_a_first_boot(&self) -> Result<bool, HostError> {
        let id = self.image.read(&Spot::of(Path::new("/etc/machine-id")), 4096)?;
        Ok(id.is_none_or(|id| id.trim_ascii() == b"uninitialized"))
    }
}
