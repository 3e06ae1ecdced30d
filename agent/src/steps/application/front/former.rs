//! Removes sites of applications without a proxy, and applications that are no longer in the document.
//!
//! These are stopped and forgotten as a change of the application that follows them: the one that needs one of their
//! ports, else the first by name. Their releases and data are kept. If nginx has to give their ports to the successor,
//! one reload exchanges both sites, and they are stopped once the successor receives requests.

use std::path::PathBuf;
use std::time::Duration;

use super::super::change::Change;
use super::super::fed::held;
use super::super::fields::Application;
use super::super::generation::Placed;
use super::super::ground::Ground;
use super::super::memory::{Memory, Moment};
use super::super::proxy::{Place, UNIT};
use super::super::slot::Slot;
use super::super::trouble::ApplicationError;
use super::super::turn::{CONFIGURES, turn};
use super::super::watch::timer;
use super::files::{self, write};
use super::taken_up::{addresses, read, served};
use crate::host::state::Record;
use crate::host::{Host, HostError};
use crate::step::{Context, Progress};

/// How long to wait for its requests to end; the document no longer says how long one may take.
const DRAIN: Duration = Duration::from_secs(60);

pub(crate) const KIND: &str = "applications";

/// An application of this instance that is no longer in the document.
pub(in super::super) struct Former {
    pub(in super::super) name: String,
    /// The generations in its slots.
    pub(in super::super) placed: Vec<Placed>,
    /// The ports of its site.
    ports: Vec<u16>,
}

impl Former {
    fn change(&self) -> Change {
        Change::Depart { application: self.name.clone(), units: self.placed.iter().flat_map(Placed::units).collect() }
    }

    /// Whether it uses one of these ports in nginx, which cannot serve both applications on it.
    pub(in super::super) fn is_in_the_way_of(&self, ports: &[u16]) -> bool {
        self.ports.iter().any(|port| ports.contains(port))
    }

    /// Whether one of its processes may listen on a port.
    pub(in super::super) fn has(&self, port: u16) -> bool {
        self.placed.iter().any(|placed| placed.port == port)
    }
}

/// Adds to an application's changes the removal of the applications that it follows: those in its way right before it
/// starts, and the others once it serves.
pub(in super::super) fn go(followed: &[Former], changes: &mut Vec<Change>, is_in_the_way: impl Fn(&Former) -> bool) {
    let (first, last): (Vec<&Former>, Vec<&Former>) = followed.iter().partition(|former| is_in_the_way(former));
    let begins = changes.iter().position(|change| matches!(change, Change::Prepare { .. })).unwrap_or_default();
    changes.splice(begins..begins, first.into_iter().map(Former::change));
    changes.extend(last.into_iter().map(Former::change));
}

impl Application {
    /// The applications that this one follows.
    pub(in super::super) async fn followed(&self, cx: &Context<'_>) -> Result<Vec<Former>, ApplicationError> {
        let present = cx.siblings.listening(KIND);
        let mut followed = Vec::new();
        for (name, record) in former(cx).await.map_err(ApplicationError::Host)? {
            let memory = memory(&record, cx);
            let placed: Vec<Placed> = Slot::BOTH.iter().filter_map(|slot| Some(memory.slot(*slot)?.0)).collect();
            let fronts = Slot::BOTH.iter().filter_map(|slot| memory.front(*slot).flatten());
            let ports: Vec<u16> = fronts.flat_map(|front| addresses(&front.site)).map(|at| at.port()).collect();
            let all: Vec<u16> = placed.iter().map(|placed| placed.port).chain(ports.iter().copied()).collect();
            let heir = present.iter().find(|(_, ports)| ports.iter().any(|port| all.contains(port))).or(present.first());
            if heir.is_some_and(|(key, _)| *key == cx.key()) {
                followed.push(Former { name, placed, ports });
            }
        }
        Ok(followed)
    }

    /// Removes the site of an application that should have no proxy, and makes nginx release its ports.
    pub(in super::super) async fn withdraw(&self, slot: Slot, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
        let lock = cx.world.claims.proxy();
        let _alone = turn(&lock, CONFIGURES, cx).await?;
        gone(cx.key(), &ground.memory, cx).await?;
        read(slot, None, ground, cx).await.map_err(ApplicationError::Host)
    }
}

/// Stops and forgets an application that is no longer in the document.
pub(in super::super) async fn depart(application: &str, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let lock = cx.world.claims.proxy();
    let record = cx.world.record.application(application).await.map_err(ApplicationError::Host)?;
    let ground = Ground { application, host: cx.host(), memory: memory(&record, cx) };
    let alone = turn(&lock, CONFIGURES, cx).await?;
    let is_there = files::on_disk(application, cx.host()).await.map_err(ApplicationError::Host)?.is_some();
    if is_there || ground.memory.next_front().is_some() {
        gone(application, &ground.memory, cx).await?;
    }
    drop(alone);
    let stopped = async {
        ground.unwatch().await?;
        for slot in Slot::BOTH {
            let Some((placed, _)) = ground.memory.slot(slot) else { continue };
            let _held = held(&placed, &[], DRAIN.min(cx.time_left()), cx).await;
            cx.waiting(format!("for the requests that {placed} still answers"));
            let limit = DRAIN.min(cx.time_left());
            if !ground.drained(slot, &placed, limit).await? {
                cx.progress(Progress::Warning(format!("{placed} still had connections after {limit:?}, and was asked to stop")));
            }
            ground.retire(slot, &placed).await?;
        }
        ground.clear_compatible().await?;
        ground.clear_images(cx.key(), &cx.world.record).await?;
        cx.host().files.remove(&Place::Current(application).path()).await?;
        files::sweep(application, &[], cx.host()).await?;
        for directory in Slot::BOTH.map(|slot| Place::Slot(application, slot).path()).into_iter().chain(own_directories(application)) {
            cx.host().directories.remove(&directory).await?;
        }
        cx.world.record.forget_application(application).await
    };
    stopped.await.map_err(ApplicationError::Host)
}

/// The directories below /run that belong to one application only.
fn own_directories(application: &str) -> [PathBuf; 2] {
    ["applications", "registries"].map(|of| format!("/run/ingot/{of}/{application}").into())
}

/// Removes a site, and makes nginx serve without it.
async fn gone(application: &str, memory: &Memory<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    memory.set_next_front(None).await.map_err(ApplicationError::Host)?;
    cx.host().files.remove(&Place::Site(application).path()).await.map_err(ApplicationError::Host)?;
    served("", cx).await
}

/// Restores the sites of previous applications that were removed for one that failed to serve.
pub(super) async fn come_back(cx: &Context<'_>) -> Result<(), HostError> {
    for (name, record) in former(cx).await? {
        let memory = memory(&record, cx);
        let front = memory.current().and_then(|slot| memory.front(slot)).flatten();
        if let Some(front) = front
            && files::on_disk(&name, cx.host()).await?.is_none_or(|site| site == files::without_front(&front.site))
        {
            write(&front, &front.site, &name, cx.host()).await?;
        }
    }
    Ok(())
}

/// The applications of this instance that are not in the document, by name.
async fn former(cx: &Context<'_>) -> Result<Vec<(String, Record)>, HostError> {
    let present = cx.siblings.listening(KIND);
    let mut found = Vec::new();
    for name in cx.world.record.applications().await? {
        if present.iter().all(|(key, _)| *key != name) {
            let record = cx.world.record.application(&name).await?;
            found.push((name, record));
        }
    }
    Ok(found)
}

/// What keeps running on an instance whose document has no application that could follow it, as sentences for the user.
pub(crate) async fn left_behind(record: &Record, host: &Host) -> Result<Vec<String>, HostError> {
    let mut sentences = Vec::new();
    for name in record.applications().await? {
        let own = record.application(&name).await?;
        let memory = Memory { record: &own, moment: Moment { boot_id: "", clock: &*host.clock } };
        let placed = Slot::BOTH.iter().filter_map(|slot| Some(memory.slot(*slot)?.0));
        let mut units: Vec<String> = placed.flat_map(|placed| placed.units().collect::<Vec<_>>()).collect();
        if !units.is_empty() {
            // The watch comes first, since it would report a stopped application as down.
            units.splice(0..0, memory.watched().map(|_| timer(&name)));
            units.extend(Slot::BOTH.iter().any(|slot| memory.front(*slot).flatten().is_some()).then(|| UNIT.to_owned()));
            sentences.push(format!(
                "the document no longer has an application, and applications.{name} still runs: run `systemctl stop {}`, and remove {}",
                units.join(" "),
                record.application_path(&name).display(),
            ));
        }
    }
    Ok(sentences)
}

fn memory<'a>(record: &'a Record, cx: &'a Context<'_>) -> Memory<'a> {
    Memory { record, moment: Moment { boot_id: &cx.world.boot_id, clock: &*cx.host().clock } }
}
