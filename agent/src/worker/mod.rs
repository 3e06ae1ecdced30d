//! The worker: takes messages from a queue and posts them to an application of this machine, as the daemon of Elastic
//! Beanstalk's worker environments does, for as long as the machine runs.
//!
//! | pure | what |
//! |---|---|
//! | [`request`] | the request that a message becomes, byte for byte |
//! | [`verdict`] | what becomes of a message by its answer |
//! | [`hand`] | the messages in hand: what is to be deleted, given back, hidden for longer |
//! | [`gate`], [`pause`] | whether the application is ready, and whether SQS is to be left alone |
//! | [`standing`] | what is in hand at which port, and who is about to stop the application there |
//! | [`course`] | what follows from all of these: events in, orders out |
//!
//! [`cron`] sends the messages of periodic tasks when they are due. [`daemon`] carries the orders out, [`begin`] finds the queue, [`metrics`] tells CloudWatch, and [`status`] is what the
//! daemon says of itself in a file. Its settings are made by the step: [`steps::worker`](crate::steps::worker).

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
