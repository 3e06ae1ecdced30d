//! What a boot document can ask for, one file per kind.
//!
//! A kind is a struct that holds its fields, judges what it finds on the machine, and removes what differs. To add
//! one: a file here that implements [`Step`](crate::step::Step), a line in [`document::KINDS`](crate::document::KINDS),
//! an example in `tests/documents/`.

pub(crate) mod bundle;
pub(crate) mod command;
pub(crate) mod credential;
pub(crate) mod database;
pub(crate) mod file;
pub(crate) mod install;
pub(crate) mod mount;
mod ordering;
pub(crate) mod preload;
mod ready;
pub(crate) mod secret;
pub(crate) mod service;
pub(crate) mod signal;
mod stamps;
pub(crate) mod volume;
