//! What every kind of step is made of: the contract between the kinds in [`steps`](crate::steps) and those who plan and
//! execute them.

pub(crate) mod amount;
mod claims;
mod context;
mod contract;
mod definitions;
pub(crate) mod device_name;
pub(crate) mod erased;
pub(crate) mod fields;
mod order;
mod outputs;
pub(crate) mod phase;
mod progress;
mod shape;
pub(crate) mod verdict;

pub(crate) use claims::Claims;
pub(crate) use context::{Context, Known, Siblings, World};
pub(crate) use contract::Step;
pub(crate) use definitions::Definitions;
pub(crate) use erased::{AnyStep, Companion, Difference, Judgment, Look, Written};
pub(crate) use order::Order;
pub(crate) use outputs::Outputs;
pub(crate) use phase::Phase;
pub(crate) use progress::Progress;
pub(crate) use shape::{AsksAws, HasFields, Outline, Shape, Shapes};
pub(crate) use verdict::Verdict;
