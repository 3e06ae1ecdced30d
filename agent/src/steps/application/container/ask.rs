//! Queries a container engine, and lets it do work.

use std::path::Path;
use std::time::Duration;

use super::engine::{Engine, INSPECT};
use super::image::Image;
use super::trouble::{ContainerError, Refusal};
use crate::host::{End, Host, HostError, Invocation, OnLine, SEARCH_PATH};
use crate::step::fields::Excerpt;
use crate::step::{Context, Progress};
use crate::text::SecretText;

/// Limit for queries, which need no network.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// Limit for the start of the docker daemon.
const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// More lines than `image inspect` prints for any image.
const LINES: usize = 20_000;

impl Engine {
    /// The engine of this machine. podman is preferred: it needs no daemon, and `docker` may be an alias for it.
    pub(super) async fn find(host: &Host) -> Result<Self, ContainerError> {
        for engine in Self::BOTH {
            match engine.ask(&["--version"], host).await {
                Ok(_) => return Ok(engine),
                Err(HostError::Spawn { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(ContainerError::Host(error)),
            }
        }
        Err(ContainerError::NoEngine)
    }

    /// Queries the engine; returns how it ended and what it printed.
    pub(super) async fn ask(self, arguments: &[&str], host: &Host) -> Result<(End, Vec<String>), HostError> {
        let mut lines = Vec::new();
        let mut on_line = |line: &str| {
            if lines.len() < LINES {
                lines.push(line.to_owned());
            }
        };
        let end = run(&self.argv(arguments), &[], "/".as_ref(), ANSWERS_WITHIN, host, &mut on_line).await?;
        Ok((end, lines))
    }

    /// Whether an image is here, by name or ID; `None` if the daemon that would know is not running.
    pub(super) async fn has(self, image: &str, cx: &Context<'_>) -> Result<Option<bool>, ContainerError> {
        match self.inspect(image, cx).await {
            Ok(found) => Ok(Some(found.is_some())),
            Err(ContainerError::Engine { refusal: Refusal::Daemon, .. }) => Ok(None),
            // The engine is no longer installed, so its images are gone too.
            Err(ContainerError::Host(HostError::Spawn { source, .. })) if source.kind() == std::io::ErrorKind::NotFound => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }

    /// What a local image declares about itself. A fake machine in memory declares nothing.
    pub(super) async fn image(self, name: &str, cx: &Context<'_>) -> Result<Option<Image>, ContainerError> {
        let found = match self.inspect(name, cx).await {
            Err(ContainerError::Engine { refusal: Refusal::Daemon, .. }) if self == Self::Docker => {
                start_docker(cx).await;
                self.inspect(name, cx).await
            }
            found => found,
        };
        let Some(lines) = found? else { return Ok(None) };
        if lines.is_empty() {
            return Ok(Some(Image { id: name.to_owned(), command: vec!["serve".to_owned()], ..Image::default() }));
        }
        match Image::said(&lines) {
            Some(image) => Ok(Some(image)),
            None => Err(self.failed(name, Refusal::Passing, &lines, cx)),
        }
    }

    /// What the engine prints about an image: `None` if the engine says that it has no image of that name. Any other
    /// failure says nothing about the image.
    async fn inspect(self, image: &str, cx: &Context<'_>) -> Result<Option<Vec<String>>, ContainerError> {
        let (end, lines) = self.ask(&["image", "inspect", image], cx.host()).await.map_err(ContainerError::Host)?;
        if end == End::Exited(0) {
            return Ok(Some(lines));
        }
        match lines.iter().fold(Refusal::Passing, |refusal, line| refusal.or(line)) {
            Refusal::NotFound => Ok(None),
            refusal => Err(self.failed(image, refusal, &lines, cx)),
        }
    }

    fn failed(self, image: &str, refusal: Refusal, lines: &[String], cx: &Context<'_>) -> ContainerError {
        let said = lines.iter().map(|line| cx.redact(line)).collect();
        ContainerError::Engine { engine: self, what: format!("{INSPECT} {image}"), refusal, said: Box::new(said) }
    }

    /// Lets the engine work for the application, with its output in the journal. A failure is classified by its last
    /// output.
    pub(super) async fn work(self, arguments: &[&str], directory: &Path, what: &str, cx: &Context<'_>) -> Result<(), ContainerError> {
        let argv = self.argv(arguments);
        let (end, said, refusal) = work(&argv, &[], directory, cx).await?;
        let (end, said, refusal) = match refusal {
            Refusal::Daemon if self == Self::Docker && end != End::Exited(0) => {
                start_docker(cx).await;
                work(&argv, &[], directory, cx).await?
            }
            _ => (end, said, refusal),
        };
        let refusal = match end {
            End::Exited(0) => return Ok(()),
            End::TimedOut => Refusal::Passing,
            End::Exited(_) | End::Signalled(_) => refusal,
        };
        Err(ContainerError::Engine { engine: self, what: what.to_owned(), refusal, said: Box::new(said) })
    }

    fn argv<'a>(self, arguments: &[&'a str]) -> Vec<&'a str> {
        [self.program()].into_iter().chain(arguments.iter().copied()).collect()
    }
}

async fn start_docker(cx: &Context<'_>) {
    cx.waiting("for docker.service to start");
    // If the start fails, the next query shows it.
    let _ = cx.host().units.start("docker.service", STARTED_WITHIN.min(cx.time_left())).await;
}

/// Runs a program of an engine for as long as the step has time, with its output in the journal. Returns how it ended,
/// its last output, and what that output means if it failed.
pub(super) async fn work(
    argv: &[&str],
    variables: &[(String, SecretText)],
    directory: &Path,
    cx: &Context<'_>,
) -> Result<(End, Excerpt, Refusal), ContainerError> {
    let (mut said, mut refusal) = (Excerpt::default(), Refusal::Passing);
    let mut on_line = |line: &str| {
        let line = cx.redact(line);
        refusal = refusal.or(&line);
        cx.progress(Progress::Output(line.clone()));
        said.push(line);
    };
    let end = run(argv, variables, directory, cx.time_left(), cx.host(), &mut on_line).await.map_err(ContainerError::Host)?;
    Ok((end, said, refusal))
}

/// Runs a program of an engine, as root.
pub(super) async fn run(
    argv: &[&str],
    variables: &[(String, SecretText)],
    directory: &Path,
    timeout: Duration,
    host: &Host,
    on_line: OnLine<'_>,
) -> Result<End, HostError> {
    let base = [("PATH", SEARCH_PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")];
    let own = |name: &str| variables.iter().any(|(known, _)| known == name);
    let base = base.into_iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.to_owned(), value.into()));
    let environment = base.chain(variables.iter().cloned()).collect();
    let argv = argv.iter().map(|word| (*word).into()).collect();
    host.commands.run(&Invocation { argv, environment, directory: directory.to_owned(), user: None, timeout, lease: None }, on_line).await
}
