//! A fleet and one claim, in simulated time: instances die, are paused and cut off, answers are lost and writes arrive
//! late.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::*;
use crate::host::clock::SystemClock;

const INSTANCES: usize = 20;
const ROUNDS: u64 = 200;

fn seconds(range: std::ops::Range<u64>, rng: &RefCell<Rng>) -> Duration {
    Duration::from_millis(rng.borrow_mut().u64(range.start * 1_000..range.end * 1_000))
}

fn unreachable(what: &str) -> Explanation {
    Explanation { transient: true, ..Explanation::new(what, None) }
}

/// The object in the store, and when it was written.
struct Bucket {
    object: RefCell<Option<(Bytes, Duration)>>,
    start: Instant,
    rng: Rc<RefCell<Rng>>,
    /// How many of ten calls fail.
    trouble: u8,
}

impl Bucket {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// A time as S3 reports it, in whole seconds.
    fn time(at: Duration) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + at.as_secs())
    }

    fn etag(body: &[u8]) -> String {
        crate::digest::Sha256::of(body).to_string()
    }

    fn put(&self, body: Bytes, over: Option<&str>) -> Option<String> {
        let known = self.object.borrow().as_ref().map(|(body, _)| Self::etag(body));
        let etag = Self::etag(&body);
        (known.as_deref() == over).then(|| self.object.replace(Some((body, self.now()))))?;
        Some(etag)
    }

    fn claim(&self) -> Claim {
        Claim::parse(&self.object.borrow().as_ref().expect("somebody has claimed it").0).expect("it is a claim")
    }
}

/// The bucket as one instance reaches it.
struct Route {
    bucket: Rc<Bucket>,
    cut_until: Rc<Cell<Duration>>,
}

impl Route {
    async fn pass(&self) -> bool {
        sleep(seconds(0..1, &self.bucket.rng) / 4).await;
        while self.cut_until.get() > self.bucket.now() {
            sleep(self.cut_until.get() - self.bucket.now()).await;
        }
        self.bucket.rng.borrow_mut().u8(..10) >= self.bucket.trouble
    }
}

#[async_trait(?Send)]
impl Store for Route {
    fn name(&self) -> String {
        "s3://bucket/claim".into()
    }

    async fn look(&self) -> Result<Option<Seen>, Explanation> {
        if !self.pass().await {
            return Err(unreachable("no answer"));
        }
        let object = self.bucket.object.borrow().clone();
        let date = Bucket::time(self.bucket.now());
        Ok(object.map(|(body, modified)| Seen { etag: Bucket::etag(&body), modified: Bucket::time(modified), date, body }))
    }

    async fn write(&self, body: Bytes, over: Option<&str>) -> Result<Option<String>, Explanation> {
        if self.pass().await {
            return Ok(self.bucket.put(body, over));
        }
        if self.bucket.rng.borrow_mut().bool() {
            // The object is written, at once or late, but the answer is lost.
            let (bucket, over) = (self.bucket.clone(), over.map(str::to_owned));
            let late = if bucket.rng.borrow_mut().bool() { Duration::ZERO } else { seconds(0..90, &bucket.rng) };
            spawn_local(async move {
                sleep(late).await;
                bucket.put(body, over.as_deref());
            });
        }
        Err(unreachable("no answer"))
    }
}

/// A program, which continues while the instance that started it is paused.
struct Program {
    ends: Duration,
    lease: Cell<Duration>,
    killed: Cell<Option<Duration>>,
}

impl Program {
    fn runs_until(&self) -> Duration {
        self.ends.min(self.lease.get()).min(self.killed.get().unwrap_or(Duration::MAX))
    }
}

/// A future that can be paused for a while.
struct Pausable<F> {
    inner: Pin<Box<F>>,
    until: Rc<Cell<Option<Instant>>>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Pausable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        while let Some(until) = self.until.get() {
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.until.set(None);
            self.alarm = None;
        }
        self.inner.as_mut().poll(cx)
    }
}

/// An instance, and the faults that can be injected into it.
struct Instance {
    number: usize,
    paused: Rc<Cell<Option<Instant>>>,
    cut: Rc<Cell<Duration>>,
    /// Set while it runs the program.
    runs: Rc<Cell<bool>>,
}

struct Fleet {
    bucket: Rc<Bucket>,
    programs: RefCell<Vec<Rc<Program>>>,
    /// How long the program runs, and how it ends.
    length: Duration,
    ending: Ending,
}

impl Fleet {
    /// Runs an instance to its end. Returns whether it counts the work as done.
    async fn boot(&self, instance: &Instance) -> Result<bool, ClaimError> {
        let store = Route { bucket: self.bucket.clone(), cut_until: instance.cut.clone() };
        let clock = SystemClock::start();
        let me = Wanter { holder: format!("i-{}", instance.number), attempt: self.bucket.now().as_nanos().to_string() };
        let until = Duration::from_secs(3_600);
        let claimant = Claimant { store: &store, clock: &clock, me, release: "v1".into(), until, waiting: &|_| {} };
        let mut held = match claimant.take().await? {
            Taken::Ours(held) => held,
            Taken::Done(_) => return Ok(true),
            Taken::Failed(..) => return Ok(false),
        };
        let now = self.bucket.now();
        let program = Rc::new(Program { ends: now + self.length, lease: Cell::new(now + held.lease()), killed: Cell::new(None) });
        for other in self.programs.borrow().iter() {
            assert!(other.runs_until() <= now, "two at a time: another runs until {:?}, and it is {now:?}", other.runs_until());
        }
        self.programs.borrow_mut().push(program.clone());
        {
            let _runs = Runs { program: &program, bucket: &self.bucket, runs: &instance.runs };
            instance.runs.set(true);
            let extend = |left| program.lease.set(self.bucket.now() + left);
            let work = pin!(async {
                while self.bucket.now() < program.runs_until() {
                    sleep(program.runs_until() - self.bucket.now()).await;
                }
            });
            held.during(&extend, work).await?;
        }
        let ending = if program.lease.get() < program.ends {
            Ending::Failed { why: "signal 9".into(), exit: None, said: Vec::new() }
        } else {
            self.ending.clone()
        };
        held.end(ending).await?;
        Ok(self.ending == Ending::Done)
    }
}

/// The guard of a running program: dropping it kills the program.
struct Runs<'a> {
    program: &'a Program,
    bucket: &'a Bucket,
    runs: &'a Cell<bool>,
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.runs.set(false);
        self.program.killed.set(Some(self.bucket.now()));
    }
}

/// A fault injected into the instance that runs the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    Pause(Duration),
    Cut(Duration),
}

/// Lets a fleet boot, and injects `blows` faults into holders; the work takes at least `shortest` seconds. Returns the
/// result of each instance (`None` if it was killed), the claim, and how often the work was started.
async fn round(
    seed: u64,
    trouble: u8,
    shortest: u64,
    ending: Ending,
    blows: usize,
) -> (Vec<Option<Result<bool, ClaimError>>>, Claim, usize) {
    let rng = Rc::new(RefCell::new(Rng::with_seed(seed)));
    let bucket = Rc::new(Bucket { object: RefCell::default(), start: Instant::now(), rng: rng.clone(), trouble });
    let length = seconds(shortest..100, &rng);
    let fleet = Fleet { bucket, programs: RefCell::default(), length, ending };
    let instances: Vec<Instance> =
        (0..INSTANCES).map(|number| Instance { number, paused: Rc::default(), cut: Rc::default(), runs: Rc::default() }).collect();
    let killed: Vec<tokio::sync::Notify> = (0..INSTANCES).map(|_| tokio::sync::Notify::new()).collect();
    let boots = join_all(instances.iter().zip(&killed).map(async |(instance, killed)| {
        sleep(seconds(0..5, &rng)).await;
        let boot = Pausable { inner: Box::pin(fleet.boot(instance)), until: instance.paused.clone(), alarm: None };
        tokio::select! {
            came_to = boot => Some(came_to),
            () = killed.notified() => None,
        }
    }));
    let strikes = async {
        for _ in 0..blows {
            sleep(seconds(0..30, &rng)).await;
            let Some(holder) = instances.iter().find(|instance| instance.runs.get() && instance.paused.get().is_none()) else { continue };
            let length = seconds(1..150, &rng);
            match [Blow::Kill, Blow::Pause(length), Blow::Cut(length)][rng.borrow_mut().usize(..3)] {
                Blow::Kill => killed[holder.number].notify_one(),
                Blow::Pause(length) => holder.paused.set(Some(Instant::now() + length)),
                Blow::Cut(length) => holder.cut.set(fleet.bucket.now() + length),
            }
        }
    };
    let (came_to, ()) = futures_util::join!(boots, strikes);
    let runs = fleet.programs.borrow().len();
    (came_to, fleet.bucket.claim(), runs)
}

#[tokio::test(start_paused = true)]
async fn never_two_at_a_time_whatever_becomes_of_the_holder() {
    LocalSet::new()
        .run_until(async {
            let mut again = 0;
            for seed in 0..ROUNDS {
                let (came_to, claim, runs) = round(seed, (seed % 4) as u8, 0, Ending::Done, 8).await;
                assert_eq!(claim.state, State::Ended(Ending::Done), "{seed}: somebody does it in the end");
                assert!(came_to.iter().flatten().filter(|one| matches!(one, Ok(true))).count() > 0, "{seed}: {came_to:?}");
                for error in came_to.iter().flatten().filter_map(|one| one.as_ref().err()) {
                    let is_of_a_holder = matches!(error, ClaimError::Lost { .. } | ClaimError::TakenOver { .. });
                    assert!(is_of_a_holder, "{seed}: whoever waits is done in the end: {error}");
                }
                again += usize::from(runs > 1);
            }
            assert!(again > 50, "holders were struck, and others did it again: {again}");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn without_trouble_it_is_done_once_and_everybody_knows() {
    LocalSet::new()
        .run_until(async {
            let (came_to, _, runs) = round(1, 0, 0, Ending::Done, 0).await;
            assert_eq!(runs, 1);
            assert!(came_to.iter().all(|one| matches!(one, Some(Ok(true)))), "{came_to:?}");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_failed_has_failed_for_everybody_who_waits() {
    let failed = || Ending::Failed { why: "exited with 3".into(), exit: Some(3), said: vec!["no table".into()] };
    LocalSet::new()
        .run_until(async {
            for seed in 0..20 {
                // All instances have started before the work ends; one that started later would try again.
                let (came_to, claim, runs) = round(seed, 0, 6, failed(), 0).await;
                assert_eq!((runs, claim.state), (1, State::Ended(failed())), "{seed}");
                assert!(came_to.iter().all(|one| matches!(one, Some(Ok(false)))), "{seed}: {came_to:?}");
            }
        })
        .await;
}

#[test]
fn what_is_there_decides() {
    let me = Wanter { holder: "i-1".into(), attempt: "b".into() };
    let failed = Ending::Failed { why: "exited with 3".into(), exit: Some(3), said: Vec::new() };
    let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    let seen = |holder: &str, attempt: &str, state: State, age: u64| Seen {
        etag: "e".into(),
        modified: at(1_000 - age),
        date: at(1_000),
        body: Claim { holder: holder.into(), attempt: attempt.into(), renewal: 1, release: "v1".into(), state }.written(),
    };
    let said = |seen: Option<Seen>| match next(seen.as_ref(), &me, at(900)).unwrap() {
        Next::Make => "make",
        Next::TakeOver(_) => "take over",
        Next::Wait(_) => "wait",
        Next::Done(_) => "done",
        Next::Failed(..) => "failed",
    };
    assert_eq!(said(None), "make");
    for (holder, attempt, state, age, expected) in [
        ("i-2", "a", State::Held, 0, "wait"),
        ("i-2", "a", State::Held, 59, "wait"),
        ("i-2", "a", State::Held, 60, "take over"),
        // An earlier boot of this instance may have left a program running.
        ("i-1", "a", State::Held, 5, "wait"),
        ("i-1", "b", State::Held, 5, "take over"),
        ("i-2", "b", State::Held, 5, "wait"),
        ("i-2", "a", State::Ended(Ending::Done), 500, "done"),
        ("i-2", "a", State::Ended(failed.clone()), 50, "failed"),
        ("i-2", "a", State::Ended(failed.clone()), 101, "take over"),
        ("i-1", "a", State::Ended(failed), 50, "take over"),
    ] {
        assert_eq!(said(Some(seen(holder, attempt, state.clone(), age))), expected, "{holder} {attempt} {state:?} {age}");
    }
    let words = Seen { etag: "e".into(), modified: at(0), date: at(0), body: "words".into() };
    assert_eq!(next(Some(&words), &me, at(0)), Err(NotAClaim));
}

/// Lets a claim be taken, but refuses every other write: the role's permissions have changed.
struct Denying(Route);

#[async_trait(?Send)]
impl Store for Denying {
    fn name(&self) -> String {
        self.0.name()
    }

    async fn look(&self) -> Result<Option<Seen>, Explanation> {
        self.0.look().await
    }

    async fn write(&self, body: Bytes, over: Option<&str>) -> Result<Option<String>, Explanation> {
        if over.is_some() { Err(Explanation::new("AccessDenied", None)) } else { self.0.write(body, over).await }
    }
}

/// Regression: the instances that waited for the failed command learnt of it just as late.
#[tokio::test(start_paused = true)]
async fn only_what_is_done_is_worth_waiting_for_a_store_that_refuses_it() {
    let failed = Ending::Failed { why: "exited with 1".into(), exit: Some(1), said: Vec::new() };
    for (ending, expected) in [(failed, 0..5), (Ending::Done, 20..50)] {
        let rng = Rc::new(RefCell::new(Rng::with_seed(1)));
        let bucket = Rc::new(Bucket { object: RefCell::default(), start: Instant::now(), rng, trouble: 0 });
        let store = Denying(Route { bucket: bucket.clone(), cut_until: Rc::default() });
        let (clock, until) = (SystemClock::start(), Duration::from_secs(3_600));
        let me = Wanter { holder: "i-1".into(), attempt: "a".into() };
        let claimant = Claimant { store: &store, clock: &clock, me, release: "v1".into(), until, waiting: &|_| {} };
        let Taken::Ours(held) = claimant.take().await.unwrap() else { panic!("nobody else wants it") };
        let told = held.end(ending).await.unwrap_err();
        assert!(matches!(told, ClaimError::Untold { .. }), "{told}");
        assert!(expected.contains(&bucket.now().as_secs()), "{:?}", bucket.now());
    }
}
