//! Warm pools: which steps are due before an instance enters its pool, and which when it goes into service.
//!
//! An instance of a warm pool is launched, prepared, and put aside, stopped or running; later it goes
//! into service. So a document has two phases. A step with `phase: warm` runs before the pool, and is
//! checked again when the instance goes into service; one with `phase: serve` runs only then. If the
//! instance is not in a warm pool, all steps run at once.
//!
//! Source: <https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pool-instance-lifecycle.html>.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// From which phase on a step is due; of a boot, which phase it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Before the instance enters its warm pool.
    Warm,
    /// When the instance goes into service.
    Serve,
}

impl Phase {
    /// The phase of an instance, given the state in which its group wants it. An instance without a
    /// state goes into service.
    pub(crate) fn of(target_lifecycle_state: Option<&str>) -> Self {
        if target_lifecycle_state.is_some_and(|state| state.starts_with("Warmed:")) { Self::Warm } else { Self::Serve }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Serve => "serve",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_from_the_state_that_the_group_wants() {
        for (state, phase) in [
            (None, Phase::Serve),
            (Some("InService"), Phase::Serve),
            (Some("Warmed:Stopped"), Phase::Warm),
            (Some("Warmed:Running"), Phase::Warm),
            (Some("Warmed:Hibernated"), Phase::Warm),
            (Some("Terminated"), Phase::Serve),
        ] {
            assert_eq!(Phase::of(state), phase, "{state:?}");
        }
    }
}
