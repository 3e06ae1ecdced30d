//! What is booted: a machine, its network, and its connection to AWS.

use std::path::PathBuf;
use std::rc::Rc;

use crate::boot::cloud::{Connect, ThisInstance};
use crate::host::clock::SystemClock;
use crate::host::files::DiskFiles;
use crate::host::lock::{BootLock, LockFile};
use crate::host::{Clock, Files, Host, environment};
use crate::net::Net;

/// The machine that one boot configures, and everything around it.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) host: Host,
    pub(crate) net: Net,
    /// The files that the user names on the command line. Not below the root that is booted.
    pub(crate) outside: Rc<dyn Files>,
    pub(crate) lock: Rc<dyn BootLock>,
    pub(crate) cloud: Rc<dyn Connect>,
}

impl Ground {
    /// The machine that this process runs on, or the one below `root`. Starts the clock of the boot.
    pub(crate) fn this_machine(root: Option<PathBuf>, variables: environment::Aws) -> Self {
        let clock: Rc<dyn Clock> = Rc::new(SystemClock::start());
        let host = Host { clock, ..Host::this_machine(root.clone()) };
        Self {
            net: Net::this_network(host.files.clone()),
            host,
            outside: Rc::new(DiskFiles::new(None)),
            lock: Rc::new(LockFile::new(DiskFiles::new(root))),
            cloud: Rc::new(ThisInstance { variables }),
        }
    }
}
