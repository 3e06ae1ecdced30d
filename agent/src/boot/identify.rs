//! Stage 1: find out which instance this is, and take the lock. Uses no network.

use std::path::Path;
use std::time::Duration;

use crate::boot::state::Boot;
use crate::boot::stop::Stop;
use crate::document::source::SIZE_LIMIT;
use crate::host::lock::{BOOT, LockError};
use crate::host::state::{Record, STATE};
use crate::host::{Files, identity};
use crate::json::of_bytes;
use crate::report::{REPORT, Report};
use crate::steps::drain::is_drained;
use crate::steps::mount::remembered;

/// How often ingot tries a lock that another process holds. It tries less often after a while,
/// because a drain may hold the lock for hours.
const LOCK_EVERY: Duration = Duration::from_millis(20);
const LOCK_SELDOM: Duration = Duration::from_secs(1);
const A_WHILE: Duration = Duration::from_secs(60);

/// How a boot obtained the lock.
enum Turn {
    /// The lock was free.
    First,
    /// Another process held it and released it. Contains the report that existed when this boot began to wait.
    After(Option<Box<Report>>),
}

/// What is known about this instance without the network.
pub(super) struct Identified {
    /// Its record, if the machine itself knows the instance id.
    pub(super) record: Option<Record>,
    /// The report of the previous boot, if that may turn out to be the same boot as this one.
    pub(super) earlier: Option<Report>,
}

impl Boot {
    pub(super) async fn identify(&self) -> Result<Identified, Stop> {
        let host = &self.ground.host;
        self.needs_disk("/sys");
        let dmi = identity::dmi(&*host.files).await;
        self.has_it();
        let dmi = self.dmi.get_or_init(|| dmi);
        self.connect().await.map_err(Stop::Failed)?;
        let turn = self.take_lock().await?;
        self.needs_disk(STATE);
        self.is_still_wanted().await?;
        // cloud-init and systemd may both start ingot in one boot of the machine. The second start
        // then has nothing to do.
        let record = match dmi {
            Some(id) => Some(self.record_of(id).await?),
            None => None,
        };
        // Mounts are restored first, because the network may not be there.
        if let Some(record) = record.as_ref().filter(|_| self.request.is_whole()) {
            self.waiting.replace(Some(("for the mounts of the last boot to be restored".into(), false)));
            let troubles = remembered::bring_back(record, host, Duration::ZERO).await;
            troubles.iter().for_each(|trouble| self.note(trouble));
            self.recorder.phase("mounts");
        }
        self.needs_disk(REPORT);
        let called_by_cloud_init = host.units.own().is_some_and(|unit| unit.starts_with("cloud-"));
        let may_be_the_same = self.request.is_whole() && (called_by_cloud_init || matches!(turn, Turn::After(_)));
        let mut earlier = if may_be_the_same { last_report(&*host.files).await } else { None };
        // The holder of the lock need not be a boot. A boot is recognized by its report, which changed while this one
        // waited. Its times are not compared with this boot's, since the clock may have been set in between.
        if let (false, Turn::After(before)) = (called_by_cloud_init, &turn) {
            earlier = earlier.filter(|report| before.as_ref().is_none_or(|before| ending(before) != ending(report)));
        }
        // A drain may have taken down what the report describes, after that boot ended and before
        // this one obtained the lock.
        let boot_id = self.recorder.report().boot_id.clone();
        if earlier.is_some() && is_drained(host, &boot_id).await {
            earlier = None;
        }
        self.has_it();
        Ok(Identified { record, earlier })
    }

    /// Takes the lock, and waits for its holder if necessary.
    async fn take_lock(&self) -> Result<Turn, Stop> {
        let (mut turn, begun) = (Turn::First, self.clock().elapsed());
        loop {
            self.needs_disk(BOOT);
            let taken = self.ground.lock.take().await;
            self.has_it();
            match taken {
                Ok(lock) => {
                    *self.lock.borrow_mut() = Some(lock);
                    return Ok(turn);
                }
                Err(error @ LockError::Held { .. }) => {
                    if matches!(turn, Turn::First) {
                        self.audience.say(&format!("{error}: waiting for it to end"));
                        turn = Turn::After(last_report(&*self.ground.host.files).await.map(Box::new));
                    }
                    self.waiting.replace(Some((format!("for the lock: {error}"), false)));
                    let is_long = self.clock().elapsed() - begun > A_WHILE;
                    self.clock().sleep(if is_long { LOCK_SELDOM } else { LOCK_EVERY }).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The boot that a report describes, by its start, and when that boot ended.
fn ending(report: &Report) -> (&str, Option<&str>) {
    (&report.started_at, report.finished_at.as_deref())
}

/// Reads the report of the previous boot, which the report of this boot will replace.
async fn last_report(files: &dyn Files) -> Option<Report> {
    let bytes = files.read(Path::new(REPORT), SIZE_LIMIT).await.ok()??;
    of_bytes(&bytes).ok()
}
