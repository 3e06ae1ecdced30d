//! Asks for each thing once, however many want it, and keeps what came of it.

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
    /// Fetches under way; `None` of one that has ended, since removing it would be 3 kB of code for each kind of thing. Weak, so
    /// that one that no one waits for any more ends.
    asked: RefCell<BTreeMap<K, Option<WeakShared<Fetch<V>>>>>,
}

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Self { kept: RefCell::default(), asked: RefCell::default() }
    }
}

impl<K: Ord + Clone + 'static, V: Clone + 'static> Once<K, V> {
    /// Keeps nothing of what it has: whoever asks from now on, has it fetched.
    pub(super) fn forget(&self) {
        self.kept.borrow_mut().clear();
    }

    /// What is kept of `key`; else what a fetch under way brings; else what `fetch` brings, and if that is a value,
    /// it is kept. Everyone who waits drives the fetch, so anyone may stop waiting.
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
