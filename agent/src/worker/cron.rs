//! Periodic tasks: each due time reaches the application through one message, no matter which
//! instance of the fleet sends it.
//!
//! | | what |
//! |---|---|
//! | [`timetable`] | what is due, and what was missed; pure |
//! | [`claim`] | what follows from the claim of a due time, when sending and when delivering its message; pure |
//! | [`errand`] | settles one due time: claims it, sends its message, marks it as sent |
//! | [`delivery`] | lets one message of each due time through |
//! | [`begun`] | since when the times of a task count |
//!
//! A FIFO queue needs no claims: SQS deduplicates the messages that several instances send for
//! one due time, if they arrive within five minutes.

mod begun;
mod claim;
mod delivery;
mod errand;
#[cfg(test)]
mod tests;
mod timetable;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;

pub(super) use self::delivery::Admitted;
use self::timetable::{Due, Entry, Missed, Timetable};
use super::status::Periodic;
use crate::aws::s3::{ClaimObject, Objects, Prefix};
use crate::aws::sqs::{Queue, QueueName};
use crate::failure::{Explanation, Objection};
use crate::host::Host;
use crate::steps::claiming::key;
use crate::steps::worker::cron::{Schedule, zone};
use crate::steps::worker::settings::Settings;

/// The longest sleep, after which a changed clock or a suspended machine is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// The most objects that are worked on at the same time, because all tasks may be due at midnight. Each task has its
/// share of this, at least one, so that a task that cannot be sent does not delay the others.
const AT_ONCE: usize = 50;

/// A due time that is later than this counts as missed, and is caught up.
const LATE: Duration = Duration::from_secs(60);

/// The attribute that distinguishes our messages for one due time. Like all attributes with
/// this prefix, it is not passed to the application. A message that was redriven from a
/// dead-letter queue has a new ID, but keeps this attribute.
const MARK: &str = "beanstalk.sqsd.mark";

/// The periodic tasks of a worker.
pub(crate) struct Cron {
    queue: Rc<dyn Queue>,
    name: QueueName,
    claims: Option<Claims>,
    host: Host,
    timetable: RefCell<Timetable>,
    /// Counts changes of the status.
    changes: Cell<u64>,
}

/// Where and how due times are claimed.
struct Claims {
    objects: Rc<dyn Objects>,
    below: Prefix,
    /// The part of the objects' names that identifies the queue.
    queue: String,
    holder: String,
}

/// A job for a task.
#[derive(Clone, Copy)]
enum Job {
    /// Find out since when the times of the task count.
    Begin(usize),
    Settle(Due),
    /// Record until when the times of the task are settled.
    Note(Due),
}

impl Job {
    fn task(self) -> usize {
        match self {
            Self::Begin(task) | Self::Settle(Due { task, .. }) | Self::Note(Due { task, .. }) => task,
        }
    }
}

impl Cron {
    /// Creates the periodic tasks from a worker's settings; `None` if there are none. `known_as` identifies the queue.
    ///
    /// # Errors
    ///
    /// If the settings cannot be applied on this machine.
    pub(crate) async fn of(
        settings: &Settings,
        queue: Rc<dyn Queue>,
        (name, known_as): (QueueName, &str),
        objects: Rc<dyn Objects>,
        host: Host,
    ) -> Result<Option<Rc<Self>>, Explanation> {
        if settings.tasks.is_empty() && settings.claims.is_none() {
            return Ok(None);
        }
        let said = |objection: Objection| Explanation::new(objection.message, Some(objection.hint));
        let claims = match &settings.claims {
            Some(claims) => {
                let below = Prefix::parse(&claims.below).map_err(said)?;
                Some(Claims { objects, below, queue: key(known_as), holder: claims.holder.clone() })
            }
            None if name.is_fifo() => None,
            None => return Err(Explanation::new("`cron` needs `claims:` with this queue", Some("add `claims:` to the document".into()))),
        };
        let mut entries = Vec::new();
        for task in &settings.tasks {
            let (schedule, zone) = (Schedule::parse(&task.schedule).map_err(said)?, zone(&task.time_zone, &*host.files).await?);
            entries.push(Entry::new(task.clone(), schedule, zone, claims.is_some()));
        }
        let timetable = RefCell::new(Timetable::new(entries));
        Ok(Some(Rc::new(Self { queue, name, claims, host, timetable, changes: Cell::default() })))
    }

    /// Sends what is due. Never returns, and may be dropped at any moment.
    pub(super) async fn run(self: Rc<Self>) {
        let (mut started, mut looked) = (self.now(), self.now());
        let tasks = self.timetable.borrow().len();
        let mut going: FuturesUnordered<LocalBoxFuture<'static, usize>> = FuturesUnordered::new();
        let mut jobs: VecDeque<Job> = (0..tasks).map(Job::Begin).collect();
        // How many jobs each task may start now.
        let mut places = vec![(AT_ONCE / tasks.max(1)).max(1); tasks];
        loop {
            let now = self.now();
            // The machine was suspended, or its clock was set. What others did in the meantime is on record.
            if self.claims.is_some() && now.duration_since(looked).unsigned_abs() > LATE {
                self.timetable.borrow_mut().wait();
                started = now;
                jobs.extend((0..tasks).map(Job::Begin));
            }
            looked = now;
            let mut turn = self.timetable.borrow_mut().take(now);
            for (task, missed) in turn.missed {
                self.missed(task, missed);
                jobs.push_back(Job::Note(Due { task, at: missed.last }));
            }
            if self.claims.is_some() {
                // The instances of a fleet start with different times, so together they are done sooner.
                fastrand::shuffle(&mut turn.due);
            }
            jobs.extend(turn.due.into_iter().map(Job::Settle));
            jobs.retain(|job| {
                let place = &mut places[job.task()];
                let waits = *place == 0;
                if !waits {
                    *place -= 1;
                    going.push(Box::pin(self.clone().carry_out(*job, started)));
                }
                waits
            });
            let next = self.timetable.borrow().next();
            let left = next.and_then(|next| Duration::try_from(next.duration_since(self.now())).ok());
            let pause = match next {
                Some(_) => left.unwrap_or_default().min(LOOK_EVERY),
                None => LOOK_EVERY,
            };
            tokio::select! {
                biased;
                Some(task) = going.next() => places[task] += 1,
                () = self.host.clock.sleep(pause) => {}
            }
        }
    }

    /// Carries out a job. Returns its task, which has a free place again.
    async fn carry_out(self: Rc<Self>, job: Job, started: Timestamp) -> usize {
        match job {
            Job::Begin(task) => self.begin(task, started).await,
            Job::Settle(due) => self.settle(due).await,
            Job::Note(due) => self.settled(due).await,
        }
        job.task()
    }

    /// The current time: by this machine's clock, unless that is far from what AWS reports.
    fn now(&self) -> Timestamp {
        let (own, known) = (self.host.clock.now(), self.queue.time());
        let (soonest, latest) = (known.checked_sub(LATE).unwrap_or(own), known.checked_add(LATE).unwrap_or(own));
        own.max(soonest).min(latest)
    }

    /// The number of changes so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes.get()
    }

    pub(super) fn status(&self) -> Vec<Periodic> {
        self.timetable.borrow().status()
    }

    /// Changes the status of a task.
    fn note(&self, task: usize, what: impl FnOnce(&mut Periodic)) {
        what(self.timetable.borrow_mut().status_of(task));
        self.changes.set(self.changes.get() + 1);
    }

    fn missed(&self, task: usize, missed: Missed) {
        let Missed { count, first, last } = missed;
        let times = if count == 1 { format!("{last} was") } else { format!("{count} times, {first} to {last}, were") };
        self.note(task, |status| {
            log::warn!("task {}: {times} missed, and not sent; `catch_up` sets how late a time may be sent", status.name);
            status.missed += count;
            status.last_missed = Some(last.to_string());
        });
    }

    /// Reports why a task cannot be sent. The same reason is logged only once.
    fn trouble(&self, task: usize, why: &Explanation) {
        let what = why.to_string();
        self.note(task, |status| {
            if status.trouble.as_ref() != Some(&what) {
                log::warn!("task {}: {what}", status.name);
                status.trouble = Some(what);
            }
        });
    }

    /// The object for a due time of a task, or for the task itself.
    fn object(&self, claims: &Claims, task: &str, end: &str) -> ClaimObject {
        let place = claims.below.object(&format!("{}/{}/{end}", claims.queue, key(task)));
        ClaimObject { objects: claims.objects.clone(), place }
    }
}
