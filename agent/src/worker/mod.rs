//! The worker: takes messages from a queue and posts them to an application on this machine, as the daemon of Elastic
//! Beanstalk's worker environments does, for as long as the machine runs.
//!
//! | pure | what |
//! |---|---|
//! | [`request`] | the request for a message, byte for byte |
//! | [`verdict`] | what happens to a message after its answer |
//! | [`hand`] | the messages in hand: what to delete, to give back, to hide for longer |
//! | [`gate`], [`pause`] | whether the application is ready, and whether calls to SQS are paused |
//! | [`standing`] | what is in hand at which port, and whether the application there is about to be stopped |
//! | [`course`] | combines all of these: events in, orders out |
//!
//! [`cron`] sends the messages of periodic tasks when they are due. [`daemon`] carries out the orders, [`begin`] finds
//! the queue, [`metrics`] sends metrics to CloudWatch, and [`status`] is the daemon's status file. The settings come
//! from the step: [`steps::worker`](crate::steps::worker).

mod begin;
mod course;
mod cron;
mod daemon;
mod gate;
mod hand;
mod metrics;
mod pause;
mod request;
mod standing;
pub(crate) mod status;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) use begin::{Begin, Found};
pub(crate) use cron::Cron;
pub(crate) use daemon::Daemon;
