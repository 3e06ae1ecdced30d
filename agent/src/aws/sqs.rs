//! Simple Queue Service, as far as a worker takes messages from a queue and gives them back.

pub(super) mod live;
mod named;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;

use crate::aws::client::error::{AwsError, AwsErrorKind, Service};

pub(crate) use self::live::LiveQueue;
pub(crate) use self::named::QueueName;

/// The name of SQS in IAM, and what its errors mean.
pub(crate) const SERVICE: &Service = &Service { name: "sqs", hint, is_transient: |_| false };

/// As many messages as one call takes or brings.
pub(crate) const BATCH: usize = 10;

/// How long SQS waits for a message, in seconds, of the 20 that it grants: a worker that stops waits for it in turn. An empty
/// queue so costs six calls a minute.
pub(crate) const LONG_POLL: u64 = 10;

/// How long SQS hides a message at most, counted from when it was received.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>.
pub(crate) const HIDDEN_AT_MOST: Duration = Duration::from_secs(43_200);

/// A queue that was found.
#[async_trait(?Send)]
pub(crate) trait Queue {
    /// GetQueueAttributes.
    async fn attributes(&self) -> Result<Attributes, AwsError>;

    /// What time it is by SQS.
    fn time(&self) -> Timestamp;

    /// ReceiveMessage, which waits up to [`LONG_POLL`] for the first message.
    async fn receive(&self, wanted: &Receive) -> Result<Vec<Message>, AwsError>;

    /// DeleteMessageBatch of at most [`BATCH`] receipts: what was not done, by its place among them.
    async fn delete(&self, receipts: &[String]) -> Result<Vec<Rejected>, AwsError>;

    /// SendMessage. The ID of the message; of one that SQS knows already, that of the first.
    async fn send(&self, sent: &Sent) -> Result<String, AwsError>;

    /// ChangeMessageVisibilityBatch: each is hidden for so long from now on; as [`delete`](Queue::delete).
    async fn hide(&self, receipts: &[(String, Duration)]) -> Result<Vec<Rejected>, AwsError>;
}

/// A message that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) body: &'static str,
    /// Attributes of type `String`.
    pub(crate) said: Vec<(&'static str, String)>,
    /// Of a FIFO queue: the group, and what two messages within 5 minutes may not have in common.
    pub(crate) fifo: Option<(String, String)>,
}

/// What is wanted of one ReceiveMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receive {
    /// How many messages at most: 1 to [`BATCH`].
    pub(crate) most: usize,
    /// How long they stay hidden from others.
    pub(crate) visibility: Duration,
    /// Of a FIFO queue: a call whose answer was lost brings the same messages again if it is made again with the same.
    pub(crate) attempt: Option<String>,
}

/// What a worker needs to know of a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Whether messages that fail too often go to another queue.
    pub(crate) has_dead_letters: bool,
}

/// A message as it was received.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Message {
    #[serde(rename = "MessageId")]
    pub(crate) id: String,
    /// What names this reception of it: a later one has another.
    #[serde(rename = "ReceiptHandle")]
    pub(crate) receipt: String,
    pub(crate) body: String,
    /// What SQS says of it: `SenderId`, `SentTimestamp`, `ApproximateReceiveCount` …
    pub(crate) attributes: BTreeMap<String, String>,
    /// What its sender says of it.
    #[serde(rename = "MessageAttributes")]
    pub(crate) said: BTreeMap<String, Said>,
}

/// An attribute by the sender.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Said {
    /// `String`, `Number` or `Binary`, which a dot and a word may follow.
    pub(crate) data_type: String,
    pub(crate) string_value: Option<String>,
}

impl Message {
    /// How often it was received, this time included.
    pub(crate) fn receive_count(&self) -> u32 {
        self.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
    }

    /// When it was sent, in milliseconds since 1970.
    pub(crate) fn sent_ms(&self) -> Option<i64> {
        self.attributes.get("SentTimestamp")?.parse().ok()
    }

    /// When it was received for the first time, by anybody.
    pub(crate) fn first_received_ms(&self) -> Option<i64> {
        self.attributes.get("ApproximateFirstReceiveTimestamp")?.parse().ok()
    }

    /// Who sent it, by SQS: `AROA…:i-…`.
    pub(crate) fn sender(&self) -> Option<&str> {
        self.attributes.get("SenderId").map(String::as_str)
    }

    /// An attribute by the sender that is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.said.get(name)?.string_value.as_deref()
    }
}

#[cfg(test)]
impl Message {
    /// The same, with one more thing that SQS says of it.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.attributes.insert(name.into(), value.to_string());
        self
    }

    /// The same, with one more text of its sender.
    pub(crate) fn saying(mut self, name: &str, data_type: &str, value: &str) -> Self {
        self.said.insert(name.into(), Said { data_type: data_type.into(), string_value: Some(value.into()) });
        self
    }
}

/// An entry of a batch that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Its place in the batch.
    pub(crate) at: usize,
    pub(crate) code: String,
    /// Whether another try may help.
    pub(crate) transient: bool,
}

fn hint(error: &AwsError) -> Option<String> {
    let AwsError { operation, resource, code, kind, .. } = error;
    match kind {
        // IAM knows no batches.
        AwsErrorKind::Denied => {
            let action = operation.strip_suffix("Batch").unwrap_or(operation);
            Some(format!(
                "allow sqs:{action} on {resource} in the instance's role; a queue of another account must allow it in its policy, too"
            ))
        }
        AwsErrorKind::NotFound => Some(format!(
            "create {resource} in this account and region, or correct `queue` in the document; a queue of another account must allow this role in its policy"
        )),
        AwsErrorKind::Throttled if code == "OverLimit" => Some(format!(
            "{resource} has as many messages in flight as a queue may have: look for workers that neither delete nor return them"
        )),
        _ => None,
    }
}
