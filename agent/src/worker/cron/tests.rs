//! A fleet, its queue and its claims in simulated time: instances die at every boundary, answers are lost, clocks jump.
#![expect(clippy::disallowed_methods, reason = "time is simulated here, and each instance has a clock of its own")]

mod late;
mod refused;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::join_all;
use jiff::SignedDuration;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::*;
use crate::aws::AwsError;
use crate::aws::client::call::Call;
use crate::aws::s3::{Found, Object, Only, PUT, Source, Upload, Written};
use crate::aws::sqs::{self, Attributes, Message, Receive, Rejected, Sent};
use crate::fake::aws::{FakeObjects, FakeQueue};
use crate::fake::machine::FakeMachine;
use crate::host::Clock;
use crate::net::Probes;
use crate::net::posts::{Answered, Post, Posts};
use crate::steps::worker::settings::{self, Task};
use crate::worker::Daemon;

const INSTANCES: usize = 3;
const MINUTES: u64 = 200;

/// The probability in percent that an instance dies at a boundary, and that an answer is lost.
const DIES: u8 = 2;
const LOST: u8 = 4;

/// The clock of the store in memory starts on the first of the month.
const DAYS: Duration = Duration::from_secs(29 * 86_400 + 30);

fn start() -> Timestamp {
    "2026-11-30T00:00:30Z".parse().unwrap()
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// The wall clock of an instance, with an offset.
struct Wall {
    begun: Instant,
    off: Rc<Cell<SignedDuration>>,
}

#[async_trait(?Send)]
impl Clock for Wall {
    fn now(&self) -> Timestamp {
        start().checked_add(self.begun.elapsed()).unwrap().checked_add(self.off.get()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn passed(&self) -> Duration {
        self.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn rest(&self, duration: Duration) {
        self.sleep(duration).await;
    }
}

/// What happens to an instance, and its randomness.
struct Fate {
    rng: Rc<RefCell<Rng>>,
    killed: Notify,
    /// Whether things currently go wrong.
    is_hard: Rc<Cell<bool>>,
    /// The number of deaths at each boundary.
    deaths: Rc<RefCell<BTreeMap<String, u32>>>,
}

impl Fate {
    fn chance(&self, percent: u8) -> bool {
        self.is_hard.get() && self.rng.borrow_mut().u8(..100) < percent
    }

    /// Passes a boundary, or dies there.
    async fn pass(&self, boundary: &str) {
        if self.chance(DIES) {
            *self.deaths.borrow_mut().entry(boundary.to_owned()).or_default() += 1;
            self.killed.notify_one();
            std::future::pending().await
        }
    }
}

fn lost(service: &'static crate::aws::client::error::Service, operation: &'static str) -> AwsError {
    Call::new(service, operation, "x").refused(Some("ServiceUnavailable"), None, Some(503))
}

/// S3, as one instance reaches it.
struct Route {
    objects: Rc<FakeObjects>,
    fate: Rc<Fate>,
}

#[async_trait(?Send)]
impl Objects for Route {
    async fn open(&self, _: &Source, _: bool) -> Result<Box<dyn Object>, AwsError> {
        unreachable!("claims are small")
    }

    async fn look(&self, source: &Source) -> Result<Option<Found>, AwsError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self.fate.chance(LOST) {
            return Err(lost(crate::aws::s3::SERVICE, PUT));
        }
        let found = self.objects.look(source).await?;
        Ok(found.map(|found| Found { modified: found.modified + DAYS, date: found.date + DAYS, ..found }))
    }

    async fn write(&self, source: &Source, body: Bytes, only: Only<'_>, upload: Option<&Upload>) -> Result<Written, AwsError> {
        let state = ["claimed", "sent", "posted"].into_iter().find(|state| String::from_utf8_lossy(&body).contains(state));
        let name = state.unwrap_or("until");
        self.fate.pass(&format!("before {name}")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if self.fate.chance(LOST) {
            return Err(lost(crate::aws::s3::SERVICE, PUT));
        }
        let written = self.objects.write(source, body, only, upload).await;
        self.fate.pass(&format!("after {name}")).await;
        if self.fate.chance(LOST) { Err(lost(crate::aws::s3::SERVICE, PUT)) } else { written }
    }
}

/// The queue, as one instance reaches it.
struct Line {
    queue: Rc<FakeQueue>,
    fate: Rc<Fate>,
}

#[async_trait(?Send)]
impl Queue for Line {
    async fn attributes(&self) -> Result<Attributes, AwsError> {
        self.queue.attributes().await
    }

    fn time(&self) -> Timestamp {
        self.queue.time()
    }

    async fn receive(&self, wanted: &Receive) -> Result<Vec<Message>, AwsError> {
        self.queue.receive(wanted).await
    }

    async fn delete(&self, receipts: &[String]) -> Result<Vec<Rejected>, AwsError> {
        self.queue.delete(receipts).await
    }

    async fn send(&self, sent: &Sent) -> Result<String, AwsError> {
        self.fate.pass("before the send").await;
        let id = Queue::send(&*self.queue, sent).await;
        self.fate.pass("after the send").await;
        if self.fate.chance(LOST) { Err(lost(sqs::SERVICE, "SendMessage")) } else { id }
    }

    async fn hide(&self, receipts: &[(String, Duration)]) -> Result<Vec<Rejected>, AwsError> {
        self.queue.hide(receipts).await
    }
}

/// The application of an instance: which messages arrived for which time.
struct Application {
    fate: Rc<Fate>,
    begun: Instant,
    came: Rc<RefCell<BTreeMap<String, BTreeSet<String>>>>,
}

#[async_trait(?Send)]
impl Posts for Application {
    async fn post(&self, post: &Post) -> Answered {
        self.fate.pass("before the POST").await;
        let text = String::from_utf8(post.bytes.clone()).unwrap();
        let header = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
        };
        assert!(text.starts_with("POST /tasks/a HTTP/1.1\r\n") && text.ends_with("\r\n\r\n") && !text.contains("-Attr-"), "{text}");
        assert_eq!(header("X-Aws-Sqsd-Taskname"), "a");
        // A clock may be ahead by this much.
        let (at, now) = (header("X-Aws-Sqsd-Scheduled-At"), start().checked_add(self.begun.elapsed() + LATE).unwrap());
        assert!(at.parse::<Timestamp>().unwrap() <= now, "{at} came before {now}");
        self.came.borrow_mut().entry(header("X-Aws-Sqsd-Scheduled-At")).or_default().insert(header("X-Aws-Sqsd-Msgid"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.fate.pass("after the POST").await;
        Answered::Status { status: if self.fate.chance(10) { 500 } else { 200 }, retry_after: None }
    }
}

#[async_trait(?Send)]
impl Probes for Application {
    async fn http(&self, _: &str, _: Duration) -> Result<u16, String> {
        Ok(200)
    }

    async fn fastcgi(&self, _: std::net::SocketAddr, _: &str, _: &str, _: Duration) -> Result<u16, String> {
        Ok(200)
    }

    async fn tcp(&self, _: &str, _: Duration) -> Result<(), String> {
        Ok(())
    }

    async fn published(&self, _: u16, _: Duration) -> Result<(), String> {
        Ok(())
    }
}

struct Fleet {
    objects: Rc<FakeObjects>,
    queue: Rc<FakeQueue>,
    settings: Settings,
    machine: FakeMachine,
    begun: Instant,
    rng: Rc<RefCell<Rng>>,
    is_hard: Rc<Cell<bool>>,
    came: Rc<RefCell<BTreeMap<String, BTreeSet<String>>>>,
    deaths: Rc<RefCell<BTreeMap<String, u32>>>,
    /// The number of times that were reported as missed, over all lives.
    missed: Cell<u64>,
}

impl Fleet {
    fn new(seed: u64, fifo: bool, catch_up: Duration) -> Self {
        let begun = Instant::now();
        let right = Wall { begun, off: Rc::default() };
        let task = Task { name: "a".into(), schedule: "* * * * *".into(), time_zone: "UTC".into(), path: "/tasks/a".into(), catch_up };
        let claims = (!fifo).then(|| settings::Claims { below: "s3://shop/claims/cron/shop/prod/".into(), holder: "i-1".into() });
        let queue = if fifo { "jobs.fifo" } else { "jobs" };
        let settings = Settings { tasks: vec![task], claims, ..Settings::of_queue(queue) };
        Self {
            objects: Rc::default(),
            queue: Rc::new(FakeQueue::new(Rc::new(right), fifo)),
            settings,
            machine: FakeMachine::new_instance(),
            begun,
            rng: Rc::new(RefCell::new(Rng::with_seed(seed))),
            is_hard: Rc::default(),
            came: Rc::default(),
            deaths: Rc::default(),
            missed: Cell::default(),
        }
    }

    fn seconds(&self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_secs(self.rng.borrow_mut().u64(range))
    }

    async fn until(&self, at: Duration) {
        tokio::time::sleep((self.begun + at).saturating_duration_since(Instant::now())).await;
    }

    /// One life of an instance. Returns its status at `end`, if it lives that long.
    async fn life(&self, off: &Rc<Cell<SignedDuration>>, end: Duration) -> Option<Vec<Periodic>> {
        let (rng, is_hard, deaths) = (self.rng.clone(), self.is_hard.clone(), self.deaths.clone());
        let fate = Rc::new(Fate { rng, killed: Notify::new(), is_hard, deaths });
        let host = Host { clock: Rc::new(Wall { begun: self.begun, off: off.clone() }), ..self.machine.host() };
        let queue: Rc<dyn Queue> = Rc::new(Line { queue: self.queue.clone(), fate: fate.clone() });
        let queue_name = QueueName::parse(&self.settings.queue).unwrap();
        let objects = Rc::new(Route { objects: self.objects.clone(), fate: fate.clone() });
        let cron = Cron::of(&self.settings, queue.clone(), (queue_name.clone(), "jobs"), objects, host.clone()).await.unwrap();
        let application = Rc::new(Application { fate: fate.clone(), begun: self.begun, came: self.came.clone() });
        let daemon = Daemon {
            name: "jobs".into(),
            settings: Rc::new(self.settings.clone()),
            queue,
            queue_name,
            posts: application.clone(),
            probes: application,
            host,
            hold: None,
            metrics: None,
            cron: cron.clone(),
        };
        let is_alive = tokio::select! {
            biased;
            () = fate.killed.notified() => false,
            () = daemon.work(futures_util::stream::pending()) => false,
            () = self.until(end) => true,
        };
        let told = cron.map(|cron| cron.status())?;
        self.missed.set(self.missed.get() + told.iter().map(|task| task.missed).sum::<u64>());
        is_alive.then_some(told)
    }

    /// An instance that is restarted whenever it has died. Its clock jumps, and is correct at the end.
    async fn instance(&self, calm: Duration, end: Duration) {
        let off = Rc::new(Cell::new(SignedDuration::ZERO));
        let jumps = async {
            self.until(minutes(3)).await;
            while self.begun.elapsed() < calm {
                tokio::time::sleep(self.seconds(60..1800)).await;
                let far = self.rng.borrow_mut().i64(-1200..1200);
                off.set(if self.rng.borrow_mut().bool() { SignedDuration::from_secs(far) } else { SignedDuration::ZERO });
            }
            off.set(SignedDuration::ZERO);
            self.until(end).await;
        };
        let lives = async {
            while self.life(&off, end).await.is_none() {
                tokio::time::sleep(self.seconds(0..120)).await;
            }
        };
        futures_util::join!(jumps, lives);
    }

    /// The times of the first minutes, as they are passed to the application.
    fn times(&self) -> Vec<String> {
        let first: Timestamp = "2026-11-30T00:01:00Z".parse().unwrap();
        (0..MINUTES).map(|minute| first.checked_add(minutes(minute)).unwrap().to_string()).collect()
    }
}

/// No time is missed, and each has one message, whatever happens to the senders.
#[tokio::test(start_paused = true)]
async fn two_hundred_times_reach_the_application_through_one_message_each() {
    let mut deaths: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..5 {
        let fleet = Fleet::new(seed, false, minutes(120));
        let (calm, end) = (minutes(MINUTES), minutes(MINUTES + 15));
        let weather = async {
            fleet.until(minutes(2)).await;
            fleet.is_hard.set(true);
            fleet.until(calm).await;
            fleet.is_hard.set(false);
        };
        futures_util::join!(weather, join_all((0..INSTANCES).map(|_| fleet.instance(calm, end))));
        let came = fleet.came.borrow();
        for time in fleet.times() {
            assert_eq!(came.get(&time).map_or(0, BTreeSet::len), 1, "{seed}: {time}: {:?}", came.get(&time));
        }
        assert!(came.values().all(|messages| messages.len() == 1), "{seed}: {came:?}");
        assert_eq!((fleet.queue.left(), fleet.missed.get()), (Vec::new(), 0), "{seed}");
        for (boundary, count) in fleet.deaths.borrow().iter() {
            *deaths.entry(boundary.clone()).or_default() += count;
        }
    }
    for boundary in ["claimed", "the send", "sent", "posted", "the POST"] {
        for side in ["before", "after"] {
            assert!(deaths.get(&format!("{side} {boundary}")).is_some_and(|count| *count > 2), "{deaths:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fifo_queue_needs_no_claims() {
    let fleet = Fleet::new(7, true, minutes(5));
    let end = minutes(MINUTES + 2);
    // The clocks of two instances are off by more than the deduplication interval of SQS.
    let clocks = [0, -1200, 1200].map(|off| Rc::new(Cell::new(SignedDuration::from_secs(off))));
    join_all(clocks.iter().map(|off| fleet.life(off, end))).await;
    let came = fleet.came.borrow();
    assert!(fleet.times().iter().all(|time| came.get(time).is_some_and(|messages| messages.len() == 1)), "{came:?}");
    assert_eq!(fleet.objects.count(), 0);
}

/// Messages from other senders: a second one for a posted time is deleted, one that belongs to no task of ours is not.
#[tokio::test(start_paused = true)]
async fn of_two_messages_for_one_time_the_first_is_posted_and_what_comes_back_from_a_dead_letter_queue_is_too() {
    let fleet = Fleet::new(1, false, minutes(5));
    let fate = Rc::new(Fate { rng: fleet.rng.clone(), killed: Notify::new(), is_hard: Rc::default(), deaths: Rc::default() });
    let name = QueueName::parse("jobs").unwrap();
    let objects = Rc::new(Route { objects: fleet.objects.clone(), fate });
    let cron = Cron::of(&fleet.settings, fleet.queue.clone(), (name, "jobs"), objects, fleet.machine.host()).await.unwrap().unwrap();
    let message = |id: &str, task: &str, mark: Option<&str>| {
        let message = Message { id: id.into(), ..Message::default() }
            .saying("beanstalk.sqsd.path", "String", "/tasks/a")
            .saying("beanstalk.sqsd.task_name", "String", task)
            .saying("beanstalk.sqsd.scheduled_time", "String", "2026-11-30 02:30:00 UTC");
        mark.map_or(message.clone(), |mark| message.saying(MARK, "String", mark))
    };
    let posted = async |message: Message| matches!(cron.admits(&message).await, Admitted::Yes);
    assert!(posted(message("m1", "a", Some("x"))).await && posted(message("m1", "a", Some("x"))).await, "again and again");
    assert!(!posted(message("m2", "a", Some("y"))).await && !posted(message("m3", "a", None)).await);
    assert!(posted(message("m4", "a", Some("x"))).await, "a re-driven message has another ID");
    assert!(posted(message("m5", "other", None)).await && posted(message("m6", "other", None)).await);
    assert!(posted(Message::default()).await);
}
