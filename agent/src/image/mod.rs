//! An image: what a root directory holds, read or scrubbed, mounted or not.
//!
//! Nothing here decides what is a trace or a secret; [`seal`](crate::seal) does.
#![expect(clippy::disallowed_methods, reason = "this module is what the rule points to")]

pub(crate) mod builder;
pub(crate) mod contents;
pub(crate) mod scrub;
