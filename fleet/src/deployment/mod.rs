//! Deployments: their records, what follows from them, the next step, what a deployment would change, and how long it
//! takes. Pure.

pub(crate) mod change;
pub(crate) mod course;
pub(crate) mod estimate;
pub(crate) mod freeze;
pub(crate) mod history;
pub(crate) mod in_place;
pub(crate) mod record;
pub(crate) mod rollout;
pub(crate) mod slot;
pub(crate) mod swap;
pub(crate) mod terms;

#[cfg(test)]
mod written;
