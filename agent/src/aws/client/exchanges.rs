//! Every exchange of this process with IMDS and AWS: what it was, when it began, how long it took. For timing reports
//! only; no decision depends on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The exchanges made so far. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Exchanges {
    made: Arc<Mutex<Vec<Exchange>>>,
    limit: usize,
}

/// A request, up to the first bytes of its answer.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// The AWS action, or the path below IMDS. Never a query string, which may hold a signature.
    pub(crate) what: String,
    pub(crate) began: Instant,
    /// `None` while the exchange is running.
    pub(crate) took: Option<Duration>,
    /// The status of the answer. `None` if there was none.
    pub(crate) status: Option<u16>,
}

impl Exchanges {
    /// An empty list that keeps at most `limit` exchanges.
    pub(super) fn at_most(limit: usize) -> Self {
        Self { made: Arc::default(), limit }
    }

    /// Records that a request is about to be sent.
    pub(in crate::aws) fn begin(&self, what: impl Into<String>) -> Ongoing {
        let mut all = self.all();
        let at = (all.len() < self.limit).then_some(all.len());
        if at.is_some() {
            all.push(Exchange { what: what.into(), began: Instant::now(), took: None, status: None });
        }
        Ongoing { all: self.clone(), at }
    }

    /// The exchanges so far, in the order in which they began.
    pub(crate) fn so_far(&self) -> Vec<Exchange> {
        self.all().clone()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An exchange that counts as running until this is dropped.
#[derive(Debug)]
pub(in crate::aws) struct Ongoing {
    all: Exchanges,
    at: Option<usize>,
}

impl Ongoing {
    pub(in crate::aws) fn answered(self, status: u16) {
        if let Some(at) = self.at {
            self.all.all()[at].status = Some(status);
        }
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            let mut all = self.all.all();
            let took = all[at].began.elapsed();
            all[at].took = Some(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_ends_with_its_answer_or_without() {
        let exchanges = Exchanges::at_most(2);
        let (first, second) = (exchanges.begin("PUT api/token"), exchanges.begin("GetParameters"));
        first.answered(200);
        let found = |all: Vec<Exchange>| all.into_iter().map(|one| (one.what, one.took.is_some(), one.status)).collect::<Vec<_>>();
        let going = found(exchanges.so_far());
        assert_eq!(going, [("PUT api/token".into(), true, Some(200)), ("GetParameters".into(), false, None)]);
        drop(second);
        assert!(found(exchanges.so_far())[1].1);
    }
}
