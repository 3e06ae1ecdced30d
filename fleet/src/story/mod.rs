//! What happened, as one story with one cause: out of the events of a stack and the evidence that instances left; and how an
//! environment is. Pure.

mod activity;
mod age;
mod cause;
mod happened;
mod health;
mod instance;

pub(crate) use self::activity::Activity;
pub(crate) use self::age::age;
pub(crate) use self::cause::{Cause, cause};
pub(crate) use self::happened::{Event, Evidence};
pub(crate) use self::health::{Alarm, Color, Health, Limits, Status, View, health, serving, unknown};
pub(crate) use self::instance::{Instance, Part, Seen, Target};
