//! A store in memory with one claim, which answers writes as a test specifies.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Seen, Store};
use crate::failure::Explanation;

/// The answer to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Written,
    /// The condition does not hold.
    NotSo,
    Refused,
}

/// Gives one answer to the first writes, and another to all that follow.
pub(super) struct StandIn {
    pub(super) first: Cell<(u32, Answer)>,
    then: Answer,
    pub(super) written: RefCell<Option<Bytes>>,
    pub(super) writes: Cell<u32>,
}

impl StandIn {
    pub(super) fn answering(first: (u32, Answer), then: Answer) -> Self {
        Self { first: Cell::new(first), then, written: RefCell::default(), writes: Cell::default() }
    }
}

#[async_trait(?Send)]
impl Store for StandIn {
    fn name(&self) -> String {
        "s3://bucket/claim".into()
    }

    async fn look(&self) -> Result<Option<Seen>, Explanation> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        Ok(self.written.borrow().clone().map(|body| Seen { etag: "e".into(), modified: now, date: now, body }))
    }

    async fn write(&self, body: Bytes, _over: Option<&str>) -> Result<Option<String>, Explanation> {
        self.writes.set(self.writes.get() + 1);
        let (left, first) = self.first.get();
        self.first.set((left.saturating_sub(1), first));
        let answer = if left > 0 { first } else { self.then };
        match answer {
            Answer::Written => {
                self.written.replace(Some(body));
                Ok(Some("e".into()))
            }
            Answer::NotSo => Ok(None),
            Answer::Refused => Err(Explanation::new("ExpiredToken", None)),
        }
    }
}
