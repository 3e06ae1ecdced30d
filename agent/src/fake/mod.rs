//! The machine and AWS, in memory: fakes return what was put in, and what was never put in does not exist.
//!
//! They serve the laws, the unit tests, and `ingot dry-run`, which boots on them in place of the real ones.
#![expect(clippy::disallowed_methods, reason = "time in memory is tokio's, which tests may pause")]
#![cfg_attr(not(test), expect(dead_code, reason = "a rehearsal states little of its world; the tests use the rest"))]

pub(crate) mod aws;
pub(crate) mod machine;
#[cfg(test)]
pub(crate) mod suspended;
