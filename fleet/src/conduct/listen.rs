//! Listens to the instances of a deployment and to their groups, while its stack is watched: what fails is told at once, and
//! kept, because much of it cannot be asked for any more once everything is as before.

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

/// How often instances are listened to, and groups, whose failures are not the release's. A failure is told within 5 seconds,
/// also where each of AWS's answers takes two: instances are asked again while an answer is still under way, so that what they
/// leave waits for no answer but its own.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_OF_GROUPS: Duration = Duration::from_secs(5);

/// So many questions are under way at once.
const AT_ONCE: usize = 10;

/// The longest pause between two questions while nobody may ask, or AWS is busy.
const LONGEST: Duration = Duration::from_secs(30);

/// Who knows what AWS and instances say besides the stack.
pub(crate) trait Witness {
    /// The failures that instances have left as evidence since a deployment began; `None` if that cannot be asked for.
    async fn evidence(&self, record: &Record) -> Option<Vec<Evidence>>;

    /// What Auto Scaling and target groups say of the groups: activities, refreshes, health.
    async fn groups(&self, record: &Record) -> Happened;

    /// What an instance has written to its console.
    async fn console(&self, instance: &str) -> Option<String>;
}

/// What was heard so far.
pub(super) type Heard = RefCell<Happened>;

/// Tells of what fails, for as long as somebody listens.
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
            // Whoever refuses is asked one question at a time.
            let may_ask = asked.len() < AT_ONCE && (pause == PAUSE || asked.is_empty());
            tokio::select! {
                biased;
                Some((of, found)) = asked.next() => {
                    (pause, next) = match found {
                        Some(_) => (PAUSE, next.min(Instant::now() + PAUSE)),
                        None => ((pause * 2).min(LONGEST), Instant::now() + (pause * 2).min(LONGEST)),
                    };
                    // An answer may be overtaken by that to a later question.
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
    // Beside it: it may take several answers of AWS.
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

/// Why a deployment has failed, by all that is known of it.
pub(super) async fn why<W: Witness>(witness: &W, record: &Record, events: Vec<Event>, heard: &Heard) -> Cause {
    let of = Deployment::of(record);
    let (evidence, groups) = tokio::join!(witness.evidence(record), witness.groups(record));
    let silent = {
        let mut heard = heard.borrow_mut();
        heard.take(groups);
        // What was heard before is worth more than nothing.
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
