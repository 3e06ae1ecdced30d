//! The conductor of one boot: from the start of the process to the last signal.
//!
//! It takes a [`Request`] and a [`Ground`] to boot on, tells an [`Audience`] what a person may want to see, and gives back
//! an [`Ending`]. It does not know the command line and prints nothing; `ingot boot`, the dry run and the laws call it.
//!
//! | stage | file | what it leaves |
//! |---|---|---|
//! | 1 | [`identify`] | the way to AWS, the lock, the record and the mounts of this instance |
//! | 2 | [`layers`], with what they [`include`] | the layers of the document |
//! | 3 | [`compile`] | the plan, for the phase that the instance is in |
//! | 4 | [`remember`] | the world that the steps see: record, [`facts`], values |
//!
//! [`conductor`] goes through them, runs the steps and what stands beside the boot. A boot that stops before its first
//! step [`ended`] there, and sends its signals all the same. [`close`] ends the report. [`state`] is what they share.

mod audience;
mod close;
mod cloud;
mod compile;
mod conductor;
mod ended;
mod facts;
mod ground;
mod identify;
mod include;
mod layers;
mod remember;
mod request;
mod stand_in;
mod state;
mod stop;
#[cfg(test)]
mod tests;

pub(crate) use audience::{Audience, Ending};
pub(crate) use conductor::boot;
pub(crate) use ground::Ground;
pub(crate) use request::{Request, UserData};
pub(crate) use stand_in::StandIn;
pub(crate) use state::Boot;
