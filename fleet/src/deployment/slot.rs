//! The two slots of an edge, and how requests are divided between them. Pure.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::course::{Parameters, Standing};

/// Weight of the slot that serves. The other slot has weight 0.
const ALL: u32 = 100;

/// One of the two target groups of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Slot {
    A,
    B,
}

impl Slot {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Reads edge and slot of an environment from its parameter `Slot`, such as `main-a`. Returns `None` if it has its
    /// own load balancer.
    pub(crate) fn of(standing: &Standing) -> Option<(&str, Self)> {
        let (edge, slot) = standing.parameter("Slot")?.rsplit_once('-')?;
        Some((edge, Self::BOTH.into_iter().find(|one| one.word() == slot)?))
    }

    /// The parameters of an edge that send every request to this slot.
    pub(crate) fn parameters(self) -> Parameters {
        let weight = |slot: Self| if slot == self { ALL } else { 0 };
        [("WeightA", weight(Self::A)), ("WeightB", weight(Self::B))]
            .into_iter()
            .map(|(name, weight)| (name.to_owned(), weight.to_string()))
            .collect()
    }

    /// Name of the edge's output that holds the target group of this slot.
    pub(crate) fn targets(self) -> &'static str {
        match self {
            Self::A => "TargetsA",
            Self::B => "TargetsB",
        }
    }

    /// Name of the edge's output that holds load balancer and target group as CloudWatch names them.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::A => "LabelA",
            Self::B => "LabelB",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The weights of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weights {
    a: u32,
    b: u32,
}

impl Weights {
    /// Returns `None` if it is not the stack of an edge.
    pub(crate) fn of(standing: &Standing) -> Option<Self> {
        let weight = |name: &str| standing.parameter(name)?.parse().ok();
        Some(Self { a: weight("WeightA")?, b: weight("WeightB")? })
    }

    pub(crate) fn of_slot(self, slot: Slot) -> u32 {
        match slot {
            Slot::A => self.a,
            Slot::B => self.b,
        }
    }

    /// Returns the slot that gets every request, or `None` if both get some.
    pub(crate) fn serving(self) -> Option<Slot> {
        match (self.a, self.b) {
            (1.., 0) => Some(Slot::A),
            (0, 1..) => Some(Slot::B),
            _ => None,
        }
    }

    /// Returns the share of a slot in percent.
    pub(crate) fn percent(self, slot: Slot) -> u32 {
        100 * self.of_slot(slot) / (self.a + self.b).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(parameters: &[(&str, &str)]) -> Standing {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Standing { parameters, ..Standing::default() }
    }

    #[test]
    fn the_last_hyphen_is_before_the_slot() {
        let of = |value: &'static str| Slot::of(&standing(&[("Slot", value)])).map(|(edge, slot)| (edge.to_owned(), slot));
        assert_eq!(of("main-a"), Some(("main".into(), Slot::A)));
        assert_eq!(of("eu-b-b"), Some(("eu-b".into(), Slot::B)));
        assert_eq!([of(""), of("main"), of("main-c")], [None, None, None]);
        assert_eq!(Slot::of(&standing(&[])), None, "of an older template");
    }

    #[test]
    fn the_slot_that_serves_has_all_weight() {
        let of = |a: &'static str, b: &'static str| Weights::of(&standing(&[("WeightA", a), ("WeightB", b)])).unwrap();
        assert_eq!((of("100", "0").serving(), of("0", "1").serving(), of("90", "10").serving()), (Some(Slot::A), Some(Slot::B), None));
        assert_eq!((of("3", "1").percent(Slot::B), of("0", "0").percent(Slot::A)), (25, 0));
        assert_eq!(Weights::of(&standing(&[("WeightA", "1")])), None);
        let set = |slot: Slot| Weights::of(&Standing { parameters: slot.parameters(), ..Standing::default() }).unwrap().serving();
        assert_eq!((set(Slot::A), set(Slot::B)), (Some(Slot::A), Some(Slot::B)));
    }
}
