//! Releases: packed from a directory or taken from an archive, named, and described.

pub(crate) mod archive;
pub(crate) mod content;
pub(crate) mod manifest;
pub(crate) mod name;
pub(crate) mod pack;
pub(crate) mod revision;
mod tree;
