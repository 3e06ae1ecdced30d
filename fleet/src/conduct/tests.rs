//! Deployments on a CloudFormation in memory, which does what a script says.

use std::cell::{Cell, RefCell};

use jiff::Timestamp;

use super::follow::{Conductor, Ended, Witness};
use super::order::Plan;
use super::tell::Tell;
use crate::aws::fake::Directory;
use crate::aws::records::{Begun, Kept, Records};
use crate::aws::stacks::{Guard, Order, Stacks, Watch};
use crate::deployment::course::{Operation, Parameters, Standing, Wanted};
use crate::deployment::record::tests::{beginner, goal};
use crate::deployment::record::{Record, State};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;
use crate::story::{Event, Evidence};

/// How an operation of the stack ends, or what it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Complete,
    GoesBack,
    Aborted,
    NotBack,
    Refused,
    Unanswered,
    /// It is begun, and the answer is that of another call: it is refused.
    BegunAndRefused,
    /// "No updates are to be performed."
    Nothing,
}

/// A stack whose operations take two looks each.
#[derive(Debug, Default)]
struct Fake {
    stack: RefCell<Option<Standing>>,
    events: RefCell<Vec<Event>>,
    outcomes: RefCell<Vec<Outcome>>,
    /// What goes on, what the stack was before, and how many looks it takes.
    going: RefCell<Option<(Outcome, Option<Standing>, u32)>>,
    orders: RefCell<Vec<(String, Parameters)>>,
    tags: RefCell<Vec<Parameters>>,
    looks: Cell<usize>,
    /// So many looks get no answer.
    silent: Cell<u32>,
    cancelled: Cell<u32>,
}

impl Fake {
    fn with(outcomes: &[Outcome]) -> Self {
        Self { outcomes: RefCell::new(outcomes.iter().rev().copied().collect()), ..Self::default() }
    }

    fn begin(&self, order: &Order<'_>, status: &str) -> Result<bool, Failure> {
        let outcome = self.outcomes.borrow_mut().pop().expect("no more operations");
        self.orders.borrow_mut().push((order.token.clone(), order.parameters.clone()));
        self.tags.borrow_mut().push(order.tags.clone());
        match outcome {
            Outcome::Nothing => return Ok(false),
            Outcome::Refused => return Err(Failure::new(Exit::Failed, "Parameter Capacity failed to satisfy constraint")),
            Outcome::Unanswered => return Err(Failure::new(Exit::Unreachable, "no answer")),
            _ => {}
        }
        let before = self.stack.borrow().clone();
        let mut parameters = before.clone().map(|before| before.parameters).unwrap_or_default();
        parameters.extend(order.parameters.clone());
        let token = Some(order.token.clone());
        *self.stack.borrow_mut() = Some(Standing { status: status.into(), parameters, token, ..Standing::default() });
        self.told("shop-prod", status, "User Initiated");
        *self.going.borrow_mut() = Some((outcome, before, 2));
        match outcome {
            Outcome::BegunAndRefused => Err(Failure::new(Exit::Failed, "it is in UPDATE_IN_PROGRESS state and can not be updated")),
            _ => Ok(true),
        }
    }

    fn told(&self, resource: &str, status: &str, reason: &str) {
        let token = self.stack.borrow().as_ref().and_then(|stack| stack.token.clone());
        self.events.borrow_mut().push(Event {
            at: Timestamp::now(),
            resource: resource.into(),
            status: status.into(),
            reason: Some(reason.into()),
            token,
        });
    }

    fn end(&self, outcome: Outcome, before: Option<Standing>) {
        let is_new = before.is_none();
        let status = match outcome {
            Outcome::Complete if is_new => "CREATE_COMPLETE",
            Outcome::Complete | Outcome::BegunAndRefused => "UPDATE_COMPLETE",
            Outcome::NotBack => "UPDATE_ROLLBACK_FAILED",
            _ if is_new => "ROLLBACK_COMPLETE",
            _ => "UPDATE_ROLLBACK_COMPLETE",
        };
        match outcome {
            Outcome::GoesBack => self.told("Group", "UPDATE_FAILED", "Received 1 FAILURE signal(s) out of 1"),
            Outcome::Aborted => self.told("shop-prod", "UPDATE_ROLLBACK_IN_PROGRESS", "User Initiated"),
            _ => {}
        }
        let mut stack = self.stack.borrow_mut();
        let stack = stack.as_mut().unwrap();
        let is_done = matches!(outcome, Outcome::Complete | Outcome::BegunAndRefused);
        if let Some(before) = before.filter(|_| !is_done) {
            stack.parameters = before.parameters;
        }
        stack.status = status.into();
    }
}

impl Stacks for Fake {
    async fn standing(&self, _: &str) -> Result<Option<Standing>, Failure> {
        self.looks.set(self.looks.get() + 1);
        if self.silent.get() > 0 {
            self.silent.set(self.silent.get() - 1);
            return Err(Failure::new(Exit::Unreachable, "no answer"));
        }
        let going = self.going.take();
        match going {
            Some((outcome, before, 0)) => self.end(outcome, before),
            Some((outcome, before, left)) => *self.going.borrow_mut() = Some((outcome, before, left - 1)),
            None => {}
        }
        Ok(self.stack.borrow().clone())
    }

    async fn create(&self, order: &Order<'_>, _: Guard<'_>) -> Result<(), Failure> {
        self.begin(order, "CREATE_IN_PROGRESS").map(|_| ())
    }

    async fn update(&self, order: &Order<'_>) -> Result<bool, Failure> {
        self.begin(order, "UPDATE_IN_PROGRESS")
    }

    async fn cancel(&self, _: &str) -> Result<bool, Failure> {
        self.cancelled.set(self.cancelled.get() + 1);
        let going = self.going.take();
        *self.going.borrow_mut() = going.map(|(_, before, left)| (Outcome::Aborted, before, left));
        Ok(true)
    }

    async fn events(&self, _: &str, since: Timestamp) -> Result<Vec<Event>, Failure> {
        Ok(self.events.borrow().iter().filter(|event| event.at >= since).cloned().collect())
    }
}

/// Who tells nobody.
struct Quiet;

impl Tell for Quiet {
    fn begins(&self, _: Operation) {}

    fn waits_for_others(&self, _: &str) {}

    fn silent(&self, _: &Failure) {}

    fn event(&self, _: &Event) {}

    async fn look(&self) {}
}

struct Left(Vec<Evidence>);

impl Witness for Left {
    async fn evidence(&self, _: Timestamp) -> Vec<Evidence> {
        self.0.clone()
    }
}

/// One environment: its records, and its stack.
struct World {
    _root: tempfile::TempDir,
    objects: Directory,
    place: Place,
    fake: Fake,
    evidence: Left,
}

impl World {
    fn new(outcomes: &[Outcome]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let objects = Directory::new(root.path());
        let place = Place::of_shop();
        Self { _root: root, objects, place, fake: Fake::with(outcomes), evidence: Left(Vec::new()) }
    }

    fn records(&self) -> Records<'_, Directory> {
        Records::new(&self.objects, &self.place, "prod")
    }

    async fn begun(&self) -> Kept {
        match self.records().begin(goal("v1"), beginner("ann")).await.unwrap() {
            Begun::Mine(kept) | Begun::Taken(kept) => kept,
        }
    }

    fn conductor(&self) -> Conductor<'_, Directory, Fake, Left, Quiet> {
        let Self { fake, evidence, .. } = self;
        Conductor { records: self.records(), stacks: fake, witness: evidence, tell: &Quiet, environment: "prod" }
    }

    async fn follow(&self, kept: Kept) -> Result<Ended, Failure> {
        let number = kept.record.number.to_string();
        let pairs = [("Policy", "rolling"), ("Capacity", "2"), ("Release", "v1"), ("Deployment", number.as_str())];
        let wanted = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let plan = Plan {
            stack: "shop-prod".into(),
            template: "",
            wanted: Wanted::new(wanted),
            tags: [("ingot:application".to_owned(), "shop".to_owned())].into(),
            role: "",
            watch: Watch::default(),
            guard: Guard { policy: "", is_protected: false },
        };
        self.conductor().follow(kept, &plan, None).await
    }

    /// Creates the environment by deployment 1.
    async fn created(outcomes: &[Outcome]) -> Self {
        let world = Self::new(&[&[Outcome::Complete], outcomes].concat());
        let kept = world.begun().await;
        assert_eq!(ended(world.follow(kept).await.unwrap()).state, State::Good);
        world
    }

    async fn deployed(&self) -> Result<Ended, Failure> {
        let kept = self.begun().await;
        self.follow(kept).await
    }

    async fn state(&self) -> State {
        self.records().newest().await.unwrap().unwrap().record.state
    }

    /// The operations, as their tokens name them.
    fn operations(&self) -> Vec<String> {
        self.fake.orders.borrow().iter().map(|(token, _)| token.split('-').nth(2).unwrap().to_owned()).collect()
    }
}

fn ended(ended: Ended) -> Record {
    match ended {
        Ended::With(record) => *record,
        Ended::StillRunning => panic!("it goes on"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_two_updates() {
    let world = World::created(&[Outcome::Complete]).await;
    // The policy is the same as at the creation, so one is enough.
    let record = ended(world.deployed().await.unwrap());
    assert_eq!((record.number, record.state, record.cause), (2, State::Good, None));
    assert_eq!(world.operations(), ["create", "release"]);

    let world = World::created(&[Outcome::Complete, Outcome::Complete]).await;
    world.fake.stack.borrow_mut().as_mut().unwrap().parameters.insert("Capacity".into(), "7".into());
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
    assert_eq!(world.operations(), ["create", "policy", "release"]);
    let orders = world.fake.orders.borrow();
    assert_eq!(orders[1].1.keys().collect::<Vec<_>>(), ["Capacity", "Policy"], "the first sets nothing else");
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_says_why() {
    let mut world = World::created(&[Outcome::GoesBack]).await;
    world.evidence.0.push(Evidence {
        instance: "i-0a".into(),
        at: Timestamp::now(),
        reason: Some("applications.shop: web did not get ready".into()),
        url: "s3://evidence/x".into(),
    });
    let record = ended(world.deployed().await.unwrap());
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.cause.unwrap(), "i-0a: applications.shop: web did not get ready (s3://evidence/x)");
    assert_eq!(world.fake.stack.borrow().as_ref().unwrap().parameters["Deployment"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_fails_is_over() {
    let world = World::new(&[Outcome::GoesBack]);
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Failed);
    // The next one finds a stack that cannot be updated.
    let failure = world.deployed().await.unwrap_err().to_string();
    assert!(failure.contains("ingot-fleet terminate prod"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn one_that_somebody_ends_is_undone() {
    let world = World::created(&[Outcome::Aborted]).await;
    let record = ended(world.deployed().await.unwrap());
    assert_eq!((record.state, record.cause), (State::Undone, None));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_has_failed() {
    let world = World::created(&[Outcome::Refused]).await;
    let failure = world.deployed().await.unwrap_err();
    assert!(failure.exit == Exit::Failed && failure.to_string().contains("failed to satisfy constraint"));
    assert_eq!(world.state().await, State::Failed);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_it_is_asked_again() {
    let world = World::created(&[Outcome::Unanswered, Outcome::Complete]).await;
    world.fake.silent.set(30);
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good, "after a minute of silence");
    let orders = world.fake.orders.borrow();
    assert_eq!(orders[1].0, orders[2].0, "by the same token");
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_needs_a_hand_leaves_it_under_way() {
    let world = World::created(&[Outcome::NotBack]).await;
    let failure = world.deployed().await.unwrap_err().to_string();
    assert!(failure.contains("continue-update-rollback"), "{failure}");
    assert_eq!(world.state().await, State::UnderWay);
}

#[tokio::test(start_paused = true)]
async fn it_is_killed_at_any_look_and_taken_up_again() {
    for outcome in [Outcome::Complete, Outcome::GoesBack] {
        for looks in 1..8 {
            let world = World::created(&[Outcome::Complete, outcome]).await;
            world.fake.stack.borrow_mut().as_mut().unwrap().parameters.insert("Capacity".into(), "7".into());
            let (before, kept) = (world.fake.looks.get(), world.begun().await);
            {
                let followed = world.follow(kept);
                let killed = async {
                    while world.fake.looks.get() < before + looks {
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    }
                };
                tokio::select! { biased; () = killed => {}, _ = followed => {} }
            }
            let kept = world.records().newest().await.unwrap().unwrap();
            let state = match kept.record.state {
                State::UnderWay => ended(world.follow(kept).await.unwrap()).state,
                state => state,
            };
            let expected = if outcome == Outcome::Complete { State::Good } else { State::Failed };
            assert_eq!(state, expected, "killed at look {looks}");
            assert_eq!(world.operations(), ["create", "policy", "release"], "each was begun once");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_any_answer_it_stays_under_way() {
    let world = World::created(&[]).await;
    world.fake.silent.set(u32::MAX);
    assert_eq!(world.deployed().await.unwrap_err().exit, Exit::Unreachable);
    assert_eq!(world.state().await, State::UnderWay);
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_before_it_was_refused_goes_on() {
    let world = World::created(&[Outcome::BegunAndRefused]).await;
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_nothing_is_no_reason_to_wait() {
    let world = World::created(&[Outcome::Nothing, Outcome::Complete]).await;
    world.fake.stack.borrow_mut().as_mut().unwrap().parameters.insert("Capacity".into(), "7".into());
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
    assert_eq!(world.operations(), ["create", "policy", "release"]);
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_deleted_meanwhile_is_not_made_anew() {
    let world = World::created(&[Outcome::Complete]).await;
    let kept = world.begun().await;
    let deleted = async {
        while world.operations().len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        (*world.fake.stack.borrow_mut(), *world.fake.going.borrow_mut()) = (None, None);
    };
    let (record, ()) = tokio::join!(world.follow(kept), deleted);
    let record = ended(record.unwrap());
    assert_eq!((record.state, record.cause.as_deref()), (State::Undone, Some("the stack was deleted meanwhile")));
    assert_eq!(world.operations(), ["create", "release"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_ended_begins_nothing_more() {
    let world = World::created(&[]).await;
    let kept = world.begun().await;
    world.records().finish(&kept, State::Undone, Timestamp::now(), None).await.unwrap();
    assert_eq!(ended(world.follow(kept).await.unwrap()).state, State::Undone);
    assert_eq!(world.operations(), ["create"]);
}

#[tokio::test(start_paused = true)]
async fn to_end_one_is_not_to_carry_it_on() {
    // Between its two updates, it is over.
    let world = World::created(&[]).await;
    let kept = world.begun().await;
    let policy = Operation::SetPolicy.token(&kept.record);
    world.fake.stack.borrow_mut().as_mut().unwrap().token = Some(policy);
    assert_eq!(ended(world.conductor().undo(kept, "shop-prod").await.unwrap()).state, State::Undone);
    assert_eq!((world.operations().len(), world.fake.cancelled.get()), (1, 0));

    // In one of them, that is ended.
    let world = World::created(&[Outcome::Complete]).await;
    let kept = world.begun().await;
    let first = tokio::time::timeout(std::time::Duration::from_secs(1), world.follow(kept.clone()));
    assert!(first.await.is_err(), "killed");
    let record = ended(world.conductor().undo(kept, "shop-prod").await.unwrap());
    assert_eq!(record.state, State::Undone);
    assert!(world.fake.cancelled.get() > 0);
    assert_eq!(world.fake.stack.borrow().as_ref().unwrap().parameters["Deployment"], "1");
}

#[tokio::test(start_paused = true)]
async fn tags_of_others_stay_on_the_stack() {
    let world = World::created(&[Outcome::Complete]).await;
    let tags = [("cost", "42"), ("aws:x", "y")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    world.fake.stack.borrow_mut().as_mut().unwrap().tags = tags.into();
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
    assert_eq!(world.fake.tags.borrow()[1].keys().collect::<Vec<_>>(), ["cost", "ingot:application"]);
}
