//! A machine in memory: it returns what was put in, and what was never put in does not exist.
//!
//! It serves the tests, and `ingot dry-run`, which boots it in place of the real machine. Half of the files below are
//! its parts; the other half implement the traits of [`host`](crate::host) and [`net`](crate::net).
//!
//! | part | state | traits |
//! |---|---|---|
//! | `tree` | files and directories | `file`, `directory`, `reading` |
//! | `programs` | programs | `command` |
//! | `manager` | systemd units | `unit` |
//! | `accounts` | users | `user` |
//! | `storage` | disks and mounts | `disk` |
//! | `listeners` | services that are probed, and their sockets | `probe`, `sockets`, `holds` |
//! | `network` | databases | `database` |
//! | `life` | the process | `clock` |

mod accounts;
mod clock;
mod command;
mod database;
mod directory;
mod disk;
mod file;
mod holds;
mod life;
mod listeners;
mod lock;
mod manager;
mod network;
mod probe;
mod programs;
mod reading;
mod snapshot;
mod sockets;
mod storage;
mod tree;
mod unit;
mod user;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use tokio::time::Instant;

use self::accounts::Accounts;
use self::life::Life;
use self::listeners::Listeners;
pub(crate) use self::manager::FakeUnit;
use self::manager::Manager;
pub(crate) use self::network::{FakeDatabase, Network};
use self::programs::Programs;
pub(crate) use self::programs::{Outcome, Ran};
pub(crate) use self::snapshot::Snapshot;
use self::storage::Storage;
pub(crate) use self::storage::UNKNOWN_DISK;
use self::tree::Tree;
use crate::host::disks::{Content, Origin};
use crate::host::{Attributes, Clock, Host, HostError, User};
use crate::net::Net;

/// The instance id that a new machine reports.
pub(crate) const INSTANCE: &str = "i-0123456789abcdef0";

/// A machine, cheap to clone: all clones refer to the same machine.
#[derive(Clone)]
pub(crate) struct FakeMachine(Rc<Machine>);

struct Machine {
    tree: RefCell<Tree>,
    units: RefCell<Manager>,
    programs: RefCell<Programs>,
    accounts: RefCell<Accounts>,
    listeners: RefCell<Listeners>,
    storage: RefCell<Storage>,
    network: RefCell<Network>,
    boots: Cell<u32>,
    /// The number of bytes that may still be written.
    free: Cell<u64>,
    /// Whether any archive is accepted as the requested one, whatever its digest.
    any_archive: Cell<bool>,
    /// Files that every invented release contains or, with `None`, lacks, besides its Procfile.
    of_releases: RefCell<Vec<(String, Option<String>)>>,
    switched_on: Instant,
    /// The process that holds the boot lock.
    boot_lock: Cell<Option<u32>>,
    /// The claims that processes hold.
    claimed: RefCell<BTreeSet<String>>,
    life: Life,
}

impl FakeMachine {
    /// An EC2 instance as it comes from its image: the usual directories, root, systemd, and nothing running. By
    /// default, every program succeeds, every unit exists, and every probe is answered.
    pub(crate) fn new_instance() -> Self {
        let machine = Self(Rc::new(Machine {
            tree: RefCell::default(),
            units: RefCell::default(),
            programs: RefCell::default(),
            accounts: RefCell::default(),
            listeners: RefCell::default(),
            storage: RefCell::default(),
            network: RefCell::default(),
            boots: Cell::new(1),
            free: Cell::new(1 << 40),
            any_archive: Cell::default(),
            of_releases: RefCell::default(),
            switched_on: Instant::now(),
            boot_lock: Cell::default(),
            claimed: RefCell::default(),
            life: Life::default(),
        }));
        for directory in
            ["/dev", "/etc/ingot", "/home", "/opt", "/root", "/run", "/srv", "/tmp", "/usr/bin", "/usr/local/bin", "/var/lib", "/var/log"]
        {
            machine.add_directory(directory);
        }
        machine.add_file("/dev/null", "");
        machine.add_file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        machine.add_file("/sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
        machine.add_file("/sys/class/dmi/id/board_asset_tag", &format!("{INSTANCE}\n"));
        machine.name_boot();
        machine
    }

    /// The same, for a document whose machine is not available: every user and group exists, with a made-up number;
    /// every disk that is waited for appears; every archive is accepted as the right one.
    pub(crate) fn rehearsal() -> Self {
        let machine = Self::new_instance();
        machine.0.accounts.borrow_mut().anyone = true;
        machine.0.storage.borrow_mut().anything = true;
        machine.0.any_archive.set(true);
        machine
    }

    pub(crate) fn host(&self) -> Host {
        Host {
            files: Rc::new(self.clone()),
            commands: Rc::new(self.clone()),
            units: Rc::new(self.clone()),
            users: Rc::new(self.clone()),
            disks: Rc::new(self.clone()),
            mounts: Rc::new(self.clone()),
            reading: Rc::new(self.clone()),
            directories: Rc::new(self.clone()),
            sockets: Rc::new(self.clone()),
            clock: Rc::new(self.clone()),
        }
    }

    pub(crate) fn net(&self) -> Net {
        Net { probes: Rc::new(self.clone()), databases: Rc::new(self.clone()), holds: Rc::new(self.clone()) }
    }

    /// Adds a file as the image would: owned by root, mode 0644, with its parent directories. Not counted as a change.
    pub(crate) fn add_file(&self, path: &str, content: &str) {
        self.0.tree.borrow_mut().add_file(Path::new(path), content.as_bytes());
    }

    pub(crate) fn add_directory(&self, path: &str) {
        self.0.tree.borrow_mut().add_directory(Path::new(path));
    }

    pub(crate) fn add_link(&self, path: &str, target: &str) {
        self.0.tree.borrow_mut().add_link(Path::new(path), Path::new(target));
    }

    /// The content and the attributes of a file; `None` if it does not exist.
    pub(crate) fn file(&self, path: &str) -> Option<(String, Attributes)> {
        self.0.tree.borrow().file(Path::new(path))
    }

    /// The path of every file.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.0.tree.borrow().files()
    }

    /// Adds a unit, or replaces the unit of that name.
    pub(crate) fn add_unit(&self, unit: FakeUnit) {
        self.0.units.borrow_mut().add(unit);
    }

    /// How often a unit was started and reloaded since this machine was created. A restart counts as a start.
    pub(crate) fn starts_and_reloads(&self, unit: &str) -> (u32, u32) {
        self.0.units.borrow().starts_and_reloads(unit)
    }

    /// How often unit files were reloaded.
    pub(crate) fn readings(&self) -> u32 {
        self.0.units.borrow().readings
    }

    /// The number of units that each query to systemd asked for.
    pub(crate) fn asked(&self) -> Vec<usize> {
        self.0.units.borrow().asked.clone()
    }

    pub(crate) fn add_user(&self, name: &str, uid: u32) -> User {
        self.0.accounts.borrow_mut().add(name, uid)
    }

    /// Sets what happens when `program` is run. `program` is the first element of argv, or its file name.
    pub(crate) fn on_command(
        &self,
        program: &str,
        outcome: impl Fn(&crate::host::Invocation, crate::host::OnLine<'_>) -> Outcome + 'static,
    ) {
        self.0.programs.borrow_mut().on(program, outcome);
    }

    /// Every program run since this machine was created, in order.
    pub(crate) fn ran(&self) -> Vec<Ran> {
        self.0.programs.borrow().ran.clone()
    }

    /// Binds a probe's URL or `host:port` to a unit: the probe is answered while the unit is active.
    pub(crate) fn add_listener(&self, at: &str, unit: &str) {
        self.0.listeners.borrow_mut().bind(at, unit);
    }

    /// Answers a URL with `status`, whichever units are running.
    pub(crate) fn add_answer(&self, url: &str, status: u16) {
        self.0.listeners.borrow_mut().answer(url, status);
    }

    /// The network whose databases this machine reaches.
    pub(crate) fn network(&self) -> Network {
        self.0.network.borrow().clone()
    }

    /// Moves this machine to another network, with other databases.
    pub(crate) fn join(&self, network: Network) {
        self.0.network.replace(network);
    }

    /// Attaches a disk of `size` bytes; the kernel gives it the next free name.
    pub(crate) fn plug(&self, origin: Origin, attached_as: Option<&str>, size: u64, content: Content) {
        self.0.storage.borrow_mut().plug(origin, attached_as, size, content);
    }

    pub(crate) fn unplug(&self, volume: &str) {
        self.0.storage.borrow_mut().unplug(volume);
    }

    /// Detaches every disk, which makes this another machine with the same root.
    pub(crate) fn unplug_all(&self) {
        self.0.storage.borrow_mut().unplug_all();
    }

    /// Reboots it: /run and /tmp are empty, nothing runs or is mounted, disks have other names, and all other files
    /// remain.
    pub(crate) fn reboot(&self) {
        self.restart_process();
        self.0.tree.borrow_mut().clear(&[Path::new("/run"), Path::new("/tmp")]);
        self.0.units.borrow_mut().stop_all();
        self.0.storage.borrow_mut().reboot();
        self.0.boots.set(self.0.boots.get() + 1);
        self.name_boot();
    }

    /// Replaces a killed process by a new one, in the same boot.
    pub(crate) fn restart_process(&self) {
        self.0.life.begin_anew();
    }

    /// How many operations have changed this machine. Operations that had nothing to change, or failed, do not count.
    pub(crate) fn mutations(&self) -> u64 {
        self.0.life.changes()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.life.is_dead()
    }

    /// Everything on the machine, without times and inodes, for comparing and printing.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut lines = BTreeMap::new();
        self.0.tree.borrow().describe(&mut lines);
        self.0.units.borrow().describe(self.elapsed(), &mut lines);
        self.0.storage.borrow().describe(&mut lines);
        Snapshot(lines)
    }

    fn name_boot(&self) {
        let id = format!("00000000-0000-4000-8000-{:012}\n", self.0.boots.get());
        self.add_file("/proc/sys/kernel/random/boot_id", &id);
    }

    /// Yields to other tasks, as real operations do. Never returns if the process was killed.
    pub(crate) async fn alive(&self) {
        self.0.life.alive().await;
    }

    /// Makes a change, unless `change` has nothing to do and returns `false`. The change after which the process is to
    /// be killed takes effect but never returns. Changes that this process makes to other machines count as well.
    pub(crate) async fn change(&self, change: impl FnOnce() -> Result<bool, HostError>) -> Result<(), HostError> {
        self.0.life.change(change).await
    }
}

#[cfg(test)]
impl FakeMachine {
    /// Kills the process at the `count`th change from now: that change takes effect, and from then on no operation of
    /// any kind completes. With 0, kills it at once.
    pub(crate) fn die_after(&self, count: u64) {
        self.0.life.die_after(count);
    }

    /// Makes the next `times` runs of a mkfs program fail before they have written anything.
    pub(crate) fn fail_filesystems(&self, times: u32) {
        self.0.storage.borrow_mut().failing = times;
    }

    /// From now on, disks appear when they are plugged in, not when they are waited for.
    pub(crate) fn stop_inventing_disks(&self) {
        self.0.storage.borrow_mut().anything = false;
    }

    /// Returns when the process has been killed: `select!` it against the boot, and drop that.
    pub(crate) async fn died(&self) {
        self.0.life.died().await;
    }
}

impl fmt::Debug for FakeMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeMachine").field("mutations", &self.mutations()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINE: Attributes = Attributes { mode: 0o600, uid: 0, gid: 0 };

    async fn write(machine: &FakeMachine, path: &str) -> Result<(), HostError> {
        let staged = format!("{path}.new");
        let files = machine.host().files;
        files.stage(Path::new(&staged), b"x", MINE).await?;
        files.install(Path::new(&staged), Path::new(path)).await
    }

    #[tokio::test(start_paused = true)]
    async fn dies_in_the_change_it_was_told_to() {
        let machine = FakeMachine::new_instance();
        machine.die_after(3);
        tokio::select! {
            () = machine.died() => {}
            _ = async { write(&machine, "/etc/a").await?; write(&machine, "/etc/b").await } => panic!("it lives"),
        }
        assert!(machine.is_dead());
        assert_eq!(machine.mutations(), 3);
        assert!(machine.file("/etc/a").is_some() && machine.file("/etc/b").is_none() && machine.file("/etc/b.new").is_some());
        let late = tokio::time::timeout(Duration::from_secs(9), machine.host().files.stat(Path::new("/etc"))).await;
        assert!(late.is_err(), "a dead process asked something");

        machine.restart_process();
        write(&machine, "/etc/b").await.unwrap();
        assert!(machine.file("/etc/b").is_some() && machine.file("/etc/b.new").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reboot_keeps_files_and_nothing_else() {
        let machine = FakeMachine::new_instance();
        let host = machine.host();
        let boot = crate::host::environment::boot_id(&*host.files).await.unwrap();
        write(&machine, "/etc/a").await.unwrap();
        write(&machine, "/run/a").await.unwrap();
        host.units.start("shop.service", Duration::from_secs(1)).await.unwrap();
        machine.reboot();
        assert!(machine.file("/etc/a").is_some() && machine.file("/run/a").is_none());
        assert_eq!(host.units.show(&["shop.service".into()]).await.unwrap()[0].active, "inactive");
        assert_ne!(crate::host::environment::boot_id(&*host.files).await.unwrap(), boot);
        assert_eq!(crate::host::identity::dmi(&*host.files).await.as_deref(), Some(INSTANCE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_shows_what_changed() {
        let machine = FakeMachine::new_instance();
        let before = machine.snapshot();
        write(&machine, "/etc/a").await.unwrap();
        machine.host().units.start("shop.service", Duration::from_secs(1)).await.unwrap();
        let after = machine.snapshot();
        assert_ne!(before, after);
        assert_eq!(after.clone().without("/etc/a").without("shop.service"), before);
        let text = after.to_string();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("/etc/a") || line.contains("shop")).collect();
        assert_eq!(lines, ["/etc/a  0600 0:0 file, 1 bytes, sha256 2d711642b726…", "shop.service  active (running)"]);

        let machine_of_another = FakeMachine::new_instance();
        machine_of_another.host().units.start("shop.service", Duration::from_secs(1)).await.unwrap();
        write(&machine_of_another, "/etc/a").await.unwrap();
        assert_eq!(machine_of_another.snapshot(), after);
    }
}
