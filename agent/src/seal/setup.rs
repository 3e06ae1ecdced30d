//! Whether the boot setup of an image works: ingot runs, with valid layers, and starts units
//! that exist and that nothing else starts.
//!
//! [`units`] reads units, [`start`] combines them, [`presets`] says what a first boot would enable, [`binary`] checks
//! ingot itself, and [`layers`] the layers of the boot document in the image. Nothing is run or changed.

pub(super) mod binary;
mod found;
mod layers;
pub(crate) mod presets;
mod start;
mod units;

use std::path::Path;

pub(crate) use self::binary::{BINARY, BINARY_LIMIT};
pub(crate) use self::found::Setup;
use self::found::finding;
use self::layers::Asked;
use self::start::{How, Pull, Start};
use self::units::{Unit, Units};
use crate::host::{Files, HostError};
use crate::image::scrub::{Scrubber, Spot};
use crate::seal::finding::Finding;

/// The template unit of workers.
const TEMPLATE: &str = "ingot-worker@.service";

/// Checks the whole boot setup of an image. `live` if the image is the machine on which this process runs.
pub(crate) async fn check(image: &Scrubber, files: &dyn Files, live: bool) -> Result<Setup, HostError> {
    let mut setup = Setup::default();
    let asked = layers::read(files, &mut setup).await?;
    let systemd = binary::systemd(image)?;
    setup.architecture = binary::architecture(image, systemd.as_deref())?;
    setup.notes.extend(no_host_keys(image)?);
    setup.findings.extend(binary::check(image, systemd.as_deref(), live)?);
    if systemd.is_none() {
        let says = "there is no systemd in the image: nothing starts ingot";
        setup.findings.push(finding("/usr/lib/systemd/systemd", None, "no-systemd", says, "install systemd in the image"));
        return Ok(setup);
    }
    let units = Units::read(image)?;
    setup.findings.extend(wrong_with_ours("ingot.service", &units.find("ingot.service")?));
    if asked.mounts {
        setup.findings.extend(wrong_with_ours("ingot-mounts.service", &units.find("ingot-mounts.service")?));
    }
    if asked.applications {
        setup.findings.extend(wrong_with_ours("ingot-applications.service", &units.find("ingot-applications.service")?));
    }
    for name in &asked.own {
        let hint = format!("install {name} of the release in /usr/lib/systemd/system");
        setup.findings.extend(not_there(name, &units.find(name)?, hint));
    }
    let started: Vec<String> = asked.units.iter().chain(&asked.workers).cloned().collect();
    let start = Start::read(&units, &started)?;
    for name in &started {
        let unit = units.find(name)?;
        setup.units.extend(unit.file.clone());
        let found = if asked.workers.contains(name) { wrong_with_worker(name, &unit) } else { wrong_with(name, &unit, &asked) };
        if unit.file.is_some() && !unit.masked {
            setup.findings.extend(wrong_in_company(name, &unit, &start)?);
        }
        setup.findings.extend(found);
    }
    for program in &asked.programs {
        if !asked.brings(program) && image.head(&Spot::of(program), 1)?.is_none() {
            setup.notes.push(format!("a layer runs {}, which is not in the image", program.display()));
        }
    }
    Ok(setup)
}

/// An image has no host keys, so something has to create those of each instance.
fn no_host_keys(image: &Scrubber) -> Result<Option<String>, HostError> {
    let makers = [
        "/usr/bin/cloud-init",
        "/usr/lib/systemd/system/*keygen*",
        "/usr/lib/systemd/system/*host-key*",
        "/etc/systemd/system/*keygen*",
        "/etc/systemd/system/*host-key*",
    ];
    let mut is_made = image.matching("/usr/sbin/sshd")?.is_empty();
    for maker in makers {
        is_made = is_made || !image.matching(maker)?.is_empty();
    }
    Ok((!is_made).then(|| "nothing in the image creates new host keys: sshd will not start; add a unit that runs `ssh-keygen -A`".into()))
}

/// A finding if a unit of ingot's own does not exist.
fn not_there(name: &str, unit: &Unit, hint: String) -> Option<Finding> {
    let installed = Path::new("/usr/lib/systemd/system").join(name);
    let Some(file) = &unit.file else {
        return Some(finding(installed, None, "unit-missing", format!("{name} is not in the image"), hint));
    };
    unit.masked.then(|| finding(file, None, "unit-masked", format!("{name} is masked"), format!("run `systemctl unmask {name}`")))
}

/// What is wrong with a unit of ingot's own that systemd starts.
fn wrong_with_ours(name: &str, unit: &Unit) -> Option<Finding> {
    let hint = format!("install {name} of the release in /usr/lib/systemd/system, and run `systemctl enable {name}`");
    if let Some(found) = not_there(name, unit, hint) {
        return Some(found);
    }
    let file = unit.file.as_ref()?;
    let is_enabled = unit.enabled_by.is_some() || unit.enabled_by_preset;
    (!is_enabled).then(|| {
        let says = format!("{name} is not enabled: no boot starts it");
        finding(file, None, "unit-disabled", says, format!("run `systemctl enable {name}`"))
    })
}

/// What is wrong with the unit of a worker: an instance of a template unit of ingot's own, which ingot starts.
fn wrong_with_worker(name: &str, unit: &Unit) -> Vec<Finding> {
    let (path, says, hint) = match &unit.file {
        None => (
            Path::new("/usr/lib/systemd/system").join(TEMPLATE),
            format!("{TEMPLATE} is not in the image, but ingot has to start {name}"),
            format!("install {TEMPLATE} of the release in /usr/lib/systemd/system; do not enable it"),
        ),
        Some(file) if unit.masked => {
            (file.clone(), format!("it is masked, but ingot has to start {name}"), format!("run `systemctl unmask {name} {TEMPLATE}`"))
        }
        Some(_) => return wrong_with(name, unit, &Asked::default()),
    };
    let rule = if unit.masked { "unit-masked" } else { "unit-missing" };
    vec![finding(path, None, rule, says, hint)]
}

/// What is wrong with a unit that ingot starts.
fn wrong_with(name: &str, unit: &Unit, asked: &Asked) -> Vec<Finding> {
    let Some(file) = &unit.file else {
        let path = Path::new("/etc/systemd/system").join(name);
        let says = format!("ingot has to start services.{name}, but there is no such unit in the image");
        let hint = "install the package that contains it, or put the unit into /etc/systemd/system";
        return if asked.brings_unit(name) { Vec::new() } else { vec![finding(path, None, "unit-missing", says, hint)] };
    };
    if unit.masked {
        let says = format!("{name} is masked, but ingot has to start services.{name}");
        return vec![finding(file, None, "unit-masked", says, format!("run `systemctl unmask {name}`"))];
    }
    let mut findings = Vec::new();
    if let Some(link) = &unit.enabled_by {
        let says = format!("{name} is enabled on its own, and may start before ingot has prepared what it needs");
        findings.push(finding(link, None, "unit-enabled", says, format!("run `systemctl disable {name}`: ingot starts it")));
    } else if unit.enabled_by_preset {
        let says = format!("no preset disables {name}, and /etc/machine-id asks for a first boot, which enables it");
        let hint =
            "make /etc/machine-id an empty file, as `ingot seal --scrub` does with an existing file, or disable the unit with a preset";
        findings.push(finding(file, None, "unit-enabled", says, hint));
    }
    findings
}

/// What is wrong with a unit that ingot starts because of other units.
fn wrong_in_company(name: &str, unit: &Unit, start: &Start<'_>) -> Result<Vec<Finding>, HostError> {
    let mut findings = Vec::new();
    let is_enabled = unit.enabled_by.is_some() || unit.enabled_by_preset;
    if let Some((starter, Pull { path, line, how })) = start.starter(name)?.filter(|_| !is_enabled) {
        let (does, hint) = match how {
            How::Along => ("pulls it in", format!("remove {name} from this line, or run `systemctl disable {starter}`")),
            How::Triggered => ("activates it", format!("run `systemctl disable {starter}`, and add {starter} to `services:`")),
            How::Also => {
                ("enables it at the first boot (Also=)", format!("remove {name} from this line, or disable {starter} with a preset"))
            }
        };
        let says = format!("{name} may start before ingot has configured it: {starter} starts at boot and {does}");
        findings.push(finding(path, Some(*line), "unit-enabled", says, hint));
    }
    if let Some(deadlock) = start.deadlock(name)? {
        let (after, path, line) = deadlock.at;
        let last = deadlock.chain.last().map_or("ingot.service", String::as_str);
        let says = match deadlock.chain.len() {
            2 => format!("{name} is ordered after {after}, which waits for it: ingot would refuse to start it"),
            _ => format!(
                "{} is ordered after {last}, which waits for it: ingot would refuse to start it",
                deadlock.chain[..deadlock.chain.len() - 1].join(" after ")
            ),
        };
        findings.push(finding(path, Some(line), "unit-after-ingot", says, format!("remove {after} from this line")));
    }
    Ok(findings)
}
