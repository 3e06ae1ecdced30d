//! The watcher: looks for a sign that this machine is about to end, and then drains it.

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

/// How long a drain waits for a running boot. The two would undo each other's work.
const LOCKED_FOR: Duration = Duration::from_secs(60);

/// How long a boot may take to end after ingot has ended its process.
const ENDED_WITHIN: Duration = Duration::from_secs(15);

/// How often the lock is tried.
const LOCK_EVERY: Duration = Duration::from_millis(500);

/// How long systemd may take to say whether the machine shuts down.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// Units that must only be stopped after the machine is drained, in addition to units of the document. They are not
/// listed in `After=` of the watcher's unit, because the watcher would then wait for them to start.
const STOPPED_LATER: [&str; 4] = ["docker.service", "containerd.service", "ingot-applications.service", "ingot-proxy.service"];

/// The unit that has a start job for as long as the machine shuts down.
const SHUTDOWN: &str = "shutdown.target";

/// How long systemd may take to start the targets that order units.
const ORDERED_WITHIN: Duration = Duration::from_secs(10);

/// The largest settings that are read, in bytes. Actual ones are a few kilobytes.
const LIMIT: u64 = 1 << 20;

/// Reads the settings that the boot has written.
///
/// # Errors
///
/// If there are none, or they cannot be read.
pub(crate) async fn settings(ground: &Ground) -> Result<Settings, DrainError> {
    let path = PathBuf::from(SETTINGS);
    let found = ground.host.files.read(&path, LIMIT).await.map_err(DrainError::Host)?;
    let Some(found) = found else { return Err(DrainError::NoSettings { path }) };
    of_bytes(&found).map_err(|error| DrainError::Settings { path, why: error.to_string() })
}

/// Drains this machine now, or resumes an interrupted drain.
///
/// # Errors
///
/// If the drain fails, or is given up because `stop` completes. In the latter case, unless the machine shuts down, the
/// proxy reports a healthy instance again.
pub(crate) async fn now(settings: &Settings, ground: &Ground, stop: impl Future<Output = ()>) -> Result<(), Explanation> {
    let mut held = Some(ground.lock.take().await.map_err(|error| Explanation::of(&DrainError::Lock(error)))?);
    let boot_id = boot_id(ground).await;
    tokio::select! {
        biased;
        over = drain((Sign::ByHand, Sign::ByHand), settings, ground, &boot_id, &mut held) => over.map(drop),
        () = stop => {
            // If the machine shuts down, the drain is completed by the watcher.
            if !shuts_down(ground).await {
                ground.host.files.remove(Path::new(LEAVING)).await.map_err(|error| Explanation::of(&DrainError::Host(error)))?;
            }
            Err(Explanation::of(&DrainError::GivenUp))
        }
    }
}

/// The lock of a boot, while it is held.
type Held = Option<Box<dyn Any>>;

/// Watches until this machine is gone, or until `stop` completes and the machine does not shut down. `stop` completes
/// each time the watcher is asked to stop.
///
/// # Errors
///
/// If a drain fails. When restarted, the watcher resumes it.
pub(crate) async fn watch(settings: &Settings, ground: &Ground, mut stop: impl AsyncFnMut()) -> Result<(), Explanation> {
    let held = tokio::select! {
        biased;
        held = until_over(settings, ground, &mut stop) => held?,
        () = async { order(settings, ground).await; pending().await } => unreachable!("it goes on until it is dropped"),
    };
    if held.is_some() {
        log::info!("drained; no boot starts anything again until this machine stops");
        stop().await;
    }
    Ok(())
}

/// Watches until nothing is left to be done. Returns the lock if it must be held until the machine is gone.
pub(super) async fn until_over(settings: &Settings, ground: &Ground, stop: &mut impl AsyncFnMut()) -> Result<Held, Explanation> {
    let boot_id = boot_id(ground).await;
    let mut held = None;
    // The current sign, and the sign by which the drain began.
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
            // The drain continues from where it is, now because of the shutdown.
            () = stop() => match shuts_down(ground).await {
                true => {
                    next = Some((Sign::Shutdown, origin));
                    continue;
                }
                false => return Ok(None),
            },
        };
        // A hook waits only after `Terminated`, even if IMDS does not report that state yet.
        if is_over && (sign == Sign::Shutdown || gravest == Sign::Terminated || settings.hook.is_some()) {
            // At a shutdown, systemd waits for this process to end, and ends boots itself.
            return Ok(held.filter(|_| sign != Sign::Shutdown));
        }
        seen = Some(gravest);
        log::info!("drained; watching for Auto Scaling to terminate this instance");
    }
}

/// What an earlier process of this boot has left behind.
enum CutOff {
    /// Everything is done on a machine that is being terminated.
    Over,
    /// The drain for this sign is to be resumed.
    Open(Sign),
    /// No drain is to be resumed; after this sign, only a graver one starts a drain.
    Seen(Option<Sign>),
}

fn cut_off(leaving: &Leaving<'_>) -> CutOff {
    let Some((sign, _)) = leaving.known() else { return CutOff::Seen(leaving.noticed()) };
    match leaving.left(sign).next() {
        // As in `until_over`: the hook is completed.
        [] if sign == Sign::Terminated || (sign.lasts() && leaving.settings.hook.is_some()) => CutOff::Over,
        [] if sign.lasts() => CutOff::Seen(Some(sign)),
        [Stage::Hook] if !sign.is_last() => CutOff::Seen(Some(sign)),
        _ if sign.is_resumed() => CutOff::Open(sign),
        // The sign starts a new drain, so it must not count as seen.
        _ => CutOff::Seen(leaving.noticed().filter(|noticed| *noticed != sign)),
    }
}

/// Drains this machine for a sign, continuing a drain that began by `origin`. Returns whether nothing is left to be
/// done, and the gravest sign by then.
///
/// Heartbeats, asking workers to take no more messages, and the health path do not wait for the lock.
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
    log::info!("{}: work in progress and requests get {:?}", sign.sentence(), rounded(outlook.left(clock.elapsed())));
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
            // Repeated, because a manual drain that was ended has undone it.
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

/// Releases the lock, so that boots may start again what was stopped: at once after a drain that does not end the
/// machine, and some time after an interruption was due.
async fn let_go(held: &mut Held, seen: Option<Sign>, ground: &Ground) {
    let clock = &ground.host.clock;
    if let (Some(Sign::Interrupted(at)), true) = (seen, held.is_some()) {
        clock.sleep(Duration::try_from(at.duration_since(clock.now()) + SPARED).unwrap_or_default()).await;
    }
    *held = None;
    pending::<()>().await;
}

/// Takes the lock, which keeps boots from restarting what is stopped. A boot that takes too long is ended: it must not
/// delay the end of the machine, and nothing would stop what it starts in the meantime.
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
            log::warn!("draining anyway: {}", Explanation::of(&error));
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

/// At a shutdown, makes systemd wait. The unit's own `TimeoutStopSec=` only applies if the watcher hangs.
async fn tell_systemd(sign: Sign, ground: &Ground) {
    const EVERY: Duration = Duration::from_secs(10);
    loop {
        if sign == Sign::Shutdown {
            environment::stopping(3 * EVERY);
        }
        ground.host.clock.sleep(EVERY).await;
    }
}

/// Makes systemd stop units only after this one, by a target ordered between the two and named after the unit.
async fn order(settings: &Settings, ground: &Ground) {
    let units = settings.later().chain(STOPPED_LATER.map(str::to_owned));
    let starts = units.map(|unit| async move {
        let target = format!("ingot-after@{unit}.target");
        match ground.host.units.start(&target, ORDERED_WITHIN).await {
            // The start times out if the target waits for a unit that is starting.
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

/// Whether this machine is shutting down. If systemd does not answer, the result is false.
async fn shuts_down(ground: &Ground) -> bool {
    let clock = &ground.host.clock;
    let begun = clock.elapsed();
    loop {
        let error = match ground.host.units.show(&[SHUTDOWN.to_owned()]).await {
            Ok(shown) => return shown.first().is_some_and(|unit| unit.job || unit.active == "active"),
            Err(error) => error,
        };
        if clock.elapsed() - begun > TOLD_WITHIN {
            log::warn!("cannot tell whether this machine is shutting down: {}", Explanation::of(&error));
            return false;
        }
        clock.sleep(LOCK_EVERY).await;
    }
}

async fn boot_id(ground: &Ground) -> String {
    environment::boot_id(&*ground.outside).await.unwrap_or_default()
}
