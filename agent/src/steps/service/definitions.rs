//! The sources of units: unit files, which a document may write, and systemd's generators.
//!
//! Generators create units from other files. They only run when systemd starts, and when it is told to reload
//! everything; a unit file that systemd has not looked for before, it finds by itself.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::Path;

use super::trouble::{ServiceError, show};
use crate::address::Address;
use crate::failure::Objection;
use crate::gather::Gather as _;
use crate::host::Unit;
use crate::host::units::file::{drop_in_directories, template_of};
use crate::step::{Context, Written};

/// The inputs of generators: those of systemd, of Podman (Quadlet), and of other packages.
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

/// The directories of unit files that a document may write.
const UNIT_DIRECTORIES: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];

/// The finished steps whose results a generator could turn into a unit if it ran now: files that generators read, and
/// steps that may write any file.
pub(super) fn inputs(done: BTreeSet<Address>) -> BTreeSet<Address> {
    let is_input = |address: &Address| match address.kind() {
        "files" => GENERATOR_INPUTS.iter().any(|input| Path::new(address.key()).starts_with(input)),
        "commands" | "bundles" => true,
        _ => false,
    };
    done.into_iter().filter(is_input).gather()
}

/// Makes systemd reload its unit files, unless another service of this boot has done so in the meantime.
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

/// Rejects a unit that systemd has not loaded.
pub(super) fn loaded(key: &str, unit: &Unit, generated: bool) -> Result<(), ServiceError> {
    let key = key.to_owned();
    match unit.load.as_str() {
        "loaded" => Ok(()),
        "not-found" => Err(ServiceError::NotFound { unit: key, generated }),
        "masked" => Err(ServiceError::Masked { unit: key }),
        load => Err(ServiceError::NotLoaded { unit: key, load: load.to_owned() }),
    }
}

/// The advice for reloading a service whose unit file in the document does not define how. It is not an error, because
/// a drop-in in the image may define it, which only the boot can find out.
pub(super) fn reload_advice(key: &str, written: &Written<'_>) -> Option<Objection> {
    // A mount is reloaded by remounting it.
    if !key.ends_with(".service") {
        return None;
    }
    let template = template_of(key);
    let names = || std::iter::once(key).chain(template.as_deref());
    let unit_files = names().flat_map(|name| UNIT_DIRECTORIES.map(|directory| format!("{directory}/{name}")));
    let (file, text) = unit_files.into_iter().find_map(|path| Some((path.clone(), *written.get(path.as_str())?)))?;
    let drop_ins = drop_in_directories(key).into_iter().flat_map(|own| UNIT_DIRECTORIES.map(|directory| format!("{directory}/{own}/")));
    let mut drop_ins = drop_ins.flat_map(|directory| {
        let from_here = written.range::<str, _>((Bound::Included(directory.as_str()), Bound::Unbounded));
        from_here.take_while(|(path, _)| path.starts_with(&directory)).map(|(_, text)| *text).collect::<Vec<_>>()
    });
    (lacks_a_reload(text) && drop_ins.all(lacks_a_reload)).then(|| {
        let hint = format!("give {file} an ExecReload=, if no drop-in of the image has one");
        Objection::new(format!("{key} can be reloaded only if the image has an ExecReload= for it: {file} has none"), hint)
    })
}

/// Whether no line defines how to reload. Also false for a template in which values supply whole lines, because these
/// are unknown.
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

    /// The advice about reloading `key` for a document that writes these files.
    fn advised(key: &str, files: &[(&str, &str)]) -> Option<String> {
        let files = files.iter().copied().collect();
        reload_advice(key, &Written::new(Box::new(move || files))).map(|advice| advice.message)
    }

    /// Regression: this was an error, although a drop-in in the image may supply what the unit file in the document
    /// lacks.
    #[test]
    fn it_is_told_of_a_unit_of_the_document_that_it_does_not_say_how_it_is_reloaded() {
        let unit = ("/etc/systemd/system/x.service", "[Service]\nExecStart={{values.x}}\n");
        let said = "x.service can be reloaded only if the image has an ExecReload= for it: /etc/systemd/system/x.service has none";
        assert_eq!(advised("x.service", &[unit]).as_deref(), Some(said));
        assert_eq!(advised("x.service", &[]), None, "it is in the image");
        let reload = "[Service]\nExecReload=/x\n";
        assert_eq!(advised("x.service", &[unit, ("/etc/systemd/system/x.service.d/a.conf", reload)]), None);
        assert!(advised("x.service", &[unit, ("/etc/systemd/system/x.service.d/a.conf", "[Service]\nUser=x\n")]).is_some());
        for directory in ["/etc/systemd/system/shop-.service.d", "/usr/lib/systemd/system/service.d"] {
            let drop_in = format!("{directory}/a.conf");
            let files = [("/etc/systemd/system/shop-web.service", "[Service]\n"), (drop_in.as_str(), reload)];
            assert_eq!(advised("shop-web.service", &files), None, "{directory}");
        }
        assert_eq!(advised("x.service", &[(unit.0, "[Service]\nType=notify-reload\n")]), None);
        assert_eq!(advised("x.service", &[(unit.0, "[Service]\n{{values.more}}\n")]), None, "who knows");
        let template = [("/etc/systemd/system/x@.service", "[Service]\n")];
        assert!(advised("x@1.service", &template).is_some() && advised("y@1.service", &template).is_none());
    }

    /// Regression: it was rejected for lacking an ExecReload=, which no mount has.
    #[test]
    fn a_mount_is_reloaded_without_being_told_how() {
        assert_eq!(advised("srv.mount", &[("/etc/systemd/system/srv.mount", "[Mount]\nWhat=/dev/sdf\nWhere=/srv\n")]), None);
    }
}
