//! Settles one due time: claims it, sends its message and marks it as sent, or waits until
//! another instance has done so.

use std::rc::Rc;
use std::time::Duration;

use super::claim::{Claim, Next, State, next};
use super::timetable::{Due, Missed};
use super::{Claims, Cron, LATE, MARK};
use crate::aws::sqs::Sent;
use crate::backoff::Backoff;
use crate::digest::Sha256;
use crate::failure::Explanation;
use crate::net::claims::Store as _;

/// The body of every periodic message of Elastic Beanstalk.
const BODY: &str = "elasticbeanstalk scheduled job";

/// The pause before the first look at another instance's claim: most are marked by then.
const MARKED: Duration = Duration::from_secs(2);

/// The spread of the times at which instances look at a stale claim, so that a fleet does not do so all at once.
const SPREAD: Duration = Duration::from_secs(5);

/// How long ingot tries to mark a time as sent. If it stays unmarked, it may be sent again, and
/// one of the two messages is posted.
const MARKED_WITHIN: Duration = Duration::from_mins(5);

/// The pause after a write that another instance did first.
const AGAIN: Duration = Duration::from_millis(200);

/// The result of one try.
enum Turn {
    Done,
    Again(Duration),
}

/// The attempt to send the message of a due time.
struct Errand {
    due: Due,
    mark: String,
    /// The mark of the message that was sent, and when it was sent.
    sent: Option<(String, Duration)>,
    /// Whether it has waited for another instance.
    has_waited: bool,
}

impl Cron {
    /// Settles a due time, with as many tries as necessary, unless it gets too late to send the
    /// message or to mark the time as sent.
    pub(super) async fn settle(self: Rc<Self>, due: Due) {
        let mut errand = Errand { due, mark: random(), sent: None, has_waited: false };
        let mut tries = 0;
        loop {
            if self.is_over(&errand) {
                return self.settled(due).await;
            }
            let turn = match &self.claims {
                Some(claims) => self.turn(claims, &mut errand).await,
                None => self.send(&mut errand).await.map(|_| Turn::Done),
            };
            let pause = match turn {
                Ok(Turn::Done) => break,
                Ok(Turn::Again(pause)) => pause,
                Err(why) => {
                    tries += 1;
                    self.trouble(due.task, &why);
                    let backoff = if why.transient { Backoff::CALL } else { Backoff::REFUSED };
                    backoff.pause(tries, why.retry_after)
                }
            };
            self.host.clock.sleep(pause).await;
        }
        self.note(due.task, |status| status.trouble = None);
        if errand.sent.is_some() {
            self.settled(due).await;
        }
    }

    /// Whether it is too late for what is left to do. If so, reports it.
    fn is_over(&self, errand: &Errand) -> bool {
        let Due { task, at } = errand.due;
        let is_over = match errand.sent {
            None => self.timetable.borrow().entry(task).is_too_late(at, self.now()),
            Some((_, sent)) => self.host.clock.elapsed() > sent + MARKED_WITHIN,
        };
        match errand.sent {
            None if is_over => self.missed(task, Missed::one(at)),
            Some(_) if is_over => self.note(task, |status| {
                log::warn!("task {}: {at} was sent, but is not marked as sent: another instance may send it again", status.name);
            }),
            _ => {}
        }
        is_over
    }

    async fn turn(&self, claims: &Claims, errand: &mut Errand) -> Result<Turn, Explanation> {
        let name = self.timetable.borrow().entry(errand.due.task).task.name.clone();
        let store = self.object(claims, &name, &errand.due.at.to_string());
        let seen = store.look().await?;
        let of = |state, mark: &str| Claim { state, holder: claims.holder.clone(), mark: mark.to_owned() }.written();
        let etag = match next(seen.as_ref(), &errand.mark).ok_or_else(|| not_a_claim(&store.name()))? {
            Next::Done => return Ok(Turn::Done),
            // Another instance takes this one for dead: it sends the message again, and one of the two is posted.
            Next::Wait(_) | Next::Claim(_) if errand.sent.is_some() => return Ok(Turn::Done),
            Next::Wait(left) => {
                let first = !std::mem::replace(&mut errand.has_waited, true);
                let (pause, spread) = if first { (MARKED.min(left), MARKED) } else { (left, SPREAD) };
                return Ok(Turn::Again(pause + spread.mul_f64(fastrand::f64())));
            }
            Next::Claim(over) => match store.write(of(State::Claimed, &errand.mark), over.as_deref()).await? {
                Some(etag) => etag,
                None => return Ok(Turn::Again(AGAIN)),
            },
            Next::Send(etag) => etag,
        };
        let mark = self.send(errand).await?;
        // If another instance has replaced the claim, its state is at least as advanced.
        store.write(of(State::Sent, &mark), Some(&etag)).await?;
        Ok(Turn::Done)
    }

    /// Sends the message, unless it was sent already. Returns its mark.
    async fn send(&self, errand: &mut Errand) -> Result<String, Explanation> {
        if let Some((mark, _)) = &errand.sent {
            return Ok(mark.clone());
        }
        let Due { task, at } = errand.due;
        // After an error, an earlier message may have been sent all the same, so each message has a mark of its own.
        let mark = random();
        let message = {
            let timetable = self.timetable.borrow();
            let task = &timetable.entry(task).task;
            let group = Sha256::of(task.name.as_bytes()).short(16);
            let time = at.to_string().replace('T', " ").replace('Z', " UTC");
            let said = [
                ("beanstalk.sqsd.path", task.path.clone()),
                ("beanstalk.sqsd.task_name", task.name.clone()),
                ("beanstalk.sqsd.scheduled_time", time),
                (MARK, mark.clone()),
            ];
            let once = format!("{group}-{}", at.as_second());
            Sent { body: BODY, said: said.into(), fifo: self.name.is_fifo().then_some((group, once)) }
        };
        let id = self.queue.send(&message).await.map_err(|error| Explanation::of(&error))?;
        let late = Duration::try_from(self.now().duration_since(at)).unwrap_or_default();
        self.note(task, |status| {
            match late > LATE {
                true => log::warn!("task {}: {at} was missed, and is sent {} s late: message {id}", status.name, late.as_secs()),
                false => log::info!("task {}: {at} is sent: message {id}", status.name),
            }
            status.sent += 1;
            status.last_sent = Some(at.to_string());
        });
        errand.sent = Some((mark.clone(), self.host.clock.elapsed()));
        Ok(mark)
    }
}

fn random() -> String {
    format!("{:032x}", fastrand::u128(..))
}

pub(super) fn not_a_claim(name: &str) -> Explanation {
    let hint = format!("delete it with `aws s3 rm {name}` if nothing else needs it, or change `claims:`");
    Explanation::new(format!("{name} is not a claim of a due time"), Some(hint))
}
