//! Transient units: services that exist only in systemd's memory, created without a unit file and so without a
//! daemon-reload.
//!
//! They disappear at a reboot, or when they are stopped.
//!
//! Source: systemd-run(1), systemd.exec(5), systemd.service(5).

use std::path::PathBuf;
use std::time::Duration;

/// A service to create and start. Must not contain secrets: every user of the machine can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// `NAME.service`.
    pub(crate) unit: String,
    pub(crate) description: String,
    /// The identifier of its output in the journal.
    pub(crate) identifier: String,
    /// A command line for `/bin/sh -c`.
    pub(crate) command: String,
    pub(crate) directory: PathBuf,
    /// User name or number.
    pub(crate) user: String,
    /// systemd reads it as root when the program starts, so that its variables do not become part of the unit.
    pub(crate) environment_file: PathBuf,
    pub(crate) manner: Manner,
    /// The signal that a stop sends first, such as `SIGTERM`.
    pub(crate) stop_signal: String,
    /// How long after that signal it is killed.
    pub(crate) stop_grace: Duration,
    /// More properties, each `Name=value` as in a unit file.
    pub(crate) properties: Vec<String>,
}

/// The kind of program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A program of this machine. It needs nothing that the sandbox takes away.
    Program,
    /// It runs a container, which has its own sandbox, manages control groups, and receives the environment on its
    /// standard input, so that the environment is not passed to the engine.
    Container,
    /// It runs several containers, and inserts the environment into their configuration.
    Composition,
}

/// Restrictions that do not affect a program that works for an ordinary user. Its user already keeps it from other
/// users' files.
const SANDBOX: &[&str] = &[
    "LimitCORE=0:infinity",
    "LockPersonality=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectSystem=yes",
    "RestrictRealtime=yes",
];

/// A container engine forwards the stop signal to the container, and is the only process that receives it. The engine
/// exits with the container's status, which is not a failure of a unit that was stopped.
const CONTAINED: &[&str] = &["CollectMode=inactive-or-failed", "Delegate=yes", "KillMode=mixed", "LimitCORE=0:infinity"];
/// The exit status of a program that handles SIGTERM by exiting itself, as Java and shells do.
const ENDED_AS_ASKED: &str = "SuccessExitStatus=143";

/// How long systemd waits before it restarts a program that has ended.
const RESTART: &str = "RestartSec=1s";

/// At a shutdown it is stopped only after the machine has been drained, if a drain is configured, and after workers
/// have finished.
const BEFORE: &str = "Before=ingot-drain.service ingot-workers.target";

impl Launch {
    /// The command that creates it. systemd-run returns after the program was executed, or could not be.
    pub(super) fn argv(&self) -> Vec<String> {
        let mut argv: Vec<String> = ["systemd-run", "--quiet", "--no-ask-password", "--service-type=exec"].map(str::to_owned).into();
        argv.push(format!("--unit={}", self.unit));
        argv.push(format!("--description={}", self.description));
        let mut property = |text: String| argv.push(format!("--property={text}"));
        property(format!("User={}", self.user));
        property(format!("WorkingDirectory={}", self.directory.display()));
        let environment = if self.manner == Manner::Container { "StandardInput=file:" } else { "EnvironmentFile=" };
        property(format!("{environment}{}", self.environment_file.display()));
        property(format!("SyslogIdentifier={}", self.identifier));
        // Restarted however often and in whatever way its program ends.
        ["Restart=always", RESTART, "StartLimitIntervalSec=0", ENDED_AS_ASKED, BEFORE].iter().for_each(|text| property((*text).to_owned()));
        property(format!("KillSignal={}", self.stop_signal));
        property(format!("TimeoutStopSec={}ms", self.stop_grace.as_millis()));
        if self.manner == Manner::Program { SANDBOX } else { CONTAINED }.iter().for_each(|text| property((*text).to_owned()));
        self.properties.iter().for_each(|text| property(text.clone()));
        // systemd would expand `${NAME}` itself, which should be left to the shell.
        argv.extend(["--".to_owned(), "/bin/sh".to_owned(), "-c".to_owned(), self.command.replace('$', "$$")]);
        argv
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_fills_in_variables_and_systemd_does_not() {
        let launch = Launch {
            unit: "shop.web-1.service".into(),
            description: "web of shop".into(),
            identifier: "shop.web".into(),
            command: "bin/shop --port ${PORT} $$".into(),
            directory: "/opt/shop/releases/1".into(),
            user: "shop".into(),
            environment_file: "/run/ingot/applications/shop/1.env".into(),
            manner: Manner::Program,
            stop_signal: "SIGTERM".into(),
            stop_grace: Duration::from_millis(1500),
            properties: vec!["MemoryMax=1G".into()],
        };
        let argv = launch.argv();
        assert_eq!(argv[argv.len() - 4..], ["--", "/bin/sh", "-c", "bin/shop --port $${PORT} $$$$"]);
        let before = "--property=Before=ingot-drain.service ingot-workers.target";
        for wanted in ["--property=TimeoutStopSec=1500ms", "--property=MemoryMax=1G", "--property=User=shop", before] {
            assert!(argv.iter().any(|word| word == wanted), "{wanted} is missing in {argv:?}");
        }
    }
}
