//! Derives from the records of an environment which deployment is in force, and which one a rollback returns to. Pure.

use serde::Serialize;

use super::record::{Goal, Kind, Record, State};

/// Why a record still counts. The objects it names are never pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    UnderWay,
    /// The newest good deployment, which newly launched instances run.
    InForce,
    /// The newest good deployment before it with another goal or other settings, to which a rollback returns. After a
    /// rollback, deployments between it and the one it returned to do not count.
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

/// The records that count, collected from the newest to the oldest.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    pub(crate) found: Vec<(Role, Record)>,
    /// Number and state of the newest record.
    pub(crate) newest: Option<(u64, State)>,
    /// Whether an earlier good deployment had the same goal as the one in force.
    pub(crate) has_the_same: bool,
}

impl Counting {
    /// Takes the next older record. Returns whether an even older one may count too.
    pub(crate) fn take(&mut self, record: Record) -> bool {
        self.newest.get_or_insert((record.number, record.state));
        let role = match record.state {
            State::UnderWay => Some(Role::UnderWay),
            State::Good => self.role_of_good(&record),
            State::Failed | State::Undone => None,
        };
        self.found.extend(role.map(|role| (role, record)));
        role != Some(Role::LastGood)
    }

    fn role_of_good(&mut self, record: &Record) -> Option<Role> {
        let Some(in_force) = self.get(Role::InForce) else { return Some(Role::InForce) };
        let (went_back, has_its_settings) = (in_force.kind == Some(Kind::Rollback), in_force.terms == record.terms);
        if comes_to_the_same(&in_force.goal, &record.goal) {
            self.has_the_same = true;
            // Operators who roll back mean the one with other settings. A rollback itself changes no settings.
            return (!went_back && !has_its_settings).then_some(Role::LastGood);
        }
        (!went_back || self.has_the_same).then_some(Role::LastGood)
    }

    pub(crate) fn get(&self, role: Role) -> Option<&Record> {
        self.found.iter().find(|(found, _)| *found == role).map(|(_, record)| record)
    }
}

/// Returns whether two deployments launch the same instances. A rollback takes nothing else from a record.
fn comes_to_the_same(one: &Goal, other: &Goal) -> bool {
    one.release == other.release && one.image == other.image && one.document.sha256 == other.document.sha256
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::record::Document;
    use crate::deployment::record::tests::{beginner, goal};
    use crate::digest::Sha256;

    /// The numbers of the records that count, given all states, newest first. Each record has its own release.
    fn counting(states: &[State]) -> Vec<(Role, u64)> {
        let mut counting = Counting::default();
        for (state, number) in states.iter().zip((1..=states.len() as u64).rev()) {
            let begun = Record::begin("shop", "prod", number, goal(&format!("v{number}")), beginner("ann"));
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

    /// The number of the last good record, given good records by release and whether they are rollbacks, oldest first.
    fn last_good(records: &[(&str, bool)]) -> Option<u64> {
        let mut counting = Counting::default();
        for ((release, is_rollback), number) in records.iter().rev().zip((1..=records.len() as u64).rev()) {
            let begun = Record::begin("shop", "prod", number, goal(release), beginner("ann"));
            let kind = if *is_rollback { Kind::Rollback } else { Kind::Deploy };
            let mut record = begun.end(State::Good, "2026-11-30T23:05:00Z".parse().unwrap(), None);
            record.kind = Some(kind);
            if !counting.take(record) {
                break;
            }
        }
        counting.get(Role::LastGood).map(|record| record.number)
    }

    #[test]
    fn a_rollback_never_returns_to_a_release_that_was_rolled_back() {
        assert_eq!(last_good(&[("v1", false), ("v2", false)]), Some(1));
        assert_eq!(last_good(&[("v1", false), ("v2", false), ("v1", true)]), None, "v2 is what was bad");
        assert_eq!(last_good(&[("v0", false), ("v1", false), ("v2", false), ("v1", true)]), Some(1));
        // A deployment of an older release is not a rollback: what ran before it was good.
        assert_eq!(last_good(&[("v1", false), ("v2", false), ("v1", false)]), Some(2));
        let twice = [("v1", false), ("v2", false), ("v3", false), ("v2", true), ("v1", true)];
        assert_eq!((last_good(&twice[..4]), last_good(&twice)), (Some(1), None));
        assert_eq!(last_good(&[("v1", false), ("v2", false), ("v1", true), ("v3", false)]), Some(3), "which is another release");
    }

    #[test]
    fn a_rollback_skips_identical_deployments() {
        assert_eq!(last_good(&[("v1", false), ("v1", false)]), None);
        assert_eq!(last_good(&[("v1", false), ("v2", false), ("v2", false)]), Some(1));
    }

    #[test]
    fn a_deployment_with_other_settings_is_the_rollback_target() {
        let kept = |number, settings: &str| {
            let terms = Document { key: settings.into(), sha256: Sha256::of(settings.as_bytes()) };
            let begun = Record::begin("shop", "prod", number, goal("v2"), beginner("ann")).on(Kind::Deploy, terms);
            begun.end(State::Good, "2026-11-30T23:05:00Z".parse().unwrap(), None)
        };
        let mut counting = Counting::default();
        assert!(counting.take(kept(3, "large")) && !counting.take(kept(2, "small")));
        assert_eq!(counting.get(Role::LastGood).unwrap().number, 2);
    }
}
