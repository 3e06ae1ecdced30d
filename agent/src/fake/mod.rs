//! The machine and AWS, in memory: what is put in can be read back, and what was never put in is not there.
//!
//! They serve `ingot dry-run`, which boots on them in place of the real ones, the laws and the unit tests.
#![expect(clippy::disallowed_methods, reason = "time in memory is tokio's, which tests may pause")]
#![cfg_attr(not(test), expect(dead_code, reason = "a rehearsal states little of its world; the tests use the rest"))]

pub(crate) mod aws;
pub(crate) mod machine;
