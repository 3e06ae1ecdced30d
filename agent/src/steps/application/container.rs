//! Applications that are images: `image:` of the document in place of a bundle, or what a release builds from its Dockerfile.
//!
//! A container is one process of a unit, as any other: podman or docker in the foreground. Its image is named by its ID, so
//! that a tag which comes to mean another image changes nothing that runs: [`Pin`]. The environment reaches it by its standard
//! input, which the program of this machine reads inside before it becomes what the image runs: no engine keeps it, and no
//! image has to bring a shell.

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
    /// More options of `run`.
    options: Vec<String>,
    /// What each process runs, as words that `$NAME` is filled into; nothing where the image says it.
    programs: BTreeMap<String, Vec<String>>,
    /// In place of what the image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    /// The program that takes in the environment: this one.
    ingot: PathBuf,
}

/// The services of a compose file, and the program that runs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Composition {
    /// `docker compose`, for example.
    program: Vec<String>,
    file: String,
    /// Whether ingot names the images that are built, by a file beside.
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
    /// Whether it was not here before: what others have brought is theirs.
    is_ours: bool,
    /// The release that it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<PathBuf>,
}

impl Container {
    /// The same, with what its image says where nothing else does.
    pub(super) fn completed(&self, pin: Option<Pin>) -> Self {
        let mut whole = self.clone();
        let Some(pin) = pin.filter(|_| self.programs.is_empty()) else { return whole };
        let literal = |words: Vec<String>| words.into_iter().map(|word| word.replace('$', "$$")).collect::<Vec<_>>();
        // Whoever names another entrypoint does not get the arguments of the image's own.
        let own = if self.entrypoint.is_some() { Vec::new() } else { literal(pin.command) };
        let mut words = self.entrypoint.clone().unwrap_or_else(|| literal(pin.entrypoint));
        words.extend(self.command.clone().unwrap_or(own));
        whole.programs.insert(WEB.to_owned(), words);
        whole.port = self.port.or(pin.port);
        whole.image = pin.image;
        whole
    }

    /// Where `web` listens inside, as far as that is known without its image.
    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    /// The name of its image, as the document or ingot has it.
    pub(super) fn image(&self) -> &str {
        &self.image
    }
}

impl Pin {
    pub(super) fn is_of(&self, image: &str) -> bool {
        self.image == image && self.release.is_none()
    }

    /// Whether the image says nothing of what it runs.
    fn is_idle(&self) -> bool {
        self.entrypoint.is_empty() && self.command.is_empty()
    }
}
