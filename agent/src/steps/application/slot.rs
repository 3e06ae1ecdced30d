//! The two slots of an application.

use serde::{Deserialize, Serialize};

/// One of the two slots of an application. A generation runs in one, while the other is free or holds the previous
/// generation.
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

    /// The value of `$PORT` in this slot, for an application with port `port`.
    pub(crate) fn port(self, port: u16, overlaps: bool) -> u16 {
        match (overlaps, self) {
            (false, _) => port,
            (true, Self::A) => port.saturating_add(10_000),
            (true, Self::B) => port.saturating_add(20_000),
        }
    }

    /// Whether a port is that of an overlapping slot: no application or proxy itself has such a port.
    pub(crate) fn is_apart(port: u16) -> bool {
        port >= 10_000
    }

    /// The port of an application whose `$PORT` is `own` in this slot.
    pub(crate) fn reached_at(self, own: u16, overlaps: bool) -> u16 {
        own - self.port(0, overlaps)
    }
}
