//! Gathers keys that are requested at about the same time, and fetches them in batches.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared, WeakShared};

use crate::aws::client::error::AwsError;

/// How many turns of the runtime a round stays open. One turn would do for requests made by futures that are polled
/// together; a few more let requests join that had to read a file first. A turn takes microseconds.
const TURNS: usize = 4;

/// The result of one batch.
pub(super) struct Batch<A> {
    pub(super) size: usize,
    /// By key. A key that the service did not mention is missing.
    pub(super) answers: Result<BTreeMap<String, A>, AwsError>,
}

type Ask<A> = Rc<dyn Fn(Vec<String>) -> LocalBoxFuture<'static, Result<BTreeMap<String, A>, AwsError>>>;
type Call<A> = Shared<LocalBoxFuture<'static, Rc<Batch<A>>>>;
/// For each key, the call that fetches it.
type Round<A> = LocalBoxFuture<'static, Rc<BTreeMap<String, Call<A>>>>;

pub(super) struct Gather<A> {
    per_call: usize,
    ask: Ask<A>,
    open: RefCell<Option<Open<A>>>,
}

/// A round that still accepts keys.
struct Open<A> {
    keys: Rc<RefCell<Option<BTreeSet<String>>>>,
    /// Weak, so that a round nobody waits for any longer makes no calls.
    round: WeakShared<Round<A>>,
}

impl<A: 'static> Gather<A> {
    pub(super) fn new<F>(per_call: usize, ask: impl Fn(Vec<String>) -> F + 'static) -> Self
    where
        F: Future<Output = Result<BTreeMap<String, A>, AwsError>> + 'static,
    {
        Self { per_call, ask: Rc::new(move |keys| ask(keys).boxed_local()), open: RefCell::default() }
    }

    /// Fetches `key` together with all other keys that are requested now. Every waiting caller drives the round and the
    /// call, so any of them may stop waiting.
    pub(super) async fn get(&self, key: &str) -> Rc<Batch<A>> {
        let calls = self.join(key).await;
        let call = calls[key].clone();
        // The callers of the other keys drive and drop their own calls.
        drop(calls);
        call.await
    }

    fn join(&self, key: &str) -> Shared<Round<A>> {
        let mut open = self.open.borrow_mut();
        if let Some(Open { keys, round }) = &*open
            && let (Some(keys), Some(round)) = (&mut *keys.borrow_mut(), round.upgrade())
        {
            keys.insert(key.to_owned());
            return round;
        }
        let mut first = BTreeSet::new();
        first.insert(key.to_owned());
        let keys = Rc::new(RefCell::new(Some(first)));
        let round = Self::round(self.per_call, self.ask.clone(), keys.clone()).boxed_local().shared();
        *open = round.downgrade().map(|round| Open { keys, round });
        round
    }

    async fn round(per_call: usize, ask: Ask<A>, keys: Rc<RefCell<Option<BTreeSet<String>>>>) -> Rc<BTreeMap<String, Call<A>>> {
        // A separate task, because every caller that joins polls this future, and `yield_now` counts any second poll as
        // the next turn. Its result is ignored, so that it does not matter if the runtime is shutting down.
        let turns = tokio::spawn(async {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        });
        let _ = turns.await;
        let keys: Vec<String> = keys.take().into_iter().flatten().collect();
        let mut calls = BTreeMap::new();
        calls.extend(keys.chunks(per_call).flat_map(|keys| {
            let size = keys.len();
            let call = ask(keys.to_vec()).map(move |answers| Rc::new(Batch { size, answers })).boxed_local().shared();
            keys.iter().map(move |key| (key.clone(), call.clone())).collect::<Vec<_>>()
        }));
        Rc::new(calls)
    }
}
