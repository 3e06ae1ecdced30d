//! The end of a boot: complete the report, write it, and show the result.

use std::time::Duration;

use crate::boot::audience::Ending;
use crate::boot::state::Boot;
use crate::execute::{write_afterwards, write_report};
use crate::failure::Explanation;
use crate::host::startup;
use crate::report::{REPORT, marks};

/// Needed below a root only, where the report may be on a disk that hangs while the boot has to
/// end. On a machine, the report is in memory.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

impl Boot {
    /// Completes and writes the report, releases the lock and shows the result. Steps that outlast
    /// the boot continue after this.
    pub(super) async fn close(&self) -> Ending {
        self.recorder.amend(|report| report.exchanges = self.exchanges());
        self.recorder.amend(|report| report.marks_ms = marks::of(report));
        let wrong_clock = self.cloud.get().and_then(|cloud| cloud.wrong_clock());
        self.recorder.amend(|report| report.warnings.extend(wrong_clock));
        self.recorder.end();
        let lock = self.lock.take();
        if lock.is_some()
            && let Err(trouble) = self.write_report().await
        {
            self.audience.say(&format!("warning: {trouble}"));
        }
        drop(lock);
        let ending = Ending::of(&self.recorder.report());
        self.audience.over(&self.recorder.report(), &ending);
        if self.request.started_by_systemd {
            self.add_startup().await;
        }
        ending
    }

    async fn write_report(&self) -> Result<(), Explanation> {
        tokio::select! {
            biased;
            written = write_report(&self.ground.host, &self.recorder) => written.map_err(|error| Explanation::of(&error)),
            () = self.clock().sleep(WRITTEN_WITHIN) => {
                Err(Explanation::new(format!("{REPORT} is not complete: the disk has not answered for {WRITTEN_WITHIN:?}"), None))
            }
        }
    }

    /// Adds the times of the machine's own start to the report. Called last, because it takes milliseconds.
    async fn add_startup(&self) {
        let host = &self.ground.host;
        let Some(began) = startup::process_began(host.clock.elapsed()) else { return };
        let startup = startup::read(&*host.commands, began).await;
        self.recorder.amend(|report| report.startup = startup);
        write_afterwards(host, &self.recorder, &*self.ground.lock).await;
    }
}
