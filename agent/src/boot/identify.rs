//! Stage 1: find out which instance this is, and take the lock. Uses no network.

use std::path::Path;
use std::time::Duration;

use crate::boot::state::Boot;
use crate::boot::stop::Stop;
use crate::document::source::SIZE_LIMIT;
use crate::host::lock::LockError;
use crate::host::state::Record;
use crate::host::{Files, identity};
use crate::report::{REPORT, Report};
use crate::steps::mount::remembered;

/// How often ingot tries a lock that another boot holds.
const LOCK_EVERY: Duration = Duration::from_millis(20);

/// What is known about this instance without the network.
pub(super) struct Identified {
    /// Its record, if the machine itself knows the instance id.
    pub(super) record: Option<Record>,
    /// The report of the boot before this one, if the two may turn out to be the same boot.
    pub(super) earlier: Option<Report>,
}

impl Boot {
    pub(super) async fn identify(&self) -> Result<Identified, Stop> {
        let host = &self.ground.host;
        let dmi = identity::dmi(&*host.files).await;
        let dmi = self.dmi.get_or_init(|| dmi);
        self.connect().await.map_err(Stop::Failed)?;
        let waited = self.take_lock().await?;
        // cloud-init and systemd may both start ingot in one boot of the machine. One of them is enough.
        let record = match dmi {
            Some(id) => Some(self.record_of(id).await?),
            None => None,
        };
        // Mounts are restored first, because the network may not be there.
        if let Some(record) = record.as_ref().filter(|_| self.request.is_whole()) {
            let troubles = remembered::bring_back(record, host, Duration::ZERO).await;
            troubles.iter().for_each(|trouble| self.note(trouble));
            self.recorder.phase("mounts");
        }
        let called_by_cloud_init = host.units.own().is_some_and(|unit| unit.starts_with("cloud-"));
        let may_be_the_same = self.request.is_whole() && (waited || called_by_cloud_init);
        let earlier = if may_be_the_same { last_report(&*host.files).await } else { None };
        Ok(Identified { record, earlier })
    }

    /// Takes the lock, and waits for its holder. Returns whether it had to wait.
    async fn take_lock(&self) -> Result<bool, Stop> {
        let mut waited = false;
        loop {
            match self.ground.lock.take().await {
                Ok(lock) => {
                    *self.lock.borrow_mut() = Some(lock);
                    return Ok(waited);
                }
                Err(error @ LockError::Held { .. }) => {
                    if !waited {
                        self.audience.say(&format!("{error}: waiting for it to end"));
                    }
                    waited = true;
                    self.clock().sleep(LOCK_EVERY).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Reads the report of the boot before this one, which ours will replace.
async fn last_report(files: &dyn Files) -> Option<Report> {
    let bytes = files.read(Path::new(REPORT), SIZE_LIMIT).await.ok()??;
    serde_json::from_slice(&bytes).ok()
}
