//! Whole drains, on a machine and an AWS in memory.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;

use super::watch::{now, until_over, watch};
use crate::aws::autoscaling::ActionResult;
use crate::aws::live::{Aws, Services};
use crate::aws::{Identity, ImdsError, Metadata, Notice};
use crate::boot::{Ground, StandIn};
use crate::failure::Explanation;
use crate::fake::aws::{FakeAutoScaling, FakeBalancers, FakeEc2, FakeObjects, FakeRds, services};
use crate::fake::machine::{FakeMachine, FakeUnit, INSTANCE};
use crate::host::state::Record;
use crate::steps::drain::forget_drain;
use crate::steps::drain::settings::{Hook, Settings};

const GROUP: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef";
const WORKER: &str = "ingot-worker@jobs.service";
const SERVICES: [&str; 2] = ["db.service", "web.service"];

pub(super) fn settings() -> Settings {
    Settings {
        address: "drains.leave".into(),
        record: INSTANCE.into(),
        hook: Some(Hook { name: Some("leaving".into()), group: None }),
        grace_ms: 120_000,
        deregistration_ms: 30_000,
        targets: Vec::new(),
        spot: true,
        rebalance: false,
        serving: SERVICES.map(|unit| format!("services.{unit}")).into(),
        evidence: vec!["s3://shop-evidence/shop/prod/".into()],
        ports: vec![80],
    }
}

/// The answers of IMDS, which a test can change.
#[derive(Default)]
struct Told {
    state: RefCell<Option<&'static str>>,
    interruption: RefCell<Option<String>>,
    rebalance: Cell<bool>,
    /// How many reads time out without an answer.
    silent: Cell<u32>,
}

#[async_trait(?Send)]
impl Metadata for Told {
    async fn user_data(&self) -> Result<Option<Vec<u8>>, ImdsError> {
        Ok(None)
    }

    async fn identity(&self) -> Result<Identity, ImdsError> {
        Ok(Identity { instance_id: INSTANCE.into(), ..Identity::default() })
    }

    async fn tag(&self, _key: &str) -> Result<Option<String>, ImdsError> {
        Err(ImdsError::TagsDisabled)
    }

    async fn target_lifecycle_state(&self) -> Result<Option<String>, ImdsError> {
        if self.silent.get() > 0 {
            self.silent.set(self.silent.get() - 1);
            return Err(ImdsError::Disabled);
        }
        Ok(self.state.borrow().map(str::to_owned))
    }

    async fn notice(&self, notice: Notice) -> Result<Option<String>, ImdsError> {
        Ok(match notice {
            Notice::Interruption => self.interruption.borrow().clone(),
            Notice::Rebalance => self.rebalance.get().then(|| r#"{"noticeTime": "2026-11-30T15:00:00Z"}"#.to_owned()),
        })
    }

    async fn primary_interface(&self) -> Result<String, ImdsError> {
        Err(ImdsError::Disabled)
    }
}

struct Scene {
    machine: FakeMachine,
    told: Rc<Told>,
    groups: Rc<FakeAutoScaling>,
    balancers: Rc<FakeBalancers>,
    objects: Rc<FakeObjects>,
    settings: Settings,
}

impl Scene {
    fn new() -> Self {
        let machine = FakeMachine::new_instance();
        machine.add_file("/run/ingot/workers/jobs.json", "{}");
        machine.add_file("/run/ingot/report.json", "not a report");
        machine.add_directory("/run/ingot/proxy");
        for unit in [WORKER].into_iter().chain(SERVICES) {
            machine.add_unit(FakeUnit::new(unit).active());
        }
        let groups = Rc::new(FakeAutoScaling::new(machine.clone()));
        groups.set(Some("shop"), &[("leaving", 300)]);
        let (told, balancers, objects) = (Rc::default(), Rc::default(), Rc::new(FakeObjects::inventing()));
        Self { machine, told, groups, balancers, objects, settings: settings() }
    }

    fn ground(&self) -> Ground {
        let host = self.machine.host();
        let ec2 = Rc::new(FakeEc2::new(self.machine.clone(), "eu-central-1a"));
        let others = services(ec2, Rc::new(FakeRds::new(self.machine.clone(), "eu-central-1")));
        let (groups, balancers, objects) = (self.groups.clone(), self.balancers.clone(), self.objects.clone());
        let aws = Aws::new(Services { groups, balancers, objects, ..others });
        Ground {
            outside: host.files.clone(),
            host,
            net: self.machine.net(),
            lock: Rc::new(self.machine.clone()),
            cloud: Rc::new(StandIn { metadata: self.told.clone(), aws, waiting: None }),
        }
    }

    /// Watches until the drain is over.
    async fn watch(&self) -> Result<(), Explanation> {
        until_over(&self.settings, &self.ground(), &mut async || pending().await).await.map(drop)
    }

    /// EC2 interrupts the instance in `seconds`.
    fn interrupt(&self, seconds: i64) {
        let at = self.machine.host().clock.now() + jiff::SignedDuration::from_secs(seconds);
        *self.told.interruption.borrow_mut() = Some(format!(r#"{{"action": "terminate", "time": "{at}"}}"#));
    }

    /// Watches for `seconds`.
    async fn watch_for(&self, seconds: u64) {
        tokio::select! {
            biased;
            over = self.watch() => panic!("it is over: {over:?}"),
            () = self.sleep(seconds) => {}
        }
    }

    async fn sleep(&self, seconds: u64) {
        self.machine.host().clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// Imitates a boot: what was stopped runs again.
    async fn boot(&self) {
        let host = self.machine.host();
        let record = Record::load(host.files.clone(), host.users.own(), INSTANCE).await.unwrap();
        forget_drain(&record.apart(&self.settings.address).await.unwrap(), &host).await.unwrap();
        for unit in [WORKER].into_iter().chain(SERVICES) {
            self.machine.add_unit(FakeUnit::new(unit).active());
        }
    }

    fn up(&self) -> Vec<String> {
        let snapshot = self.machine.snapshot().to_string();
        [WORKER].into_iter().chain(SERVICES).filter(|unit| snapshot.contains(&format!("{unit}  active"))).map(str::to_owned).collect()
    }

    fn completed(&self) -> Vec<ActionResult> {
        self.groups.over().into_iter().map(|(_, result)| result).collect()
    }

    fn seconds(&self) -> u64 {
        self.machine.host().clock.elapsed().as_secs()
    }

    fn is_hidden(&self) -> bool {
        self.machine.file("/run/ingot/proxy/leaving").is_some()
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_in_service_is_left_alone() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("InService");
    scene.told.rebalance.set(true);
    scene.watch_for(3600).await;
    assert_eq!((scene.up().len(), scene.completed().len(), scene.is_hidden()), (3, 0, false));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_terminated_finishes_its_work_and_completes_the_hook_last() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.watch().await.unwrap();
    assert_eq!((scene.up().len(), scene.completed(), scene.is_hidden()), (0, vec![ActionResult::Continue], true));
    assert!((30..45).contains(&scene.seconds()), "{}", scene.seconds());
    let [(place, _)] = scene.objects.all().try_into().unwrap();
    assert!(place.to_string().ends_with("-drain.json.zst"), "{place}");
    // Heartbeats were sent in the meantime.
    assert!(scene.groups.count("RecordLifecycleActionHeartbeat") >= 1);
    // A restarted watcher has nothing left to do.
    scene.watch().await.unwrap();
    assert_eq!(scene.groups.count("CompleteLifecycleAction"), 1);
}

/// A drain that is killed in any of its changes and restarted ends like one that was not, and
/// repeats nothing that is on record.
#[tokio::test(start_paused = true)]
async fn killed_at_any_moment_and_started_again() {
    for count in 0.. {
        let scene = Scene::new();
        *scene.told.state.borrow_mut() = Some("Terminated");
        scene.machine.die_after(count);
        let was_over = tokio::select! {
            biased;
            () = scene.machine.died() => false,
            over = scene.watch() => over.is_ok(),
        };
        scene.machine.restart_process();
        // By now IMDS no longer answers.
        scene.told.silent.set(u32::from(scene.machine.files().iter().any(|path| path.ends_with("drains.leave.json"))) * 1000);
        scene.watch().await.unwrap_or_else(|error| panic!("killed in change {count}: {error}"));
        assert_eq!((scene.up().len(), scene.completed()), (0, vec![ActionResult::Continue]), "killed in change {count}");
        assert!(scene.objects.writes() <= 2, "killed in change {count}");
        if was_over {
            assert!(count > 10, "{count} changes are few");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_served_until_the_load_balancer_has_let_go() {
    let mut scene = Scene::new();
    scene.settings.targets = vec![GROUP.into()];
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.balancers.finds(GROUP, &["draining Target.DeregistrationInProgress", "! Throttling", "draining", "unused Target.NotRegistered"]);
    scene.watch().await.unwrap();
    assert!(scene.seconds() < 20, "{}", scene.seconds());
    assert_eq!((scene.up().len(), scene.balancers.count()), (0, 4));

    // A target group that ingot may not read counts as no target group.
    let mut scene = Scene::new();
    scene.settings.targets = vec![GROUP.into()];
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.balancers.finds(GROUP, &["! AccessDenied"]);
    scene.watch().await.unwrap();
    assert!((30..45).contains(&scene.seconds()), "{}", scene.seconds());
    assert_eq!(scene.balancers.count(), 1);

    // If a group never deregisters the instance, the drain lasts for `grace`.
    let mut scene = Scene::new();
    scene.settings.targets = vec![GROUP.into()];
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.balancers.finds(GROUP, &["draining"]);
    scene.watch().await.unwrap();
    assert!((120..125).contains(&scene.seconds()), "{}", scene.seconds());
}

#[tokio::test(start_paused = true)]
async fn requests_are_served_as_long_as_anybody_connects() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.machine.accept_at(&[3, 28, 37, 46]);
    scene.watch().await.unwrap();
    assert!((56..59).contains(&scene.seconds()), "{}", scene.seconds());
}

#[tokio::test(start_paused = true)]
async fn an_interruption_hides_it_and_serves_to_the_end() {
    let scene = Scene::new();
    scene.interrupt(120);
    scene.groups.begins_after(150);
    scene.groups.set(Some("shop"), &[("leaving", 3600)]);
    scene.watch_for(10).await;
    assert!(scene.is_hidden() && scene.up() == SERVICES);
    // Auto Scaling notices later, and completes the hook itself.
    let later = async {
        scene.sleep(200).await;
        assert_eq!(scene.up().len(), 0);
        *scene.told.state.borrow_mut() = Some("Terminated");
    };
    let (over, ()) = tokio::join!(scene.watch(), later);
    over.unwrap();
    assert_eq!(scene.completed(), [ActionResult::Continue]);
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_recommendation_counts_only_where_the_document_says_so() {
    let mut scene = Scene::new();
    scene.told.rebalance.set(true);
    scene.watch_for(100).await;
    assert_eq!(scene.up().len(), 3);
    (scene.settings.rebalance, scene.settings.hook) = (true, None);
    scene.watch_for(100).await;
    assert_eq!(scene.up().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn metadata_that_is_silent_for_a_while_is_asked_again() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.told.silent.set(20);
    scene.watch().await.unwrap();
    assert!((130..145).contains(&scene.seconds()), "{}", scene.seconds());
    assert_eq!(scene.completed(), [ActionResult::Continue]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_nobody_may_complete_is_told_and_tried_again_by_the_next_process() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.groups.refuse("CompleteLifecycleAction", "AccessDenied", 10);
    let error = scene.watch().await.unwrap_err().to_string();
    assert!(error.starts_with("the lifecycle hook was not completed") && error.contains("autoscaling:CompleteLifecycleAction"), "{error}");
    scene.groups.refuse("RecordLifecycleActionHeartbeat", "AccessDenied", 1);
    while scene.watch().await.is_err() {}
    assert_eq!(scene.completed(), [ActionResult::Continue]);
    assert_eq!(scene.objects.writes(), 1, "it is on record");
}

/// As behind every load balancer: it deregisters the instance after `Terminated`, and before the hook waits.
#[tokio::test(start_paused = true)]
async fn a_hook_that_does_not_wait_yet_is_waited_for() {
    for begins in [7, 300, 5000] {
        let scene = Scene::new();
        *scene.told.state.borrow_mut() = Some("Terminated");
        scene.groups.set(Some("shop"), &[("leaving", 30)]);
        scene.groups.begins_after(begins);
        scene.watch().await.unwrap();
        assert_eq!((scene.up().len(), scene.completed()), (0, vec![ActionResult::Continue]), "{begins}");
        assert!(scene.seconds() >= begins, "{}", scene.seconds());
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_is_gone_after_it_was_seen_ends_the_drain() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.groups.set(Some("shop"), &[("leaving", 30)]);
    scene.machine.accept_at(&[28]);
    let later = async {
        scene.sleep(1).await;
        scene.groups.refuse("RecordLifecycleActionHeartbeat", "AccessDenied", 100);
    };
    let (over, ()) = tokio::join!(scene.watch(), later);
    over.unwrap();
    assert_eq!((scene.up().len(), scene.completed()), (0, vec![ActionResult::Abandon]));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_the_group_does_not_have_is_not_waited_for() {
    let scene = Scene::new();
    *scene.told.state.borrow_mut() = Some("Terminated");
    scene.groups.set(Some("shop"), &[("other", 30)]);
    scene.groups.begins_after(100_000);
    scene.watch().await.unwrap();
    assert!(scene.up().is_empty() && scene.seconds() < 60, "{}", scene.seconds());
}

#[tokio::test(start_paused = true)]
async fn asked_to_stop_it_drains_only_if_the_machine_shuts_down() {
    let scene = Scene::new();
    let soon = async || scene.sleep(10).await;
    watch(&scene.settings, &scene.ground(), soon).await.unwrap();
    assert_eq!((scene.up().len(), scene.completed().len()), (3, 0));

    scene.machine.add_unit(FakeUnit::new("shutdown.target").active());
    let mut times = 0;
    let once = async || {
        times += 1;
        if times > 1 {
            pending::<()>().await;
        }
    };
    // The watcher then ends by itself, because systemd waits for that.
    watch(&scene.settings, &scene.ground(), once).await.unwrap();
    // Stopping the services is left to systemd, which has jobs for them.
    assert_eq!((scene.up(), scene.completed()), (SERVICES.map(str::to_owned).into(), vec![ActionResult::Continue]));
    assert!(scene.is_hidden());
}

mod ends;
mod meanwhile;
mod two;
