//! The boot document.

pub(crate) mod encoding;
