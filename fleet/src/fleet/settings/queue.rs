//! `queue:` — the queue whose messages a worker environment processes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::length::Length;
use crate::fleet::site::Site;
use crate::fleet::words::{QueueUrl, Whole, Word};

/// Queue of a worker environment: created with its dead-letter queue, or a queue of your own.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Queue {
    /// How long a message is hidden from other instances, 1s to 12h; at least `visibility` of the document's worker.
    /// Default: 5m.
    pub(crate) visibility: Option<Length>,
    /// Number of deliveries after which a message goes to the dead-letter queue. Default: 10.
    pub(crate) retries: Option<Whole<1, 1000>>,
    /// Whether the queue is a FIFO queue. Takes effect only at creation. Default: false.
    pub(crate) fifo: Option<bool>,
    /// How long the queue keeps a message, 1m to 14d. Default: 4d.
    pub(crate) retention: Option<Length>,
    /// URL of a queue of your own, instead of a new one.
    pub(crate) url: Option<Word<QueueUrl>>,
}

impl Queue {
    pub(super) fn check(&self, site: &mut Site<'_>) {
        site.within("queue.visibility", self.visibility, Length::seconds(1), Length::hours(12), "SQS hides a message for at most 12 hours");
        let why = "SQS keeps messages for at most 14 days";
        site.within("queue.retention", self.retention, Length::minutes(1), Length::hours(14 * 24), why);
        if self.url.is_some() {
            let own = [
                ("visibility", self.visibility.is_some()),
                ("retries", self.retries.is_some()),
                ("fifo", self.fifo.is_some()),
                ("retention", self.retention.is_some()),
            ];
            for (name, _) in own.into_iter().filter(|(_, is_given)| *is_given) {
                let message = format!("`{name}` is determined by the queue at `url`");
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
