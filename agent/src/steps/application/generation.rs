//! A generation: one release together with all that its processes are started with.
//!
//! Whatever of that changes makes another generation, which runs beside the one before until it has proved itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hooks::Occasion;
use super::procfile::WEB;
use crate::host::Launch;

/// All that a generation is, but for its place and its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generation {
    /// The directory of the release.
    pub(super) release: PathBuf,
    pub(super) version: String,
    /// Lines for a shell, by the names of the processes.
    pub(super) processes: BTreeMap<String, String>,
    pub(super) user: String,
    /// The variables that are no secrets.
    pub(super) environment: BTreeMap<String, String>,
    /// The names of those that are.
    pub(super) secrets: Vec<String>,
    pub(super) stop_signal: String,
    pub(super) stop_grace_ms: u64,
    /// More properties of its units.
    pub(super) properties: Vec<String>,
    /// Whether systemd makes each process a directory of its own below /run.
    pub(super) has_runtime_directory: bool,
    /// Where `web` speaks FastCGI: the directory of the release that has index.php; empty for the release itself.
    #[serde(default)]
    pub(super) php: Option<String>,
}

/// A generation, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    pub(super) application: String,
    /// Counts the generations of an application on this instance.
    pub(super) number: u32,
    /// What `$PORT` is.
    pub(super) port: u16,
    /// What it changed when it came, which says whose hooks it runs.
    #[serde(default)]
    pub(super) occasion: Occasion,
    pub(super) generation: Generation,
}

impl Placed {
    /// The unit of a process.
    pub(super) fn unit(&self, process: &str) -> String {
        format!("{}-{process}-{}.service", self.application, self.number)
    }

    pub(super) fn units(&self) -> impl Iterator<Item = String> {
        self.generation.processes.keys().map(|process| self.unit(process))
    }

    /// The file that systemd reads the environment of its processes from: in memory, and root's alone.
    pub(super) fn environment_file(&self) -> PathBuf {
        format!("/run/ingot/applications/{}/{}.env", self.application, self.number).into()
    }

    /// How a process of it is started.
    pub(super) fn launch(&self, process: &str) -> Option<Launch> {
        let (application, generation) = (&self.application, &self.generation);
        let unit = self.unit(process);
        let mut properties = generation.properties.clone();
        if generation.has_runtime_directory {
            properties.push(format!("RuntimeDirectory={}", unit.trim_end_matches(".service")));
        }
        Some(Launch {
            unit,
            description: format!("{process} of {application} {}", generation.version),
            identifier: format!("{application}-{process}"),
            command: generation.processes.get(process)?.clone(),
            directory: generation.release.clone(),
            user: generation.user.clone(),
            environment_file: self.environment_file(),
            stop_signal: generation.stop_signal.clone(),
            stop_grace: Duration::from_millis(generation.stop_grace_ms),
            properties,
        })
    }

    /// The names of its processes, `web` first.
    pub(super) fn processes(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.generation.processes.keys().map(String::as_str).collect();
        names.sort_by_key(|name| *name != WEB);
        names
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (generation {})", self.application, self.generation.version, self.number)
    }
}
