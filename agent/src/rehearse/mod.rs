//! The dry run: a boot of a new machine in memory, where every unit and every user exists.
//!
//! [`rehearsal`] uses the plan, the conductor and the steps of a real boot. The answers of the metadata service, of
//! AWS and of steps are [`given`] by the user, or replaced by [placeholders](stand_in); with `--live`, secrets and
//! documents are read from AWS ([`live`]), and on an instance its [`own`] facts. [`invented`] marks what the
//! machine in memory made up. [`files`] compares and writes the rendered files, [`desk`] runs the programs that
//! check them, and [`preview`] and [`show`] show the result. [`release`] reads the release of an application.
//! [`prepare`] reads the documents, also for `ingot check`.

mod desk;
mod files;
mod given;
mod invented;
pub(crate) mod live;
mod own;
pub(crate) mod prepare;
mod preview;
mod rehearsal;
mod release;
mod request;
mod show;
mod stand_in;

pub(crate) use rehearsal::rehearse;
pub(crate) use request::{Facts, Refusal, Request};
