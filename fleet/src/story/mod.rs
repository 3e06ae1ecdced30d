//! What happened, as one story with one cause: out of the events of a stack and the evidence that instances left. Pure.

mod cause;
mod happened;

pub(crate) use self::cause::{Cause, cause};
pub(crate) use self::happened::{Event, Evidence};
