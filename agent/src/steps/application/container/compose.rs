//! Compose files: which program runs them, and how.

use std::path::Path;
use std::time::Duration;

use super::Composition;
use super::ask::run;
use super::registry::Login;
use super::trouble::{ContainerError, Refusal};
use crate::host::{End, Host, HostError};
use crate::step::Context;
use crate::steps::application::platforms::quoted;

/// In the order in which they are tried.
const PROGRAMS: [&[&str]; 4] = [&["docker", "compose"], &["docker-compose"], &["podman-compose"], &["podman", "compose"]];

/// `version` needs no network.
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

/// Pulls and builds the images of the services.
pub(super) async fn make(file: &str, registries: &[String], release: &Path, cx: &Context<'_>) -> Result<(), ContainerError> {
    let program = program(cx.host()).await?;
    let login = Login::to(registries, cx).await?;
    let mut done = Ok(());
    for verb in ["pull", "build"] {
        let what = format!("{verb} the images of {file}");
        cx.waiting(format!("to {what}"));
        let argv: Vec<&str> = program.iter().map(String::as_str).chain(["-f", file, verb]).collect();
        done = work(&argv, &login.variables(), release, &what, cx).await;
        // One program pulls what it is to build, and does not find it: the build says whether anything is missing.
        if verb == "build" || matches!(&done, Err(ContainerError::Compose { refusal: Refusal::Denied(_) | Refusal::DiskFull, .. })) {
            break;
        }
    }
    login.end(cx).await?;
    done
}

async fn work(argv: &[&str], variables: &[(String, String)], release: &Path, what: &str, cx: &Context<'_>) -> Result<(), ContainerError> {
    let (mut said, mut refusal) = (crate::step::fields::Excerpt::default(), Refusal::Passing);
    let mut on_line = |line: &str| {
        let line = cx.redact(line);
        refusal = refusal.or(&line);
        cx.progress(crate::step::Progress::Output(line.clone()));
        said.push(line);
    };
    match run(argv, variables, release, cx.time_left(), cx.host(), &mut on_line).await.map_err(ContainerError::Host)? {
        End::Exited(0) => Ok(()),
        _ => {
            Err(ContainerError::Compose { program: argv[..argv.len() - 3].join(" "), what: what.to_owned(), refusal, said: Box::new(said) })
        }
    }
}

/// One run of the services.
pub(in crate::steps::application) struct Composed<'a> {
    pub(in crate::steps::application) application: &'a str,
    /// That of the slot: two slots are two projects.
    pub(in crate::steps::application) port: u16,
    pub(in crate::steps::application) grace: Duration,
}

impl Composition {
    /// Runs them in the foreground. What was built with the release is not built again.
    pub(in crate::steps::application) fn line(&self, of: &Composed<'_>) -> String {
        format!("exec {} up --build --force-recreate --abort-on-container-exit", self.begin(of))
    }

    /// Properties of its unit. `down` removes containers and networks, and leaves volumes that have names.
    pub(in crate::steps::application) fn properties(&self, of: &Composed<'_>) -> Vec<String> {
        let down = |seconds: u64| format!("{} down --timeout {seconds} >/dev/null 2>&1", self.begin(of));
        vec![
            format!("ExecStop=-/bin/sh -c \"{}\"", down(of.grace.as_secs().max(1))),
            format!("ExecStopPost=-/bin/sh -c \"{}\"", down(1)),
            format!("TimeoutStopSec={}ms", (of.grace + Duration::from_secs(10)).as_millis()),
        ]
    }

    fn begin(&self, of: &Composed<'_>) -> String {
        let project = format!("{}-{}", of.application.to_ascii_lowercase(), of.port);
        format!("{} -p {project} -f {}", self.program.join(" "), quoted(&self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_a_project() {
        let composition = Composition { program: vec!["docker".into(), "compose".into()], file: "compose.yaml".into() };
        let of = Composed { application: "Shop", port: 15000, grace: Duration::from_secs(30) };
        let line = "exec docker compose -p shop-15000 -f compose.yaml up --build --force-recreate --abort-on-container-exit";
        assert_eq!(composition.line(&of), line);
        let stop = "ExecStop=-/bin/sh -c \"docker compose -p shop-15000 -f compose.yaml down --timeout 30 >/dev/null 2>&1\"";
        assert_eq!(composition.properties(&of)[0], stop);
    }
}
