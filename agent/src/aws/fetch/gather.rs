//! Gathers keys that are asked for at about the same time, and asks for them in batches.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared, WeakShared};

use crate::aws::client::error::AwsError;

/// How many turns of the runtime a round stays open. One would do for requests made by futures that are polled
/// together; a few more let those join that first had a file to read. A turn takes microseconds.
const TURNS: usize = 4;

/// What became of one batch.
pub(super) struct Batch<A> {
    pub(super) size: usize,
    /// By key; a key that the service said nothing of is not in it.
    pub(super) answers: Result<BTreeMap<String, A>, AwsError>,
}

type Ask<A> = Rc<dyn Fn(Vec<String>) -> LocalBoxFuture<'static, Result<BTreeMap<String, A>, AwsError>>>;
type Call<A> = Shared<LocalBoxFuture<'static, Rc<Batch<A>>>>;
/// The call that each key went into.
type Round<A> = LocalBoxFuture<'static, Rc<BTreeMap<String, Call<A>>>>;

pub(super) struct Gather<A> {
    per_call: usize,
    ask: Ask<A>,
    open: RefCell<Option<Open<A>>>,
}

/// A round that still takes keys.
struct Open<A> {
    keys: Rc<RefCell<Option<BTreeSet<String>>>>,
    /// Weak, so that a round no one waits for any more asks for nothing.
    round: WeakShared<Round<A>>,
}

impl<A: 'static> Gather<A> {
    pub(super) fn new<F>(per_call: usize, ask: impl Fn(Vec<String>) -> F + 'static) -> Self
    where
        F: Future<Output = Result<BTreeMap<String, A>, AwsError>> + 'static,
    {
        Self { per_call, ask: Rc::new(move |keys| ask(keys).boxed_local()), open: RefCell::default() }
    }

    /// Asks for `key`, together with whatever else is asked for now. Everyone who waits drives the round and the call,
    /// so anyone may stop waiting.
    pub(super) async fn get(&self, key: &str) -> Rc<Batch<A>> {
        let calls = self.join(key).await;
        let call = calls[key].clone();
        // Calls of other keys are theirs to drive and to drop.
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
        // A task of its own: this future is polled by everyone who joins, and `yield_now` takes any second poll for
        // the next turn. What comes of the task is nothing, even if the runtime is ending.
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
