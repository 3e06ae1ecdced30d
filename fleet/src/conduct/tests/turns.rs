//! Scheduler for tests: a seed decides who takes the next turn, an operator, a request in flight, CloudFormation, or
//! time. Runs are therefore reproducible. No real time passes, and a blocked future is polled again only after its
//! waker was called.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::advance;

/// Time advances in steps of this length.
pub(super) const STEP: Duration = Duration::from_millis(500);

/// On average one in this many turns kills an operator.
const KILL: u32 = 150;

/// More turns than any run takes.
const MOST: usize = 200_000;

/// Yields to others for one turn.
pub(super) async fn turn() {
    let waits = Cell::new(true);
    poll_fn(|context| match waits.replace(false) {
        true => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        false => Poll::Ready(()),
    })
    .await;
}

/// Whether an operator can continue.
struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What happens apart from the operators.
pub(super) trait Others {
    /// How many things can happen now.
    fn can_happen(&self) -> usize;

    /// Makes one of them happen.
    fn happens(&self, which: usize);

    /// Called after time has advanced.
    fn passed(&self);

    /// Checks what must hold after each turn.
    fn check(&self);
}

/// The remaining work of an operator; `None` when it is done.
pub(super) type Work<'a> = Option<Pin<Box<dyn Future<Output = ()> + 'a>>>;

/// Lets time pass until `holds` returns true, with only these operators at work.
pub(super) async fn until(works: &mut [&mut Work<'_>], holds: impl Fn() -> bool) {
    let ready = Arc::new(Ready(AtomicBool::new(false)));
    let waker = Waker::from(ready);
    for _ in 0..MOST {
        for work in works.iter_mut() {
            if holds() {
                return;
            }
            if let Some(future) = work
                && future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
            {
                **work = None;
            }
        }
        if holds() {
            return;
        }
        advance(STEP).await;
    }
    panic!("it does not end");
}

/// Wraps a future as the work of an operator.
pub(super) fn work<'a>(work: impl Future<Output = ()> + 'a) -> Work<'a> {
    Some(Box::pin(unconstrained(work)))
}

/// Operators with their remaining work.
pub(super) struct Turns<'a> {
    all: Vec<(Work<'a>, Arc<Ready>)>,
    random: fastrand::Rng,
}

impl<'a> Turns<'a> {
    pub(super) fn new(seed: u64) -> Self {
        Self { all: Vec::new(), random: fastrand::Rng::with_seed(seed) }
    }

    pub(super) fn add(&mut self, future: impl Future<Output = ()> + 'a) {
        self.all.push((work(future), Arc::new(Ready(AtomicBool::new(true)))));
    }

    /// Runs until all work is done. Up to `kills` operators are killed at random moments.
    pub(super) async fn play(&mut self, others: &impl Others, mut kills: u32) {
        for _ in 0..MOST {
            let alive = |(work, ready): &&(Work<'a>, Arc<Ready>)| work.is_some() && ready.0.load(Ordering::Relaxed);
            let ready = self.all.iter().filter(alive).count();
            let (of_others, is_over) = (others.can_happen(), self.all.iter().all(|(work, _)| work.is_none()));
            if is_over {
                return;
            }
            // Time advances only when no operator can act, and even then not every time.
            if ready == 0 && (of_others == 0 || self.random.u32(..8) > 0) {
                advance(STEP).await;
                others.passed();
            } else if self.random.usize(..ready + of_others) < ready {
                let chosen = self.random.usize(..ready);
                let (work, ready) = self.all.iter_mut().filter(|one| alive(&&**one)).nth(chosen).expect("there are so many");
                ready.0.store(false, Ordering::Relaxed);
                if kills > 0 && self.random.u32(..KILL) == 0 {
                    (kills, *work) = (kills - 1, None);
                } else if let Some(future) = work
                    && future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(ready)))).is_ready()
                {
                    *work = None;
                }
            } else if of_others > 0 {
                others.happens(self.random.usize(..of_others));
            }
            others.check();
        }
        panic!("it does not end");
    }
}
