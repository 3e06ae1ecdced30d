//! Applications that are images: `image:` of the document in place of a bundle, or what a release builds from its Dockerfile.
//!
//! A container is one process of a unit, as any other: podman or docker in the foreground. Its image is named by its ID, so
//! that a tag which comes to mean another image changes nothing that runs: [`Pin`]. The environment reaches it by its standard
//! input, which the program of this machine reads inside before it becomes what the image runs: no engine keeps it, and no
//! image has to bring a shell.

mod ask;
mod engine;
mod image;
mod line;
mod pull;
pub(crate) mod reference;
mod registry;
mod sweep;
pub(super) mod trouble;
pub(crate) mod words;
mod wrong;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use self::engine::Engine;
pub(super) use self::line::Run;

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
    /// What each process runs, as words that `$NAME` is filled into.
    programs: BTreeMap<String, Vec<String>>,
    /// The program that takes in the environment: this one.
    ingot: PathBuf,
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
}
