//! `alarms:` — the recipient of an environment's alarms, and their thresholds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::length::Length;
use crate::fleet::site::{Mode, Site, Tier};
use crate::fleet::words::{Email, Link, Whole, Word};

/// Alarms of an environment.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Alarms {
    /// Address that alarms are sent to. Default: none, until you subscribe to the topic of the stack.
    pub(crate) email: Option<Word<Email>>,
    /// URL or path of your copy of the runbook, to which alarms link. Default: docs/runbook.md.
    pub(crate) runbook: Option<Word<Link>>,
    /// Percentage of a load balancer's requests with a 5xx status that raises the alarm. Default: 5.
    pub(crate) error_percent: Option<Whole<1, 100>>,
    /// Age of the oldest message in a worker's queue that raises the alarm, 1m to 14d. Default: 15m.
    pub(crate) message_age: Option<Length>,
}

impl Alarms {
    pub(super) fn check(&self, site: &mut Site<'_>) {
        let why = "SQS keeps messages for at most 14 days";
        site.within("alarms.message_age", self.message_age, Length::minutes(1), Length::hours(14 * 24), why);
    }

    pub(super) fn complete(&mut self, tier: Tier, mode: Mode) {
        self.runbook.get_or_insert_with(|| Word::parse("docs/runbook.md").expect("it is a path"));
        match (tier, mode) {
            (Tier::Worker, _) => drop(self.message_age.get_or_insert(Length::minutes(15))),
            (Tier::Web, Mode::HighlyAvailable) => drop(self.error_percent.get_or_insert(Whole(5))),
            (Tier::Web, Mode::SingleInstance) => {}
        }
    }
}
