//! An in-memory CloudFormation and bucket for several operators. Each request takes a turn to arrive, and its answer
//! another one. Operations arrive some time later, even if their sender has been killed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::turns::{Others, turn};
use crate::aws::objects::{Condition, Listed, Object, Objects, Put};
use crate::aws::stacks::{Guard, Order, Stacks};
use crate::deployment::course::{Parameters, Phase, Standing};
use crate::deployment::record::{Record, State};
use crate::digest::Sha256;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::release::content::Content;
use crate::story::Event;

pub(super) const STACK: &str = "shop-prod";

/// Time after which everything sent has arrived.
const ON_THE_WAY: Duration = Duration::from_secs(100);

/// An operation on a stack.
#[derive(Debug, Clone)]
enum What {
    Create(Parameters),
    Update(Parameters),
    Delete,
    Cancel,
}

/// A request and its answer.
#[derive(Debug)]
struct Sent {
    token: String,
    what: What,
    at: Instant,
    answer: Option<Result<bool, String>>,
}

/// A stack, and its parameters before the running operation.
#[derive(Debug, Default)]
struct Stack {
    standing: Standing,
    before: Parameters,
    /// Tokens of all its operations.
    tokens: BTreeSet<String>,
}

#[derive(Debug, Default)]
pub(super) struct Cloud {
    stack: RefCell<Option<Stack>>,
    events: RefCell<Vec<Event>>,
    sent: RefCell<Vec<Sent>>,
    objects: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Whether each update rolls back, the next one last in the list; further ones succeed.
    pub(super) bad: RefCell<Vec<bool>>,
    /// Whether each answer to an operation or a write is lost, the next one last in the list; further ones are not.
    pub(super) lost: RefCell<Vec<bool>>,
    /// Whether requests take turns.
    pub(super) takes_turns: Cell<bool>,
}

impl Cloud {
    pub(super) fn standing_now(&self) -> Option<Standing> {
        self.stack.borrow().as_ref().map(|stack| stack.standing.clone())
    }

    pub(super) fn record(&self, number: u64) -> Option<Record> {
        let content = self.objects.borrow().get(&format!("shop/environments/prod/deployments/{number}.json")).cloned()?;
        Some(Record::read(&content, "shop", "prod", number).unwrap())
    }

    pub(super) fn records(&self) -> Vec<Record> {
        (1..).map_while(|number| self.record(number)).collect()
    }

    async fn turn(&self) {
        if self.takes_turns.get() {
            turn().await;
        }
    }

    /// Sends a request and waits for its answer.
    async fn order(&self, token: &str, what: What) -> Result<bool, Failure> {
        let number = self.sent.borrow().len();
        self.sent.borrow_mut().push(Sent { token: token.to_owned(), what, at: Instant::now(), answer: None });
        if !self.takes_turns.get() {
            self.arrive(number);
        }
        loop {
            if let Some(answer) = self.sent.borrow()[number].answer.clone() {
                self.may_be_lost()?;
                return answer.map_err(|why| Failure::new(Exit::Failed, why));
            }
            turn().await;
        }
    }

    fn may_be_lost(&self) -> Result<(), Failure> {
        match self.lost.borrow_mut().pop() {
            Some(true) => Err(Failure::new(Exit::Unreachable, "no answer")),
            Some(false) | None => Ok(()),
        }
    }

    fn arrive(&self, number: usize) {
        let (token, what) = {
            let sent = &self.sent.borrow()[number];
            (sent.token.clone(), sent.what.clone())
        };
        let answer = match what {
            What::Create(parameters) => self.create_now(&token, parameters),
            What::Update(parameters) => self.update_now(&token, &parameters),
            What::Delete => self.delete_now(&token),
            What::Cancel => Ok(self.cancel_now()),
        };
        self.sent.borrow_mut()[number].answer = Some(answer);
    }

    fn create_now(&self, token: &str, parameters: Parameters) -> Result<bool, String> {
        if let Some(stack) = &*self.stack.borrow() {
            return if stack.tokens.contains(token) { Ok(true) } else { Err("Stack already exists".into()) };
        }
        // The events of a deleted stack are not available.
        self.events.borrow_mut().clear();
        let standing = Standing { parameters, ..Standing::default() };
        *self.stack.borrow_mut() = Some(Stack { standing, before: Parameters::new(), tokens: [token.to_owned()].into() });
        self.goes("CREATE_IN_PROGRESS", Some(token), "User Initiated");
        Ok(true)
    }

    fn update_now(&self, token: &str, parameters: &Parameters) -> Result<bool, String> {
        {
            let mut stack = self.stack.borrow_mut();
            let Some(stack) = stack.as_mut() else { return Err("Stack does not exist".into()) };
            let phase = stack.standing.phase();
            if stack.tokens.contains(token) {
                return Ok(true);
            }
            if !matches!(phase, Phase::Ready | Phase::WentBack) {
                return Err(format!("Stack is in {} state and can not be updated", stack.standing.status));
            }
            if parameters.iter().all(|(name, value)| stack.standing.parameters.get(name) == Some(value)) {
                return Ok(false);
            }
            stack.before = stack.standing.parameters.clone();
            stack.standing.parameters.extend(parameters.clone());
            stack.tokens.insert(token.to_owned());
        }
        self.goes("UPDATE_IN_PROGRESS", Some(token), "User Initiated");
        Ok(true)
    }

    fn delete_now(&self, token: &str) -> Result<bool, String> {
        let Some(standing) = self.standing_now() else { return Ok(true) };
        if standing.is_busy() && standing.status.starts_with("UPDATE_") {
            return Err(format!("Stack cannot be deleted while in status {}", standing.status));
        }
        self.goes("DELETE_IN_PROGRESS", Some(token), "User Initiated");
        Ok(true)
    }

    fn cancel_now(&self) -> bool {
        let goes_on = self.standing_now().is_some_and(|standing| standing.status == "UPDATE_IN_PROGRESS");
        if goes_on {
            self.goes("UPDATE_ROLLBACK_IN_PROGRESS", None, "User Initiated");
        }
        goes_on
    }

    /// Takes CloudFormation's next step in the running operation.
    fn proceed(&self) {
        let status = self.standing_now().map(|standing| standing.status).unwrap_or_default();
        match status.as_str() {
            "CREATE_IN_PROGRESS" => self.goes("CREATE_COMPLETE", None, ""),
            "UPDATE_IN_PROGRESS" => {
                let is_bad = self.bad.borrow_mut().pop().unwrap_or_default();
                match is_bad {
                    true => self.goes("UPDATE_ROLLBACK_IN_PROGRESS", None, "The following resource(s) failed to update: [Group]. "),
                    false => self.goes("UPDATE_COMPLETE", None, ""),
                }
            }
            "UPDATE_ROLLBACK_IN_PROGRESS" => {
                if let Some(stack) = self.stack.borrow_mut().as_mut() {
                    stack.standing.parameters = stack.before.clone();
                }
                self.goes("UPDATE_ROLLBACK_COMPLETE", None, "");
            }
            "DELETE_IN_PROGRESS" => *self.stack.borrow_mut() = None,
            _ => {}
        }
    }

    /// Lets every sent request arrive and every running operation finish.
    pub(super) fn rest(&self) {
        while self.can_happen() > 0 {
            self.happens(0);
        }
    }

    fn goes(&self, status: &str, token: Option<&str>, reason: &str) {
        let mut stack = self.stack.borrow_mut();
        let standing = &mut stack.as_mut().expect("it is there").standing;
        status.clone_into(&mut standing.status);
        if let Some(token) = token {
            standing.token = Some(token.to_owned());
        }
        let (at, reason) = (Timestamp::now(), Some(reason.to_owned()));
        self.events.borrow_mut().push(Event { at, resource: STACK.into(), status: status.into(), reason, token: standing.token.clone() });
    }

    /// The tokens of requests that have not arrived yet.
    pub(super) fn sent(&self) -> Vec<String> {
        self.on_the_way().into_iter().map(|number| self.sent.borrow()[number].token.clone()).collect()
    }

    fn on_the_way(&self) -> Vec<usize> {
        self.sent.borrow().iter().enumerate().filter(|(_, sent)| sent.answer.is_none()).map(|(number, _)| number).collect()
    }
}

impl Others for Cloud {
    fn can_happen(&self) -> usize {
        let goes_on = self.standing_now().is_some_and(|standing| standing.is_busy());
        self.on_the_way().len() + usize::from(goes_on)
    }

    fn happens(&self, which: usize) {
        match self.on_the_way().get(which) {
            Some(number) => self.arrive(*number),
            None => self.proceed(),
        }
    }

    fn passed(&self) {
        let is_due = |number: &usize| self.sent.borrow()[*number].at.elapsed() >= ON_THE_WAY;
        self.on_the_way().into_iter().filter(is_due).for_each(|number| self.arrive(number));
    }

    /// Checks that the stack runs a deployment that is under way or good, with its release and its own terms.
    fn check(&self) {
        let Some(standing) = self.standing_now().filter(|standing| matches!(standing.phase(), Phase::Ready | Phase::WentBack)) else {
            return;
        };
        let number = standing.parameter("Deployment").unwrap().parse().unwrap();
        let record = self.record(number).expect("it has a record");
        assert!(matches!(record.state, State::UnderWay | State::Good), "{} runs, and {}", record.goal.release.name, record.told());
        assert_eq!(standing.parameter("Release"), Some(record.goal.release.name.to_string().as_str()), "the fleet is mixed");
        assert_eq!(standing.parameter("MaxSize"), Some(record.by.as_str()), "of another operator than has begun it");
    }
}

impl Stacks for Cloud {
    async fn standing(&self, _: &str) -> Result<Option<Standing>, Failure> {
        self.turn().await;
        let standing = self.standing_now();
        self.turn().await;
        Ok(standing)
    }

    async fn create(&self, order: &Order<'_>, _: Guard<'_>) -> Result<(), Failure> {
        self.order(&order.token, What::Create(order.parameters.clone())).await.map(|_| ())
    }

    async fn update(&self, order: &Order<'_>) -> Result<bool, Failure> {
        self.order(&order.token, What::Update(order.parameters.clone())).await
    }

    async fn cancel(&self, _: &str) -> Result<bool, Failure> {
        self.order("", What::Cancel).await
    }

    async fn delete(&self, _: &str, token: &str, _: Option<&str>) -> Result<(), Failure> {
        self.order(token, What::Delete).await.map(|_| ())
    }

    async fn look(&self, stack: &str, since: Timestamp) -> Result<(Vec<Event>, Option<Standing>), Failure> {
        Ok((self.events(stack, since).await?, self.standing(stack).await?))
    }

    async fn events(&self, _: &str, since: Timestamp) -> Result<Vec<Event>, Failure> {
        self.turn().await;
        let is_there = self.stack.borrow().is_some();
        let found = self.events.borrow().iter().filter(|event| is_there && event.at >= since).cloned().collect();
        self.turn().await;
        Ok(found)
    }
}

fn etag(content: &[u8]) -> String {
    Sha256::of(content).to_string()
}

impl Objects for Cloud {
    async fn get(&self, key: &str) -> Result<Option<Object>, Failure> {
        self.turn().await;
        let found = self.objects.borrow().get(key).map(|content| Object { etag: etag(content), content: content.clone() });
        self.turn().await;
        Ok(found)
    }

    async fn put(&self, key: &str, content: Vec<u8>, condition: Condition<'_>) -> Result<Put, Failure> {
        self.turn().await;
        let now = self.objects.borrow().get(key).map(|content| etag(content));
        let holds = match condition {
            Condition::Absent => now.is_none(),
            Condition::Unchanged(wanted) => now.as_deref() == Some(wanted),
        };
        let put = if holds { Put::Done { etag: etag(&content) } } else { Put::Refused };
        if holds {
            self.objects.borrow_mut().insert(key.to_owned(), content);
        }
        self.turn().await;
        self.may_be_lost()?;
        Ok(put)
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, Failure> {
        self.turn().await;
        let objects = self.objects.borrow();
        let found = objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        Ok(found.map(|(key, content)| Listed { key: key.clone(), bytes: content.len() as u64, modified: Timestamp::now() }).collect())
    }

    async fn upload(&self, _: &str, _: &Content, _: &dyn Fn(u64)) -> Result<Put, Failure> {
        unreachable!("deployments upload nothing")
    }

    async fn compare(&self, _: &str, _: &Content) -> Result<Option<bool>, Failure> {
        unreachable!("deployments compare nothing")
    }

    async fn below(&self, _: &str) -> Result<Vec<String>, Failure> {
        unreachable!("deployments look for no names")
    }

    async fn remove(&self, _: &str) -> Result<(), Failure> {
        unreachable!("deployments remove nothing")
    }
}
