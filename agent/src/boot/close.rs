//! The end of a boot: complete the report, write it, and show the result.

use crate::boot::audience::Ending;
use crate::boot::state::Boot;
use crate::execute::{write_afterwards, write_report};
use crate::failure::Explanation;
use crate::host::startup;
use crate::report::marks;

impl Boot {
    /// Completes and writes the report, releases the lock and shows the result. Steps that outlast the boot go on after this.
    pub(super) async fn close(&self) -> Ending {
        self.recorder.amend(|report| report.exchanges = self.exchanges());
        self.recorder.amend(|report| report.marks_ms = marks::of(report));
        let wrong_clock = self.cloud.get().and_then(|cloud| cloud.wrong_clock());
        self.recorder.amend(|report| report.warnings.extend(wrong_clock));
        self.recorder.end();
        let lock = self.lock.take();
        if lock.is_some()
            && let Err(error) = write_report(&self.ground.host, &self.recorder).await
        {
            self.audience.say(&format!("warning: {}", Explanation::of(&error)));
        }
        drop(lock);
        let ending = Ending::of(&self.recorder.report());
        self.audience.over(&self.recorder.report(), &ending);
        if self.request.started_by_systemd {
            self.add_startup().await;
        }
        ending
    }

    /// Adds the times of the machine's own start to the report. Done last, because it costs milliseconds.
    async fn add_startup(&self) {
        let host = &self.ground.host;
        let Some(began) = startup::process_began(host.clock.elapsed()) else { return };
        let startup = startup::read(&*host.commands, began).await;
        self.recorder.amend(|report| report.startup = startup);
        write_afterwards(host, &self.recorder, &|| self.ground.lock.is_free()).await;
    }
}
