//! Where units come from: unit files, which a document may write, and systemd's generators, which make units of other files.
//!
//! systemd finds a unit file by itself that it has not looked for before. Its generators run only when it starts, and when
//! it is told to read everything again.

use std::collections::BTreeSet;
use std::path::Path;

use super::trouble::{ServiceError, show};
use crate::address::Address;
use crate::failure::Objection;
use crate::host::Unit;
use crate::host::units::file::drop_in_directories;
use crate::step::{Context, Written};

/// What generators read: those of systemd, of Podman (Quadlet), and of other packages.
///
/// Source: systemd.generator(7), podman-systemd.unit(5), systemd-fstab-generator(8) and its like.
const GENERATOR_INPUTS: [&str; 14] = [
    "/etc/containers/systemd",
    "/usr/share/containers/systemd",
    "/run/containers/systemd",
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/veritytab",
    "/etc/integritytab",
    "/etc/init.d",
    "/etc/rc.local",
    "/etc/netplan",
    "/etc/systemd",
    "/run/systemd",
    "/usr/lib/systemd",
    "/usr/local/lib/systemd",
];

/// Where unit files are that a document may write.
const UNIT_DIRECTORIES: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];

/// The steps that are done of which a generator may have made a unit, had it run since: files it reads, and what may write any
/// file.
pub(super) fn inputs(done: BTreeSet<Address>) -> BTreeSet<Address> {
    let is_input = |address: &Address| match address.kind() {
        "files" => GENERATOR_INPUTS.iter().any(|input| Path::new(address.key()).starts_with(input)),
        "commands" | "bundles" => true,
        _ => false,
    };
    done.into_iter().filter(is_input).collect()
}

/// Has systemd read its unit files again, unless another service of this boot has had it do so meanwhile.
pub(super) async fn read_again(cx: &Context<'_>) -> Result<(), ServiceError> {
    let mut read = cx.world.definitions.0.lock().await;
    let written = inputs(cx.world.known.done());
    let unit = show(cx).await?;
    let is_known = unit.load != "not-found" && !unit.stale;
    let is_in_vain = unit.load == "not-found" && !read.is_empty() && written.is_subset(&read);
    if is_known || is_in_vain {
        return Ok(());
    }
    cx.waiting("for systemd to read its unit files again");
    cx.host().units.reload_definitions().await.map_err(ServiceError::Host)?;
    read.extend(written);
    Ok(())
}

/// Refuses what systemd has not loaded.
pub(super) fn loaded(key: &str, unit: &Unit, generated: bool) -> Result<(), ServiceError> {
    let key = key.to_owned();
    match unit.load.as_str() {
        "loaded" => Ok(()),
        "not-found" => Err(ServiceError::NotFound { unit: key, generated }),
        "masked" => Err(ServiceError::Masked { unit: key }),
        load => Err(ServiceError::NotLoaded { unit: key, load: load.to_owned() }),
    }
}

/// What is wrong with reloading a unit that the document itself writes: it does not say how.
pub(super) fn reload_objection(key: &str, written: &Written<'_>) -> Option<Objection> {
    let template = key.split_once('@').and_then(|(stem, rest)| Some(format!("{stem}@.{}", rest.rsplit_once('.')?.1)));
    let names: Vec<&str> = std::iter::once(key).chain(template.as_deref()).collect();
    let unit_files = || names.iter().flat_map(|name| UNIT_DIRECTORIES.map(|directory| Path::new(directory).join(name)));
    let (file, text) = unit_files().find_map(|path| Some((path.clone(), *written.get(path.as_path())?)))?;
    let directories = drop_in_directories(key);
    let drop_ins = written.iter().filter(|(path, _)| {
        let directory = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        directory.is_some_and(|directory| directories.iter().any(|known| known == directory))
    });
    let mut texts = drop_ins.map(|(_, text)| *text).chain([text]);
    texts.all(lacks_a_reload).then(|| {
        let hint = format!("give {} an ExecReload=, or use `restart_on:` instead of `reload_on:`", file.display());
        Objection::new(format!("{key} cannot be reloaded: {} has no ExecReload=", file.display()), hint)
    })
}

/// Whether no line says how to reload. Of a template, only where whole lines do not come from values.
fn lacks_a_reload(text: &str) -> bool {
    let from_values = |line: &str| line.find("{{").is_some_and(|at| !line[..at].contains('='));
    !text.contains("ExecReload") && !text.contains("notify-reload") && !text.lines().any(from_values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_generators_read() {
        let done = ["files./etc/containers/systemd/web.container", "files./etc/fstab", "files./etc/fstab.d", "files./etc/app.conf"];
        let done = done.iter().chain(&["commands.pull", "bundles.app", "services.x.service"]).map(|address| address.parse().unwrap());
        let found: Vec<String> = inputs(done.collect()).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["bundles.app", "commands.pull", "files./etc/containers/systemd/web.container", "files./etc/fstab"]);
    }

    #[test]
    fn a_unit_that_the_document_writes_has_to_say_how_it_is_reloaded() {
        let unit = (Path::new("/etc/systemd/system/x.service"), "[Service]\nExecStart={{values.x}}\n");
        let refused = |written: &[(&Path, &str)]| reload_objection("x.service", &written.iter().copied().collect()).map(|o| o.message);
        assert_eq!(refused(&[unit]).as_deref(), Some("x.service cannot be reloaded: /etc/systemd/system/x.service has no ExecReload="));
        assert_eq!(refused(&[]), None, "it is in the image, perhaps");
        let drop_in = (Path::new("/etc/systemd/system/x.service.d/a.conf"), "[Service]\nExecReload=/x\n");
        assert_eq!(refused(&[unit, drop_in]), None);
        for directory in ["shop-.service.d", "service.d"] {
            let drop_in = Path::new("/etc/systemd/system").join(directory).join("a.conf");
            let unit = Path::new("/etc/systemd/system/shop-web.service");
            let written = Written::from([(unit, "[Service]\n"), (drop_in.as_path(), "[Service]\nExecReload=/x\n")]);
            assert_eq!(reload_objection("shop-web.service", &written), None, "{directory}");
        }
        assert_eq!(refused(&[(unit.0, "[Service]\nType=notify-reload\n")]), None);
        assert_eq!(refused(&[(unit.0, "[Service]\n{{values.more}}\n")]), None, "who knows");
        let template = Written::from([(Path::new("/etc/systemd/system/x@.service"), "[Service]\n")]);
        assert!(reload_objection("x@1.service", &template).is_some() && reload_objection("y@1.service", &template).is_none());
    }
}
