//! What follows from the records of an environment: which deployment is in force, and which one a rollback goes to. Pure.

use serde::Serialize;

use super::record::{Record, State};

/// Why a record still counts. What it names is never pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    UnderWay,
    /// The newest good one: what instances run that are launched now.
    InForce,
    /// The newest good one before it: what a rollback goes to.
    LastGood,
}

impl Role {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::UnderWay => "under way",
            Self::InForce => "in force",
            Self::LastGood => "last good",
        }
    }
}

/// The records that count, found from the newest on.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    pub(crate) found: Vec<(Role, Record)>,
    /// The newest of all, and how it stood.
    pub(crate) newest: Option<(u64, State)>,
}

impl Counting {
    /// Takes the next older record in. Returns whether an older one may count, too.
    pub(crate) fn take(&mut self, record: Record) -> bool {
        self.newest.get_or_insert((record.number, record.state));
        let role = match record.state {
            State::UnderWay => Some(Role::UnderWay),
            State::Good if self.get(Role::InForce).is_none() => Some(Role::InForce),
            State::Good => Some(Role::LastGood),
            State::Failed | State::Undone => None,
        };
        self.found.extend(role.map(|role| (role, record)));
        role != Some(Role::LastGood)
    }

    pub(crate) fn get(&self, role: Role) -> Option<&Record> {
        self.found.iter().find(|(found, _)| *found == role).map(|(_, record)| record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::record::tests::{beginner, goal};

    /// The numbers of those that count, of records by their states, the newest first.
    fn counting(states: &[State]) -> Vec<(Role, u64)> {
        let mut counting = Counting::default();
        for (state, number) in states.iter().zip((1..=states.len() as u64).rev()) {
            let begun = Record::begin("shop", "prod", number, goal("v1"), beginner("ann"));
            let record = if *state == State::UnderWay { begun } else { begun.end(*state, "2026-11-30T23:05:00Z".parse().unwrap(), None) };
            if !counting.take(record) {
                break;
            }
        }
        let newest = states.first().map(|state| (states.len() as u64, *state));
        assert_eq!(counting.newest, newest, "whether it counts or not");
        counting.found.iter().map(|(role, record)| (*role, record.number)).collect()
    }

    #[test]
    fn failed_ones_never_count() {
        use State::{Failed, Good, UnderWay, Undone};
        assert_eq!(counting(&[]), []);
        assert_eq!(counting(&[Failed, Undone]), []);
        assert_eq!(counting(&[UnderWay]), [(Role::UnderWay, 1)]);
        assert_eq!(counting(&[Failed, Good, Undone, Good, Good]), [(Role::InForce, 4), (Role::LastGood, 2)]);
        assert_eq!(counting(&[UnderWay, Good, Failed, Good]), [(Role::UnderWay, 4), (Role::InForce, 3), (Role::LastGood, 1)]);
    }
}
