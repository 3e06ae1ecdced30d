//! Reads the files of an image on several threads, each file in parts of limited size.
//!
//! It covers everything below a root that belongs to the image. Filesystems of the kernel, of other machines and of
//! packages are skipped (`mounted`), symbolic links are not followed, only regular files are opened, a file with
//! several names is read once, and the members of archives are read (`packed`). A [`Reader`] decides which files are
//! read and processes their content. `packages` knows which files were installed by packages, and `published` which of
//! them are as published.

mod file;
mod git;
mod members;
// Filesystems are told apart by the numbers of Linux.
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/mounted.rs")]
mod mounted;
mod packages;
mod packed;
mod parts;
mod published;
mod reader;
mod walk;

pub(crate) use packages::{Owned, SYSTEM, owned};
pub(crate) use parts::Part;
pub(crate) use published::{By, Published, source_of};
pub(crate) use reader::{Reader, Seen};
pub(crate) use walk::read;
