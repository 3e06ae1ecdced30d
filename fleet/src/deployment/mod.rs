//! Deployments: what is recorded of them, what follows from the records, what comes next, and what one would change. Pure.

pub(crate) mod change;
pub(crate) mod course;
pub(crate) mod freeze;
pub(crate) mod history;
pub(crate) mod record;
pub(crate) mod rollout;
pub(crate) mod terms;
