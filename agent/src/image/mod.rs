//! An image: the content of a root directory, mounted or not, which can be read or scrubbed.
//!
//! This module does not decide what is a trace or a secret; [`seal`](crate::seal) does.
#![expect(clippy::disallowed_methods, reason = "this module is what the rule points to")]

pub(crate) mod builder;
pub(crate) mod contents;
// Sealing needs openat2(2): elsewhere, no image can be opened.
#[cfg_attr(not(target_os = "linux"), path = "elsewhere/scrub.rs")]
pub(crate) mod scrub;
