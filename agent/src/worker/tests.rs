//! The whole daemon, with a queue and an application in memory.

mod admission;
mod held;
mod killed;
mod leaving;
mod together;
mod trust;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, stream};
use tokio::sync::Notify;

use super::status::{Doing, Status, path};
use super::*;
use crate::aws::s3::Objects;
use crate::aws::sqs::QueueName;
use crate::fake::aws::{FakeObjects, FakeQueue};
use crate::fake::machine::FakeMachine;
use crate::host::Host;
use crate::net::Probes;
use crate::net::posts::{Answered, Post, Posts};
use crate::steps::worker::settings::Settings;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn status(status: u16) -> Answered {
    Answered::Status { status, retry_after: None }
}

type Handle = Box<dyn Fn(&str, u32) -> (Duration, Answered)>;

/// An application: what it does with a message and for how long, by the message's body and how often it has seen it.
struct Application {
    host: Host,
    handle: Handle,
    seen: RefCell<BTreeMap<String, u32>>,
    /// The starts of requests, with their times, in order.
    began: RefCell<Vec<(Duration, String)>>,
    ended: RefCell<Vec<String>>,
    running: Cell<usize>,
    most: Cell<usize>,
    is_up: Cell<bool>,
    is_ready: Cell<bool>,
    /// Aborts all requests.
    crash: Notify,
}

/// Counts down when a request ends, in whatever way.
struct Running<'a>(&'a Cell<usize>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[async_trait(?Send)]
impl Posts for Application {
    async fn post(&self, post: &Post) -> Answered {
        if !self.is_up.get() {
            return Answered::Refused("connection refused".into());
        }
        let text = String::from_utf8(post.bytes.clone()).unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1.to_owned();
        let count = {
            let mut seen = self.seen.borrow_mut();
            let count = seen.entry(body.clone()).or_default();
            *count += 1;
            *count
        };
        self.began.borrow_mut().push((self.host.clock.elapsed(), body.clone()));
        self.running.set(self.running.get() + 1);
        self.most.set(self.most.get().max(self.running.get()));
        let _running = Running(&self.running);
        let (takes, answer) = (self.handle)(&body, count);
        if takes > post.limit {
            self.host.clock.sleep(post.limit).await;
            return Answered::TooLong;
        }
        tokio::select! {
            biased;
            () = self.crash.notified() => return Answered::CutOff("crashed".into()),
            () = self.host.clock.sleep(takes) => {}
        }
        if answer == Answered::CutOff("crashes".into()) {
            self.crash.notify_waiters();
            self.is_up.set(false);
        }
        self.ended.borrow_mut().push(body);
        answer
    }
}

#[async_trait(?Send)]
impl Probes for Application {
    async fn http(&self, _: &str, _: Duration) -> Result<u16, String> {
        Ok(if self.is_ready.get() { 200 } else { 503 })
    }

    async fn fastcgi(&self, _: std::net::SocketAddr, _: &str, _: &str, _: Duration) -> Result<u16, String> {
        Ok(200)
    }

    async fn tcp(&self, _: &str, _: Duration) -> Result<(), String> {
        if self.is_up.get() { Ok(()) } else { Err("connection refused".into()) }
    }

    async fn published(&self, _: u16, within: Duration) -> Result<(), String> {
        if self.is_ready.get() { self.tcp("", within).await } else { Err("nobody listens inside yet".into()) }
    }
}

/// A queue, an application, and the worker between them.
struct Scene {
    machine: FakeMachine,
    queue: Rc<FakeQueue>,
    application: Rc<Application>,
    settings: Settings,
    fifo: bool,
    hold: Option<PathBuf>,
    objects: Rc<dyn Objects>,
}

impl Scene {
    fn new(fifo: bool, handle: impl Fn(&str, u32) -> (Duration, Answered) + 'static) -> Self {
        let machine = FakeMachine::new_instance();
        let host = machine.host();
        let settings = Settings::of_queue(if fifo { "jobs.fifo" } else { "jobs" });
        let application = Application {
            host: host.clone(),
            handle: Box::new(handle),
            seen: RefCell::default(),
            began: RefCell::default(),
            ended: RefCell::default(),
            running: Cell::default(),
            most: Cell::default(),
            is_up: Cell::new(true),
            is_ready: Cell::new(true),
            crash: Notify::new(),
        };
        Self {
            queue: Rc::new(FakeQueue::new(host.clock.clone(), fifo)),
            application: Rc::new(application),
            machine,
            settings,
            fifo,
            hold: None,
            objects: Rc::new(FakeObjects::default()),
        }
    }

    fn send(&self, count: usize) {
        (0..count).for_each(|n| self.queue.send(&format!("{n:04}")));
    }

    async fn work(&self, stop: impl Future<Output = ()>) {
        self.work_until(stream::once(stop)).await;
    }

    async fn work_until(&self, stops: impl Stream<Item = ()>) {
        let host = self.machine.host();
        let queue_name = QueueName::parse(&self.settings.queue).unwrap();
        let (queue, objects) = (self.queue.clone(), self.objects.clone());
        let cron = Cron::of(&self.settings, queue, (queue_name.clone(), "jobs"), objects, host.clone()).await.unwrap();
        let daemon = Daemon {
            name: "jobs".into(),
            settings: Rc::new(self.settings.clone()),
            queue: self.queue.clone(),
            queue_name,
            posts: self.application.clone(),
            probes: self.application.clone(),
            host,
            hold: self.hold.clone(),
            metrics: None,
            cron,
        };
        assert_eq!(daemon.queue_name.is_fifo(), self.fifo);
        daemon.work(stops).await;
    }

    /// Works for `time`, is asked to stop, and stops.
    async fn work_for(&self, time: Duration) {
        self.work(self.machine.host().clock.sleep(time)).await;
    }

    /// Works for `time`, and is killed.
    async fn killed_after(&self, time: Duration) {
        let clock = self.machine.host().clock;
        tokio::select! {
            () = clock.sleep(time) => {}
            () = self.work(std::future::pending()) => {}
        }
        assert_eq!(self.application.running.get(), 0, "its connections are cut off");
    }

    fn elapsed(&self) -> Duration {
        self.machine.host().clock.elapsed()
    }

    fn seen(&self) -> Vec<u32> {
        self.application.seen.borrow().values().copied().collect()
    }

    async fn status(&self) -> Option<Status> {
        let found = self.machine.host().files.read(&path("jobs"), 1 << 20).await.unwrap();
        found.map(|found| serde_json::from_slice(&found).unwrap())
    }
}

fn soon(_: &str, _: u32) -> (Duration, Answered) {
    (Duration::from_millis(20), status(200))
}

#[tokio::test(start_paused = true)]
async fn every_message_is_handled_once_and_never_more_than_there_is_room_for() {
    let scene = Scene::new(false, soon);
    scene.send(100);
    scene.work_for(at(5)).await;
    assert_eq!((scene.seen(), scene.queue.left()), (vec![1; 100], Vec::new()));
    assert_eq!(scene.application.most.get(), 5);
    assert!(scene.queue.calls("DeleteMessageBatch").len() < 40, "they go together: {:?}", scene.queue.calls("DeleteMessageBatch"));
    assert_eq!(scene.status().await, None, "it leaves no file");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_200_comes_again_after_two_seconds() {
    let scene = Scene::new(false, |_, count| (at(0), status(if count < 3 { 204 } else { 200 })));
    scene.send(1);
    scene.work_for(at(10)).await;
    let times: Vec<u64> = scene.application.began.borrow().iter().map(|(time, _)| time.as_secs()).collect();
    assert_eq!((times, scene.queue.left()), (vec![0, 2, 4], Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_message_is_hidden_for_as_long_as_it_is_handled() {
    let scene = Scene::new(false, |_, _| (at(1200), status(200)));
    scene.send(2);
    let look = async {
        for _ in 0..110 {
            scene.machine.host().clock.sleep(at(10)).await;
            assert_eq!(scene.queue.visible(), [""; 0], "at {:?}", scene.elapsed());
        }
        let status = scene.status().await.unwrap();
        assert_eq!((status.doing, status.in_hand, status.handled), (Doing::Working, 2, 0));
    };
    tokio::join!(scene.work_for(at(1250)), look);
    assert_eq!((scene.seen(), scene.queue.left()), (vec![1, 1], Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn asked_to_stop_it_finishes_what_it_has_and_takes_no_more() {
    let scene = Scene::new(false, |_, _| (at(30), status(200)));
    scene.send(8);
    scene.work_for(at(10)).await;
    assert!(scene.elapsed() < at(32), "{:?}", scene.elapsed());
    assert_eq!((scene.seen(), scene.queue.left().len(), scene.queue.visible().len()), (vec![1; 5], 3, 3));
}

#[tokio::test(start_paused = true)]
async fn what_takes_longer_than_the_drain_is_cut_off_and_visible_at_once() {
    let scene = Scene::new(false, |_, _| (at(600), status(200)));
    scene.send(5);
    scene.work_for(at(10)).await;
    assert!(scene.elapsed() < at(71), "{:?}", scene.elapsed());
    assert_eq!((scene.queue.visible().len(), scene.application.running.get()), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_with_its_long_poll() {
    let scene = Scene::new(false, soon);
    scene.work_for(at(15)).await;
    assert!(scene.elapsed() <= Duration::from_millis(20_100), "{:?}", scene.elapsed());
}

/// Such a message arrives with the answer to a reception that was in flight.
#[tokio::test(start_paused = true)]
async fn what_comes_after_the_stop_goes_back_at_once() {
    let scene = Scene::new(false, soon);
    let late = async {
        scene.machine.host().clock.sleep(Duration::from_millis(10_300)).await;
        scene.send(1);
    };
    tokio::join!(scene.work_for(at(10)), late);
    assert_eq!((scene.seen(), scene.queue.visible()), (Vec::new(), vec!["0000".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn an_application_that_is_gone_gives_everything_back_and_nothing_is_asked_for_until_it_is_ready() {
    let scene = Scene::new(false, soon);
    let outage = async {
        let clock = scene.machine.host().clock;
        clock.sleep(at(1)).await;
        scene.application.is_up.set(false);
        scene.send(20);
        clock.sleep(at(5)).await;
        assert_eq!(scene.queue.visible().len(), 20, "{:?}", scene.queue.left());
        let status = scene.status().await.unwrap();
        assert_eq!((status.doing, status.waiting.as_deref()), (Doing::Paused, Some("connection refused")));
        let asked = scene.queue.calls("ReceiveMessage").len();
        clock.sleep(at(60)).await;
        assert_eq!(scene.queue.calls("ReceiveMessage").len(), asked);
        scene.application.is_up.set(true);
    };
    tokio::join!(scene.work_for(at(80)), outage);
    assert_eq!((scene.seen(), scene.queue.left()), (vec![1; 20], Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_fifo_queue_keeps_its_order_also_after_failures() {
    let scene =
        Scene::new(true, |body, count| (Duration::from_millis(50), status(if body.ends_with('3') && count < 3 { 500 } else { 200 })));
    scene.send(20);
    scene.work_for(at(60)).await;
    let mut order: Vec<String> = scene.application.began.borrow().iter().map(|(_, body)| body.clone()).collect();
    order.dedup();
    assert_eq!(order, (0..20).map(|n| format!("{n:04}")).collect::<Vec<_>>());
    assert!(scene.queue.left().is_empty() && scene.application.most.get() == 1);
    assert!(scene.queue.calls("ReceiveMessage").iter().all(|most| *most == 1));
}

#[tokio::test(start_paused = true)]
async fn what_sqs_refuses_is_tried_again() {
    let scene = Scene::new(false, soon);
    scene.send(30);
    for (operation, code) in [
        ("ReceiveMessage", "RequestThrottled"),
        ("ReceiveMessage", "ServiceUnavailable"),
        ("ReceiveMessage", "AccessDeniedException"),
        ("ReceiveMessage", "QueueDoesNotExist"),
        ("ReceiveMessage", "ExpiredToken"),
        ("DeleteMessageBatch", "RequestThrottled"),
        ("DeleteMessageBatch", "AccessDeniedException"),
    ] {
        scene.queue.refuse(operation, code);
    }
    scene.work_for(at(300)).await;
    assert!(scene.queue.left().is_empty() && scene.seen() == vec![1; 30], "{:?}", scene.seen());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_too_old_is_deleted_without_being_posted() {
    let mut scene = Scene::new(false, |_, _| (at(0), status(500)));
    scene.settings.retention = at(3);
    scene.send(1);
    scene.work_for(at(10)).await;
    assert_eq!((scene.seen(), scene.queue.left()), (vec![2], Vec::new()), "at 0 and at 2 seconds");
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_longer_than_it_may_counts_as_failed() {
    let mut scene = Scene::new(false, |_, count| (if count == 1 { at(900) } else { at(1) }, status(200)));
    scene.settings.max_duration = at(100);
    scene.send(1);
    scene.work_for(at(120)).await;
    let times: Vec<u64> = scene.application.began.borrow().iter().map(|(time, _)| time.as_secs()).collect();
    assert_eq!((times, scene.queue.left()), (vec![0, 102], Vec::new()));
}
