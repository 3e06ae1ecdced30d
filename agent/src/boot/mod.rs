//! The conductor of one boot: from the start of the process to the last signal.
//!
//! The conductor takes a [`Request`] and a [`Ground`] to boot, tells an [`Audience`] what people
//! may want to see, and returns an [`Ending`]. It knows nothing of the command line and prints
//! nothing. `ingot boot`, the dry run and the laws call it.
//!
//! | stage | file | result |
//! |---|---|---|
//! | 1 | [`identify`] | the connection to AWS, the lock, the record and the mounts of this instance |
//! | 2 | [`layers`], with the documents they [`include`](mod@include) | the layers of the document |
//! | 3 | [`compile`] | the plan, for the phase that the instance is in |
//! | 4 | [`remember`] | the world that the steps see: record, [`facts`], values |
//!
//! [`conductor`] runs the stages, then the steps, then the steps that outlast the boot. [`ended`] reports a boot that
//! ends before its first step, and still sends its signals. [`release`] switches this instance to another release, and
//! keeps that release if the boot succeeds. [`close`] completes the report. [`state`] is shared by all of these.
//! [`in_force`](mod@in_force) reads the document without a boot.

mod audience;
mod close;
mod cloud;
mod compile;
mod conductor;
mod ended;
mod facts;
mod ground;
mod identify;
mod in_force;
mod in_hand;
mod include;
mod layers;
mod release;
mod remember;
mod request;
mod stand_in;
mod state;
mod stop;
#[cfg(test)]
mod tests;
mod wanted;

pub(crate) use audience::{Audience, Ending};
pub(crate) use cloud::Cloud;
pub(crate) use conductor::boot;
pub(crate) use ground::Ground;
pub(crate) use in_force::in_force;
pub(crate) use in_hand::Asked;
pub(crate) use request::{Request, UserData};
pub(crate) use stand_in::StandIn;
pub(crate) use state::Boot;
pub(crate) use stop::Stop;
pub(crate) use wanted::Wanted;
