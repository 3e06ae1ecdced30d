//! Checks whether a generation serves: its `web` answers, and all its processes stay up.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::container::Container;
use super::decide::Found;
use super::fields::{Application, Ready};
use super::generation::Placed;
use super::ground::Ground;
use super::procfile::WEB;
use super::proxy::{UNIT, elsewhere};
use super::slot::Slot;
use super::trouble::ApplicationError;
use crate::backoff::Backoff;
use crate::gather::Gather as _;
use crate::host::Unit;
use crate::net::Net;
use crate::step::fields::Excerpt;
use crate::step::{Context, Judgment, Look, Progress};
use crate::steps::health::{Health, Illness, health};
use crate::text::SecretText;

/// Maximum duration of one probe.
pub(super) const ONE_PROBE: Duration = Duration::from_secs(5);

/// How long `web` is probed with the short pause below: that pause is what a switch adds to the start time of the
/// process itself.
const EAGER_FOR: Duration = Duration::from_secs(1);
const EAGER: Duration = Duration::from_millis(10);

/// How often the units are checked while `web` is probed.
const STATE_EVERY: Duration = Duration::from_millis(250);

/// A process that restarts this often during the check will not come up by itself.
const RESTARTS: u32 = 3;

/// How often `web` is probed while it has to stay ready.
const STAYS_EVERY: Duration = Duration::from_millis(50);

/// How long the proxy may take to close a port that it no longer uses.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(5);

/// How long a generation is watched, at least, before the previous one is stopped. systemd waits one second before it
/// restarts a program that has ended.
const WATCHED: Duration = Duration::from_secs(2);

/// How long systemd may take to notice that a process has ended whose port is already closed.
const SEEN_WITHIN: Duration = Duration::from_millis(500);

/// How long a process may take to stop or restart at the end of the boot.
const SETTLES: Duration = Duration::from_secs(10);

/// How many of a process's last output lines are searched for those that an error shows.
const LINES: usize = 100;

/// Starts a process. A process that ends before systemd reports it as started is reported as ended, not as a failed
/// start.
pub(super) async fn launched(placed: &Placed, process: &str, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    if process == WEB {
        port_is_free(placed, cx).await?;
    }
    let Err(error) = ground.launch(placed, process, cx.time_left()).await else { return Ok(()) };
    is_hopeful(placed, &Restarts::new(), 1, ground, cx).await?;
    Err(ApplicationError::Host(error))
}

/// Fails if a foreign process listens on the port of a generation, because its answers would be taken for those of the
/// release. The proxy is given time: it may release the port only a moment after it has read its new configuration.
async fn port_is_free(placed: &Placed, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let (at, unit) = (SocketAddr::from((Ipv4Addr::LOCALHOST, placed.port)), placed.unit(WEB));
    let clock = &cx.host().clock;
    let begun = clock.elapsed();
    loop {
        let listeners = cx.host().sockets.listeners().await.map_err(ApplicationError::Host)?;
        let Some(by) = listeners.iter().find(|listener| listener.is_in_the_way_of(at) && !listener.is_of(&unit)) else {
            return Ok(());
        };
        // The socket of a process that is just ending can outlive the process in the listing.
        let may_go = by.is_of(UNIT) || by.holders.is_empty();
        if !may_go || clock.elapsed() - begun >= GIVEN_UP_WITHIN {
            return Err(ApplicationError::PortTaken { port: placed.port, by: by.to_string(), kept: None });
        }
        clock.sleep(STAYS_EVERY).await;
    }
}

/// Waits until `web` of a generation answers, and then for as long as it has to stay ready.
pub(super) async fn serves(ready: &Ready, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let clock = &cx.host().clock;
    let (begun, limit) = (clock.elapsed(), ready.timeout().min(cx.time_left()));
    let (mut pauses, mut looked) = (Backoff::PROBE.pauses(), begun);
    let before = restarts(placed, ground).await?;
    loop {
        let within = ONE_PROBE.min(limit.saturating_sub(clock.elapsed() - begun)).max(Backoff::PROBE.first);
        // The duration is rounded because messages print it.
        let within = Duration::from_millis(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let last = match probe(ready, placed, within, cx).await? {
            Ok(()) => return stays(ready, placed, ground, cx).await,
            Err(last) => cx.redact(&last),
        };
        cx.waiting(format!("for {placed} to be ready on port {} ({last})", placed.port));
        if clock.elapsed() - looked >= STATE_EVERY {
            looked = clock.elapsed();
            is_hopeful(placed, &before, RESTARTS, ground, cx).await?;
        }
        let waited = clock.elapsed() - begun;
        let pause = if waited < EAGER_FOR { pauses.next().min(EAGER) } else { pauses.next() };
        if waited + pause >= limit {
            let unit = placed.unit(WEB);
            let said = said(&unit, cx).await;
            let listeners = cx.host().sockets.listeners().await.map_err(ApplicationError::Host)?;
            if let Some(at) = elsewhere(placed.port, &unit, &listeners).first() {
                return Err(ApplicationError::Elsewhere { version: placed.to_string(), at: *at, port: placed.port, kept: None, said });
            }
            let last = match placed.container().and_then(Container::port) {
                Some(port) => format!("{last} (inside the container it must listen on port {port} of all addresses)"),
                None => last,
            };
            return Err(ApplicationError::NotReady { version: placed.to_string(), unit, waited, last, kept: None, said });
        }
        clock.sleep(pause).await;
    }
}

/// A release that answers once and then dies must not receive requests.
async fn stays(ready: &Ready, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let clock = &cx.host().clock;
    let begun = clock.elapsed();
    // Restarts before it was ready do not count.
    let before = restarts(placed, ground).await?;
    loop {
        is_hopeful(placed, &before, 1, ground, cx).await?;
        let waited = clock.elapsed() - begun;
        if waited >= ready.stays() {
            return Ok(());
        }
        clock.sleep(STAYS_EVERY.min(ready.stays() - waited)).await;
        still_answers(ready, placed, &before, begun, ground, cx).await?;
    }
}

/// Checks that all processes of a generation are up and stay up, and that `web` still answers.
pub(super) async fn settles(ready: &Ready, placed: &Placed, ground: &Ground<'_>, cx: &Context<'_>) -> Result<(), ApplicationError> {
    let clock = &cx.host().clock;
    let (begun, before) = (clock.elapsed(), restarts(placed, ground).await?);
    cx.waiting(format!("to see whether {placed} stays up"));
    while clock.elapsed() - begun < ready.stays().max(WATCHED) {
        clock.sleep(STATE_EVERY).await;
        is_hopeful(placed, &before, 1, ground, cx).await?;
    }
    still_answers(ready, placed, &before, begun, ground, cx).await
}

/// Probes a `web` again that was ready before.
async fn still_answers(
    ready: &Ready,
    placed: &Placed,
    before: &Restarts,
    begun: Duration,
    ground: &Ground<'_>,
    cx: &Context<'_>,
) -> Result<(), ApplicationError> {
    let Err(last) = probe(ready, placed, ONE_PROBE, cx).await? else { return Ok(()) };
    let clock = &cx.host().clock;
    let failed = clock.elapsed();
    while clock.elapsed() - failed < SEEN_WITHIN {
        is_hopeful(placed, before, 1, ground, cx).await?;
        clock.sleep(STAYS_EVERY).await;
    }
    let unit = placed.unit(WEB);
    let (said, last) = (said(&unit, cx).await, format!("it stopped being ready: {}", cx.redact(&last)));
    let waited = clock.elapsed() - begun;
    Err(ApplicationError::NotReady { version: placed.to_string(), unit, waited, last, kept: None, said })
}

/// How often systemd has restarted each process of a generation.
type Restarts = BTreeMap<String, u32>;

async fn restarts(placed: &Placed, ground: &Ground<'_>) -> Result<Restarts, ApplicationError> {
    let states = ground.states(placed).await.map_err(ApplicationError::Host)?;
    Ok(states.into_iter().map(|(process, unit)| (process, unit.restarts)).gather())
}

/// Judges a unit of the serving generation at the end of the boot. As with services, one restart may be intentional.
pub(super) async fn judge(
    found: &Unit,
    look: Look,
    ready: &Ready,
    ground: &Ground<'_>,
    cx: &Context<'_>,
) -> Result<Judgment, ApplicationError> {
    let known = &cx.world.known;
    let restarts = known.restarts_since(cx.address, &found.id, found.restarts);
    let has_time = !look.is_last && look.waited < SETTLES;
    match health(found) {
        Health::Sound if restarts == 0 => return Ok(Judgment::Sound),
        Health::Sound if !look.restarted && restarts < RESTARTS => {
            let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
            cx.progress(Progress::Warning(format!("{} ended after it had started, and systemd restarted it {times}", found.id)));
            known.set_restarts(cx.address, &found.id, found.restarts);
            if look.is_last {
                return Ok(Judgment::Sound);
            }
            // A restarted process does not necessarily serve again.
            if let Some((_, placed)) = ground.serving().filter(|(_, placed)| placed.unit(WEB) == found.id) {
                serves(ready, &placed, ground, cx).await?;
            }
            return Ok(Judgment::Restarted);
        }
        Health::Moving if look.is_last || has_time => return Ok(Judgment::Open),
        Health::Ill(Illness::Restarting) if restarts == 0 && !look.restarted && has_time => return Ok(Judgment::Open),
        Health::Sound | Health::Moving | Health::Ill(_) => {}
    }
    let Some((_, placed)) = ground.serving() else { return Err(ApplicationError::Lost) };
    let process = placed.processes().into_iter().find(|process| placed.unit(process) == found.id).unwrap_or(WEB).to_owned();
    let (said, what) = (said(&found.id, cx).await, ending(found));
    Err(ApplicationError::Ended { process, version: placed.to_string(), unit: found.id.clone(), what, kept: None, said })
}

impl Application {
    /// Whether `web` of the generation in a slot answers, if it is up and receives requests.
    pub(super) async fn answers(&self, slot: Slot, found: &Found, cx: &Context<'_>) -> Result<bool, ApplicationError> {
        let placed = found.slots[slot as usize].as_ref().filter(|_| found.is_led && found.current == Some(slot));
        match placed.filter(|(placed, _)| found.up.contains(&placed.unit(WEB))) {
            Some((placed, _)) => Ok(probe(&self.ready, placed, ONE_PROBE, cx).await?.is_ok()),
            None => Ok(true),
        }
    }
}

async fn probe(ready: &Ready, placed: &Placed, within: Duration, cx: &Context<'_>) -> Result<Result<(), String>, ApplicationError> {
    let render = |path| cx.render(path).map_err(|source| ApplicationError::Render { what: "ready.http".into(), source });
    let path = ready.http.as_ref().map(render).transpose()?;
    Ok(probed(path.as_ref().map(SecretText::expose), placed, within, cx.net()).await)
}

/// Probes `web` of a generation once: requests a path, or only connects.
pub(super) async fn probed(path: Option<&str>, placed: &Placed, within: Duration, net: &Net) -> Result<(), String> {
    let probes = &net.probes;
    let Some(path) = path else {
        return match placed.container().is_some() || placed.has_services() {
            true => probes.published(placed.port, within).await,
            false => probes.tcp(&format!("127.0.0.1:{}", placed.port), within).await,
        };
    };
    let answered = match &placed.generation.php {
        // Speaks FastCGI directly, because nginx may not be configured for this release yet.
        Some(root) => {
            let (at, root) = (SocketAddr::from((Ipv4Addr::LOCALHOST, placed.port)), placed.generation.release.join(root));
            probes.fastcgi(at, root.to_string_lossy().trim_end_matches('/'), path, within).await
        }
        None => probes.http(&format!("http://127.0.0.1:{}{path}", placed.port), within).await,
    };
    match answered {
        Ok(200..400) => Ok(()),
        Ok(status) => Err(format!("status {status}")),
        Err(why) => Err(why),
    }
}

/// Fails once a process has ended for good, or has restarted so often since `before` that it will not stay up.
async fn is_hopeful(
    placed: &Placed,
    before: &Restarts,
    allowed: u32,
    ground: &Ground<'_>,
    cx: &Context<'_>,
) -> Result<(), ApplicationError> {
    for (process, unit) in ground.states(placed).await.map_err(ApplicationError::Host)? {
        // Units of processes that have not been started yet are unknown to systemd.
        let is_unknown = unit.active == "inactive" && unit.load == "not-found";
        // The counter is reset to zero if someone restarts the unit manually.
        let restarts = unit.restarts.saturating_sub(before.get(&process).copied().unwrap_or(0));
        let is_ill = match health(&unit) {
            Health::Ill(Illness::Restarting) => restarts + 1 >= allowed,
            Health::Ill(Illness::Stopped) if unit.restarts == 0 && !unit.main.was_stopped() && process != WEB => false,
            Health::Ill(_) => true,
            Health::Sound | Health::Moving => restarts >= allowed,
        };
        if is_ill && !is_unknown {
            let name = placed.unit(&process);
            let (said, what) = (said(&name, cx).await, ending(&unit));
            return Err(ApplicationError::Ended { process, version: placed.to_string(), unit: name, what, kept: None, said });
        }
    }
    Ok(())
}

/// The text that follows the name of a process that does not stay up.
fn ending(unit: &Unit) -> String {
    let ended = if unit.main == Default::default() { "ended".to_owned() } else { unit.main.to_string() };
    match unit.restarts {
        0 => ended,
        1 => format!("{ended}, and was restarted"),
        times => format!("{ended}, and was restarted {times} times"),
    }
}

/// The last output lines of a unit.
async fn said(unit: &str, cx: &Context<'_>) -> Box<Excerpt> {
    let lines = cx.host().units.output(unit, LINES).await;
    Box::new(lines.iter().filter(|line| !is_frame(line)).map(|line| cx.redact(line)).collect())
}

/// A stack trace line of Java, Node.js or Ruby: dozens of them follow the one line that states the error.
fn is_frame(line: &str) -> bool {
    line.starts_with([' ', '\t']) && ["at ", "from /"].iter().any(|begin| line.trim_start().starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_stack_trace_are_known() {
        for (line, expected) in [
            ("\tat shop.Echo.init(Echo.java:22)", true),
            ("    at Object.<anonymous> (/opt/shop/server.js:9:32)", true),
            ("\tfrom /opt/shop/config.ru:1:in `require_relative'", true),
            ("Caused by: java.lang.IllegalStateException: no catalog", false),
            ("at noon the catalog was read", false),
            ("  attempts: 3", false),
        ] {
            assert_eq!(is_frame(line), expected, "{line}");
        }
    }
}
