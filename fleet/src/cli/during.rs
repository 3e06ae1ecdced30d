//! Which deployment a boot belongs to: by the tag of its instance, or else by the time.

use jiff::Timestamp;

use super::operator::Operator;
use crate::deployment::record::Record;
use crate::failure::Failure;

/// How many records of deployments are read at most.
const RECORDS: usize = 50;

/// The deployment that a boot belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct During {
    pub(super) number: u64,
    pub(super) release: String,
    pub(super) image: String,
    /// Whether the instance's tags name it; otherwise it is inferred from the time.
    pub(super) is_certain: bool,
}

impl During {
    pub(super) fn short(&self) -> String {
        let about = if self.is_certain { "" } else { "since " };
        format!("{about}deployment {} ({})", self.number, self.release)
    }

    /// The deployment of a boot that began then, on an instance that may have a tag.
    pub(super) fn of(tagged: Option<u64>, began: Timestamp, records: &[Record]) -> Option<Self> {
        let of = |record: &Record, is_certain| Self {
            number: record.number,
            release: record.goal.release.name.to_string(),
            image: record.goal.image.clone(),
            is_certain,
        };
        let by_tag = records.iter().find(|record| Some(record.number) == tagged).map(|record| of(record, true));
        by_tag.or_else(|| records.iter().find(|record| record.began <= began).map(|record| of(record, false)))
    }
}

/// The records back to the one in force when the oldest boot began, newest first.
pub(super) async fn records(operator: &Operator, oldest: Option<Timestamp>) -> Result<Vec<Record>, Failure> {
    let Some(oldest) = oldest else { return Ok(Vec::new()) };
    let records = operator.records();
    let mut found = Vec::new();
    for number in records.numbers().await?.into_iter().take(RECORDS) {
        let Some(kept) = records.read(number).await? else { continue };
        let is_before = kept.record.began <= oldest;
        found.push(kept.record);
        if is_before {
            break;
        }
    }
    Ok(found)
}
