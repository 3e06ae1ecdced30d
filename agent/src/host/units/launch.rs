//! Transient units: services that systemd keeps in memory, made without a unit file and so without a daemon-reload.
//!
//! They are gone with the next reboot, or once they are stopped.
//!
//! Source: systemd-run(1), systemd.exec(5), systemd.service(5).

use std::path::PathBuf;
use std::time::Duration;

/// A service to be made and started. Nothing here may be a secret: anybody on the machine can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// `NAME.service`
    pub(crate) unit: String,
    pub(crate) description: String,
    /// The name under which its output stands in the journal.
    pub(crate) identifier: String,
    /// A line for `/bin/sh -c`.
    pub(crate) command: String,
    pub(crate) directory: PathBuf,
    /// User name or number.
    pub(crate) user: String,
    /// Read by systemd as root when the program starts, so that its variables stand in no unit.
    pub(crate) environment_file: PathBuf,
    pub(crate) manner: Manner,
    /// What a stop sends first, such as `SIGTERM`.
    pub(crate) stop_signal: String,
    /// How long after that it is killed.
    pub(crate) stop_grace: Duration,
    /// More properties, each `Name=value` as in a unit file.
    pub(crate) properties: Vec<String>,
}

/// What kind of a program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One of this machine, which never needs what the sandbox takes from it.
    Program,
    /// It runs a container: that has a sandbox of its own, manages control groups, and takes the environment by its standard
    /// input, so that the engine does not have it.
    Container,
    /// It runs several, and fills the environment into their configuration.
    Composition,
}

/// What a program that worked for a user never misses. Its own user already keeps it from other files than its own.
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

/// An engine passes the signal on to what it runs, and is the only one that gets it. It ends with the status of that, which is
/// no failure of a unit that was stopped.
const CONTAINED: &[&str] = &["CollectMode=inactive-or-failed", "Delegate=yes", "KillMode=mixed", "LimitCORE=0:infinity"];
/// What a program ends with that was asked to by SIGTERM, and ends by itself: Java and shells do.
const ENDED_AS_ASKED: &str = "SuccessExitStatus=143";

/// How long systemd rests before it starts an ended program again.
const RESTART: &str = "RestartSec=1s";

/// A shutdown stops it only once the machine is drained, where anything drains it, and workers have finished.
const BEFORE: &str = "Before=ingot-drain.service ingot-workers.target";

impl Launch {
    /// The call that makes it. systemd-run returns once the program was executed, or could not be.
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
        // However often its program ends, and however it does.
        ["Restart=always", RESTART, "StartLimitIntervalSec=0", ENDED_AS_ASKED, BEFORE].iter().for_each(|text| property((*text).to_owned()));
        property(format!("KillSignal={}", self.stop_signal));
        property(format!("TimeoutStopSec={}ms", self.stop_grace.as_millis()));
        if self.manner == Manner::Program { SANDBOX } else { CONTAINED }.iter().for_each(|text| property((*text).to_owned()));
        self.properties.iter().for_each(|text| property(text.clone()));
        // systemd would fill in `${NAME}` itself: the shell is to do that.
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
