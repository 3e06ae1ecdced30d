//! Carries one deployment or swap from its record to its end. CloudFormation is the engine: it continues and rolls back
//! unattended. This module begins its operations, watches them, and records the outcome.

mod follow;
mod hand;
mod in_place;
mod late;
mod listen;
mod order;
mod seen;
mod swap;
mod tell;
mod terminate;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub(crate) use self::follow::{Conductor, Ended, Until};
pub(crate) use self::listen::Witness;
pub(crate) use self::order::Plan;
pub(crate) use self::swap::{Health, Swapper, at_rest, failure_of};
pub(crate) use self::tell::Tell;
pub(crate) use self::terminate::{Terminate, Terminated};
