//! The contract between the kinds of step in [`steps`](crate::steps) and the code that plans and executes them.

mod account;
pub(crate) mod amount;
mod claims;
mod context;
mod contract;
mod definitions;
pub(crate) mod device_name;
pub(crate) mod erased;
pub(crate) mod fields;
mod in_force;
mod known;
mod leader;
mod order;
mod outputs;
pub(crate) mod phase;
mod progress;
mod shape;
pub(crate) mod verdict;

pub(crate) use account::{Account, Held, Waiting};
pub(crate) use claims::Claims;
pub(crate) use context::{Context, Siblings, World};
pub(crate) use contract::Step;
pub(crate) use definitions::Definitions;
pub(crate) use erased::{AnyStep, Companion, Difference, Fallback, Judgment, Look, Misfit, Written};
pub(crate) use in_force::InForce;
pub(crate) use known::Known;
pub(crate) use leader::Leader;
pub(crate) use order::{Order, Turn};
pub(crate) use outputs::Outputs;
pub(crate) use phase::Phase;
pub(crate) use progress::Progress;
pub(crate) use shape::{AsksAws, Claiming, HasFields, Outline, Shape, Shapes};
pub(crate) use verdict::Verdict;
