//! `alarms:` — where the alarms of an environment go, and what raises them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::length::Length;
use crate::fleet::site::{Mode, Site, Tier};
use crate::fleet::words::{Email, Link, Whole, Word};

/// Alarms of an environment.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Alarms {
    /// Address that they are sent to. Default: nobody, until you subscribe to the topic of the stack.
    pub(crate) email: Option<Word<Email>>,
    /// Where your copy of the runbook is, as the alarms link to it. Default: docs/runbook.md.
    pub(crate) runbook: Option<Word<Link>>,
    /// Share of requests with a 5xx status that raises the alarm, in per cent, of a load balancer. Default: 5.
    pub(crate) error_percent: Option<Whole<1, 100>>,
    /// Age of the oldest message that raises the alarm, 1m to 14d, of a worker. Default: 15m.
    pub(crate) message_age: Option<Length>,
}

impl Alarms {
    pub(super) fn check(&self, site: &mut Site<'_>) {
        let why = "SQS keeps messages for 14 days at the most";
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
