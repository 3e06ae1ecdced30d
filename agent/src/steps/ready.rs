//! `ready:` of a service — the check that it serves.

use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::backoff::Backoff;
use crate::failure::Objection;
use crate::host::{Checked, End, HostError, Invocation, SEARCH_PATH, Unit};
use crate::net::probes;
use crate::step::Context;
use crate::step::fields::TimeLimit;
use crate::steps::health::{Health, Illness, has_an_end, health};
use crate::text::Text;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum duration of one probe: a service that accepts connections but does not answer is not ready.
const ONE_PROBE: Duration = Duration::from_secs(5);

/// How often the state of the unit is read while it is probed; each time runs systemctl.
const STATE_EVERY: Duration = Duration::from_millis(250);

/// A unit that restarts this often during the check will not come up by itself.
pub(crate) const RESTARTS: u32 = 3;

/// Without `ready:`, a unit whose type reports no readiness (Type=simple) is checked again after this time: a program
/// that cannot even read its configuration has exited by then.
const SETTLE: Duration = Duration::from_millis(100);

/// The check that the service serves: one of `http`, `tcp` and `exec`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Ready {
    probe: Probe,
    timeout: Duration,
}

#[derive(Debug, Clone)]
enum Probe {
    Http(Text),
    Tcp(Text),
    Exec(Vec<Text>),
}

/// How the service proves that it serves: one of `http`, `tcp` and `exec`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["http"]}, {"required": ["tcp"]}, {"required": ["exec"]}]))]
struct Fields {
    /// URL that must answer with a status of 200 to 399.
    #[schemars(extend("pattern" = r"^https?://|\{\{|\\"))]
    http: Option<Text>,
    /// `host:port` that must accept a connection.
    #[schemars(extend("pattern" = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):[0-9]{1,5}$|\{\{|\\"))]
    tcp: Option<Text>,
    /// Program that must exit with status 0.
    exec: Option<Vec<Text>>,
    /// Time limit for becoming ready. Default: 60s.
    timeout: Option<TimeLimit>,
}

impl JsonSchema for Ready {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ready".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Fields::json_schema(generator)
    }
}

impl TryFrom<Fields> for Ready {
    type Error = Objection;

    fn try_from(fields: Fields) -> Result<Self, Objection> {
        let probe = match (fields.http, fields.tcp, fields.exec) {
            (Some(url), None, None) if !url.is_plain() || probes::is_url(url.raw()) => Probe::Http(url),
            (Some(url), None, None) => {
                return Err(Objection::new(format!("`{url}` is not a URL"), "write the full URL, as in http://127.0.0.1:8080/health"));
            }
            (None, Some(address), None) => Probe::Tcp(checked(address)?),
            (None, None, Some(argv)) if argv.is_empty() => {
                return Err(Objection::new("`exec` names no program", "write [PROGRAM, ARGUMENT, …]"));
            }
            (None, None, Some(argv)) => Probe::Exec(argv),
            (None, None, None) => {
                return Err(Objection::new("`ready` names no probe", "add `tcp: \"127.0.0.1:8080\"`, with the port of the service"));
            }
            _ => return Err(Objection::new("`ready` is one of `http`, `tcp` and `exec`", "keep just one of the three")),
        };
        Ok(Self { probe, timeout: fields.timeout.map_or(DEFAULT_TIMEOUT, |limit| limit.0) })
    }
}

/// `HOST:PORT`, checked as far as it is known.
fn checked(address: Text) -> Result<Text, Objection> {
    let raw = address.raw();
    let (host, port) = raw.rsplit_once(':').unwrap_or(if raw.parse::<u32>().is_ok() { ("", raw) } else { (raw, "") });
    // What is wrong with a line break is said of all names.
    if !address.is_plain() || raw.contains(char::is_control) || probes::split(raw).is_some_and(|(host, port)| port > 0 && is_host(host)) {
        return Ok(address);
    }
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let (host, port) = (if is_host(host) { host } else { "127.0.0.1" }, if is_port { port } else { "80" });
    if raw.starts_with('/') {
        let path = raw.rsplit_once(':').map_or(raw, |(path, _)| path);
        let hint =
            format!("write `http: http://127.0.0.1:{port}{path}` in its place, or the host and port alone, as in \"127.0.0.1:{port}\"");
        return Err(Objection::new(format!("`{raw}` is not a host and a port"), hint));
    }
    Err(Objection::new(format!("`{raw}` is not a host and a port"), format!("write both, as in \"{host}:{port}\"")))
}

/// Whether this can be the name or the address of a host.
fn is_host(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok() || !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

impl Ready {
    /// A short description of the probe.
    pub(crate) fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        match &self.probe {
            Probe::Http(url) => shown(url),
            Probe::Tcp(address) => format!("tcp {}", shown(address)),
            Probe::Exec(argv) => argv.iter().map(shown).collect::<Vec<_>>().join(" "),
        }
    }

    /// The time limit for becoming ready.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn texts(&self) -> Vec<&Text> {
        match &self.probe {
            Probe::Http(text) | Probe::Tcp(text) => vec![text],
            Probe::Exec(argv) => argv.iter().collect(),
        }
    }

    /// The program of an `exec` probe.
    pub(crate) fn program(&self) -> Option<&Text> {
        match &self.probe {
            Probe::Exec(argv) => argv.first(),
            Probe::Http(_) | Probe::Tcp(_) => None,
        }
    }

    /// Probes once. The error is a sentence for the user.
    async fn probe(&self, within: Duration, cx: &Context<'_>) -> Result<(), String> {
        let render = |text: &Text| cx.render(text).map_err(|error| error.to_string());
        match &self.probe {
            Probe::Http(url) => match cx.net().probes.http(render(url)?.expose(), within).await? {
                200..400 => Ok(()),
                status => Err(format!("status {status}")),
            },
            Probe::Tcp(address) => cx.net().probes.tcp(render(address)?.expose(), within).await,
            Probe::Exec(argv) => {
                let invocation = Invocation {
                    argv: argv.iter().map(render).collect::<Result<_, _>>()?,
                    environment: vec![("PATH".into(), SEARCH_PATH.into()), ("LANG".into(), "C.UTF-8".into())],
                    directory: "/".into(),
                    user: None,
                    timeout: within,
                    lease: None,
                };
                let mut last = String::new();
                let mut on_line = |line: &str| last = cx.redact(line);
                match cx.host().commands.run(&invocation, &mut on_line).await {
                    Ok(End::Exited(0)) => Ok(()),
                    Ok(End::Exited(status)) if last.is_empty() => Err(format!("exit status {status}")),
                    Ok(End::Exited(status)) => Err(format!("exit status {status}, {last}")),
                    Ok(End::Signalled(signal)) => Err(format!("killed by signal {signal}")),
                    Ok(End::TimedOut) => Err("no response in time".into()),
                    Err(error) => Err(crate::failure::Explanation::of(&error.of_program(cx.shown(&argv[0]))).to_string()),
                }
            }
        }
    }
}

/// Why [`wait`] gave up.
pub(crate) enum NotReady {
    /// The unit failed, or keeps restarting.
    Failed(Box<Unit>),
    Late {
        probe: String,
        waited: Duration,
        last: String,
    },
    Host(HostError),
}

/// Checks a unit that has just been started and whose type reports no readiness.
pub(crate) async fn settle(cx: &Context<'_>) -> Result<(), NotReady> {
    let first = state(cx).await?;
    let quiet = matches!(first.service_type.as_str(), "simple" | "exec" | "idle");
    let settled = if quiet && !broken(&first, first.restarts, 1) {
        cx.host().clock.sleep(SETTLE).await;
        state(cx).await?
    } else {
        first.clone()
    };
    hopeful(settled, first.restarts, 1, cx).await.map(drop)
}

/// The unit, unless it will not come up by itself; its journal and the units that trigger it are taken into account.
async fn hopeful(mut unit: Unit, restarts_before: u32, allowed: u32, cx: &Context<'_>) -> Result<Unit, NotReady> {
    if was_skipped(&unit, cx).await {
        unit.condition = Checked::UNMET;
    }
    let is_well = !broken(&unit, restarts_before, allowed) || idles(&unit, cx).await.map_err(NotReady::Host)?;
    if is_well { Ok(unit) } else { Err(NotReady::Failed(Box::new(unit))) }
}

/// Whether a unit is down because it has nothing to do: its program succeeded, with 0 or with a status listed in
/// `SuccessExitStatus=`, and an active socket, path or timer will start it when needed.
pub(crate) async fn idles(unit: &Unit, cx: &Context<'_>) -> Result<bool, HostError> {
    let ended_well = match health(unit) {
        Health::Ill(Illness::Ended) => true,
        Health::Ill(Illness::Stopped) => unit.result == "success" && unit.main.has_failed() && !unit.remains,
        _ => false,
    };
    if !ended_well {
        return Ok(false);
    }
    let triggers = cx.host().units.show(&unit.triggered_by).await?;
    Ok(triggers.iter().any(|trigger| trigger.active == "active"))
}

/// Whether the journal says that a unit was skipped about which systemctl knows nothing any more, because it was
/// queried too late.
async fn was_skipped(unit: &Unit, cx: &Context<'_>) -> bool {
    let unknown = unit.active == "inactive" && has_an_end(unit) && unit.condition == Checked::default();
    unknown && cx.host().units.journal(cx.key(), 1).await.iter().any(|line| line.contains(" was skipped because "))
}

/// Waits until the service serves, or until it is certain that it will not.
pub(crate) async fn wait(ready: &Ready, cx: &Context<'_>) -> Result<(), NotReady> {
    let summary = ready.summary(&|text| cx.shown(text));
    let clock = &cx.host().clock;
    let begun = clock.elapsed();
    let limit = ready.timeout.min(cx.time_left());
    let (mut pauses, mut looked) = (Backoff::PROBE.pauses(), begun);
    let mut restarts_before = None;
    loop {
        let waited = clock.elapsed() - begun;
        let within = ONE_PROBE.min(limit.saturating_sub(waited)).max(Backoff::PROBE.first);
        let last = match ready.probe(within, cx).await {
            // The answer may not come from this unit, because another process may use its port.
            Ok(()) => match hopeful_now(cx).await? {
                unit if health(&unit) == Health::Ill(Illness::Restarting) => {
                    "something answers, but the unit is being restarted".to_owned()
                }
                _ => return Ok(()),
            },
            Err(last) => cx.redact(&last),
        };
        cx.waiting(format!("for {} to be ready by {summary} ({last})", cx.key()));
        if clock.elapsed() - looked >= STATE_EVERY {
            looked = clock.elapsed();
            let now = state(cx).await?;
            let before = *restarts_before.get_or_insert(now.restarts);
            hopeful(now, before, RESTARTS, cx).await?;
        }
        let (waited, pause) = (clock.elapsed() - begun, pauses.next());
        if waited + pause >= limit {
            return Err(NotReady::Late { probe: summary, waited, last });
        }
        clock.sleep(pause).await;
    }
}

async fn hopeful_now(cx: &Context<'_>) -> Result<Unit, NotReady> {
    let unit = state(cx).await?;
    let restarts = unit.restarts;
    hopeful(unit, restarts, RESTARTS, cx).await
}

/// Whether a unit will not come up by itself, or not stay up.
fn broken(unit: &Unit, restarts_before: u32, allowed: u32) -> bool {
    let restarts = unit.restarts.checked_sub(restarts_before).unwrap_or(unit.restarts);
    match health(unit) {
        Health::Ill(Illness::Restarting) => restarts >= allowed || allowed == 1,
        Health::Ill(_) => true,
        Health::Sound | Health::Moving => restarts >= allowed,
    }
}

/// The current state of the step's unit. The end of the boot compares with the state at the last call.
pub(crate) async fn look(cx: &Context<'_>) -> Result<Unit, HostError> {
    let units = cx.host().units.show(&[cx.key().to_owned()]).await?;
    let unit = units.into_iter().next().unwrap_or_default();
    cx.world.known.set_restarts(cx.address, cx.key(), unit.restarts);
    Ok(unit)
}

async fn state(cx: &Context<'_>) -> Result<Unit, NotReady> {
    look(cx).await.map_err(NotReady::Host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a probe that can never succeed was tried until the time limit of the service.
    #[test]
    fn what_can_never_be_probed_is_a_mistake() {
        let read = |fields: &str| serde_yaml::from_str::<Ready>(fields).map(|_| ()).map_err(|error| error.to_string());
        for fields in ["http: 'http://localhost:8080/x?y#z'", "http: '{{values.url}}'", "tcp: '[::1]:80'", "tcp: '{{values.at}}'"] {
            assert_eq!(read(fields), Ok(()), "{fields}");
        }
        // The probe accepts this form.
        assert_eq!(read("tcp: ':8080'"), Ok(()));
        for fields in ["http: '127.0.0.1:80'", "http: 'http://'", "http: 'http://x:99999/'", "http: 'http:/x'"] {
            assert!(read(fields).unwrap_err().contains("is not a URL"), "{fields}");
        }
        for fields in [
            "tcp: '80'",
            "tcp: 'localhost'",
            "tcp: '::1:80'",
            "tcp: ':0'",
            "tcp: 'a:99999'",
            "tcp: 'a b:80'",
            "tcp: '/health:80'",
            "tcp: 'a/b:80'",
        ] {
            assert!(read(fields).unwrap_err().contains("is not a host and a port"), "{fields}");
        }
    }
}
