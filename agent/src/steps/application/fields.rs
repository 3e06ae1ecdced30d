//! The fields of an application, and their validation before anything is contacted.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use schemars::JsonSchema;
use serde::Deserialize;

use super::platforms::PORT;
use super::procfile::{LONGEST_NAME, WEB};
use super::proxy::{Proxy, name_objection};
use super::slot::Slot;
use crate::address::Address;
use crate::failure::Objection;
use crate::sorting::Sort as _;
use crate::step::fields::TimeLimit;
use crate::text::{Text, shown_on_a_line};

/// The default user of applications that are compatible with Elastic Beanstalk.
pub(super) const USER: &str = "webapp";

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_GRACE: Duration = Duration::from_secs(30);

/// How long an application is down before its instance is replaced. Below: the minimum, since the watch checks every 30
/// s.
const STAYS_DOWN: Duration = Duration::from_secs(300);
const STAYS_DOWN_AT_LEAST: Duration = Duration::from_secs(60);

/// Ports of overlapping applications must be below this: their two slots use the port plus 10,000 and plus 20,000.
const PORTS_OF_OVERLAP: u16 = 10_000;

/// A release that runs: its processes, kept running, and replaced by those of the next release.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Application {
    /// Bundle whose release runs: `bundles.NAME`. Either this or `image`.
    pub(super) bundle: Option<Address>,
    /// Container image to run, in place of a bundle: `REGISTRY/REPOSITORY:TAG` or `REGISTRY/REPOSITORY@sha256:DIGEST`.
    pub(super) image: Option<Text>,
    /// Processes by name, each a line for `/bin/sh`; of an image, words that replace its CMD. `web` serves requests on
    /// `$PORT`. Default: the release's Procfile, or the image's CMD.
    #[serde(default)]
    pub(super) run: BTreeMap<String, Text>,
    /// User that runs the processes: a name or ID. Default: the owner of the release, or the image's own; `webapp` with
    /// `compatible_with`.
    pub(super) user: Option<String>,
    /// Environment variables of every process, in addition to PORT, PATH, HOME, USER, LOGNAME and SHELL.
    #[serde(default)]
    pub(super) environment: BTreeMap<String, Text>,
    /// Port at which this machine reaches the application. Below 10000 with `overlap`. Default: that of the release's
    /// platform, or 5000.
    #[schemars(range(min = 1))]
    pub(super) port: Option<u16>,
    /// nginx in front of the application, or `none`. Default: it listens on port 80.
    #[serde(default)]
    pub(super) proxy: Proxy,
    /// How `web` proves that it serves. Default: it accepts connections on `$PORT` within 60s.
    #[serde(default)]
    pub(super) ready: Ready,
    /// How processes are stopped. Default: SIGTERM, and SIGKILL after 30s.
    #[serde(default)]
    pub(super) stop: Stop,
    /// Whether the new release runs alongside the old one until it has proved itself. `true` means `web`; a list names
    /// the processes that do. `false` stops the old release first. Default: true.
    #[serde(default)]
    pub(super) overlap: Overlap,
    /// Programs that build the release in its own directory, each with its arguments, before it counts. Default: the
    /// release's Buildfile.
    #[serde(default)]
    pub(super) build: Vec<Vec<String>>,
    /// Whether the release's `.platform/hooks`, `.platform/confighooks`, `.ebextensions` run, as root. Default: true.
    #[serde(default = "yes")]
    pub(super) hooks: bool,
    /// Whether processes can reach the instance metadata service, and with it the credentials of the instance.
    /// Default: true.
    #[serde(default = "yes")]
    pub(super) aws: bool,
    /// `beanstalk` provides the paths, the user and `get-config` that an application written for Elastic Beanstalk
    /// expects, and reads its `.platform/nginx`. One application of a document may have it. Default: none of these.
    pub(super) compatible_with: Option<Compatible>,
    /// Limits of each process.
    #[serde(default)]
    pub(super) resources: Resources,
    /// Whether Auto Scaling is asked to replace the instance when `web` stays down. `true` means after 5m; a duration
    /// sets another time. Default: false.
    #[serde(default)]
    pub(super) set_instance_health: SetInstanceHealth,
}

/// Time after which Auto Scaling is asked to replace the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum SetInstanceHealth {
    Usual(bool),
    After(TimeLimit),
}

/// What an application is compatible with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Compatible {
    Beanstalk,
}

/// How `web` proves that it serves.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ready {
    /// Path that must answer with a status of 200 to 399, such as `/health`. Default: a connection is enough.
    #[schemars(extend("pattern" = "^/"))]
    pub(super) http: Option<Text>,
    /// Time limit for becoming ready. Default: 60s.
    pub(super) timeout: Option<TimeLimit>,
    /// How long it has to stay ready before it gets requests. Default: 50ms.
    #[serde(rename = "for")]
    pub(super) stays: Option<TimeLimit>,
}

/// How processes are stopped.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Stop {
    /// Signal that asks a process to end, such as `SIGTERM` or `SIGQUIT`. Default: SIGTERM.
    #[schemars(extend("pattern" = "^SIG[A-Z0-9+]+$"))]
    pub(super) signal: Option<String>,
    /// How long a process may take to end before it is killed. Default: 30s.
    pub(super) grace: Option<TimeLimit>,
}

/// Which processes of two releases may run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Overlap {
    Web(bool),
    Of(Vec<String>),
}

impl Default for SetInstanceHealth {
    fn default() -> Self {
        Self::Usual(false)
    }
}

impl SetInstanceHealth {
    /// `None` if Auto Scaling is not asked.
    pub(super) fn after(self) -> Option<Duration> {
        match self {
            Self::Usual(asks) => asks.then_some(STAYS_DOWN),
            Self::After(limit) => Some(limit.0),
        }
    }
}

impl Default for Overlap {
    fn default() -> Self {
        Self::Web(true)
    }
}

/// Limits of each process, as systemd.resource-control(5) writes them.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Resources {
    /// Memory, such as `512M` or `40%`: more is ended by the kernel.
    pub(super) memory: Option<String>,
    /// Processor time in percent of one core, such as `150%`.
    pub(super) cpu: Option<String>,
    /// Number of threads and child processes.
    pub(super) tasks: Option<u32>,
    /// Number of open files. Default: 65536, or that of the container engine.
    pub(super) files: Option<u32>,
}

fn yes() -> bool {
    true
}

impl Ready {
    pub(super) fn timeout(&self) -> Duration {
        self.timeout.map_or(READY_TIMEOUT, |limit| limit.0)
    }

    pub(super) fn stays(&self) -> Duration {
        self.stays.map_or(Duration::from_millis(50), |limit| limit.0)
    }
}

impl Stop {
    pub(super) fn signal(&self) -> &str {
        self.signal.as_deref().unwrap_or("SIGTERM")
    }

    pub(super) fn grace(&self) -> Duration {
        self.grace.map_or(STOP_GRACE, |limit| limit.0)
    }
}

impl Overlap {
    /// Whether this process of the new release starts before the old one has stopped.
    pub(super) fn covers(&self, process: &str) -> bool {
        match self {
            Self::Web(web) => *web && process == WEB,
            Self::Of(names) => names.iter().any(|name| name == process),
        }
    }
}

impl Resources {
    /// The limits as unit properties.
    pub(super) fn properties(&self) -> Vec<String> {
        let mut properties = vec![format!("LimitNOFILE={}", self.files.unwrap_or(65_536))];
        properties.extend(self.memory.iter().map(|memory| format!("MemoryMax={memory}")));
        properties.extend(self.cpu.iter().map(|cpu| format!("CPUQuota={cpu}")));
        properties.extend(self.tasks.iter().map(|tasks| format!("TasksMax={tasks}")));
        properties
    }
}

impl Application {
    /// What is wrong with the fields, taken by themselves.
    pub(super) fn wrong(&self, key: &str) -> Vec<Objection> {
        let mut found: Vec<Objection> = Vec::new();
        if !is_name(key) || key.len() > LONGEST_NAME {
            let message = format!("`{}` is not the name of an application", shown_on_a_line(key));
            found.push(Objection::new(message, "use up to 64 letters, digits, hyphens and underscores"));
        }
        found.extend(self.wrong_release());
        found.extend(self.wrong_processes());
        found.extend(self.environment.keys().filter_map(|name| variable(name)));
        found.extend(self.wrong_ports());
        found.extend(self.proxy.objections(self.port()));
        found.extend(name_objection(key).filter(|_| is_name(key)));
        if let Some(path) = self.ready.http.as_ref().filter(|path| path.is_plain() && !path.raw().starts_with('/')) {
            let message = format!("`{}` is not a path to probe", shown_on_a_line(path.raw()));
            found.push(Objection::new(message, "write the path alone, as in `http: /health`: the port is that of the new release"));
        }
        found.extend(self.stop.signal.as_ref().filter(|name| !is_signal(name)).map(|name| {
            Objection::new(format!("`{}` is not a signal", shown_on_a_line(name)), "write its name, such as SIGTERM, SIGQUIT or SIGUSR2")
        }));
        found.extend(self.resources.wrong());
        if self.set_instance_health.after().is_some_and(|after| after < STAYS_DOWN_AT_LEAST) {
            let message = format!("`set_instance_health` is shorter than {STAYS_DOWN_AT_LEAST:?}, and a restart may take as long");
            found.push(Objection::new(message, "write `true`, which is 5m, or a duration of at least 1m"));
        }
        found
    }

    /// The user of its processes, as far as the document determines it; `None` means the owner of the release.
    pub(super) fn runs_as(&self) -> Option<&str> {
        self.user.as_deref().or(self.is_for_beanstalk().then_some(USER))
    }

    /// The port before the release is known.
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or(PORT)
    }

    /// All ports of this machine on which it listens, without duplicates.
    pub(super) fn ports(&self) -> Vec<u16> {
        let own = Slot::BOTH.map(|slot| slot.port(self.port(), self.overlap().covers(WEB)));
        let mut ports: Vec<u16> = self.proxy.ports().into_iter().chain([self.port()]).chain(own).collect();
        ports.order();
        ports.dedup();
        ports
    }

    /// The processes that overlap. Without a proxy, requests cannot be switched from one release to the next.
    pub(super) fn overlap(&self) -> &Overlap {
        if matches!(self.proxy, Proxy::None) { &Overlap::Web(false) } else { &self.overlap }
    }

    fn wrong_ports(&self) -> Option<Objection> {
        let overlaps = self.overlap().covers(WEB);
        if self.port() == 0 || (overlaps && self.port() >= PORTS_OF_OVERLAP) {
            let message = format!("`port` is {}, and an application that overlaps needs one from 1 to 9999", self.port());
            return Some(Objection::new(message, "choose a lower port, or set `overlap: false`"));
        }
        (matches!(self.overlap, Overlap::Of(_)) && matches!(self.proxy, Proxy::None)).then(|| {
            Objection::new(
                "`overlap` needs the proxy, which switches requests from one release to the next",
                "remove `proxy: none`, or set `overlap: false`",
            )
        })
    }

    fn wrong_processes(&self) -> Vec<Objection> {
        let mut found: Vec<Objection> = Vec::new();
        for (name, command) in &self.run {
            if !is_name(name) || name.len() > LONGEST_NAME {
                let message = format!("`{}` is not the name of a process", shown_on_a_line(name));
                found.push(Objection::new(message, "use letters, digits, hyphens and underscores, as in a Procfile"));
            }
            if command.raw().trim().is_empty() || command.raw().contains(['\n', '\0']) {
                let message = format!("the command of `{}` is not one line", shown_on_a_line(name));
                found.push(Objection::new(message, "write one line for a shell, or call a script of the release"));
            }
        }
        if !self.run.is_empty() && !self.run.contains_key(WEB) {
            found.push(Objection::new("`run` has no process `web`", "name the process that serves requests `web`"));
        }
        if self.build.iter().any(|argv| argv.first().is_none_or(String::is_empty)) {
            found.push(Objection::new("a command of `build` names no program", "write [PROGRAM, ARGUMENT, …]"));
        }
        if let Overlap::Of(names) = &self.overlap
            && !names.iter().any(|name| name == WEB)
        {
            found.push(Objection::new("`overlap` does not name `web`", "add `web` to the list, or write `overlap: false`"));
        }
        found
    }
}

impl Resources {
    fn wrong(&self) -> Vec<Objection> {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let memory = ["", "K", "M", "G", "T", "%"].as_slice();
        let amounts = [
            ("memory", self.memory.clone(), memory, "write a number with K, M, G, T or %, such as 512M or 40%"),
            ("cpu", self.cpu.clone(), &["%"], "write a number with %, such as 150%"),
            ("tasks", number(self.tasks), &[""], "write a number of at least 1"),
            ("files", number(self.files), &[""], "write a number of at least 1"),
        ];
        let is_amount = |text: &str, units: &[&str]| {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            units.contains(&&text[end..]) && text[..end].parse().is_ok_and(|number: u64| number > 0)
        };
        let wrong = amounts.into_iter().filter_map(|(name, text, units, hint)| {
            let text = text.filter(|text| !is_amount(text, units))?;
            Some(Objection::new(format!("`resources.{name}` is `{}`, which is not an amount", shown_on_a_line(&text)), hint))
        });
        wrong.collect()
    }
}

/// Names of applications and processes become parts of unit names.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

/// systemd ignores other names in an environment file.
///
/// Source: systemd's src/basic/env-util.c, `env_name_is_valid`.
fn variable(name: &str) -> Option<Objection> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit());
    (name.is_empty() || !plain || name == "PORT").then(|| match name {
        "PORT" => Objection::new("`environment` sets PORT, which only ingot sets", "set `port:` instead"),
        _ => Objection::new(
            format!("`{}` is not the name of an environment variable", shown_on_a_line(name)),
            "use letters, digits and underscores, and do not begin with a digit",
        ),
    })
}

/// Of the real-time signals, systemd knows those counted from SIGRTMIN.
fn is_signal(name: &str) -> bool {
    let counted = name.strip_prefix("SIGRTMIN+").and_then(|number| number.parse().ok());
    counted.is_some_and(|number: u8| number <= 30) || name.parse::<Signal>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(fields: &str) -> String {
        let mut whole = json!({"bundle": "bundles.app"});
        whole.as_object_mut().unwrap().extend(serde_json::from_str::<serde_json::Map<_, _>>(fields).unwrap());
        let application: Application = serde_json::from_value(whole).unwrap();
        application.wrong("shop").into_iter().map(|objection| objection.message).collect::<Vec<_>>().join("; ")
    }

    /// systemd would refuse the unit, after the previous release has already stopped.
    #[test]
    fn what_no_unit_can_have_is_a_mistake_of_the_document() {
        for good in ["SIGTERM", "SIGUSR2", "SIGWINCH", "SIGRTMIN+3"] {
            assert_eq!(said(&format!(r#"{{"stop": {{"signal": "{good}"}}}}"#)), "", "{good}");
        }
        for bad in ["SIGFOO", "TERM", "SIG", "SIGRTMIN+31", "SIGRTMIN+"] {
            assert_eq!(said(&format!(r#"{{"stop": {{"signal": "{bad}"}}}}"#)), format!("`{bad}` is not a signal"));
        }
        assert_eq!(said(r#"{"resources": {"memory": "40%", "cpu": "150%", "tasks": 1, "files": 1}}"#), "");
        for (name, bad) in
            [("memory", "\"0M\""), ("memory", "\"%\""), ("cpu", "\"512M\""), ("cpu", "\"2\""), ("cpu", "\"0%\""), ("tasks", "0")]
        {
            let said = said(&format!(r#"{{"resources": {{"{name}": {bad}}}}}"#));
            assert_eq!(said, format!("`resources.{name}` is `{}`, which is not an amount", bad.trim_matches('"')));
        }
        assert_eq!(said(r#"{"build": [["make"], []]}"#), "a command of `build` names no program");
    }
}
