//! Reads the signs of the end from IMDS.

use std::time::Duration;

use futures_util::future::join;

use super::outlook::{Outlook, Signs};
use super::sign::Sign;
use super::told::Told;
use crate::aws::{ImdsError, Metadata, Notice};
use crate::boot::Ground;
use crate::failure::Explanation;
use crate::host::Clock;
use crate::steps::drain::settings::Settings;

/// How often IMDS is read. Source: the interval that AWS recommends for interruption notices.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long IMDS may take to answer one item.
const LOOK_WITHIN: Duration = Duration::from_secs(4);

/// The number of looks after which the watcher may rest. A rest suspends everything else in
/// this process, which has nothing else to do by then.
const SETTLED: u32 = 6;

/// The number of looks after which the connection is dropped, with the exchanges it has recorded.
const LOOKS: u32 = 360;

/// Completes when there is a sign. After the sign `seen`, only a graver one counts.
pub(super) async fn look_out(settings: &Settings, ground: &Ground, seen: Option<Sign>) -> Sign {
    let mut found = None;
    let is_found = |signs: Signs| {
        found = signs.next(seen);
        found.is_some()
    };
    look_until(settings, ground, true, is_found).await;
    found.expect("it looks until it is found")
}

/// Looks for signs for as long as a drain lasts, and passes new ones to it.
pub(super) async fn look_beside(settings: &Settings, ground: &Ground, outlook: &Outlook) {
    let clock = &ground.host.clock;
    let take = |signs: Signs| {
        for sign in outlook.take(signs, clock.now(), clock.elapsed()) {
            let left = Duration::from_secs(outlook.left(clock.elapsed()).as_secs());
            log::info!("{}: this drain continues, with {left:?} left", sign.sentence());
        }
        false
    };
    // No rest in this case, because a drain needs its code in memory.
    look_until(settings, ground, false, take).await;
}

async fn look_until(settings: &Settings, ground: &Ground, rests: bool, mut enough: impl FnMut(Signs) -> bool) {
    let (clock, mut cloud) = (&ground.host.clock, None);
    let (mut told, mut odd) = (Told::default(), Told::default());
    for looks in 1u32.. {
        let connected = match cloud.take() {
            Some(cloud) => Ok(cloud),
            None => ground.cloud.connect().await.map_err(|error| error.to_string()),
        };
        let trouble = match connected {
            Err(why) => Some(why),
            Ok(connected) => {
                let (signs, trouble) = look(settings, connected.metadata(), &**clock, &mut odd).await;
                if trouble.is_none() && told.forget() {
                    log::info!("the instance metadata service answers again");
                }
                if enough(signs) {
                    return;
                }
                // A connection that was told IMDS is disabled would not ask again, so it is not reused.
                cloud = (trouble.is_none() && looks % LOOKS != 0).then_some(connected);
                trouble
            }
        };
        if let Some(why) = trouble {
            told.warn(format!("cannot tell whether this instance is about to end: {why}"));
        }
        match rests && looks > SETTLED {
            true => clock.rest(LOOK_EVERY).await,
            false => clock.sleep(LOOK_EVERY).await,
        }
    }
}

/// Reads every sign. An item that cannot be read does not hide the others.
async fn look(settings: &Settings, metadata: &dyn Metadata, clock: &dyn Clock, odd: &mut Told) -> (Signs, Option<String>) {
    let state = read(metadata.target_lifecycle_state(), clock);
    let notices = async {
        let interruption = if settings.spot { read(metadata.notice(Notice::Interruption), clock).await } else { Ok(None) };
        let rebalance = if settings.rebalance { read(metadata.notice(Notice::Rebalance), clock).await } else { Ok(None) };
        (interruption, rebalance)
    };
    let (state, (interruption, rebalance)) = join(state, notices).await;
    let mut judged = |notice: &Result<Option<String>, String>, judge: &dyn Fn(&str) -> Result<Sign, String>| {
        let text = notice.as_ref().ok()?.as_deref()?;
        judge(text).map_err(|why| odd.warn(format!("the instance metadata service has a notice that is ignored: {why}"))).ok()
    };
    let now = clock.now();
    let signs = Signs {
        interrupted: judged(&interruption, &|text| Sign::of_interruption(text, now)),
        rebalance: judged(&rebalance, &Sign::of_recommendation),
        terminated: state.as_ref().is_ok_and(|state| state.as_deref().and_then(Sign::of_target_state).is_some()),
    };
    (signs, state.err().or(interruption.err()).or(rebalance.err()))
}

async fn read(item: impl Future<Output = Result<Option<String>, ImdsError>>, clock: &dyn Clock) -> Result<Option<String>, String> {
    tokio::select! {
        biased;
        read = item => read.map_err(|error| Explanation::of(&error).to_string()),
        () = clock.sleep(LOOK_WITHIN) => Err(format!("the instance metadata service did not answer within {LOOK_WITHIN:?}")),
    }
}
