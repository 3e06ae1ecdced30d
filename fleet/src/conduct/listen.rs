//! Listens to the instances of a deployment and to their groups, while its stack is watched: what fails is told at once, and
//! kept, because much of it cannot be asked for any more once everything is as before.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

use super::tell::Tell;
use crate::deployment::record::Record;
use crate::story::{Cause, Console, Deployment, Event, Evidence, Happened, cause_of_failure, left_nothing, line_of, news};

/// How often instances are listened to. A failure is told within 5 seconds, and looking takes up to 4 where AWS is slow.
const PAUSE: Duration = Duration::from_secs(1);

/// Groups are looked at less often: their failures are not the release's.
const OF_GROUPS: u32 = 5;

/// Who knows what AWS and instances say besides the stack.
pub(crate) trait Witness {
    /// The failures that instances have left as evidence since a deployment began.
    async fn evidence(&self, record: &Record) -> Vec<Evidence>;

    /// What Auto Scaling and target groups say of the groups: activities, refreshes, health.
    async fn groups(&self, record: &Record) -> Happened;

    /// What an instance has written to its console.
    async fn console(&self, instance: &str) -> Option<String>;
}

/// What was heard so far.
pub(super) type Heard = RefCell<Happened>;

/// Tells of what fails, for as long as somebody listens.
pub(super) async fn listen<W: Witness, T: Tell>(witness: &W, tell: &T, record: &Record, heard: &Heard) -> Infallible {
    let of = Deployment::of(record);
    let mut told = BTreeSet::new();
    for round in 0u32.. {
        // Both at once: the one must not wait for the other.
        let groups = async {
            match round % OF_GROUPS {
                0 => witness.groups(record).await,
                _ => Happened::default(),
            }
        };
        let (evidence, groups) = tokio::join!(witness.evidence(record), groups);
        let news = {
            let mut heard = heard.borrow_mut();
            heard.take(groups);
            heard.evidence = evidence;
            news(&heard, &of)
        };
        for sentence in news {
            if told.insert(sentence.clone()) {
                tell.news(&sentence);
            }
        }
        sleep(PAUSE).await;
    }
    std::future::pending().await
}

/// Why a deployment has failed, by all that is known of it.
pub(super) async fn why<W: Witness>(witness: &W, record: &Record, events: Vec<Event>, heard: &Heard) -> Cause {
    let of = Deployment::of(record);
    let (evidence, groups) = tokio::join!(witness.evidence(record), witness.groups(record));
    let silent = {
        let mut heard = heard.borrow_mut();
        heard.take(groups);
        heard.evidence = evidence;
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
