//! Deployments: what is recorded of them, and what follows from the records. Pure.

pub(crate) mod history;
pub(crate) mod record;
