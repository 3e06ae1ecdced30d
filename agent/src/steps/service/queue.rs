//! Finds what a unit waits for whose start systemd has only queued.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use super::words::state;
use crate::host::{HostError, Unit};
use crate::step::Context;

/// The delay before looking for what holds up a start, and between further looks.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Upper bound, larger than any chain of units that wait for each other.
const LONGEST: usize = 20;

/// Waits for a job, and meanwhile reports what holds it up. `doing` has the form `for x.service to start`.
pub(super) async fn told<T>(doing: &str, job: impl Future<Output = T>, cx: &Context<'_>) -> T {
    cx.waiting(doing);
    let mut job = pin!(job);
    loop {
        tokio::select! {
            biased;
            done = job.as_mut() => return done,
            () = cx.host().clock.sleep(ASK_EVERY) => {}
        }
        tokio::select! {
            biased;
            done = job.as_mut() => return done,
            blocker = blocker(cx) => match blocker {
                Ok(Some(blocker)) => cx.waiting(format!("{doing}, queued behind {}, which is {}", blocker.id, state(&blocker))),
                Ok(None) => cx.waiting(doing),
                Err(error) => log::debug!("{error}"),
            },
        }
    }
}

/// The unit whose job the job of the step's own unit waits for.
pub(super) async fn blocker(cx: &Context<'_>) -> Result<Option<Unit>, HostError> {
    let units = &cx.host().units;
    let Some(own) = units.show(&[cx.key().to_owned()]).await?.pop() else { return Ok(None) };
    let mut known = BTreeMap::new();
    loop {
        match look(&own, &known) {
            Seen::Blocker(unit) => return Ok(Some(unit.clone())),
            Seen::Nothing => return Ok(None),
            Seen::TooLittle(names) => {
                let shown = units.show(&names).await?;
                known.extend(names.into_iter().zip(shown));
            }
        }
    }
}

/// The conclusion from the units known so far.
#[derive(Debug, PartialEq, Eq)]
enum Seen<'u> {
    Blocker(&'u Unit),
    Nothing,
    TooLittle(Vec<String>),
}

fn look<'u>(own: &'u Unit, known: &'u BTreeMap<String, Unit>) -> Seen<'u> {
    let mut waiting = own;
    let mut passed = vec![own.id.as_str()];
    for _ in 0..LONGEST {
        // A running job waits for no other.
        if !waiting.job || is_moving(waiting) {
            break;
        }
        let unknown: Vec<String> = waiting.after.iter().filter(|name| !known.contains_key(*name)).cloned().collect();
        if !unknown.is_empty() {
            return Seen::TooLittle(unknown);
        }
        let busy: Vec<&Unit> = waiting.after.iter().filter_map(|name| known.get(name)).filter(|unit| unit.job).collect();
        let next = busy.iter().find(|unit| is_moving(unit)).or_else(|| busy.iter().find(|unit| !passed.contains(&unit.id.as_str())));
        match next {
            Some(next) => {
                passed.push(&next.id);
                waiting = next;
            }
            None => break,
        }
    }
    if waiting.id == own.id { Seen::Nothing } else { Seen::Blocker(waiting) }
}

fn is_moving(unit: &Unit) -> bool {
    matches!(unit.active.as_str(), "activating" | "deactivating" | "reloading")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(id: &str, active: &str, job: bool, after: &[&str]) -> Unit {
        let after = after.iter().map(|name| (*name).to_owned()).collect();
        Unit { id: id.into(), active: active.into(), job, after, ..Unit::default() }
    }

    #[test]
    fn follows_the_queue_to_the_unit_that_holds_it_up() {
        let known: BTreeMap<String, Unit> = [
            unit("done.service", "active", false, &[]),
            unit("b.service", "inactive", true, &["done.service", "c.service"]),
            unit("c.service", "activating", true, &["d.service"]),
            unit("e.service", "inactive", true, &["f.service"]),
            unit("f.service", "inactive", true, &["e.service"]),
        ]
        .map(|unit| (unit.id.clone(), unit))
        .into();
        let behind = |own: &Unit| match look(own, &known) {
            Seen::Blocker(unit) => unit.id.clone(),
            Seen::Nothing => "nothing".into(),
            Seen::TooLittle(names) => format!("{}?", names.join(" ")),
        };
        assert_eq!(behind(&unit("a.service", "inactive", true, &["done.service", "b.service"])), "c.service");
        assert_eq!(behind(&unit("a.service", "inactive", true, &["done.service"])), "nothing");
        assert_eq!(behind(&unit("a.service", "activating", true, &["c.service"])), "nothing", "it starts already");
        assert_eq!(behind(&unit("a.service", "inactive", true, &["x.service", "b.service"])), "x.service?");
        assert_eq!(behind(&unit("a.service", "inactive", true, &["e.service"])), "f.service", "a circle is left");
    }
}
