//! Several operators of one environment, whose calls interleave in any order and who may be killed at any moment.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::conduct::tests::cloud::{Cloud, STACK};
use crate::conduct::tests::turns::Turns;
use crate::conduct::{Terminate, Terminated};
use crate::deployment::course::Phase;
use crate::deployment::history::Role;
use crate::deployment::record::{Beginner, Goal};

/// What an operator does, named as on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Deploy,
    /// Deploys the same release with another document.
    Set,
    Rollback,
    Abort,
    Terminate,
}

const VERBS: [Verb; 6] = [Verb::Create, Verb::Deploy, Verb::Set, Verb::Rollback, Verb::Abort, Verb::Terminate];

/// One operator with its own terms.
pub(super) struct Operator<'a> {
    cloud: &'a Cloud,
    place: &'a Place,
    left: &'a Left,
    quiet: &'a Quiet,
    name: String,
    /// Number of records at each termination of the environment.
    gone: &'a RefCell<Vec<u64>>,
}

impl Operator<'_> {
    fn records(&self) -> Records<'_, Cloud> {
        Records::new(self.cloud, self.place, "prod")
    }

    fn conductor(&self) -> Conductor<'_, Cloud, Cloud, Left, Quiet, Nobody> {
        Conductor {
            records: self.records(),
            stacks: self.cloud,
            witness: self.left,
            tell: self.quiet,
            instances: &Nobody,
            environment: "prod",
        }
    }

    /// Ignores the result, since many operations are refused.
    pub(super) async fn run(&self, verb: Verb) {
        match verb {
            Verb::Create | Verb::Deploy | Verb::Set | Verb::Rollback => drop(self.deploy(verb).await),
            Verb::Abort => {
                if let Ok(Some(kept)) = self.records().newest().await
                    && kept.record.state == State::UnderWay
                {
                    drop(self.conductor().undo(kept, STACK).await);
                }
            }
            Verb::Terminate => {
                let (records, stacks) = (self.records(), self.cloud);
                let Ok(newest) = records.newest().await else { return };
                let agreed = newest.map_or(0, |kept| kept.record.number);
                let terminate = Terminate { records, stacks, environment: "prod", stack: STACK, role: None, tell: |_| {}, agreed };
                let before = self.cloud.records().len() as u64;
                if let Ok(Terminated::Deleted | Terminated::NothingThere) = terminate.run().await {
                    self.gone.borrow_mut().push(before);
                }
            }
        }
    }

    async fn deploy(&self, verb: Verb) -> Result<(), Failure> {
        let records = self.records();
        let counting = records.counting().await?;
        let newest = records.newest().await?;
        if newest.as_ref().map(|kept| (kept.record.number, kept.record.state)) != counting.newest {
            return Ok(());
        }
        let mut goal = self.goal(verb);
        match verb {
            Verb::Rollback => match counting.get(Role::LastGood) {
                Some(record) => goal.release = record.goal.release.clone(),
                None => return Ok(()),
            },
            Verb::Set => match counting.get(Role::InForce) {
                Some(record) => goal.release = record.goal.release.clone(),
                None => return Ok(()),
            },
            _ => {}
        }
        if let Some(kept) = newest.clone().filter(|kept| kept.record.state == State::UnderWay) {
            return match self.conductor().settle(&kept, STACK).await? {
                Some(_) => Ok(()),
                None => self.follow(kept).await,
            };
        }
        let kind = match verb {
            Verb::Create => Kind::Create,
            Verb::Rollback => Kind::Rollback,
            _ => Kind::Deploy,
        };
        match self.cloud.standing(STACK).await?.map(|standing| standing.phase()) {
            None if kind != Kind::Create => return Ok(()),
            Some(_) if kind == Kind::Create => return Ok(()),
            Some(Phase::Stuck(_)) => return Ok(()),
            _ => {}
        }
        let terms = records.keep_terms(&self.terms()).await?;
        let attempt = format!("{}-{}", self.name, records.numbers().await?.len());
        let beginner = Beginner { by: self.name.clone(), at: beginner("x").at, attempt };
        let after = newest.map_or(0, |kept| kept.record.number);
        match records.begin(Draft { kind, goal, terms, beginner, after }).await? {
            Begun::Mine(kept) | Begun::Taken(kept) => self.follow(kept).await,
            Begun::Overtaken(_) => Ok(()),
        }
    }

    fn goal(&self, verb: Verb) -> Goal {
        let mut goal = goal(&format!("v-{}-{verb:?}", self.name));
        if verb == Verb::Set {
            goal.document.sha256 = crate::digest::Sha256::of(self.name.as_bytes());
        }
        goal
    }

    fn terms(&self) -> Terms {
        let of_goal = ["Deployment", "Release", "ReleaseSha256", "Image", "Document", "Policy", "Capacity"].map(|name| (name, ""));
        terms(&[&of_goal[..], &[("MaxSize", self.name.as_str()), ("PauseTime", self.name.as_str())]].concat())
    }

    async fn follow(&self, kept: Kept) -> Result<(), Failure> {
        let terms = self.records().terms(&kept.record).await?.expect("it has terms");
        let plan = Plan::of(STACK.into(), &terms, &kept.record);
        self.conductor().follow(kept, &plan, Until::Ended).await.map(|_| ())
    }
}

/// The shared environment of all operators.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) cloud: Cloud,
    place: Place,
    left: Left,
    quiet: Quiet,
    gone: RefCell<Vec<u64>>,
}

impl Site {
    pub(super) fn new() -> Self {
        let (place, left, quiet, gone) = (Place::of_shop(), Left::default(), Quiet::default(), RefCell::default());
        Self { cloud: Cloud::default(), place, left, quiet, gone }
    }

    /// An environment that was created and deployed to once.
    pub(super) async fn deployed() -> Self {
        let site = Self::new();
        alone(&site.cloud, &site.operator("first"), Verb::Create).await;
        alone(&site.cloud, &site.operator("second"), Verb::Deploy).await;
        site
    }

    pub(super) fn operator(&self, name: &str) -> Operator<'_> {
        let Self { cloud, place, left, quiet, gone } = self;
        Operator { cloud, place, left, quiet, name: name.to_owned(), gone }
    }
}

/// One run: an environment, operators, kills.
async fn run(seed: u64) -> Vec<Verb> {
    let mut random = fastrand::Rng::with_seed(seed);
    let site = if random.u32(..8) > 0 { Site::deployed().await } else { Site::new() };
    let cloud = &site.cloud;
    cloud.bad.replace((0..8).map(|_| random.u32(..4) == 0).collect());
    let verbs: Vec<Verb> = (0..random.usize(2..5)).map(|_| VERBS[random.usize(..VERBS.len())]).collect();
    let operators: Vec<Operator<'_>> = (0..verbs.len()).map(|number| site.operator(&format!("op{number}"))).collect();
    cloud.takes_turns.set(true);
    let mut turns = Turns::new(seed);
    cloud.lost.replace((0..300).map(|_| random.u32(..40) == 0).collect());
    for (operator, verb) in operators.iter().zip(verbs.clone()) {
        // Staggered, so that an operator begins while another is still working.
        let start = std::time::Duration::from_millis(random.u64(..12_000));
        turns.add(async move {
            tokio::time::sleep(start).await;
            operator.run(verb).await;
        });
    }
    turns.play(cloud, random.u32(..3)).await;
    cloud.takes_turns.set(false);
    cloud.lost.take();
    cloud.rest();
    let gone = site.gone.borrow().clone();
    ends(cloud, &site.operator("last"), &gone, verbs.contains(&Verb::Terminate)).await;
    verbs
}

/// One operator works while all others are idle.
pub(super) async fn alone(cloud: &Cloud, operator: &Operator<'_>, verb: Verb) {
    let is_over = Cell::new(false);
    tokio::join!(
        async {
            operator.run(verb).await;
            is_over.set(true);
        },
        async {
            while !is_over.get() {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                cloud.rest();
            }
        }
    );
}

/// Checks what must hold once nothing runs and the last operator has cleaned up what was left under way.
async fn ends(cloud: &Cloud, last: &Operator<'_>, gone: &[u64], may_be_gone: bool) {
    use super::turns::Others as _;
    cloud.check();
    // A killed operator leaves its deployment to others.
    alone(cloud, last, Verb::Abort).await;
    cloud.check();
    let records = cloud.records();
    assert!(records.iter().all(|record| record.state != State::UnderWay), "{records:?}");
    let in_force = records.iter().rev().find(|record| record.state == State::Good).map(|record| record.number.to_string());
    match cloud.standing_now() {
        Some(standing) => {
            assert_eq!(standing.parameter("Deployment"), in_force.as_deref(), "the records say otherwise");
            let newest = gone.iter().max().copied().unwrap_or_default();
            let makes = |record: &Record| record.kind == Some(Kind::Create) && record.state == State::Good;
            assert!(records.iter().any(|record| makes(record) && record.number > newest || gone.is_empty()), "it was terminated");
        }
        None => assert!(may_be_gone || in_force.is_none(), "nobody has terminated it"),
    }
}

#[tokio::test(start_paused = true)]
async fn records_and_stack_agree_after_any_interleaving() {
    let (from, to) = (0, 400);
    let mut seen = Vec::new();
    for seed in from..to {
        let mut work = Box::pin(run(seed));
        let verbs = std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(polled) => polled,
            Err(_) => panic!("with the seed {seed}"),
        })
        .await;
        seen.extend(verbs);
    }
    assert!(VERBS.iter().all(|verb| seen.contains(verb)));
}
