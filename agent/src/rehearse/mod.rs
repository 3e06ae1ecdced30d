//! The dry run: a boot of a new machine in memory, where every unit and every user exists.
//!
//! [`rehearsal`] uses the plan, the conductor and the steps of a real boot. The answers of the metadata service, of AWS and
//! of steps are [`given`] by the user or are placeholders; with `--live`, secrets and documents are read from AWS ([`live`]).
//! [`files`] compares and writes the rendered files, [`desk`] runs the programs that check them, and [`show`] prints the
//! result. [`release`] reads the release of an application. [`prepare`] reads the documents, also for `ingot check`.

mod desk;
mod files;
mod given;
pub(crate) mod live;
pub(crate) mod prepare;
mod rehearsal;
mod release;
mod request;
mod show;

pub(crate) use rehearsal::rehearse;
pub(crate) use request::{Refusal, Request};
