//! The drain: detects that this machine is about to end, lets it finish its work, and completes
//! the lifecycle hook that waits for it.
//!
//! | pure | what |
//! |---|---|
//! | [`sign`] | the signs of the end, and what each requires |
//! | [`course`] | the order of the stages, and which are done |
//! | [`outlook`] | how much time is left, and how later signs change that |
//! | [`asked`] | how many times each run of a worker was asked to stop |
//! | [`requests`] | when the last request has arrived |
//! | [`waits`] | whether the lifecycle hook waits as long as a drain may take |
//!
//! [`watch`](mod@watch) waits for a sign, which [`look`] reads, and [`leave`] drains: [`workers`] are asked to stop,
//! requests are [`served`], units are stopped by [`stops`], [`evidence`] is written, and [`hook`] keeps the lifecycle
//! hook waiting and completes it. [`told`] avoids repeated log lines. The completed stages are on the instance's
//! record, so that an interrupted drain can resume. The settings come from the step:
//! [`steps::drain`](crate::steps::drain).

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
