//! The evidence that a drained machine leaves in S3: the report of its boot, and the log lines of the drain.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::leave::Leaving;
use super::outlook::Outlook;
use super::trouble::DrainError;
use crate::aws::s3::Only;
use crate::backoff::Backoff;
use crate::failure::{Explanation, Failure as _};
use crate::json::of_bytes;
use crate::report::{REPORT, Report};
use crate::steps::drain::UNIT;
use crate::steps::signal::{Ended, of_end};

/// How long S3 may take. If it takes longer, the machine ends without evidence.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);

/// The largest report that is read, in bytes. A report of ten thousand steps is smaller.
const REPORT_LIMIT: u64 = 64 << 20;

/// How many bytes of ingot's own journal the evidence contains, and how long reading them may take.
const JOURNAL: usize = 64 << 10;
const JOURNAL_WITHIN: Duration = Duration::from_millis(1500);

impl Leaving<'_> {
    pub(super) async fn evidence(&self, outlook: &Outlook) {
        for prefix in &self.settings.evidence {
            let clock = &self.ground.host.clock;
            let why = tokio::select! {
                biased;
                written = self.testify(prefix, outlook) => written.err().map(|error| Explanation::of(&error).to_string()),
                () = clock.sleep(WRITTEN_WITHIN) => Some(format!("S3 did not accept it within {WRITTEN_WITHIN:?}")),
            };
            why.into_iter().for_each(|why| log::warn!("the evidence of the end was not written to {prefix}: {why}"));
        }
    }

    async fn testify(&self, prefix: &str, outlook: &Outlook) -> Result<(), DrainError> {
        let host = &self.ground.host;
        let report = host.files.read(Path::new(REPORT), REPORT_LIMIT).await.map_err(DrainError::Host)?;
        let is_report = report.as_ref().is_some_and(|report| of_bytes::<Report>(report).is_ok());
        let (began, written_at) = (outlook.began.to_string(), host.clock.now().to_string());
        let log = host.units.log(UNIT, JOURNAL, JOURNAL_WITHIN).await;
        let lines = log.newest_first.into_iter().rev().collect();
        let text = report.as_deref().filter(|_| is_report).and_then(|report| std::str::from_utf8(report).ok());
        let ended = Ended {
            instance: &self.settings.record,
            boot_id: self.boot_id,
            // Makes the object key differ from that of an earlier drain in this boot.
            began: &began,
            report: text.map_or("null", str::trim),
            reason: outlook.sign.sentence(),
            written_at: &written_at,
            journal: BTreeMap::from([(UNIT.to_owned(), lines)]),
            journal_is_cut: log.is_cut,
        };
        let (place, body) = of_end(prefix, ended).map_err(DrainError::Place)?;
        let (objects, body) = (self.cloud.aws().objects, bytes::Bytes::from(body));
        for tries in 1.. {
            let Err(error) = objects.write(&place, body.clone(), Only::Always, None).await else { break };
            if !error.is_transient() {
                return Err(DrainError::Evidence(error));
            }
            host.clock.sleep(Backoff::CALL.pause(tries, error.retry_after)).await;
        }
        log::info!("wrote the evidence of the end to {place}");
        Ok(())
    }
}
