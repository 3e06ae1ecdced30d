//! Simple Queue Service: how a worker receives messages from a queue, deletes them, and returns them.

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

/// The name of SQS in IAM, and the meaning of its errors.
pub(crate) const SERVICE: &Service = &Service { name: "sqs", hint, is_transient: |_| false };

/// The maximum number of messages in one call.
pub(crate) const BATCH: usize = 10;

/// How long SQS waits for a message, in seconds. SQS allows 20, but a worker that stops has to wait for the running
/// call. An empty queue costs six calls a minute.
pub(crate) const LONG_POLL: u64 = 10;

/// The longest time for which SQS hides a message, counted from its receipt.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>.
pub(crate) const HIDDEN_AT_MOST: Duration = Duration::from_secs(43_200);

/// A queue that exists.
#[async_trait(?Send)]
pub(crate) trait Queue {
    /// GetQueueAttributes.
    async fn attributes(&self) -> Result<Attributes, AwsError>;

    /// The current time according to SQS.
    fn time(&self) -> Timestamp;

    /// ReceiveMessage, which waits up to [`LONG_POLL`] for the first message.
    async fn receive(&self, wanted: &Receive) -> Result<Vec<Message>, AwsError>;

    /// DeleteMessageBatch for at most [`BATCH`] receipts. Returns the entries that failed, by their index.
    async fn delete(&self, receipts: &[String]) -> Result<Vec<Rejected>, AwsError>;

    /// SendMessage. Returns the message's ID; for a duplicate that SQS already knows, the ID of the first.
    async fn send(&self, sent: &Sent) -> Result<String, AwsError>;

    /// ChangeMessageVisibilityBatch: hides each message for the given time from now on. Failures as for
    /// [`delete`](Queue::delete).
    async fn hide(&self, receipts: &[(String, Duration)]) -> Result<Vec<Rejected>, AwsError>;
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) body: &'static str,
    /// Attributes of type `String`.
    pub(crate) said: Vec<(&'static str, String)>,
    /// For a FIFO queue: the message group ID, and the deduplication ID, which no two messages within 5 minutes may
    /// share.
    pub(crate) fifo: Option<(String, String)>,
}

/// The parameters of one ReceiveMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Receive {
    /// The maximum number of messages: 1 to [`BATCH`].
    pub(crate) most: usize,
    /// How long the messages stay hidden from other receivers.
    pub(crate) visibility: Duration,
    /// For a FIFO queue: the receive request attempt ID. If the answer to a call was lost, repeating the call with the
    /// same ID returns the same messages.
    pub(crate) attempt: Option<String>,
}

/// What a worker needs to know about a queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Whether messages that fail too often are moved to another queue.
    pub(crate) has_dead_letters: bool,
}

/// A message as it was received.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Message {
    #[serde(rename = "MessageId")]
    pub(crate) id: String,
    /// Identifies this receipt of the message; a later receipt has another handle.
    #[serde(rename = "ReceiptHandle")]
    pub(crate) receipt: String,
    pub(crate) body: String,
    /// Attributes set by SQS: `SenderId`, `SentTimestamp`, `ApproximateReceiveCount` …
    pub(crate) attributes: BTreeMap<String, String>,
    /// Attributes set by the sender.
    #[serde(rename = "MessageAttributes")]
    pub(crate) said: BTreeMap<String, Said>,
}

/// An attribute set by the sender.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Said {
    /// `String`, `Number` or `Binary`, optionally followed by a dot and a custom label.
    pub(crate) data_type: String,
    pub(crate) string_value: Option<String>,
}

impl Message {
    /// How often the message has been received, including this time.
    pub(crate) fn receive_count(&self) -> u32 {
        self.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
    }

    /// When it was sent, in milliseconds since 1970.
    pub(crate) fn sent_ms(&self) -> Option<i64> {
        self.attributes.get("SentTimestamp")?.parse().ok()
    }

    /// When any receiver first received it, in milliseconds since 1970.
    pub(crate) fn first_received_ms(&self) -> Option<i64> {
        self.attributes.get("ApproximateFirstReceiveTimestamp")?.parse().ok()
    }

    /// The sender according to SQS: `AROA…:i-…`.
    pub(crate) fn sender(&self) -> Option<&str> {
        self.attributes.get("SenderId").map(String::as_str)
    }

    /// The text of an attribute set by the sender.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.said.get(name)?.string_value.as_deref()
    }
}

#[cfg(test)]
impl Message {
    /// The same message with one more attribute set by SQS.
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.attributes.insert(name.into(), value.to_string());
        self
    }

    /// The same message with one more text attribute set by the sender.
    pub(crate) fn saying(mut self, name: &str, data_type: &str, value: &str) -> Self {
        self.said.insert(name.into(), Said { data_type: data_type.into(), string_value: Some(value.into()) });
        self
    }
}

/// An entry of a batch that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Its index in the batch.
    pub(crate) at: usize,
    pub(crate) code: String,
    /// Whether a retry may help.
    pub(crate) transient: bool,
}

fn hint(error: &AwsError) -> Option<String> {
    let AwsError { operation, resource, code, kind, .. } = error;
    match kind {
        // IAM has no separate batch actions.
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
