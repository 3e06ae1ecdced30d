//! The dry run: a boot on a machine in memory, new, with every unit installed and every user there.
//!
//! The same plan, the same conductor and the same steps as in a boot. What the metadata service, AWS and earlier steps would
//! say is [`given`], or a placeholder stands in for it; with `--live`, secrets and documents are [`live`]. The files that
//! come out are compared and written by [`files`]; [`desk`] has the programs that check them; [`show`] is how all of it reads.
//! [`prepare`] serves `ingot check` as well.

mod desk;
mod files;
mod given;
mod live;
pub(crate) mod prepare;
mod rehearsal;
mod request;
mod show;

pub(crate) use rehearsal::rehearse;
pub(crate) use request::{Refusal, Request};
