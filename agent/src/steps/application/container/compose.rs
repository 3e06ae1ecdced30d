//! Compose files: which program runs them, and how.

use std::time::Duration;

use super::Composition;
use super::ask::run;
use super::engine::Engine;
use super::trouble::ContainerError;
use crate::host::{End, Host, HostError};
use crate::steps::application::platforms::quoted;

/// ingot's own compose file, used in addition to that of the release.
pub(super) const OVERRIDE: &str = ".ingot/compose.yaml";

/// Programs that run compose files, in the order in which they are tried.
const PROGRAMS: [&[&str]; 4] = [&["docker", "compose"], &["docker-compose"], &["podman-compose"], &["podman", "compose"]];

/// Limit for `version`, which needs no network.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// The program of this machine that runs compose files.
pub(super) async fn program(host: &Host) -> Result<Vec<String>, ContainerError> {
    for program in PROGRAMS {
        let argv: Vec<&str> = program.iter().copied().chain(["version"]).collect();
        match run(&argv, &[], "/".as_ref(), ANSWERS_WITHIN, host, &mut |_| {}).await {
            Ok(End::Exited(0)) => return Ok(program.iter().map(|word| (*word).to_owned()).collect()),
            Ok(_) => {}
            Err(HostError::Spawn { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(ContainerError::Host(error)),
        }
    }
    Err(ContainerError::NoCompose)
}

/// One run of the services.
pub(in crate::steps::application) struct Composed<'a> {
    pub(in crate::steps::application) application: &'a str,
    /// The port of the slot: each slot is a compose project of its own.
    pub(in crate::steps::application) port: u16,
    pub(in crate::steps::application) grace: Duration,
}

impl Composition {
    /// Runs the services in the foreground. Images built with the release are not built again, unless someone has
    /// removed them.
    pub(in crate::steps::application) fn line(&self, of: &Composed<'_>) -> String {
        format!("exec {} up --force-recreate --abort-on-container-exit", self.begin(of))
    }

    /// Properties of its unit. `down` removes containers and networks, and keeps named volumes.
    pub(in crate::steps::application) fn properties(&self, of: &Composed<'_>) -> Vec<String> {
        let down = |seconds: u64| format!("{} down --timeout {seconds} >/dev/null 2>&1", self.begin(of));
        vec![
            format!("ExecStop=-/bin/sh -c \"{}\"", down(of.grace.as_secs().max(1))),
            format!("ExecStopPost=-/bin/sh -c \"{}\"", down(1)),
            format!("TimeoutStopSec={}ms", (of.grace + Duration::from_secs(10)).as_millis()),
        ]
    }

    fn begin(&self, of: &Composed<'_>) -> String {
        self.argv(of).iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn argv(&self, of: &Composed<'_>) -> Vec<String> {
        let mut argv = self.program.clone();
        argv.extend(["-p".to_owned(), format!("{}-{}", of.application.to_ascii_lowercase(), of.port), "-f".to_owned(), self.file.clone()]);
        if self.names_images {
            argv.extend(["-f".to_owned(), OVERRIDE.to_owned()]);
        }
        argv
    }

    /// The engine that stores the images.
    pub(super) fn engine(&self) -> Engine {
        if self.program[0].starts_with("podman") { Engine::Podman } else { Engine::Docker }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_a_project() {
        let mut composition =
            Composition { program: vec!["docker".into(), "compose".into()], file: "compose.yaml".into(), names_images: false };
        let of = Composed { application: "Shop", port: 15000, grace: Duration::from_secs(30) };
        let line = "exec docker compose -p shop-15000 -f compose.yaml up --force-recreate --abort-on-container-exit";
        assert_eq!(composition.line(&of), line);
        let stop = "ExecStop=-/bin/sh -c \"docker compose -p shop-15000 -f compose.yaml down --timeout 30 >/dev/null 2>&1\"";
        assert_eq!(composition.properties(&of)[0], stop);
        composition.names_images = true;
        assert!(composition.line(&of).starts_with("exec docker compose -p shop-15000 -f compose.yaml -f .ingot/compose.yaml up "));
    }
}
