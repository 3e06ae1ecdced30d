//! `queue:` — where the messages of a worker environment come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::length::Length;
use crate::fleet::site::Site;
use crate::fleet::words::{QueueUrl, Whole, Word};

/// Queue of a worker environment: made with its dead-letter queue, or one of yours.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Queue {
    /// How long a message is hidden from other instances, 1s to 12h: at least `visibility` of the document's worker.
    /// Default: 5m.
    pub(crate) visibility: Option<Length>,
    /// Deliveries after which a message goes to the dead-letter queue. Default: 10.
    pub(crate) retries: Option<Whole<1, 1000>>,
    /// Whether the queue is a FIFO queue. Counts at creation only. Default: false.
    pub(crate) fifo: Option<bool>,
    /// How long the queue keeps a message, 1m to 14d. Default: 4d.
    pub(crate) retention: Option<Length>,
    /// URL of a queue of yours, in place of one that is made.
    pub(crate) url: Option<Word<QueueUrl>>,
}

impl Queue {
    pub(super) fn check(&self, site: &mut Site<'_>) {
        site.within(
            "queue.visibility",
            self.visibility,
            Length::seconds(1),
            Length::hours(12),
            "SQS hides a message for 12 hours at the most",
        );
        let why = "SQS keeps messages for 14 days at the most";
        site.within("queue.retention", self.retention, Length::minutes(1), Length::hours(14 * 24), why);
        if self.url.is_some() {
            let own = [
                ("visibility", self.visibility.is_some()),
                ("retries", self.retries.is_some()),
                ("fifo", self.fifo.is_some()),
                ("retention", self.retention.is_some()),
            ];
            for (name, _) in own.into_iter().filter(|(_, is_given)| *is_given) {
                let message = format!("`{name}` is a matter of the queue at `url`");
                site.wrong_key(&format!("queue.{name}"), message, format!("remove `{name}`, or `url`"));
            }
        }
    }

    pub(super) fn complete(&mut self) {
        if self.url.is_none() {
            self.visibility.get_or_insert(Length::minutes(5));
            self.retries.get_or_insert(Whole(10));
            self.fifo.get_or_insert(false);
            self.retention.get_or_insert(Length::hours(4 * 24));
        }
    }
}
