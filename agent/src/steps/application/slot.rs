//! The two places of an application.

use serde::{Deserialize, Serialize};

/// One of the two places of an application. A generation runs in one while the other is free, or holds the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// What `$PORT` is in this slot, for an application that is reached at `port`.
    pub(crate) fn port(self, port: u16, overlaps: bool) -> u16 {
        match (overlaps, self) {
            (false, _) => port,
            (true, Self::A) => port.saturating_add(10_000),
            (true, Self::B) => port.saturating_add(20_000),
        }
    }

    /// Whether a port is that of a slot which overlaps: no application and no proxy has such a port itself.
    pub(crate) fn is_apart(port: u16) -> bool {
        port >= 10_000
    }

    /// The port at which an application is reached that has `own` in this slot.
    pub(crate) fn reached_at(self, own: u16, overlaps: bool) -> u16 {
        own - self.port(0, overlaps)
    }
}
