//! Combines the events of a stack, scaling activities, target health and the evidence of instances into one story with
//! one cause, and determines the health of an environment. Pure.

mod activity;
mod age;
mod boots;
mod cause;
mod content;
mod happened;
mod health;
mod instance;
mod scaling;
mod spent;
mod tale;
mod words;

#[cfg(test)]
mod streams;

pub(crate) use self::activity::Activity;
pub(crate) use self::age::age;
pub(crate) use self::boots::{Boot, Of, Sum, sums};
pub(crate) use self::cause::{Cause, cause, cause_of_failure, left_nothing, news};
pub(crate) use self::content::{Content, Key, Report, Trouble, Unread};
pub(crate) use self::happened::{Checked, Console, Deployment, Event, Evidence, Happened, Refresh, line_of};
pub(crate) use self::health::{Alarm, Color, Health, Limits, Status, View, health, serving, unknown};
pub(crate) use self::instance::{Instance, Part, Seen, Target};
pub(crate) use self::spent::known;
pub(crate) use self::tale::{Line, tale};
pub(crate) use self::words::{BY_SOMEBODY, is_bad, plain, sentence};
