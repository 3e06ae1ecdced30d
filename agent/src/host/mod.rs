//! The machine this process runs on: files, commands, units, users, disks, mounts, time.
//!
//! Each part is a trait with two implementations: the real one, in the file of that name or below it, and one in
//! [`fake::machine`](crate::fake::machine), which keeps a whole machine in memory for `ingot dry-run` and the tests.
//! This module makes no decisions; the steps do.
//!
//! On a system other than Linux, where ingot checks and rehearses documents but boots nothing, a file in `elsewhere/`
//! takes the place of each file that is made of Linux's own calls. Both have the same names in them, so nothing else
//! differs; the attributes that choose are at `mod` lines of this file and of five below it.
#![expect(clippy::disallowed_methods, reason = "this module is what the rule points to")]

mod attributes;
pub(crate) mod blocking;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/calls.rs")]
pub(crate) mod calls;
pub(crate) mod clock;
pub(crate) mod commands;
mod device_number;
pub(crate) mod disks;
pub(crate) mod environment;
mod error;
pub(crate) mod files;
pub(crate) mod identity;
mod lines;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/lock.rs")]
pub(crate) mod lock;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/memory.rs")]
mod memory;
mod mountinfo;
pub(crate) mod mounts;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/opened.rs")]
pub(crate) mod opened;
pub(crate) mod outlet;
pub(crate) mod reading;
mod resident;
pub(crate) mod sockets;
pub(crate) mod startup;
pub(crate) mod state;
pub(crate) mod successor;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/tree.rs")]
pub(crate) mod tree;
// Of these files, it is the one that decides most, so its tests run on Linux, too.
#[cfg(all(test, target_os = "linux"))]
#[path = "elsewhere/tree.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use what differs from Linux")]
mod tree_elsewhere;
pub(crate) mod units;
#[cfg(all(target_arch = "x86_64", target_env = "gnu", target_feature = "crt-static", panic = "abort"))]
mod unlinked;
pub(crate) mod unpack;
pub(crate) mod users;
mod wanted;

use std::path::PathBuf;
use std::rc::Rc;

pub(crate) use attributes::{Attributes, FileKind, Stat};
pub(crate) use clock::Clock;
pub(crate) use commands::{Commands, End, Invocation, Lease, SEARCH_PATH};
pub(crate) use error::HostError;
pub(crate) use files::Files;
pub(crate) use lines::OnLine;
#[cfg(test)]
pub(crate) use units::Helper;
pub(crate) use units::{Checked, Ended, Launch, Manner, Unit, Units};
pub(crate) use users::{User, Users};

/// Everything that a step can query or change on this machine.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) files: Rc<dyn Files>,
    pub(crate) commands: Rc<dyn Commands>,
    pub(crate) units: Rc<dyn Units>,
    pub(crate) users: Rc<dyn Users>,
    pub(crate) disks: Rc<dyn disks::Disks>,
    pub(crate) mounts: Rc<dyn mounts::Mounts>,
    pub(crate) reading: Rc<dyn reading::Reading>,
    pub(crate) directories: Rc<dyn unpack::Directories>,
    pub(crate) sockets: Rc<dyn sockets::Sockets>,
    pub(crate) clock: Rc<dyn Clock>,
}

impl Host {
    /// The real machine. With a `root`, files and users are those below it; programs, units, sockets and the network
    /// are always those of the running system.
    pub(crate) fn this_machine(root: Option<PathBuf>) -> Self {
        let commands: Rc<dyn Commands> = Rc::new(commands::ProcessCommands);
        let files: Rc<dyn Files> = Rc::new(files::DiskFiles::new(root.clone()));
        Self {
            files,
            users: Rc::new(users::EtcUsers::new(root.clone())),
            reading: Rc::new(reading::threads::ThreadedReading::new(root.clone())),
            directories: Rc::new(unpack::disk::DiskDirectories::new(root.clone())),
            mounts: Rc::new(mounts::kernel::KernelMounts::new(root, Rc::clone(&commands))),
            disks: Rc::new(disks::attached::AttachedDisks::new(Rc::clone(&commands))),
            units: Rc::new(units::Systemctl::new(Rc::clone(&commands))),
            sockets: Rc::new(sockets::KernelSockets),
            clock: Rc::new(clock::SystemClock::start()),
            commands,
        }
    }
}
