//! Deployments on an in-memory CloudFormation.

mod cloud;
mod hands;
mod listening;
mod operators;
mod others;
mod races;
mod turns;

use jiff::Timestamp;

use super::fake::{Fake, Left, Nobody, Outcome, Quiet};
use super::follow::{Conductor, Ended, Until};
use super::order::Plan;
use crate::aws::fake::Directory;
use crate::aws::records::{Begun, Draft, Kept, Records};
use crate::aws::stacks::Stacks as _;
use crate::deployment::course::Operation;
use crate::deployment::record::tests::{beginner, goal};
use crate::deployment::record::{Kind, Record, State};
use crate::deployment::terms::Terms;
use crate::deployment::terms::tests::terms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::place::Place;
use crate::story::{Activity, Evidence};

/// One environment with its records and its stack.
struct World {
    _root: tempfile::TempDir,
    objects: Directory,
    place: Place,
    fake: Fake,
    left: Left,
    quiet: Quiet,
}

impl World {
    fn new(outcomes: &[Outcome]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let objects = Directory::new(root.path());
        let place = Place::of_shop();
        Self { _root: root, objects, place, fake: Fake::with(outcomes), left: Left::default(), quiet: Quiet::default() }
    }

    fn records(&self) -> Records<'_, Directory> {
        Records::new(&self.objects, &self.place, "prod")
    }

    /// Begins a deployment, which is the creation if there is no environment.
    async fn begun(&self) -> Kept {
        let kind = if self.fake.stack.borrow().is_some() { Kind::Deploy } else { Kind::Create };
        let after = self.records().newest().await.unwrap().map_or(0, |kept| kept.record.number);
        let terms = self.records().keep_terms(&of_two()).await.unwrap();
        match self.records().begin(Draft { kind, goal: goal("v1"), terms, beginner: beginner("ann"), after }).await.unwrap() {
            Begun::Mine(kept) | Begun::Taken(kept) | Begun::Overtaken(kept) => kept,
        }
    }

    fn conductor(&self) -> Conductor<'_, Directory, Fake, Left, Quiet, Nobody> {
        let Self { fake, left, quiet, .. } = self;
        Conductor { records: self.records(), stacks: fake, witness: left, tell: quiet, instances: &Nobody, environment: "prod" }
    }

    async fn follow(&self, kept: Kept) -> Result<Ended, Failure> {
        self.follow_until(kept, Until::Ended).await
    }

    async fn follow_until(&self, kept: Kept, until: Until) -> Result<Ended, Failure> {
        let terms = of_two();
        let plan = Plan::of("shop-prod".into(), &terms, &kept.record);
        self.conductor().follow(kept, &plan, until).await
    }

    /// Creates the environment with deployment 1.
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

    /// The operations by the names in their tokens.
    fn operations(&self) -> Vec<String> {
        self.fake.orders.borrow().iter().map(|(token, _)| token.split('-').nth(2).unwrap().to_owned()).collect()
    }
}

/// What each deployment sets besides its goal.
fn of_two() -> Terms {
    terms(&[("Deployment", ""), ("Release", ""), ("ReleaseSha256", ""), ("Image", ""), ("Document", ""), ("Policy", ""), ("Capacity", "")])
}

fn ended(ended: Ended) -> Record {
    match ended {
        Ended::With(record) => *record,
        Ended::StillRunning { .. } => panic!("it goes on"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_two_updates() {
    let world = World::created(&[Outcome::Complete]).await;
    // The policy is the same as at the creation, so one update is enough.
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

fn evidence(instance: &str, deployment: u64, reason: &str) -> Evidence {
    let (began, url) = (Timestamp::now(), format!("s3://evidence/{instance}"));
    Evidence { instance: instance.into(), began, at: began, reason: reason.into(), url, deployment: Some(deployment) }
}

#[tokio::test(start_paused = true)]
async fn a_failed_deployment_has_a_cause() {
    let world = World::created(&[Outcome::GoesBack]).await;
    let found =
        [evidence("i-0b", 1, "services.old: of the release before"), evidence("i-0a", 2, "applications.shop: web did not get ready")];
    world.left.evidence.borrow_mut().extend(found);
    let record = ended(world.deployed().await.unwrap());
    assert_eq!(record.state, State::Failed);
    assert_eq!(record.cause.unwrap(), "i-0a: applications.shop: web did not get ready (s3://evidence/i-0a)");
    assert_eq!(world.fake.stack.borrow().as_ref().unwrap().parameters["Deployment"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_failed_creation_has_ended() {
    let world = World::new(&[Outcome::GoesBack]);
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Failed);
    // The next deployment finds a stack that cannot be updated.
    let failure = world.deployed().await.unwrap_err().to_string();
    assert!(failure.contains("ingot-fleet terminate prod"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn an_aborted_deployment_is_undone() {
    let world = World::created(&[Outcome::Aborted]).await;
    let record = ended(world.deployed().await.unwrap());
    assert_eq!((record.state, record.cause.as_deref()), (State::Undone, Some("the update was canceled")));
}

#[tokio::test(start_paused = true)]
async fn a_refused_deployment_has_failed() {
    let world = World::created(&[Outcome::Refused]).await;
    let failure = world.deployed().await.unwrap_err();
    assert!(failure.exit == Exit::Failed && failure.to_string().contains("failed to satisfy constraint"));
    assert_eq!(world.state().await, State::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_missing_answer_is_retried() {
    let world = World::created(&[Outcome::Unanswered, Outcome::Complete]).await;
    world.fake.silent.set(30);
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good, "after a minute of silence");
    let orders = world.fake.orders.borrow();
    assert_eq!(orders[1].0, orders[2].0, "by the same token");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_stack_leaves_the_deployment_under_way() {
    let world = World::created(&[Outcome::NotBack]).await;
    let failure = world.deployed().await.unwrap_err().to_string();
    assert!(failure.contains("continue-update-rollback"), "{failure}");
    assert_eq!(world.state().await, State::UnderWay);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_killed_at_any_look_is_resumed() {
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
async fn an_operation_begun_despite_a_refusal_continues() {
    let world = World::created(&[Outcome::BegunAndRefused]).await;
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_policy_does_not_delay_a_deployment() {
    let world = World::created(&[Outcome::Nothing, Outcome::Complete]).await;
    world.fake.stack.borrow_mut().as_mut().unwrap().parameters.insert("Capacity".into(), "7".into());
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
    assert_eq!(world.operations(), ["create", "policy", "release"]);
}

#[tokio::test(start_paused = true)]
async fn a_stack_deleted_during_a_deployment_is_not_recreated() {
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
    assert_eq!((record.state, record.cause.as_deref()), (State::Undone, Some("the stack was deleted in the meantime")));
    assert_eq!(world.operations(), ["create", "release"]);
}

#[tokio::test(start_paused = true)]
async fn an_ended_deployment_begins_nothing_more() {
    let world = World::created(&[]).await;
    let kept = world.begun().await;
    world.records().finish(&kept, State::Undone, Timestamp::now(), None).await.unwrap();
    assert_eq!(ended(world.follow(kept).await.unwrap()).state, State::Undone);
    assert_eq!(world.operations(), ["create"]);
}

#[tokio::test(start_paused = true)]
async fn undoing_a_deployment_does_not_continue_it() {
    // Between its two updates, it ends at once.
    let world = World::created(&[]).await;
    let kept = world.begun().await;
    let policy = Operation::SetPolicy.token(&kept.record);
    world.fake.stack.borrow_mut().as_mut().unwrap().token = Some(policy);
    assert_eq!(ended(world.conductor().undo(kept, "shop-prod").await.unwrap()).state, State::Undone);
    assert_eq!((world.operations().len(), world.fake.cancelled.get()), (1, 0));

    // During an update, that update is canceled.
    let world = World::created(&[Outcome::Complete]).await;
    let kept = world.begun().await;
    let first = tokio::time::timeout(std::time::Duration::from_millis(600), world.follow(kept.clone()));
    assert!(first.await.is_err(), "killed");
    let record = ended(world.conductor().undo(kept, "shop-prod").await.unwrap());
    assert_eq!(record.state, State::Undone);
    assert!(world.fake.cancelled.get() > 0);
    assert_eq!(world.fake.stack.borrow().as_ref().unwrap().parameters["Deployment"], "1");
}

#[tokio::test(start_paused = true)]
async fn foreign_tags_stay_on_the_stack() {
    let world = World::created(&[Outcome::Complete]).await;
    let tags = [("cost", "42"), ("aws:x", "y")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    world.fake.stack.borrow_mut().as_mut().unwrap().tags = tags.into();
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good);
    assert_eq!(world.fake.tags.borrow()[1].keys().collect::<Vec<_>>(), ["cost", "ingot:application"]);
}

#[tokio::test(start_paused = true)]
async fn following_ends_once_the_release_is_being_set() {
    let world = World::created(&[Outcome::Complete, Outcome::Complete]).await;
    world.fake.stack.borrow_mut().as_mut().unwrap().parameters.insert("Capacity".into(), "7".into());
    let kept = world.begun().await;
    let left = world.follow_until(kept.clone(), Until::Begun).await.unwrap();
    assert_eq!(left, Ended::StillRunning { goes_on: true });
    assert_eq!((world.operations(), world.state().await), (["create", "policy", "release"].map(str::to_owned).into(), State::UnderWay));
    assert_eq!(ended(world.follow(kept).await.unwrap()).state, State::Good, "whoever looks writes down how it ended");
}

/// The event only shows at the next look, for which there may be no time.
#[tokio::test(start_paused = true)]
async fn an_accepted_operation_continues_unattended() {
    let world = World::created(&[Outcome::Complete]).await;
    let kept = world.begun().await;
    let at_once = Until::At(tokio::time::Instant::now());
    assert_eq!(world.follow_until(kept, at_once).await.unwrap(), Ended::StillRunning { goes_on: true });
    assert_eq!(world.operations(), ["create", "release"]);
}

#[tokio::test(start_paused = true)]
async fn a_deployment_not_fully_begun_does_not_continue() {
    let world = World::created(&[Outcome::Complete]).await;
    world.fake.stack.borrow_mut().as_mut().unwrap().parameters.insert("Capacity".into(), "7".into());
    let soon = Until::At(tokio::time::Instant::now() + std::time::Duration::from_secs(1));
    let kept = world.begun().await;
    assert_eq!(world.follow_until(kept, soon).await.unwrap(), Ended::StillRunning { goes_on: false });
    assert_eq!(world.operations(), ["create", "policy"]);
}

#[tokio::test(start_paused = true)]
async fn an_unobserved_end_is_recorded() {
    for (outcome, expected) in [(Outcome::Complete, State::Good), (Outcome::GoesBack, State::Failed)] {
        let world = World::created(&[outcome]).await;
        let kept = world.begun().await;
        assert_eq!(world.conductor().settle(&kept, "shop-prod").await.unwrap(), None, "nothing was begun");
        world.follow_until(kept.clone(), Until::Begun).await.unwrap();
        assert_eq!(world.conductor().settle(&kept, "shop-prod").await.unwrap(), None, "it goes on");
        while world.fake.going.borrow().is_some() {
            world.fake.standing("shop-prod").await.unwrap();
        }
        let record = world.conductor().settle(&kept, "shop-prod").await.unwrap().unwrap();
        assert_eq!((record.state, world.state().await), (expected, expected));
    }
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_are_waited_for() {
    let world = World::created(&[Outcome::Complete]).await;
    world.fake.refuses.set(30);
    assert_eq!(ended(world.deployed().await.unwrap()).state, State::Good, "somebody has logged in again within a minute");
    world.fake.refuses.set(u32::MAX);
    let kept = World::begun(&world).await;
    assert_eq!(world.follow(kept).await.unwrap_err().exit, Exit::Failed, "nobody did");
    assert_eq!(world.state().await, State::UnderWay);
}

#[tokio::test(start_paused = true)]
async fn all_events_with_the_same_time_are_reported() {
    let world = World::created(&[Outcome::Complete]).await;
    let at = Timestamp::now() + jiff::SignedDuration::from_secs(60);
    for resource in ["One", "Other"] {
        world.fake.told(resource, "UPDATE_FAILED", "no");
        world.fake.events.borrow_mut().last_mut().unwrap().at = at;
    }
    world.deployed().await.unwrap();
    let told = world.quiet.events.borrow();
    assert!(["One", "Other"].iter().all(|resource| told.iter().any(|told| told == resource)), "{told:?}");
}
