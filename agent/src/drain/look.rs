//! Looks at IMDS for signs of the end.

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

/// How often IMDS is asked. Source: as AWS recommends for interruptions.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long IMDS may take to answer all that is asked at a time.
const LOOK_WITHIN: Duration = Duration::from_secs(4);

/// After how many looks there is nothing else that could wait for it to rest.
const SETTLED: u32 = 6;

/// After how many looks what was noted of them is given back.
const LOOKS: u32 = 360;

/// Completes once there is a sign. After one that it has `seen`, only a graver one is another.
pub(super) async fn look_out(settings: &Settings, ground: &Ground, seen: Option<Sign>) -> Sign {
    let mut found = None;
    let is_found = |signs: Signs| {
        found = signs.next(seen);
        found.is_some()
    };
    look_until(settings, ground, true, is_found).await;
    found.expect("it looks until it is found")
}

/// Looks as long as a drain lasts, and has it know what is new.
pub(super) async fn look_beside(settings: &Settings, ground: &Ground, outlook: &Outlook) {
    let clock = &ground.host.clock;
    let take = |signs: Signs| {
        for sign in outlook.take(signs, clock.now(), clock.elapsed()) {
            let left = Duration::from_secs(outlook.left(clock.elapsed()).as_secs());
            log::info!("{}: this drain continues, with {left:?} left", sign.sentence());
        }
        false
    };
    // A drain needs its code.
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
                // One that was told for good that there is no IMDS would not ask again.
                cloud = (trouble.is_none() && looks % LOOKS != 0).then_some(connected);
                trouble
            }
        };
        if let Some(why) = trouble {
            told.warn(format!("nothing is known of the end of this instance: {why}"));
        }
        match rests && looks > SETTLED {
            true => clock.rest(LOOK_EVERY).await,
            false => clock.sleep(LOOK_EVERY).await,
        }
    }
}

/// What fails to be read hides nothing that is read.
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
        judge(text).map_err(|why| odd.warn(format!("the instance metadata service has a notice that drains nothing: {why}"))).ok()
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
