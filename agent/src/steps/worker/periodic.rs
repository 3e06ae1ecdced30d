//! The settings for a worker's periodic tasks.

use std::path::{Path, PathBuf};

use super::Worker;
use super::cron::{self, Cron, FILE};
use super::settings::{Claims, Task};
use super::trouble::WorkerError;
use crate::step::{Claiming, Context, Progress};
use crate::steps::claiming::{OF_A_FLEET, below};

impl Worker {
    /// Whether its tasks are those of a release.
    pub(crate) fn reads_releases(&self) -> bool {
        matches!(self.cron, Some(Cron::Release(_)))
    }

    /// Each due time is claimed, unless the queue is FIFO and the document has no claims: SQS accepts the same message
    /// only once there.
    pub(super) fn claiming(&self) -> Option<Claiming> {
        let cron = self.cron.as_ref()?;
        let says = match self.queue.raw().trim_end().trim_end_matches('/').ends_with(".fifo") {
            false => Some("`cron`"),
            true => cron.catches_up().then_some("`cron` with a `catch_up` of more than 4m"),
        };
        Some(Claiming { says, values: OF_A_FLEET })
    }

    pub(super) fn claims(&self, cx: &Context<'_>) -> Result<Option<Claims>, WorkerError> {
        if self.cron.is_none() {
            return Ok(None);
        }
        let below = below("cron", cx).map_err(WorkerError::Claims)?;
        Ok(below.map(|below| Claims { below, holder: cx.world.record.instance().to_owned() }))
    }

    /// The tasks of the document, or of the release that was fetched.
    pub(super) async fn tasks(&self, cx: &Context<'_>) -> Result<Vec<Task>, WorkerError> {
        if let Some(Cron::Tasks(_)) | None = &self.cron {
            return Ok(self.cron.as_ref().map(Cron::listed).unwrap_or_default());
        }
        let Some(release) = self.release(cx) else { return Ok(Vec::new()) };
        let found = cron::text(&release, &*cx.host().files).await.map_err(WorkerError::Host)?;
        found.map_or(Ok(Vec::new()), |text| cron::tasks(&text).map_err(|remarks| WorkerError::Tasks { remarks }))
    }

    /// The release that contains the tasks. A dry run has none; with --release it shows the tasks of one.
    fn release(&self, cx: &Context<'_>) -> Option<PathBuf> {
        let bundle = self.cron.as_ref()?.bundle().filter(|bundle| !cx.is_made_up(bundle))?;
        let release = cx.world.known.output(bundle)?.get(&["release".to_owned()])?.as_str()?.into();
        Some(release)
    }

    /// Warns about a release without tasks, which was expected to have some.
    pub(super) async fn look_for_tasks(&self, cx: &Context<'_>) -> Result<(), WorkerError> {
        if let Some(file) = self.release(cx).map(|release| release.join(FILE))
            && cx.host().files.stat(&file).await.map_err(WorkerError::Host)?.is_none()
        {
            cx.progress(Progress::Warning(format!("{} is missing: the worker sends no periodic tasks", file.display())));
        }
        Ok(())
    }

    /// # Errors
    ///
    /// If a time zone is missing on this machine: the worker would fail to start, and a running one must not be stopped
    /// for that. On a machine without any time zones nothing is checked, because it may be that of a dry run.
    pub(super) async fn prove_zones(&self, cx: &Context<'_>) -> Result<(), WorkerError> {
        if cx.host().files.stat(Path::new(cron::ZONES)).await.map_err(WorkerError::Host)?.is_none() {
            return Ok(());
        }
        for task in self.cron.as_ref().map(Cron::listed).unwrap_or_default() {
            cron::zone(&task.time_zone, &*cx.host().files).await.map_err(WorkerError::Zone)?;
        }
        Ok(())
    }
}
