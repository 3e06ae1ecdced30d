//! The watcher: looks for a sign that this machine is about to end, and drains it then.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use super::course::Stage;
use super::hook::Waiting;
use super::leave::Leaving;
use super::look::{look_beside, look_out};
use super::sign::{SPARED, Sign};
use super::told::Told;
use super::trouble::DrainError;
use crate::boot::Ground;
use crate::failure::Explanation;
use crate::host::lock::LockError;
use crate::host::{HostError, environment};
use crate::json::of_bytes;
use crate::step::fields::rounded;
use crate::steps::drain::settings::Settings;
use crate::steps::drain::{LEAVING, SETTINGS};

/// How long a boot may keep a drain waiting, which would undo each other's work.
const LOCKED_FOR: Duration = Duration::from_secs(60);

/// How long it may take to end once it was told to.
const ENDED_WITHIN: Duration = Duration::from_secs(15);

/// How often the lock is tried.
const LOCK_EVERY: Duration = Duration::from_millis(500);

/// How long it may take to find out whether the machine shuts down.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// What is only stopped after the machine is drained, beside units of the document. It is not in `After=` of the unit: a drain
/// would wait for them to start.
const STOPPED_LATER: [&str; 4] = ["docker.service", "containerd.service", "ingot-applications.service", "ingot-proxy.service"];

/// The unit whose start is waited for by systemd as long as a machine shuts down.
const SHUTDOWN: &str = "shutdown.target";

/// How long systemd may take to order units.
const ORDERED_WITHIN: Duration = Duration::from_secs(10);

/// Settings are a few kilobytes.
const LIMIT: u64 = 1 << 20;

/// What the boot has written.
///
/// # Errors
///
/// If there is none, or it cannot be read.
pub(crate) async fn settings(ground: &Ground) -> Result<Settings, DrainError> {
    let path = PathBuf::from(SETTINGS);
    let found = ground.host.files.read(&path, LIMIT).await.map_err(DrainError::Host)?;
    let Some(found) = found else { return Err(DrainError::NoSettings { path }) };
    of_bytes(&found).map_err(|error| DrainError::Settings { path, why: error.to_string() })
}

/// Drains this machine now, or goes on where a drain was cut off.
///
/// # Errors
///
/// If it does not come to its end, or is given up as `stop` completes: unless the machine shuts down, the proxy then tells again
/// that all is well.
pub(crate) async fn now(settings: &Settings, ground: &Ground, stop: impl Future<Output = ()>) -> Result<(), Explanation> {
    let mut held = Some(ground.lock.take().await.map_err(|error| Explanation::of(&DrainError::Lock(error)))?);
    let boot_id = boot_id(ground).await;
    tokio::select! {
        biased;
        over = drain((Sign::ByHand, Sign::ByHand), settings, ground, &boot_id, &mut held) => over.map(drop),
        () = stop => {
            // A machine that shuts down goes on to be drained.
            if !shuts_down(ground).await {
                ground.host.files.remove(Path::new(LEAVING)).await.map_err(|error| Explanation::of(&DrainError::Host(error)))?;
            }
            Err(Explanation::of(&DrainError::GivenUp))
        }
    }
}

/// The lock of a boot, while it is held.
type Held = Option<Box<dyn Any>>;

/// Watches until this machine is gone, or until `stop` completes and the machine does not shut down. Whenever it completes, this
/// was asked to stop.
///
/// # Errors
///
/// If a drain does not come to its end. Started again, it goes on from there.
pub(crate) async fn watch(settings: &Settings, ground: &Ground, mut stop: impl AsyncFnMut()) -> Result<(), Explanation> {
    let held = tokio::select! {
        biased;
        held = until_over(settings, ground, &mut stop) => held?,
        () = async { order(settings, ground).await; pending().await } => unreachable!("it goes on until it is dropped"),
    };
    if held.is_some() {
        log::info!("drained; no boot starts anything again until this machine ends");
        stop().await;
    }
    Ok(())
}

/// Watches until nothing is left to be done. With a lock that is to be held until the machine is gone.
pub(super) async fn until_over(settings: &Settings, ground: &Ground, stop: &mut impl AsyncFnMut()) -> Result<Held, Explanation> {
    let boot_id = boot_id(ground).await;
    let mut held = None;
    // A sign, and the one as which the drain began.
    let (mut next, mut seen) = match cut_off(&Leaving::new(settings, ground, &boot_id).await?) {
        CutOff::Over => {
            return Ok(tokio::select! { biased; () = stop() => None, held = lock(Sign::Terminated, ground) => held });
        }
        CutOff::Open(sign) => (Some((sign, sign)), None),
        CutOff::Seen(seen) => {
            if let Some(Sign::Interrupted(_)) = seen {
                held = ground.lock.take().await.ok();
            }
            (None, seen)
        }
    };
    loop {
        let (sign, origin) = match next.take() {
            Some(next) => next,
            None => {
                let sign = tokio::select! {
                    biased;
                    () = stop() => match shuts_down(ground).await {
                        true => Sign::Shutdown,
                        false => return Ok(None),
                    },
                    sign = look_out(settings, ground, seen) => sign,
                    () = let_go(&mut held, seen, ground) => unreachable!("it goes on until it is dropped"),
                };
                (sign, sign)
            }
        };
        let (is_over, gravest) = tokio::select! {
            biased;
            drained = drain((sign, origin), settings, ground, &boot_id, &mut held) => drained?,
            // It goes on from where it is, as what it is now.
            () = stop() => match shuts_down(ground).await {
                true => {
                    next = Some((Sign::Shutdown, origin));
                    continue;
                }
                false => return Ok(None),
            },
        };
        // A hook waits only after `Terminated`, whether IMDS has said so by now or not.
        if is_over && (sign == Sign::Shutdown || gravest == Sign::Terminated || settings.hook.is_some()) {
            // systemd waits for this process at a shutdown, and ends boots itself.
            return Ok(held.filter(|_| sign != Sign::Shutdown));
        }
        seen = Some(gravest);
        log::info!("drained; watching for Auto Scaling to terminate this instance");
    }
}

/// What an earlier process of this boot has left.
enum CutOff {
    /// Nothing is to be done any more on a machine that is being terminated.
    Over,
    /// It is to be gone on with.
    Open(Sign),
    /// Nothing is to be gone on with; after this sign, only a graver one is to be drained for.
    Seen(Option<Sign>),
}

fn cut_off(leaving: &Leaving<'_>) -> CutOff {
    let Some((sign, _)) = leaving.known() else { return CutOff::Seen(leaving.noticed()) };
    match leaving.left(sign).next() {
        // As above: its hook is completed.
        [] if sign == Sign::Terminated || (sign.lasts() && leaving.settings.hook.is_some()) => CutOff::Over,
        [] if sign.lasts() => CutOff::Seen(Some(sign)),
        [Stage::Hook] if !sign.is_last() => CutOff::Seen(Some(sign)),
        _ if sign.is_resumed() => CutOff::Open(sign),
        // One that is to be begun again is news again.
        _ => CutOff::Seen(leaving.noticed().filter(|noticed| *noticed != sign)),
    }
}

/// Drains this machine for a sign, as what began by another one or by the same. Whether nothing is left to be done, and the
/// gravest sign by then.
///
/// What may not wait for the lock does not: heartbeats, workers that are to take no more messages, and the health path.
async fn drain(
    (sign, origin): (Sign, Sign),
    settings: &Settings,
    ground: &Ground,
    boot_id: &str,
    held: &mut Held,
) -> Result<(bool, Sign), Explanation> {
    let leaving = Leaving::new(settings, ground, boot_id).await?;
    let (clock, cloud) = (&ground.host.clock, leaving.cloud.clone());
    let outlook = leaving.outlook(sign, origin);
    log::info!("{}: work in hand and requests get {:?}", sign.sentence(), rounded(outlook.left(clock.elapsed())));
    let waiting = settings.hook.as_ref().map(|hook| Waiting {
        hook,
        settings,
        cloud: &*cloud,
        clock: &**clock,
        outlook: &outlook,
        found: OnceCell::new(),
        seen: Cell::new(leaving.has_seen_hook()),
    });
    let asked = RefCell::new(leaving.asked());
    let walk = async {
        leaving.hide().await;
        if held.is_none() {
            *held = tokio::select! {
                biased;
                lock = lock(sign, ground) => lock,
                _ = leaving.workers(&outlook, &asked, false) => unreachable!("it goes on until it is dropped"),
            };
            // A drain by hand that was ended has taken that back.
            leaving.hide().await;
            leaving.read_again().await?;
        }
        leaving.run(&outlook, origin, waiting.as_ref(), &asked).await.map_err(|error| Explanation::of(&error))
    };
    let keep = async {
        if let Some(waiting) = &waiting {
            waiting.keep().await;
        }
        pending::<()>().await;
    };
    tokio::select! {
        biased;
        over = walk => Ok((over?, outlook.gravest())),
        () = keep => unreachable!("it goes on until it is dropped"),
        () = look_beside(settings, ground, &outlook) => unreachable!("it goes on until it is dropped"),
        () = tell_systemd(sign, ground) => unreachable!("it goes on until it is dropped"),
    }
}

/// Boots may start again what was stopped: at once after a drain that does not end the machine, and some time after that at which
/// EC2 was to take it.
async fn let_go(held: &mut Held, seen: Option<Sign>, ground: &Ground) {
    let clock = &ground.host.clock;
    if let (Some(Sign::Interrupted(at)), true) = (seen, held.is_some()) {
        clock.sleep(Duration::try_from(at.duration_since(clock.now()) + SPARED).unwrap_or_default()).await;
    }
    *held = None;
    pending::<()>().await;
}

/// Keeps boots from starting again what is stopped. One that goes on too long is ended: it does not keep the machine from its
/// end, and what it starts in the meantime would be no one's to stop.
async fn lock(sign: Sign, ground: &Ground) -> Held {
    let (clock, mut told) = (&ground.host.clock, Told::default());
    let (begun, mut ended) = (clock.elapsed(), None);
    loop {
        let error = match ground.lock.take().await {
            Ok(lock) => return Some(lock),
            Err(error) => error,
        };
        let waited = clock.elapsed() - begun;
        if sign == Sign::Shutdown || !matches!(error, LockError::Held { .. }) || waited > LOCKED_FOR + ENDED_WITHIN {
            log::warn!("draining all the same: {}", Explanation::of(&error));
            return None;
        }
        if let LockError::Held { pid: Some(pid) } = error
            && waited > LOCKED_FOR
            && ended.replace(pid) != Some(pid)
        {
            log::warn!("ending process {pid}, which has run for {LOCKED_FOR:?} on a machine that is shutting down");
            if let Err(error) = ground.lock.end(pid).await {
                log::warn!("process {pid} was not ended: {error}");
            }
        }
        told.waiting(&format!("the end of a boot: {error}"));
        clock.sleep(LOCK_EVERY).await;
    }
}

/// At a shutdown, has systemd wait. Its own `TimeoutStopSec=` is for one that hangs.
async fn tell_systemd(sign: Sign, ground: &Ground) {
    const EVERY: Duration = Duration::from_secs(10);
    loop {
        if sign == Sign::Shutdown {
            environment::stopping(3 * EVERY);
        }
        ground.host.clock.sleep(EVERY).await;
    }
}

/// Has systemd stop units only after this one: a target stands between the two, whose name says of which unit.
async fn order(settings: &Settings, ground: &Ground) {
    let units = settings.later().chain(STOPPED_LATER.map(str::to_owned));
    let starts = units.map(|unit| async move {
        let target = format!("ingot-after@{unit}.target");
        match ground.host.units.start(&target, ORDERED_WITHIN).await {
            // It waits for a unit that is starting.
            Ok(()) | Err(HostError::SystemctlTimeout { .. }) => {}
            Err(error) => {
                let why = Explanation::of(&error);
                log::warn!("it is not certain that a shutdown stops {unit} only after this machine is drained: {why}");
            }
        }
    });
    join_all(starts).await;
    ground.host.units.rest().await;
}

/// Whether this machine shuts down; if systemd does not say so, it does not.
async fn shuts_down(ground: &Ground) -> bool {
    let clock = &ground.host.clock;
    let begun = clock.elapsed();
    loop {
        let error = match ground.host.units.show(&[SHUTDOWN.to_owned()]).await {
            Ok(shown) => return shown.first().is_some_and(|unit| unit.job || unit.active == "active"),
            Err(error) => error,
        };
        if clock.elapsed() - begun > TOLD_WITHIN {
            log::warn!("cannot tell whether this machine shuts down: {}", Explanation::of(&error));
            return false;
        }
        clock.sleep(LOCK_EVERY).await;
    }
}

async fn boot_id(ground: &Ground) -> String {
    environment::boot_id(&*ground.outside).await.unwrap_or_default()
}
