//! A generation: one release together with everything its processes are started with.
//!
//! A change to any of this makes a new generation, which runs alongside the previous one until it has proved itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::container::{Composed, Composition, Container, Run};
use super::hooks::Occasion;
use super::procfile::WEB;
use crate::host::{Launch, Manner};

/// A generation without its slot and the values of its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generation {
    /// The directory of the release.
    pub(super) release: PathBuf,
    pub(super) version: String,
    /// Shell command lines, by process name.
    pub(super) processes: BTreeMap<String, String>,
    pub(super) user: String,
    /// The variables that are not secrets.
    pub(super) environment: BTreeMap<String, String>,
    /// The names of the variables that are secrets.
    pub(super) secrets: Vec<String>,
    pub(super) stop_signal: String,
    pub(super) stop_grace_ms: u64,
    /// Additional properties of its units.
    pub(super) properties: Vec<String>,
    /// Whether systemd creates directories for each process, below /run and below /var/cache.
    #[serde(default, alias = "has_runtime_directory")]
    pub(super) has_directories: bool,
    /// What its processes run in, if not directly on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<Container>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) composition: Option<Composition>,
    /// Set if `web` speaks FastCGI: the directory of the release that contains index.php; empty for the release itself.
    #[serde(default)]
    pub(super) php: Option<String>,
}

/// A generation and the slot it runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(super) application: String,
    /// Numbers the generations of an application on this instance.
    pub(super) number: u32,
    /// The value of `$PORT`.
    pub(super) port: u16,
    /// What its deployment changed, which determines the hooks that it runs.
    #[serde(default)]
    pub(super) occasion: Occasion,
    pub(super) generation: Generation,
}

impl Placed {
    /// The unit of a process. Neither name can contain a dot, so no two processes share a unit.
    pub(super) fn unit(&self, process: &str) -> String {
        format!("{}.{process}-{}.service", self.application, self.number)
    }

    pub(super) fn units(&self) -> impl Iterator<Item = String> {
        self.generation.processes.keys().map(|process| self.unit(process))
    }

    /// The file from which systemd reads the environment of its processes: in memory, and readable by root only.
    pub(super) fn environment_file(&self) -> PathBuf {
        format!("/run/ingot/applications/{}/{}.env", self.application, self.number).into()
    }

    /// How one of its processes is started; `container` is that of the generation, completed from its image.
    pub(super) fn launch(&self, process: &str, container: Option<&Container>) -> Option<Launch> {
        let (application, generation) = (&self.application, &self.generation);
        let unit = self.unit(process);
        let mut properties = generation.properties.clone();
        let mut command = generation.processes.get(process)?.clone();
        let (grace, mut manner) = (Duration::from_millis(generation.stop_grace_ms), Manner::Program);
        if let Some(container) = container {
            let (name, stop_signal) = (unit.trim_end_matches(".service"), generation.stop_signal.as_str());
            let run = Run { name, application, process, port: self.port, stop_signal, grace };
            (command, manner) = (container.line(&run), Manner::Container);
            properties.extend(container.properties(&run));
        } else if let Some(composition) = &generation.composition {
            let of = Composed { application, port: self.port, grace };
            (command, manner) = (composition.line(&of), Manner::Composition);
            properties.extend(composition.properties(&of));
        }
        if generation.has_directories {
            let name = unit.trim_end_matches(".service");
            properties.push(format!("RuntimeDirectory={name}"));
            properties.push(format!("CacheDirectory=ingot-applications/{name}"));
            // Runs as root, because only root may remove the directory itself.
            properties.push(format!("ExecStopPost=+-/bin/rm -rf /var/cache/ingot-applications/{name}"));
        }
        Some(Launch {
            unit,
            description: format!("{process} of {application} {}", generation.version),
            identifier: format!("{application}.{process}"),
            command,
            directory: generation.release.clone(),
            user: generation.user.clone(),
            environment_file: self.environment_file(),
            manner,
            stop_signal: generation.stop_signal.clone(),
            stop_grace: grace,
            properties,
        })
    }

    /// Whether it runs the services of a compose file.
    pub(super) fn has_services(&self) -> bool {
        self.generation.composition.is_some()
    }

    pub(super) fn container(&self) -> Option<&Container> {
        self.generation.container.as_ref()
    }

    /// The names of its processes, `web` first.
    pub(super) fn processes(&self) -> Vec<&str> {
        let processes = &self.generation.processes;
        let web = processes.contains_key(WEB).then_some(WEB);
        web.into_iter().chain(processes.keys().map(String::as_str).filter(|name| *name != WEB)).collect()
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (generation {})", self.application, self.generation.version, self.number)
    }
}
