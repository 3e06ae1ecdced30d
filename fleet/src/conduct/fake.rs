//! A scripted CloudFormation in memory, and a silent [`Tell`].

use std::cell::{Cell, RefCell};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::listen::Witness;
use super::tell::Tell;
use crate::aws::boots::{Boot, Instances, Sent};
use crate::aws::stacks::{Guard, Order, Stacks};
use crate::deployment::course::{Operation, Parameters, Standing};
use crate::deployment::in_place::Standee;
use crate::deployment::record::{Record, Release};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::release::name::Name;
use crate::story::{Event, Evidence, Happened};

/// How an operation of the stack ends, or how AWS answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Complete,
    GoesBack,
    Aborted,
    NotBack,
    Refused,
    /// The caller lacks the permission.
    Denied,
    /// The credentials have expired.
    Expired,
    /// AWS reports another operation that is no longer visible.
    Busy,
    Unanswered,
    /// The operation begins, but AWS answers that the stack is busy, as it does when a lost call is repeated.
    BegunAndRefused,
    /// "No updates are to be performed."
    Nothing,
}

/// A stack whose operations end after a few looks.
#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) stack: RefCell<Option<Standing>>,
    pub(super) events: RefCell<Vec<Event>>,
    outcomes: RefCell<Vec<Outcome>>,
    /// The running operation, the stack before it, and the number of looks left.
    pub(super) going: RefCell<Option<(Outcome, Option<Standing>, u32)>>,
    pub(super) orders: RefCell<Vec<(String, Parameters)>>,
    pub(super) tags: RefCell<Vec<Parameters>>,
    pub(super) looks: Cell<usize>,
    /// Number of looks that still get no answer.
    pub(super) silent: Cell<u32>,
    /// Number of looks that still fail because the credentials have expired.
    pub(super) refuses: Cell<u32>,
    pub(super) cancelled: Cell<u32>,
}

impl Fake {
    pub(super) fn with(outcomes: &[Outcome]) -> Self {
        Self { outcomes: RefCell::new(outcomes.iter().rev().copied().collect()), ..Self::default() }
    }

    fn begin(&self, order: &Order<'_>, status: &str) -> Result<bool, Failure> {
        let outcome = self.outcomes.borrow_mut().pop().expect("no more operations");
        self.orders.borrow_mut().push((order.token.clone(), order.parameters.clone()));
        self.tags.borrow_mut().push(order.tags.clone());
        match outcome {
            Outcome::Nothing => return Ok(false),
            Outcome::Refused => return Err(Failure::new(Exit::Failed, "Parameter Capacity failed to satisfy constraint")),
            Outcome::Denied => return Err(Failure::new(Exit::Failed, "AccessDenied").of_rights()),
            Outcome::Expired => return Err(Failure::new(Exit::Failed, "ExpiredToken").passing()),
            Outcome::Busy => return Err(Failure::new(Exit::Failed, "it is in UPDATE_IN_PROGRESS state and can not be updated")),
            Outcome::Unanswered => return Err(Failure::new(Exit::Unreachable, "no answer")),
            _ => {}
        }
        let before = self.stack.borrow().clone();
        let mut parameters = before.clone().map(|before| before.parameters).unwrap_or_default();
        parameters.extend(order.parameters.clone());
        let token = Some(order.token.clone());
        *self.stack.borrow_mut() = Some(Standing { status: status.into(), parameters, token, ..Standing::default() });
        self.told("shop-prod", status, "User Initiated");
        *self.going.borrow_mut() = Some((outcome, before, 3));
        match outcome {
            Outcome::BegunAndRefused => Err(Failure::new(Exit::Failed, "it is in UPDATE_IN_PROGRESS state and can not be updated")),
            _ => Ok(true),
        }
    }

    pub(super) fn told(&self, resource: &str, status: &str, reason: &str) {
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
            Outcome::GoesBack => {
                self.told("Group", "UPDATE_IN_PROGRESS", "Received FAILURE signal with UniqueId i-0c");
                self.told("Group", "UPDATE_FAILED", "Received 1 FAILURE signal(s) out of 1");
                self.told("shop-prod", "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: [Group]. ");
            }
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
        if self.refuses.get() > 0 {
            self.refuses.set(self.refuses.get() - 1);
            return Err(Failure::new(Exit::Failed, "the credentials have expired").passing());
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

    async fn delete(&self, _: &str, _: &str, _: Option<&str>) -> Result<(), Failure> {
        (*self.stack.borrow_mut(), *self.going.borrow_mut()) = (None, None);
        Ok(())
    }

    async fn look(&self, stack: &str, since: Timestamp) -> Result<(Vec<Event>, Option<Standing>), Failure> {
        Ok((self.events(stack, since).await?, self.standing(stack).await?))
    }

    async fn events(&self, _: &str, since: Timestamp) -> Result<Vec<Event>, Failure> {
        Ok(self.events.borrow().iter().filter(|event| event.at >= since).cloned().collect())
    }
}

/// Tells no one and records the news.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    pub(super) news: RefCell<Vec<(Instant, String)>>,
    /// Resources whose events were reported.
    pub(super) events: RefCell<Vec<String>>,
}

impl Tell for Quiet {
    fn begins(&self, _: Operation) {}

    fn sends(&self, _: &Name, _: &[String], _: bool) {}

    fn waits_for_others(&self, _: &str) {}

    fn silent(&self, _: &Failure) {}

    fn event(&self, event: &Event) {
        self.events.borrow_mut().push(event.resource.clone());
    }

    fn news(&self, sentence: &str) {
        self.news.borrow_mut().push((Instant::now(), sentence.to_owned()));
    }

    async fn look(&self) {}
}

/// The evidence of instances and groups.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) evidence: RefCell<Vec<Evidence>>,
    /// How often evidence was requested, and from which request on AWS refuses it.
    pub(super) asked: Cell<u32>,
    pub(super) refused_from: Cell<Option<u32>>,
    /// How long each of AWS's answers takes. One lists the objects, a second returns their content.
    pub(super) answers_take: Cell<Duration>,
    pub(super) groups: RefCell<Happened>,
    pub(super) console: Option<String>,
}

impl Witness for Left {
    async fn evidence(&self, _: &Record) -> Option<Vec<Evidence>> {
        self.asked.set(self.asked.get() + 1);
        let is_refused = self.refused_from.get().is_some_and(|from| self.asked.get() >= from);
        let listed = self.evidence.borrow().clone();
        sleep(self.answers_take.get() * if listed.is_empty() { 1 } else { 2 }).await;
        (!is_refused).then_some(listed)
    }

    async fn groups(&self, _: &Record) -> Happened {
        self.groups.borrow().clone()
    }

    async fn console(&self, _: &str) -> Option<String> {
        self.console.clone()
    }
}

/// Instances that must never be used.
#[derive(Debug)]
pub(super) struct Nobody;

impl Instances for Nobody {
    async fn standees(&self) -> Result<Vec<Standee>, Failure> {
        unreachable!("it is not in place")
    }

    async fn mark(&self, _: &[String], _: u64, _: Option<&Release>) -> Result<(), Failure> {
        unreachable!("it is not in place")
    }

    async fn send(&self, _: &Release, _: &[String], _: &str) -> Result<Sent, Failure> {
        unreachable!("it is not in place")
    }

    async fn look(&self, _: &str, _: &[String]) -> Result<Vec<(String, Boot)>, Failure> {
        unreachable!("it is not in place")
    }

    async fn was_sent(&self, _: &str, _: &str) -> Result<bool, Failure> {
        unreachable!("it is not in place")
    }

    async fn replace(&self, _: &str) -> Result<(), Failure> {
        unreachable!("it is not in place")
    }
}
