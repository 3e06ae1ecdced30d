//! The service manager, and [`Systemctl`], which does what an operator would do with systemctl and journalctl.
//! Operations needed by every boot with a service run over systemd's own socket ([`bus`]), without starting those
//! programs; if the socket cannot be used, systemctl is the fallback.

mod bus;
mod connection;
mod exec;
pub(crate) mod file;
mod invocation;
mod journal;
mod launch;
mod own;
mod unit;
mod wire;

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use self::bus::Bus;
use self::connection::Answer;
pub(crate) use self::exec::Ended;
#[cfg(test)]
pub(crate) use self::exec::Helper;
use self::invocation::invocation;
pub(crate) use self::journal::{Log, Reading};
pub(crate) use self::launch::{Launch, Manner};
pub(super) use self::own::unit_of;
use self::unit::PROPERTIES;
pub(crate) use self::unit::{Checked, Unit};
use super::commands::{Commands, End};
use super::error::HostError;

/// The service manager: systemd.
#[async_trait(?Send)]
pub(crate) trait Units {
    /// Reads properties of several units in one call, in the requested order. The `load` of a unit that does not exist
    /// is `not-found`.
    async fn show(&self, units: &[String]) -> Result<Vec<Unit>, HostError>;

    /// Starts a unit and waits at most `timeout` for the job.
    async fn start(&self, unit: &str, timeout: Duration) -> Result<(), HostError>;
    /// As [`start`](Units::start).
    async fn restart(&self, unit: &str, timeout: Duration) -> Result<(), HostError>;
    /// As [`start`](Units::start).
    async fn reload(&self, unit: &str, timeout: Duration) -> Result<(), HostError>;

    /// Stops a unit and waits at most `timeout` for the job. Does nothing to a unit that is not active.
    async fn stop(&self, unit: &str, timeout: Duration) -> Result<(), HostError>;

    /// Sends SIGTERM to the main process of a unit without a job: works even while systemd delays its own signal, as at
    /// a shutdown.
    async fn terminate(&self, unit: &str) -> Result<(), HostError>;

    /// Creates and starts a transient unit, and waits at most `timeout` until its program has been executed.
    ///
    /// # Errors
    ///
    /// If the unit exists already, or its program could not be executed. A program that exits immediately is not an
    /// error here.
    async fn launch(&self, launch: &Launch, timeout: Duration) -> Result<(), HostError>;

    /// Makes systemd forget that a unit has failed, and its recent starts.
    async fn reset_failed(&self, unit: &str) -> Result<(), HostError>;

    /// Makes systemd reload its unit files and run its generators.
    async fn reload_definitions(&self) -> Result<(), HostError>;

    /// The last `lines` journal lines of a unit in this boot, oldest first; empty if there is no journal.
    async fn journal(&self, unit: &str, lines: usize) -> Vec<String>;

    /// The last `lines` lines that the programs of a unit printed or sent to syslog in this boot, without systemd's own
    /// messages about them; otherwise as [`journal`](Units::journal).
    async fn output(&self, unit: &str, lines: usize) -> Vec<String>;

    /// The journal in this boot of the units that match `unit`, which may be a pattern: the newest lines, at most
    /// `most` bytes, as far as they can be read `within` this time.
    async fn log(&self, unit: &str, most: usize, within: Duration) -> Log;

    /// Stops receiving messages from systemd until the next query: systemd notifies every connected client about each
    /// job.
    async fn rest(&self);

    /// The unit this process runs in, such as `ingot.service` or `cloud-final.service` (from /proc/self/cgroup).
    fn own(&self) -> Option<String>;
}

/// How long systemd may take to answer a query or to reload its unit files. Usually it takes milliseconds or, on a
/// machine with thousands of units, a second or two.
const ANSWER: Duration = Duration::from_secs(30);

/// How long an answer over the socket is waited for before systemctl is used instead.
const SOON: Duration = Duration::from_secs(5);

/// How many of the last lines of systemctl's output an error keeps.
const SAID: usize = 5;

/// systemd, over its socket or through its command line.
pub(crate) struct Systemctl {
    commands: Rc<dyn Commands>,
    bus: Bus,
}

impl Systemctl {
    pub(crate) fn new(commands: Rc<dyn Commands>) -> Self {
        Self { commands, bus: Bus::new(bus::SOCKET.into()) }
    }

    /// systemd's answer over its socket. `None` if the socket cannot be used, so that systemctl should be tried.
    fn directly<T>(verb: &'static str, unit: &str, answered: io::Result<Answer<T>>) -> Option<Result<T, HostError>> {
        match answered {
            Ok(answer) => Some(answer.map_err(|said| HostError::Systemctl { verb, unit: unit.to_owned(), said })),
            Err(error) => {
                log::debug!("no response from systemd on its socket: {error}");
                None
            }
        }
    }

    async fn run(&self, argv: &[&str], timeout: Duration) -> Result<(End, Vec<String>), HostError> {
        let mut lines = Vec::new();
        let end = self.commands.run(&invocation(argv, timeout), &mut |line| lines.push(line.to_owned())).await?;
        Ok((end, lines))
    }

    /// Runs a verb that waits for its job. After `timeout`, the job is left as it is: a slow service may still come up,
    /// and the document did not ask for canceling.
    async fn job(&self, verb: &'static str, member: &str, unit: &str, limit: Duration) -> Result<(), HostError> {
        if bus::is_name(unit) {
            match timeout(limit, self.bus.job(member, unit)).await {
                Ok(answered) => {
                    if let Some(ended) = Self::directly(verb, unit, answered) {
                        return ended;
                    }
                }
                Err(_) => return Err(HostError::SystemctlTimeout { verb, unit: unit.to_owned(), waited: limit }),
            }
        }
        let (end, lines) = self.run(&["systemctl", "--no-ask-password", verb, "--", unit], limit).await?;
        succeeded(verb, unit, end, &lines, limit)
    }
}

#[async_trait(?Send)]
impl Units for Systemctl {
    async fn show(&self, units: &[String]) -> Result<Vec<Unit>, HostError> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let asked = units.join(" ");
        if units.iter().all(|unit| bus::is_name(unit))
            && let Ok(answered) = timeout(SOON, self.bus.show(units)).await
            && let Some(shown) = Self::directly("show", &asked, answered)
        {
            return shown;
        }
        let properties = format!("--property={}", PROPERTIES.join(","));
        let mut argv = vec!["systemctl", "show", "--no-pager", &properties, "--"];
        argv.extend(units.iter().map(String::as_str));
        let (end, lines) = self.run(&argv, ANSWER).await?;
        succeeded("show", &asked, end, &lines, ANSWER)?;
        let shown = parse(&lines);
        if shown.len() != units.len() {
            let said = format!("it described {} units, expected {}", shown.len(), units.len());
            return Err(HostError::Systemctl { verb: "show", unit: asked, said });
        }
        Ok(shown)
    }

    async fn start(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        self.job("start", "StartUnit", unit, timeout).await
    }

    async fn restart(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        self.job("restart", "RestartUnit", unit, timeout).await
    }

    async fn reload(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        self.job("reload", "ReloadUnit", unit, timeout).await
    }

    async fn stop(&self, unit: &str, timeout: Duration) -> Result<(), HostError> {
        self.job("stop", "StopUnit", unit, timeout).await
    }

    async fn terminate(&self, unit: &str) -> Result<(), HostError> {
        let argv = ["systemctl", "--no-ask-password", "kill", "--kill-whom=main", "--signal=SIGTERM", "--", unit];
        let (end, lines) = self.run(&argv, ANSWER).await?;
        succeeded("kill", unit, end, &lines, ANSWER)
    }

    async fn launch(&self, launch: &Launch, timeout: Duration) -> Result<(), HostError> {
        let argv = launch.argv();
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let (end, lines) = self.run(&argv, timeout).await?;
        succeeded("start", &launch.unit, end, &lines, timeout)
    }

    async fn reset_failed(&self, unit: &str) -> Result<(), HostError> {
        if bus::is_name(unit)
            && let Ok(answered) = timeout(SOON, self.bus.reset_failed(unit)).await
            && let Some(done) = Self::directly("reset-failed", unit, answered)
        {
            return done;
        }
        let (end, lines) = self.run(&["systemctl", "--no-ask-password", "reset-failed", "--", unit], ANSWER).await?;
        succeeded("reset-failed", unit, end, &lines, ANSWER)
    }

    async fn reload_definitions(&self) -> Result<(), HostError> {
        let (end, lines) = self.run(&["systemctl", "--no-ask-password", "daemon-reload"], ANSWER).await?;
        succeeded("daemon-reload", "", end, &lines, ANSWER)
    }

    async fn journal(&self, unit: &str, lines: usize) -> Vec<String> {
        journal::last_lines(&*self.commands, &["-u", unit], lines).await
    }

    async fn output(&self, unit: &str, lines: usize) -> Vec<String> {
        // The journal transport is left out: systemd logs there on behalf of the unit until its program runs.
        let of = format!("_SYSTEMD_UNIT={unit}");
        journal::last_lines(&*self.commands, &[&of, "_TRANSPORT=stdout", "+", &of, "_TRANSPORT=syslog"], lines).await
    }

    async fn log(&self, unit: &str, most: usize, within: Duration) -> Log {
        journal::read(&*self.commands, unit, most, within).await
    }

    async fn rest(&self) {
        self.bus.close().await;
    }

    fn own(&self) -> Option<String> {
        let path = Path::new("/proc/self/cgroup");
        unit_of(&std::fs::read_to_string(path).ok()?)
    }
}

fn succeeded(verb: &'static str, unit: &str, end: End, lines: &[String], waited: Duration) -> Result<(), HostError> {
    let said = match end {
        End::Exited(0) => return Ok(()),
        End::TimedOut => return Err(HostError::SystemctlTimeout { verb, unit: unit.to_owned(), waited }),
        End::Signalled(signal) => format!("it was killed by signal {signal}"),
        End::Exited(code) if lines.is_empty() => format!("it exited with {code}"),
        End::Exited(_) => lines[lines.len().saturating_sub(SAID)..].join("; "),
    };
    Err(HostError::Systemctl { verb, unit: unit.to_owned(), said })
}

/// Parses the output of `systemctl show`: one block for each unit, in the requested order, separated by empty lines. A
/// unit may be shown under another name than requested (an alias), so only the order identifies it.
fn parse(lines: &[String]) -> Vec<Unit> {
    let blocks = lines.split(|line| line.is_empty()).filter(|block| block.iter().any(|line| line.starts_with("Id=")));
    blocks.map(|block| block.iter().filter_map(|line| line.split_once('=')).fold(Unit::default(), Unit::with)).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::host::commands::Invocation;
    use crate::host::lines::OnLine;
    use crate::text::SecretText;

    /// Answers every program with the same lines, and records what was run.
    #[derive(Default)]
    struct Canned {
        end: Option<End>,
        lines: Vec<&'static str>,
        ran: RefCell<Vec<String>>,
    }

    #[async_trait(?Send)]
    impl Commands for Canned {
        async fn run(&self, invocation: &Invocation, on_line: OnLine<'_>) -> Result<End, HostError> {
            self.ran.borrow_mut().push(invocation.argv.iter().map(SecretText::expose).collect::<Vec<_>>().join(" "));
            self.lines.iter().for_each(|line| on_line(line));
            Ok(self.end.unwrap_or(End::Exited(0)))
        }
    }

    fn systemctl(end: End, lines: &[&'static str]) -> (Rc<Canned>, Systemctl) {
        let canned = Rc::new(Canned { end: Some(end), lines: lines.to_vec(), ran: RefCell::default() });
        (Rc::clone(&canned), Systemctl { commands: canned, bus: Bus::new("/nowhere".into()) })
    }

    const SHOWN: &[&str] = &[
        "Type=notify",
        "NRestarts=2",
        "ExecMainCode=1",
        "ExecMainStatus=203",
        "Result=exit-code",
        "Id=nginx.service",
        "After=network.target -.mount",
        "Requires=system.slice",
        "Wants=tmp.mount",
        "LoadState=loaded",
        "ActiveState=activating",
        "SubState=auto-restart",
        "FragmentPath=/usr/lib/systemd/system/nginx.service",
        "NeedDaemonReload=yes",
        "CanReload=yes",
        "Job=1234",
        "",
        "Id=no-such.service",
        "LoadState=not-found",
        "ActiveState=inactive",
        "SubState=dead",
        "NeedDaemonReload=no",
    ];

    #[tokio::test]
    async fn reads_several_units_in_one_call() {
        let (canned, systemctl) = systemctl(End::Exited(0), SHOWN);
        let units = systemctl.show(&["www.service".into(), "no-such.service".into()]).await.unwrap();
        assert_eq!(canned.ran.borrow().len(), 1);
        assert_eq!(
            units[0],
            Unit {
                id: "nginx.service".into(),
                load: "loaded".into(),
                active: "activating".into(),
                sub: "auto-restart".into(),
                result: "exit-code".into(),
                restarts: 2,
                service_type: "notify".into(),
                after: vec!["network.target".into(), "-.mount".into()],
                pulls: vec!["system.slice".into(), "tmp.mount".into()],
                job: true,
                stale: true,
                fragment: "/usr/lib/systemd/system/nginx.service".into(),
                main: Ended::exited(203),
                can_reload: true,
                ..Unit::default()
            }
        );
        assert_eq!((units[1].load.as_str(), units[1].job), ("not-found", false));
    }

    #[tokio::test]
    async fn systemctl_makes_names_of_what_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("private");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let canned = Rc::new(Canned { lines: vec!["Id=my\\x20app.service", "LoadState=loaded"], ..Canned::default() });
        let systemctl = Systemctl { commands: Rc::clone(&canned) as Rc<dyn Commands>, bus: Bus::new(socket) };
        assert_eq!(systemctl.show(&["my app.service".into()]).await.unwrap()[0].load, "loaded");
        systemctl.start("my app.service", Duration::from_secs(9)).await.unwrap();
        assert_eq!(canned.ran.borrow().len(), 2);
        assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none(), "asked over the socket");
    }

    #[tokio::test]
    async fn asks_for_as_many_units_as_it_is_told_of() {
        let (_, systemctl) = systemctl(End::Exited(0), SHOWN);
        let error = systemctl.show(&["a.service".into()]).await.unwrap_err();
        assert_eq!(error.to_string(), "systemctl show a.service failed: it described 2 units, expected 1");
    }

    #[tokio::test]
    async fn says_what_systemctl_said() {
        let said = ["Job for x.service failed because the control process exited with error code.", "See \"systemctl status x.service\"."];
        let (canned, broken) = systemctl(End::Exited(1), &said);
        let error = broken.start("x.service", Duration::from_secs(9)).await.unwrap_err();
        insta::assert_snapshot!(error, @r#"systemctl start x.service failed: Job for x.service failed because the control process exited with error code.; See "systemctl status x.service"."#);
        assert_eq!(*canned.ran.borrow(), ["systemctl --no-ask-password start -- x.service"]);

        let error = broken.reload_definitions().await.unwrap_err().to_string();
        assert!(error.starts_with("systemctl daemon-reload failed: Job"), "{error}");

        let (_, slow) = systemctl(End::TimedOut, &[]);
        let error = slow.restart("x.service", Duration::from_secs(9)).await.unwrap_err();
        insta::assert_snapshot!(error, @"systemctl restart x.service did not finish within 9s");
    }

    #[tokio::test]
    async fn the_journal_is_short_or_empty() {
        let (canned, systemctl_with_journal) = systemctl(End::Exited(0), &["one", "two", "three"]);
        assert_eq!(systemctl_with_journal.journal("x.service", 2).await, ["two", "three"]);
        assert_eq!(systemctl_with_journal.output("x.service", 2).await, ["two", "three"]);
        let asked = ["-u x.service", "_SYSTEMD_UNIT=x.service _TRANSPORT=stdout + _SYSTEMD_UNIT=x.service _TRANSPORT=syslog"]
            .map(|which| format!("journalctl -b -o cat -n 2 --no-pager --quiet {which}"));
        // What was printed before is taken in first.
        let [of_unit, of_program] = asked;
        assert_eq!(*canned.ran.borrow(), ["journalctl --sync", &of_unit, "journalctl --sync", &of_program]);
        let (_, without) = systemctl(End::Exited(1), &["No journal files were found."]);
        assert!(without.journal("x.service", 2).await.is_empty());
    }
}
