//! Fetches each item once, however many callers want it, and keeps the value.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, WeakShared};

use crate::aws::client::error::AwsError;

type Fetch<V> = LocalBoxFuture<'static, Result<V, AwsError>>;

pub(super) struct Once<K, V> {
    kept: RefCell<BTreeMap<K, V>>,
    /// Fetches in progress. `None` marks one that has ended, because removing the entry would cost 3 kB of code for
    /// each type of item. Weak, so that a fetch nobody waits for any longer is dropped.
    asked: RefCell<BTreeMap<K, Option<WeakShared<Fetch<V>>>>>,
}

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Self { kept: RefCell::default(), asked: RefCell::default() }
    }
}

impl<K: Ord + Clone + 'static, V: Clone + 'static> Once<K, V> {
    /// Forgets all kept values: the next request for each fetches it again.
    pub(super) fn forget(&self) {
        self.kept.borrow_mut().clear();
    }

    /// Returns the kept value of `key`, or the result of a fetch in progress, or the result of `fetch`. A fetched value
    /// is kept. Every waiting caller drives the fetch, so any of them may stop waiting.
    pub(super) async fn get(self: &Rc<Self>, key: K, fetch: impl Future<Output = Result<V, AwsError>> + 'static) -> Result<V, AwsError> {
        if let Some(value) = self.kept.borrow().get(&key) {
            return Ok(value.clone());
        }
        let under_way = self.asked.borrow().get(&key).and_then(|asked| asked.as_ref()?.upgrade());
        let shared = under_way.unwrap_or_else(|| {
            let (this, name) = (self.clone(), key.clone());
            let shared = async move {
                let fetched = fetch.await;
                if let Ok(value) = &fetched {
                    this.kept.borrow_mut().insert(name.clone(), value.clone());
                }
                if let Some(asked) = this.asked.borrow_mut().get_mut(&name) {
                    *asked = None;
                }
                fetched
            }
            .boxed_local()
            .shared();
            self.asked.borrow_mut().insert(key, shared.downgrade());
            shared
        });
        shared.await
    }
}
