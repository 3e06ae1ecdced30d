//! `ingot restore-applications`: what ran before the reboot runs again, before there is a network.
//!
//! For `ingot-applications.service`, which runs before `multi-user.target`. `ingot boot` looks at the same applications later.

use std::path::PathBuf;
use std::rc::Rc;

use crate::cli::output::talk;
use crate::cli::root::Root;
use crate::exit::Exit;
use crate::failure::{Explanation, Failure};
use crate::host::files::DiskFiles;
use crate::host::lock::{BOOT, Lock, LockError};
use crate::host::state::Record;
use crate::host::{Host, environment, identity};
use crate::steps::application::{Missing, bring_back};

/// Start this instance's applications again after a reboot, without network or document
///
/// Each application runs in the release that served last. One whose environment holds a secret is started by `ingot boot`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    root: Root,
}

pub(crate) async fn run(args: Args) -> Exit {
    match restore(args.root.root).await {
        Ok(missing) => {
            missing.waiting.iter().chain(&missing.failed).for_each(|sentence| talk(sentence));
            if missing.failed.is_empty() {
                return Exit::Done;
            }
            talk("  hint: the next `ingot boot` retries and gives details");
            Exit::Failed
        }
        Err(error) => {
            talk(&error.to_string());
            Exit::Failed
        }
    }
}

async fn restore(root: Option<PathBuf>) -> Result<Missing, Explanation> {
    let explained = |error: &dyn Failure| Explanation::of(error);
    let disk = Rc::new(DiskFiles::new(root.clone()));
    let _lock = match Lock::take(BOOT.as_ref(), &disk).await {
        Ok(lock) => lock,
        // A boot that is at work does the same.
        Err(LockError::Held { .. }) => return Ok(Missing::default()),
        Err(error) => return Err(explained(&error)),
    };
    // Where only the metadata service knows which instance this is, the boot itself has to ask it.
    let Some(id) = identity::dmi(&*disk).await else { return Ok(Missing::default()) };
    let host = Host { files: disk.clone(), ..Host::this_machine(root) };
    let record = Record::load(disk, host.users.own(), &id).await.map_err(|error| explained(&error))?;
    let boot_id = environment::boot_id(&*host.files).await.unwrap_or_default();
    Ok(bring_back(&record, &host, &boot_id).await)
}
