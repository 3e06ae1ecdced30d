//! Reads the files of an image, many at a time, each in parts of a bounded size.
//!
//! What is below a root and belongs to the image: no filesystem of the kernel's own, of another machine or of a package
//! (`mounted`), no symbolic link is followed, nothing but a file is opened, a file of several names is read by one of them,
//! and of what is packed its members are (`packed`). Which files are worth reading, and what is made of them, is the business
//! of a [`Reader`]. What packages brought is known from `packages`, and what they published from `published`.

mod file;
mod git;
mod members;
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
