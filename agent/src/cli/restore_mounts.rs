//! `ingot restore-mounts`: what the last boot mounted comes back, before there is a network.
//!
//! For `ingot-mounts.service`, which runs before `local-fs.target`. `ingot boot` does the same at its beginning.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::cli::output::talk;
use crate::cli::root::Root;
use crate::exit::Exit;
use crate::failure::{Explanation, Failure};
use crate::host::files::DiskFiles;
use crate::host::lock::{BOOT, Lock, LockError};
use crate::host::state::Record;
use crate::host::{Host, identity};
use crate::steps::mount::remembered;

/// The kernel finds its disks within seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// Restore the mounts of this instance's last boot, without network or document
///
/// Volumes are identified by the ID that each disk reports. No volume is restored, attached or created.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    root: Root,
}

pub(crate) async fn run(args: Args) -> Exit {
    match restore(args.root.root).await {
        Ok(troubles) if troubles.is_empty() => Exit::Done,
        Ok(troubles) => {
            troubles.iter().for_each(|trouble| talk(trouble));
            talk("  hint: the next `ingot boot` retries and gives details");
            Exit::Failed
        }
        Err(error) => {
            talk(&error.to_string());
            Exit::Failed
        }
    }
}

async fn restore(root: Option<PathBuf>) -> Result<Vec<String>, Explanation> {
    let explained = |error: &dyn Failure| Explanation::of(error);
    let disk = Rc::new(DiskFiles::new(root.clone()));
    let _lock = match Lock::take(BOOT.as_ref(), &disk).await {
        Ok(lock) => lock,
        // A boot that is at work does the same.
        Err(LockError::Held { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(explained(&error)),
    };
    // Where only the metadata service knows which instance this is, the boot itself has to ask it.
    let Some(id) = identity::dmi(&*disk).await else { return Ok(Vec::new()) };
    let host = Host { files: disk.clone(), ..Host::this_machine(root) };
    let record = Record::load(disk, host.users.own(), &id).await.map_err(|error| explained(&error))?;
    Ok(remembered::bring_back(&record, &host, PATIENCE).await)
}
