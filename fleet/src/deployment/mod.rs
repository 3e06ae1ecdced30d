//! Deployments: what is recorded of them, what follows from the records, and what comes next. Pure.

pub(crate) mod course;
pub(crate) mod freeze;
pub(crate) mod history;
pub(crate) mod record;
