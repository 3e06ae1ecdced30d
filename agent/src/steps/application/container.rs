//! Applications that run as images, which `image:` names or the Dockerfile of a release builds.
//!
//! A container is one process in a unit, like any other: podman or docker in the foreground. Its image is named by its
//! ID, so moving a tag to another image does not affect what runs: [`Pin`]. The container receives the environment on
//! its standard input. This machine's ingot program reads it inside the container before it executes what the image
//! runs, so no engine stores the environment and no image needs a shell.

mod ask;
mod compose;
mod engine;
mod image;
mod line;
mod own;
mod pull;
pub(crate) mod reference;
mod registry;
mod release;
mod services;
mod sweep;
pub(super) mod trouble;
pub(crate) mod words;
mod wrong;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(super) use self::compose::Composed;
use self::engine::Engine;
pub(super) use self::line::Run;
use super::procfile::WEB;

/// What the processes of a generation run in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Container {
    engine: Engine,
    /// The ID of the image.
    image: String,
    /// Where `web` listens inside; `None` is the port of its slot.
    port: Option<u16>,
    /// Additional options of `run`.
    options: Vec<String>,
    /// The command of each process, as words in which `$NAME` is expanded; empty if the image defines it.
    programs: BTreeMap<String, Vec<String>>,
    /// Overrides the entrypoint of the image; `command` likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    /// The program that reads the environment inside the container: this ingot binary.
    ingot: PathBuf,
}

/// The services of a compose file, and the program that runs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Composition {
    /// `docker compose`, for example.
    program: Vec<String>,
    file: String,
    /// Whether ingot names the images that are built, by an additional compose file.
    #[serde(default)]
    names_images: bool,
}

/// What the name of an image meant when it was pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    engine: Engine,
    /// The ID of the image.
    image: String,
    /// `repository@sha256:…`, or the ID of an image that no registry has.
    pub(crate) pinned: String,
    port: Option<u16>,
    entrypoint: Vec<String>,
    command: Vec<String>,
    /// Whether ingot pulled it. Images that were here before belong to someone else and are never removed.
    is_ours: bool,
    /// The release that it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<PathBuf>,
}

impl Container {
    /// A copy, completed with what its image declares for everything that is not set otherwise.
    pub(super) fn completed(&self, pin: Option<Pin>) -> Self {
        let mut whole = self.clone();
        let Some(pin) = pin.filter(|_| self.programs.is_empty()) else { return whole };
        let literal = |words: Vec<String>| words.into_iter().map(|word| word.replace('$', "$$")).collect::<Vec<_>>();
        // An entrypoint in the document overrides the image's, and the image's arguments with it.
        let own = if self.entrypoint.is_some() { Vec::new() } else { literal(pin.command) };
        let mut words = self.entrypoint.clone().unwrap_or_else(|| literal(pin.entrypoint));
        words.extend(self.command.clone().unwrap_or(own));
        whole.programs.insert(WEB.to_owned(), words);
        whole.port = self.port.or(pin.port);
        whole.image = pin.image;
        whole
    }

    /// The port on which `web` listens inside, if it is known without the image.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// The name of its image, as the document or ingot gives it.
    pub(super) fn image(&self) -> &str {
        &self.image
    }
}

impl Pin {
    pub(super) fn is_of(&self, image: &str) -> bool {
        self.image == image && self.release.is_none()
    }

    /// Whether the image does not say what it runs.
    fn is_idle(&self) -> bool {
        self.entrypoint.is_empty() && self.command.is_empty()
    }
}
