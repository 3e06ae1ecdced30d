//! An SQS queue, in memory: received messages are hidden, messages that are not deleted reappear, and a FIFO queue
//! keeps its order.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::aws::AwsError;
use crate::aws::client::call::Call;
use crate::aws::sqs;
use crate::aws::sqs::{Attributes, BATCH, HIDDEN_AT_MOST, Message, Queue, Receive, Rejected, SERVICE, Sent};
use crate::host::Clock;

/// How long a call takes.
const LATENCY: Duration = Duration::from_millis(5);

/// How long a ReceiveMessage waits for a message.
const LONG_POLL: Duration = Duration::from_secs(sqs::LONG_POLL);

pub(crate) struct FakeQueue {
    clock: Rc<dyn Clock>,
    fifo: bool,
    messages: RefCell<Vec<Kept>>,
    receipts: Cell<u64>,
    news: Notify,
    /// Planned refusals of the next calls, by operation.
    refusals: RefCell<Vec<(&'static str, &'static str)>>,
    /// How far the clock of SQS is behind the machine's.
    behind: Cell<Duration>,
    /// The bodies of the deleted messages, with how often each was received.
    deleted: RefCell<Vec<(String, u32)>>,
    /// The messages that workers have sent, with their deduplication ids. A FIFO queue remembers those ids forever.
    sent: RefCell<Vec<(String, Option<String>)>>,
    /// The calls so far, with the number of messages that each returned or accepted.
    calls: RefCell<Vec<(&'static str, usize)>>,
}

struct Kept {
    message: Message,
    hidden_until: Duration,
    count: u32,
    first_received: Option<Duration>,
}

impl FakeQueue {
    pub(crate) fn new(clock: Rc<dyn Clock>, fifo: bool) -> Self {
        Self {
            clock,
            fifo,
            messages: RefCell::default(),
            receipts: Cell::default(),
            news: Notify::new(),
            refusals: RefCell::default(),
            behind: Cell::default(),
            deleted: RefCell::default(),
            sent: RefCell::default(),
            calls: RefCell::default(),
        }
    }

    /// Sets the machine's clock ahead of the clock of SQS by this much.
    pub(crate) fn is_behind(&self, behind: Duration) {
        self.behind.set(behind);
    }

    pub(crate) fn deleted(&self) -> Vec<(String, u32)> {
        self.deleted.borrow().clone()
    }

    pub(crate) fn send(&self, body: &str) {
        let id = format!("id-{body}");
        let sent = self.time().as_millisecond();
        let message = Message { id, body: body.into(), ..Message::default() }.with("SentTimestamp", sent);
        self.messages.borrow_mut().push(Kept { message, hidden_until: Duration::ZERO, count: 0, first_received: None });
        self.news.notify_waiters();
    }

    /// The bodies of the messages that are still in the queue, with how often each was received.
    pub(crate) fn left(&self) -> Vec<(String, u32)> {
        self.messages.borrow().iter().map(|kept| (kept.message.body.clone(), kept.count)).collect()
    }

    /// The bodies of the messages that a receiver would get now.
    pub(crate) fn visible(&self) -> Vec<String> {
        let now = self.clock.elapsed();
        self.messages.borrow().iter().filter(|kept| kept.hidden_until <= now).map(|kept| kept.message.body.clone()).collect()
    }

    /// Refuses the next call of an operation.
    pub(crate) fn refuse(&self, operation: &'static str, code: &'static str) {
        self.refusals.borrow_mut().push((operation, code));
    }

    /// Stops refusing calls.
    pub(crate) fn recover(&self) {
        self.refusals.borrow_mut().clear();
    }

    pub(crate) fn calls(&self, operation: &str) -> Vec<usize> {
        self.calls.borrow().iter().filter(|(known, _)| *known == operation).map(|(_, size)| *size).collect()
    }

    async fn begin(&self, operation: &'static str, size: usize) -> Result<(), AwsError> {
        self.clock.sleep(LATENCY).await;
        self.calls.borrow_mut().push((operation, size));
        let mut refusals = self.refusals.borrow_mut();
        match refusals.iter().position(|(known, _)| *known == operation) {
            Some(at) => Err(Call::new(SERVICE, operation, "shop-jobs").refused(Some(refusals.remove(at).1), None, Some(400))),
            None => Ok(()),
        }
    }

    fn available(&self, wanted: &Receive) -> Vec<Message> {
        let now = self.clock.elapsed();
        let mut messages = self.messages.borrow_mut();
        let mut found = Vec::new();
        // In a FIFO queue, no message of a group is visible while an earlier one is hidden.
        for kept in messages.iter_mut() {
            if found.len() == wanted.most || (self.fifo && kept.hidden_until > now) {
                break;
            }
            if kept.hidden_until > now {
                continue;
            }
            self.receipts.set(self.receipts.get() + 1);
            let first = *kept.first_received.get_or_insert(now);
            let age = i64::try_from((now - first).as_millis()).unwrap_or(i64::MAX);
            kept.count += 1;
            kept.hidden_until = now + wanted.visibility;
            let message = Message { receipt: format!("receipt-{}", self.receipts.get()), ..kept.message.clone() };
            let message = message.with("ApproximateReceiveCount", kept.count);
            kept.message = message.with("ApproximateFirstReceiveTimestamp", self.time().as_millisecond() - age);
            found.push(kept.message.clone());
        }
        found
    }

    /// The time at which the next hidden message becomes visible again.
    fn soonest(&self) -> Option<Duration> {
        let now = self.clock.elapsed();
        self.messages.borrow().iter().map(|kept| kept.hidden_until).filter(|until| *until > now).min()
    }
}

#[async_trait(?Send)]
impl Queue for FakeQueue {
    async fn attributes(&self) -> Result<Attributes, AwsError> {
        Ok(Attributes { has_dead_letters: true })
    }

    fn time(&self) -> Timestamp {
        self.clock.now() - self.behind.get()
    }

    async fn receive(&self, wanted: &Receive) -> Result<Vec<Message>, AwsError> {
        assert!((1..=BATCH).contains(&wanted.most), "{wanted:?}");
        assert_eq!(self.fifo, wanted.attempt.is_some());
        self.begin("ReceiveMessage", wanted.most).await?;
        let deadline = self.clock.elapsed() + LONG_POLL;
        loop {
            let (found, now) = (self.available(wanted), self.clock.elapsed());
            if !found.is_empty() || now >= deadline {
                return Ok(found);
            }
            let until = self.soonest().map_or(deadline, |soonest| soonest.min(deadline));
            tokio::select! {
                () = self.news.notified() => {}
                () = self.clock.sleep(until - now) => {}
            }
        }
    }

    async fn delete(&self, receipts: &[String]) -> Result<Vec<Rejected>, AwsError> {
        assert!((1..=BATCH).contains(&receipts.len()));
        self.begin("DeleteMessageBatch", receipts.len()).await?;
        self.messages.borrow_mut().retain(|kept| {
            let is_meant = receipts.contains(&kept.message.receipt);
            if is_meant {
                self.deleted.borrow_mut().push((kept.message.body.clone(), kept.count));
            }
            !is_meant
        });
        Ok(Vec::new())
    }

    async fn send(&self, sent: &Sent) -> Result<String, AwsError> {
        assert_eq!(self.fifo, sent.fifo.is_some());
        self.begin("SendMessage", 1).await?;
        let once = sent.fifo.as_ref().map(|(_, once)| once.clone());
        if let Some((id, _)) = self.sent.borrow().iter().find(|(_, known)| once.is_some() && *known == once) {
            return Ok(id.clone());
        }
        let id = format!("id-sent-{}", self.sent.borrow().len());
        self.sent.borrow_mut().push((id.clone(), once));
        let message = Message { id: id.clone(), body: sent.body.into(), ..Message::default() };
        let said = |message: Message, (name, value): &(&str, String)| message.saying(name, "String", value);
        let message = sent.said.iter().fold(message, said).with("SentTimestamp", self.clock.now().as_millisecond());
        self.messages.borrow_mut().push(Kept { message, hidden_until: Duration::ZERO, count: 0, first_received: None });
        self.news.notify_waiters();
        Ok(id)
    }

    async fn hide(&self, receipts: &[(String, Duration)]) -> Result<Vec<Rejected>, AwsError> {
        assert!((1..=BATCH).contains(&receipts.len()));
        self.begin("ChangeMessageVisibilityBatch", receipts.len()).await?;
        let now = self.clock.elapsed();
        let mut rejected = Vec::new();
        for (at, (receipt, length)) in receipts.iter().enumerate() {
            match self.messages.borrow_mut().iter_mut().find(|kept| kept.message.receipt == *receipt) {
                Some(kept) if kept.first_received.is_some_and(|first| now + *length <= first + HIDDEN_AT_MOST) => {
                    kept.hidden_until = now + *length;
                }
                _ => rejected.push(Rejected { at, code: "InvalidParameterValue".into(), transient: false }),
            }
        }
        self.news.notify_waiters();
        Ok(rejected)
    }
}
