//! A machine to boot in a test, the services around it, and an audience that records what it is shown.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;

use crate::aws::cloudformation::SignalStatus;
use crate::aws::live::{Aws, Services};
use crate::aws::{Identity, ImdsError, Metadata, Notice};
use crate::boot::audience::{Audience, Ending};
use crate::boot::conductor::boot;
use crate::boot::ground::Ground;
use crate::boot::request::{Request, UserData};
use crate::boot::stand_in::StandIn;
use crate::document::error::DocumentError;
use crate::failure::Explanation;
use crate::fake::aws::{
    FakeAutoScaling, FakeCloudFormation, FakeEc2, FakeMetadata, FakeObjects, FakeParameterStore, FakeRds, FakeRegistries, services,
};
use crate::fake::machine::{FakeMachine, INSTANCE};
use crate::report::event::Listener;
use crate::report::{REPORT, Report};

/// A document with a file and a signal.
pub(super) const DOCUMENT: &str = "#ingot
version: 1
files: { /etc/x: { content: x } }
signals: { stack: { cloudformation: { stack: shop, resource: Web } } }
";

/// A machine, and every service that its boot may call.
pub(super) struct Site {
    pub(super) machine: FakeMachine,
    pub(super) metadata: Rc<dyn Metadata>,
    pub(super) waiting: Option<String>,
    pub(super) parameters: Rc<FakeParameterStore>,
    pub(super) objects: Rc<FakeObjects>,
    pub(super) stacks: Rc<FakeCloudFormation>,
    pub(super) groups: Rc<FakeAutoScaling>,
    pub(super) watcher: Rc<Watcher>,
}

impl Site {
    /// An instance with this user data.
    pub(super) fn with(user_data: &str) -> Self {
        let metadata = FakeMetadata { user_data: Some(user_data.as_bytes().to_vec()), ..metadata() };
        Self::of(Rc::new(metadata))
    }

    pub(super) fn of(metadata: Rc<dyn Metadata>) -> Self {
        let machine = FakeMachine::new_instance();
        Self {
            metadata,
            waiting: None,
            parameters: Rc::default(),
            objects: Rc::default(),
            stacks: Rc::new(FakeCloudFormation::new(machine.clone())),
            groups: Rc::new(FakeAutoScaling::new(machine.clone())),
            watcher: Rc::new(Watcher { machine: machine.clone(), lines: RefCell::default(), reports: RefCell::default() }),
            machine,
        }
    }

    pub(super) fn ground(&self) -> Ground {
        let ec2 = Rc::new(FakeEc2::new(self.machine.clone(), "eu-central-1a"));
        let rds = Rc::new(FakeRds::new(self.machine.clone(), "eu-central-1"));
        let services = Services {
            parameters: self.parameters.clone(),
            objects: self.objects.clone(),
            stacks: self.stacks.clone(),
            groups: self.groups.clone(),
            registries: Rc::new(FakeRegistries),
            ..services(ec2, rds)
        };
        let host = self.machine.host();
        Ground {
            outside: host.files.clone(),
            host,
            net: self.machine.net(),
            lock: Rc::new(self.machine.clone()),
            cloud: Rc::new(StandIn { metadata: self.metadata.clone(), aws: Aws::new(services), waiting: self.waiting.clone() }),
        }
    }

    pub(super) async fn boot(&self) -> Ending {
        self.boot_as(request()).await
    }

    pub(super) async fn boot_as(&self, request: Request) -> Ending {
        self.boot_until(request, pending()).await
    }

    pub(super) async fn boot_until(&self, request: Request, asked: impl Future<Output = &'static str>) -> Ending {
        boot(request, || self.ground(), self.watcher.clone(), asked).await
    }

    /// Two boots: both wait for the lock of another process for a second, and then the second waits for the first.
    pub(super) async fn boot_in_turn(&self, first: Request, second: Request) -> (Ending, Ending) {
        self.boot_and(first, async {}, second).await
    }

    /// The same, with `between` run before the second boot obtains the lock.
    pub(super) async fn boot_and(&self, first: Request, between: impl Future<Output = ()>, second: Request) -> (Ending, Ending) {
        let lock = self.machine.lock_by(7).unwrap();
        let release = async {
            self.asked_after(1).await;
            drop(lock);
        };
        let first = async {
            let ending = self.boot_as(first).await;
            between.await;
            ending
        };
        let (first, second, ()) = futures_util::join!(first, self.boot_as(second), release);
        (first, second)
    }

    /// Completes with SIGTERM after this time.
    pub(super) async fn asked_after(&self, seconds: u64) -> &'static str {
        self.machine.host().clock.sleep(Duration::from_secs(seconds)).await;
        "SIGTERM"
    }

    /// The report of the last boot.
    pub(super) fn report(&self) -> Report {
        self.watcher.reports.borrow().last().cloned().expect("a boot shows its report")
    }

    /// How many boots have shown their report.
    pub(super) fn reported(&self) -> usize {
        self.watcher.reports.borrow().len()
    }

    /// Why the boot failed before its first step.
    pub(super) fn error(&self) -> String {
        self.report().error.expect("the boot failed before its first step").message
    }

    /// Every step of the last boot with its outcome.
    pub(super) fn outcomes(&self) -> Vec<String> {
        self.report().steps.iter().map(|step| format!("{} {}", step.outcome.word(), step.address)).collect()
    }

    /// The signals that the stack received.
    pub(super) fn signals(&self) -> Vec<SignalStatus> {
        self.stacks.signals().iter().map(|signal| signal.status).collect()
    }

    /// The report on the machine.
    pub(super) fn on_disk(&self) -> Option<Report> {
        self.machine.file(REPORT).map(|(text, _)| serde_json::from_str(&text).expect("a whole report"))
    }

    /// Every line shown to people.
    pub(super) fn said(&self) -> Vec<String> {
        self.watcher.lines.borrow().clone()
    }
}

/// A boot of the whole document in user data.
pub(super) fn request() -> Request {
    Request {
        user_data: UserData::Metadata,
        layers: None,
        only: Vec::new(),
        release: None,
        deadline: Duration::from_secs(1_800),
        started_by_systemd: false,
    }
}

/// The metadata of an instance without user data and without tags.
pub(super) fn metadata() -> FakeMetadata {
    let identity = Identity { instance_id: INSTANCE.into(), region: "eu-central-1".into(), ..Identity::default() };
    FakeMetadata { identity, tags: Some(BTreeMap::new()), ..FakeMetadata::default() }
}

/// Records what it is shown. Checks that the report is written and the lock is free when the boot is over.
pub(super) struct Watcher {
    machine: FakeMachine,
    lines: RefCell<Vec<String>>,
    reports: RefCell<Vec<Report>>,
}

impl Audience for Watcher {
    fn listeners(&self) -> Vec<Box<dyn Listener>> {
        Vec::new()
    }

    fn say(&self, line: &str) {
        self.lines.borrow_mut().push(line.to_owned());
    }

    fn mistakes(&self, error: &DocumentError) {
        self.say(&format!("mistakes: {}", error.entries().len()));
    }

    fn failed(&self, error: &Explanation) {
        self.say(&format!("failed: {}", error.message));
    }

    fn over(&self, report: &Report, ending: &Ending) {
        assert_eq!(*ending, Ending::of(report));
        assert!(report.finished_at.is_some(), "an incomplete report is shown");
        let written = self.machine.file(REPORT).and_then(|(text, _)| serde_json::from_str::<Report>(&text).ok());
        if let Some(written) = written.filter(|written| written.started_at == report.started_at) {
            assert_eq!(written.finished_at, report.finished_at, "the report is shown before it is written");
            let is_free = crate::host::lock::BootLock::is_free(&self.machine).now_or_never();
            assert_eq!(is_free, Some(true), "the lock is held longer than needed");
        }
        self.reports.borrow_mut().push(report.clone());
    }
}

/// A metadata service that answers late or never, and whose target state changes.
pub(super) struct Slow {
    pub(super) answers: FakeMetadata,
    /// How long user data takes. `None` if it never arrives.
    pub(super) takes: Option<Duration>,
    /// The target states, one for each request. The last one stays.
    pub(super) states: RefCell<Vec<Option<&'static str>>>,
    pub(super) asked: Cell<usize>,
}

impl Slow {
    pub(super) fn new(answers: FakeMetadata, takes: Option<Duration>) -> Self {
        Self { answers, takes, states: RefCell::default(), asked: Cell::default() }
    }
}

#[async_trait(?Send)]
impl Metadata for Slow {
    async fn notice(&self, notice: Notice) -> Result<Option<String>, ImdsError> {
        self.answers.notice(notice).await
    }

    async fn primary_interface(&self) -> Result<String, ImdsError> {
        self.answers.primary_interface().await
    }

    async fn user_data(&self) -> Result<Option<Vec<u8>>, ImdsError> {
        match self.takes {
            Some(takes) => crate::host::Clock::sleep(&crate::host::clock::SystemClock::start(), takes).await,
            None => pending().await,
        }
        self.answers.user_data().await
    }

    async fn identity(&self) -> Result<Identity, ImdsError> {
        self.answers.identity().await
    }

    async fn tag(&self, key: &str) -> Result<Option<String>, ImdsError> {
        self.answers.tag(key).await
    }

    async fn target_lifecycle_state(&self) -> Result<Option<String>, ImdsError> {
        self.asked.set(self.asked.get() + 1);
        let mut states = self.states.borrow_mut();
        let state = if states.len() > 1 { states.remove(0) } else { states.first().copied().flatten() };
        Ok(state.map(str::to_owned))
    }
}
