//! Listens to the instances of a deployment and to their groups while its stack is watched. Failures are reported at
//! once and kept, since much of it is no longer available after the rollback.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};

use super::tell::Tell;
use crate::deployment::record::Record;
use crate::story::{Cause, Console, Deployment, Event, Evidence, Happened, cause_of_failure, left_nothing, line_of, news};

/// Polling intervals of instances and of groups, whose failures are rarely the release's fault. A failure is reported
/// within 5 seconds even if each of AWS's answers takes two: the next query starts while an answer is still pending, so
/// new evidence waits for no answer but its own.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_OF_GROUPS: Duration = Duration::from_secs(5);

/// Maximum number of pending queries.
const AT_ONCE: usize = 10;

/// Longest pause between two queries while AWS denies or throttles them.
const LONGEST: Duration = Duration::from_secs(30);

/// Sources of information besides the stack.
pub(crate) trait Witness {
    /// Returns the failures that instances have left as evidence since a deployment began, or `None` if it cannot be
    /// read.
    async fn evidence(&self, record: &Record) -> Option<Vec<Evidence>>;

    /// Returns what Auto Scaling and target groups report: activities, refreshes, health.
    async fn groups(&self, record: &Record) -> Happened;

    /// Returns the console output of an instance.
    async fn console(&self, instance: &str) -> Option<String>;
}

/// Information collected so far.
pub(super) type Heard = RefCell<Happened>;

/// Reports failures until it is dropped.
pub(super) async fn listen<W: Witness, T: Tell>(witness: &W, tell: &T, record: &Record, heard: &Heard) -> Infallible {
    let (of, told) = (Deployment::of(record), RefCell::new(BTreeSet::new()));
    let tell_news = || {
        let news = news(&heard.borrow(), &of);
        news.into_iter().filter(|sentence| told.borrow_mut().insert(sentence.clone())).for_each(|sentence| tell.news(&sentence));
    };
    let to_instances = async {
        let (mut asked, mut number, mut newest) = (FuturesUnordered::new(), 0_u64, 0);
        let (mut pause, mut next) = (PAUSE, Instant::now());
        loop {
            // After a failed query, send one at a time.
            let may_ask = asked.len() < AT_ONCE && (pause == PAUSE || asked.is_empty());
            tokio::select! {
                biased;
                Some((of, found)) = asked.next() => {
                    (pause, next) = match found {
                        Some(_) => (PAUSE, next.min(Instant::now() + PAUSE)),
                        None => ((pause * 2).min(LONGEST), Instant::now() + (pause * 2).min(LONGEST)),
                    };
                    // Answers may arrive out of order.
                    if let Some(found) = found.filter(|_| of > newest) {
                        heard.borrow_mut().evidence = found;
                        newest = of;
                    }
                    tell_news();
                }
                () = sleep_until(next), if may_ask => {
                    number += 1;
                    let of = number;
                    asked.push(async move { (of, witness.evidence(record).await) });
                    next = Instant::now() + pause;
                }
            }
        }
    };
    // In parallel, since it may need several answers of AWS.
    let to_groups = async {
        loop {
            let found = witness.groups(record).await;
            heard.borrow_mut().take(found);
            tell_news();
            sleep(PAUSE_OF_GROUPS).await;
        }
    };
    tokio::select! {
        never = to_instances => never,
        never = to_groups => never,
    }
}

/// Determines why a deployment failed, from everything known about it.
pub(super) async fn why<W: Witness>(witness: &W, record: &Record, events: Vec<Event>, heard: &Heard) -> Cause {
    let of = Deployment::of(record);
    let (evidence, groups) = tokio::join!(witness.evidence(record), witness.groups(record));
    let silent = {
        let mut heard = heard.borrow_mut();
        heard.take(groups);
        // If evidence cannot be read now, what was heard before still counts.
        heard.evidence = evidence.unwrap_or_else(|| std::mem::take(&mut heard.evidence));
        heard.events = events;
        left_nothing(&heard, &of).map(str::to_owned)
    };
    if let Some(instance) = silent
        && let Some(line) = witness.console(&instance).await.as_deref().and_then(line_of)
    {
        heard.borrow_mut().consoles.push(Console { instance, line });
    }
    cause_of_failure(&heard.borrow(), &of)
}
