//! The daemon: carries out the orders of its [`Course`], and reports to it what has happened. It decides nothing.

use std::cell::Cell;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};
use tokio::time::timeout;

use super::course::{Course, Event, Order, Withheld};
use super::cron::{Admitted, Cron};
use super::hand::Ticket;
use super::metrics::{Measured, NAMESPACE, dimensions};
use super::request::{About, request};
use super::standing::{Posted, Standing};
use super::status::{Doing, Status, path, put};
use crate::aws::cloudwatch::CloudWatch;
use crate::aws::sqs::{Message, Queue, QueueName};
use crate::failure::Explanation;
use crate::host::{Host, environment};
use crate::net::Probes;
use crate::net::posts::{Post, Posts};
use crate::steps::worker::settings::{Settings, Slots, Target};

/// The least interval between two writes of the status file, while the worker does not change what it is doing.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The interval of metrics for CloudWatch.
const MEASURE_EVERY: Duration = Duration::from_secs(60);

/// How long CloudWatch may take for the last metrics of a stopping worker.
const MEASURE_LAST: Duration = Duration::from_secs(2);

/// How long a probe of the application may take.
const PROBE: Duration = Duration::from_secs(5);

/// How often systemd is told that the worker is still stopping, and how long each such notice is valid.
const STOPPING_EVERY: Duration = Duration::from_secs(10);
const STOPPING_FOR: Duration = Duration::from_secs(30);

/// A worker, with everything that it communicates with.
pub(crate) struct Daemon {
    /// The worker's name in the document.
    pub(crate) name: String,
    pub(crate) settings: Rc<Settings>,
    pub(crate) queue: Rc<dyn Queue>,
    pub(crate) queue_name: QueueName,
    pub(crate) posts: Rc<dyn Posts>,
    pub(crate) probes: Rc<dyn Probes>,
    pub(crate) host: Host,
    /// The socket by which a process that is about to stop the application can hold the worker.
    pub(crate) hold: Option<PathBuf>,
    /// Where metrics go, if the document asks for them.
    pub(crate) metrics: Option<Rc<CloudWatch>>,
    /// Its periodic tasks, if it can have any.
    pub(crate) cron: Option<Rc<Cron>>,
}

/// Futures in progress, by kind, because receptions and requests can be aborted.
type Going = FuturesUnordered<LocalBoxFuture<'static, Option<Event>>>;

#[derive(Default)]
struct Ongoing {
    receptions: Going,
    posts: Going,
    calls: Going,
    posted: Posted,
    /// Whether another process is about to stop the application.
    is_held: Rc<Cell<bool>>,
    /// Continues while messages are in hand, even when the worker is stopping: it may be the only
    /// one that sends periodic messages.
    cron: Going,
}

/// What was reported to whom, and when.
struct Told {
    /// The number of events when the status file was last written.
    events: u64,
    doing: Doing,
    at: Duration,
    measured: Rc<Measured>,
    measured_at: Duration,
    stopping_at: Duration,
    /// Whether the file could not be written. Logged once.
    is_lost: bool,
}

impl Told {
    fn nothing(begun: Status, now: Duration) -> Self {
        Self {
            events: u64::MAX,
            doing: Doing::Starting,
            at: Duration::ZERO,
            measured: Rc::new(Measured::since(begun)),
            measured_at: now,
            stopping_at: Duration::ZERO,
            is_lost: false,
        }
    }
}

impl Daemon {
    /// Works until `stop` yields an item and everything in hand is done. A second item aborts what is in hand.
    pub(crate) async fn work(self, stop: impl Stream<Item = ()>) {
        let mut stop = pin!(stop);
        let begun = Status::starting(&self.settings.queue, &self.host);
        let mut course = Course::new((*self.settings).clone(), self.queue_name.is_fifo(), begun.clone());
        let mut going = Ongoing::default();
        let mut standing = Standing::listen(self.hold.as_deref());
        if let Some(cron) = self.cron.clone() {
            going.cron.push(Box::pin(async move {
                cron.run().await;
                None
            }));
        }
        let mut told = Told::nothing(begun, self.host.clock.elapsed());
        loop {
            self.look_who_holds(&standing, &mut course).await;
            going.is_held.set(course.is_held());
            let now = self.host.clock.elapsed();
            course.orders(now).into_iter().for_each(|order| self.carry_out(order, now, &mut going));
            standing.tell(&going.posted);
            if course.is_over(now) {
                break;
            }
            let tidied = self.posts.tidy().map(|after| now + after);
            let due = [self.tell(&course, &mut told, &mut going).await, course.next_due(now), tidied].into_iter().flatten().min();
            let rest = async {
                match due {
                    Some(due) => self.host.clock.sleep(due.saturating_sub(now)).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                biased;
                Some(()) = stop.next() => Some(Event::Stop),
                () = standing.changed() => None,
                Some(event) = going.calls.next() => event,
                Some(event) = going.posts.next() => event,
                Some(event) = going.receptions.next() => event,
                Some(event) = going.cron.next() => event,
                () = rest => None,
            };
            if let Some(event) = event {
                course.take(event, self.host.clock.elapsed(), self.host.clock.now());
            }
        }
        if let Some(cloudwatch) = &self.metrics {
            let status = course.status(self.host.clock.elapsed());
            if let Some(call) = self.measured(cloudwatch, &told.measured, status) {
                let _ = timeout(MEASURE_LAST, call).await;
            }
        }
        let _ = self.host.files.remove(&path(&self.name)).await;
    }

    /// Checks each time which of two releases gets the messages, because requests may be switched
    /// to the other one in the meantime.
    async fn look_who_holds(&self, standing: &Standing, course: &mut Course) {
        let held = standing.is_held() && standing.is_held_at(address(&self.settings.to, &self.host).await.port());
        if held != course.is_held() {
            course.take(Event::Held(held), self.host.clock.elapsed(), self.host.clock.now());
        }
    }

    fn carry_out(&self, order: Order, now: Duration, going: &mut Ongoing) {
        let (queue, host) = (self.queue.clone(), self.host.clone());
        match order {
            Order::Receive(wanted) => going.receptions.push(Box::pin(async move {
                let result = queue.receive(&wanted).await;
                Some(Event::Received { wanted, asked: now, time: queue.time(), result })
            })),
            Order::Post { ticket, message } => going.posts.push(self.post(ticket, message, going)),
            Order::Delete(entries) => going.calls.push(Box::pin(async move {
                let (tickets, receipts): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
                let result = queue.delete(&receipts).await;
                Some(Event::Deleted { tickets, asked: now, result })
            })),
            Order::Hide(entries) => going.calls.push(Box::pin(async move {
                let hidden = entries.iter().map(|(ticket, _, length)| (*ticket, *length)).collect();
                let receipts: Vec<_> = entries.into_iter().map(|(_, receipt, length)| (receipt, length)).collect();
                let result = queue.hide(&receipts).await;
                Some(Event::Hidden { hidden, asked: now, result })
            })),
            Order::Probe => {
                let (probes, settings) = (self.probes.clone(), self.settings.clone());
                going.calls.push(Box::pin(async move {
                    let answer = probe(&*probes, &settings.to, &host).await;
                    Some(Event::Probed { answer, is_late: host.clock.elapsed() >= now + PROBE })
                }));
            }
            Order::LeaveReceptions => going.receptions.clear(),
            Order::CutOff => {
                going.posts.clear();
                going.posted.clear();
                going.cron.clear();
            }
        }
    }

    /// Posts a message if it may be posted. While a periodic one is being claimed, it does not
    /// count as posted to any port.
    fn post(&self, ticket: Ticket, message: Message, going: &Ongoing) -> LocalBoxFuture<'static, Option<Event>> {
        let (posts, host, settings, cron) = (self.posts.clone(), self.host.clone(), self.settings.clone(), self.cron.clone());
        let (posted, is_held, queue) = (going.posted.clone(), going.is_held.clone(), self.queue_name.name.clone());
        Box::pin(async move {
            let admitted = match &cron {
                Some(cron) => cron.admits(&message).await,
                None => Admitted::Yes,
            };
            let why = match admitted {
                Admitted::Yes if is_held.get() => Some(Withheld::Held),
                Admitted::Yes => None,
                Admitted::Never => Some(Withheld::Duplicate),
                Admitted::NotYet(why) => Some(Withheld::Unclaimed(why)),
            };
            if let Some(why) = why {
                return Some(Event::Withheld { ticket, why });
            }
            posted.begins(ticket);
            let (begun, bytes) = (host.clock.elapsed(), bytes(&message, &queue, &settings, &host));
            let at = address(&settings.to, &host).await;
            posted.goes_to(ticket, at.port());
            let answered = posts.post(&Post { at, bytes, silence: settings.timeout, limit: settings.max_duration }).await;
            posted.ended(ticket);
            let (receive_count, took) = (message.receive_count(), host.clock.elapsed() - begun);
            Some(Event::Posted { ticket, receive_count, answered, took })
        })
    }

    /// Updates the status file, CloudWatch and systemd if they are due. Returns when the next update is due.
    async fn tell(&self, course: &Course, told: &mut Told, going: &mut Ongoing) -> Option<Duration> {
        let now = self.host.clock.elapsed();
        let mut due = None;
        let events = course.events() + self.cron.as_ref().map_or(0, |cron| cron.changes());
        if events != told.events {
            let doing = course.doing(now);
            if told.events == u64::MAX || doing != told.doing || now >= told.at + TELL_EVERY {
                (told.events, told.doing, told.at) = (events, doing, now);
                let tasks = self.cron.as_ref().map(|cron| cron.status()).unwrap_or_default();
                self.write(&Status { tasks, ..course.status(now) }, told).await;
            } else {
                due = Some(told.at + TELL_EVERY);
            }
        }
        if let Some(cloudwatch) = &self.metrics {
            if now >= told.measured_at + MEASURE_EVERY {
                going.calls.extend(self.measured(cloudwatch, &told.measured, course.status(now)));
                told.measured_at = now;
            }
            due = due.into_iter().chain([told.measured_at + MEASURE_EVERY]).min();
        }
        if course.is_leaving() {
            if now >= told.stopping_at {
                environment::stopping(STOPPING_FOR);
                told.stopping_at = now + STOPPING_EVERY;
            }
            due = due.into_iter().chain([told.stopping_at]).min();
        }
        due
    }

    async fn write(&self, status: &Status, told: &mut Told) {
        let done = put(&self.name, status, &self.host).await;
        if let Err(error) = done
            && !std::mem::replace(&mut told.is_lost, true)
        {
            log::warn!("`ingot status worker {}` is out of date: {error}", self.name);
        }
    }

    /// Sends metrics in the background: no message waits for CloudWatch. What was not sent is part of the next call.
    fn measured(
        &self,
        cloudwatch: &Rc<CloudWatch>,
        measured: &Rc<Measured>,
        now: Status,
    ) -> Option<LocalBoxFuture<'static, Option<Event>>> {
        let metrics = measured.begin(&now, self.host.clock.now())?;
        let (cloudwatch, measured) = (cloudwatch.clone(), measured.clone());
        let (name, queue) = (self.name.clone(), self.queue_name.name.clone());
        Some(Box::pin(async move {
            let dimensions: Vec<(&str, &str)> = dimensions(&name, &queue).into_iter().collect();
            let told = cloudwatch.put(NAMESPACE, &dimensions, &metrics).await;
            if let Err(error) = &told {
                log::warn!("cannot send metrics to CloudWatch: {}", Explanation::of(error));
            }
            measured.end(told.is_ok().then_some(now));
            None
        }))
    }
}

fn bytes(message: &Message, queue: &str, settings: &Settings, host: &Host) -> Vec<u8> {
    let Settings { to, mime_type, max_duration, timeout, .. } = settings;
    let now = host.clock.now();
    // If the application sends nothing, the request is cut off by `timeout`, which may be shorter.
    let deadline = now.checked_add((*max_duration).min(*timeout)).unwrap_or(now);
    request(message, About { queue, path: &to.path, mime_type, deadline })
}

/// The address at which the application currently serves. If its releases overlap, the address
/// comes from the same link that its proxy follows.
async fn address(to: &Target, host: &Host) -> std::net::SocketAddr {
    let Some(Slots { link, a, b }) = &to.slots else { return to.at };
    let slot = host.directories.link(link).await.ok().flatten();
    let port = slot.and_then(|slot| match slot.to_string_lossy() {
        slot if slot.ends_with("-a") => Some(*a),
        slot if slot.ends_with("-b") => Some(*b),
        _ => None,
    });
    port.map_or(to.at, |port| (to.at.ip(), port).into())
}

async fn probe(probes: &dyn Probes, to: &Target, host: &Host) -> Result<(), String> {
    let at = address(to, host).await;
    match &to.ready {
        None if to.published => probes.published(at.port(), PROBE).await,
        None => probes.tcp(&at.to_string(), PROBE).await,
        Some(path) => match probes.http(&format!("http://{at}{path}"), PROBE).await? {
            200..400 => Ok(()),
            status => Err(format!("status {status}")),
        },
    }
}
