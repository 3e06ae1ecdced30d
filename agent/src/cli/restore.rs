//! Shared by `ingot restore-mounts` and `ingot restore-applications`, which restore what is
//! remembered of this instance before there is a network.

use std::path::PathBuf;
use std::rc::Rc;

use crate::cli::output::talk;
use crate::exit::Exit;
use crate::failure::{Explanation, Failure};
use crate::host::files::DiskFiles;
use crate::host::lock::{BOOT, Lock, LockError};
use crate::host::state::Record;
use crate::host::{Host, identity};

/// This machine, and what is remembered of the instance that it is. Holds the lock, so that no
/// other ingot changes the machine.
pub(super) struct Remembered {
    pub(super) host: Host,
    pub(super) record: Record,
    _lock: Lock,
}

impl Remembered {
    /// `None` if there is nothing to do here: a boot is running and does the same, or only the
    /// metadata service knows which instance this is.
    pub(super) async fn open(root: Option<PathBuf>) -> Result<Option<Self>, Explanation> {
        let explained = |error: &dyn Failure| Explanation::of(error);
        let disk = Rc::new(DiskFiles::new(root.clone()));
        let lock = match Lock::take(BOOT.as_ref(), &disk).await {
            Ok(lock) => lock,
            Err(LockError::Held { .. }) => return Ok(None),
            Err(error) => return Err(explained(&error)),
        };
        let Some(id) = identity::dmi(&*disk).await else {
            talk(
                "nothing was restored: the firmware of this machine does not report an instance ID; `ingot boot` reads it from the instance metadata service, and restores everything",
            );
            return Ok(None);
        };
        let host = Host { files: disk.clone(), ..Host::this_machine(root) };
        let record = Record::load(disk, host.users.own(), &id).await.map_err(|error| explained(&error))?;
        Ok(Some(Self { host, record, _lock: lock }))
    }
}

/// Prints what could not be restored. The exit code says whether everything was.
pub(super) fn told(troubles: &[String]) -> Exit {
    troubles.iter().for_each(|trouble| talk(trouble));
    if troubles.is_empty() {
        return Exit::Done;
    }
    talk("  hint: the next `ingot boot` retries and gives details");
    Exit::Failed
}
