//! The drain: sees that this machine is about to end, lets it finish its work, and tells the lifecycle hook that waits for it.
//!
//! | pure | what |
//! |---|---|
//! | [`sign`] | the signs of the end, and what each asks for |
//! | [`course`] | what comes after what, what is done, how much time is left |
//! | [`outlook`] | how much time is left, and what signs that come in the meantime change |
//! | [`asked`] | how often each run of a worker is asked to stop |
//! | [`requests`] | when the last request has come |
//! | [`waits`] | whether the lifecycle hook waits as long as a drain may take |
//!
//! [`watch`](mod@watch) waits for a sign, [`look`] looks for it, [`leave`] drains: [`workers`] are asked to stop, requests are
//! [`served`], then come [`stops`] of units, [`evidence`] is written, [`hook`] keeps the lifecycle hook waiting and completes it,
//! and [`told`] says each thing once. What a drain has done is on record of the instance, so that one which is cut off goes on
//! from there. Its settings are made by the step: [`steps::drain`](crate::steps::drain).

mod asked;
mod course;
mod evidence;
mod hook;
mod leave;
mod look;
mod outlook;
mod requests;
mod served;
mod sign;
mod stops;
#[cfg(test)]
mod tests;
mod told;
mod trouble;
mod waits;
mod watch;
mod workers;

pub(crate) use watch::{now, settings, watch};
