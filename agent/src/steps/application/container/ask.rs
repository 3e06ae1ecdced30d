//! How an engine is asked, and has work done.

use std::path::Path;
use std::time::Duration;

use super::engine::Engine;
use super::image::Image;
use super::trouble::{ContainerError, Refusal};
use crate::host::{End, Host, HostError, Invocation, OnLine, SEARCH_PATH};
use crate::step::fields::Excerpt;
use crate::step::{Context, Progress};

/// Questions that need no network.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// How long the daemon of docker may take to start.
const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// More lines than `image inspect` prints of any image.
const LINES: usize = 20_000;

impl Engine {
    /// The one that this machine has. podman goes first: it needs no daemon, and may be what `docker` is a name for.
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

    /// Has it answer: its end, and what it printed.
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

    /// Whether an image is here, by its name or its ID.
    pub(super) async fn has(self, image: &str, host: &Host) -> Result<bool, HostError> {
        match self.ask(&["image", "inspect", "--format", "{{.Id}}", image], host).await {
            Ok((end, _)) => Ok(end == End::Exited(0)),
            // Neither it nor its images are here any more.
            Err(HostError::Spawn { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What an image that is here says of itself. A machine in memory says nothing.
    pub(super) async fn image(self, name: &str, host: &Host) -> Result<Option<Image>, HostError> {
        let (end, lines) = self.ask(&["image", "inspect", name], host).await?;
        if end != End::Exited(0) {
            return Ok(None);
        }
        let rehearsed = || Image { id: name.to_owned(), command: vec!["serve".to_owned()], ..Image::default() };
        Ok(Some(if lines.is_empty() { rehearsed() } else { Image::parse(&lines.join("\n")).unwrap_or_default() }))
    }

    /// Works for the application, with its output in the journal. What goes wrong is judged by what it said last.
    pub(super) async fn work(self, arguments: &[&str], directory: &Path, what: &str, cx: &Context<'_>) -> Result<(), ContainerError> {
        let (end, said, refusal) = self.attempt(arguments, directory, cx).await?;
        let (end, said, refusal) = match refusal {
            Refusal::Daemon if self == Self::Docker && end != End::Exited(0) => {
                cx.waiting("for docker.service to start");
                // Its failure shows in the next answer.
                let _ = cx.host().units.start("docker.service", STARTED_WITHIN.min(cx.time_left())).await;
                self.attempt(arguments, directory, cx).await?
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

    async fn attempt(self, arguments: &[&str], directory: &Path, cx: &Context<'_>) -> Result<(End, Excerpt, Refusal), ContainerError> {
        let (mut said, mut refusal) = (Excerpt::default(), Refusal::Passing);
        let mut on_line = |line: &str| {
            let line = cx.redact(line);
            refusal = refusal.or(&line);
            cx.progress(Progress::Output(line.clone()));
            said.push(line);
        };
        let end =
            run(&self.argv(arguments), &[], directory, cx.time_left(), cx.host(), &mut on_line).await.map_err(ContainerError::Host)?;
        Ok((end, said, refusal))
    }

    fn argv<'a>(self, arguments: &[&'a str]) -> Vec<&'a str> {
        [self.program()].into_iter().chain(arguments.iter().copied()).collect()
    }
}

/// Runs a program of an engine, as root.
pub(super) async fn run(
    argv: &[&str],
    variables: &[(String, String)],
    directory: &Path,
    timeout: Duration,
    host: &Host,
    on_line: OnLine<'_>,
) -> Result<End, HostError> {
    let base = [("PATH", SEARCH_PATH), ("HOME", "/root"), ("LANG", "C.UTF-8")];
    let variables = variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let environment = base.into_iter().chain(variables).map(|(name, value)| (name.to_owned(), value.into())).collect();
    let argv = argv.iter().map(|word| (*word).into()).collect();
    host.commands.run(&Invocation { argv, environment, directory: directory.to_owned(), user: None, timeout }, on_line).await
}
