//! SQS as AWS runs it, by signed JSON calls.
//!
//! Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/Welcome.html>.

use std::cell::OnceCell;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::named::{is_of_this_machine, region_of};
use super::{Attributes, LONG_POLL, Message, Queue, QueueName, Receive, Rejected, SERVICE, Sent};
use crate::aws::client::call::Call;
use crate::aws::client::connection::{Connection, Place};
use crate::aws::client::endpoint::USE_FIPS;
use crate::aws::{AwsError, AwsErrorKind};
use crate::json::of_bytes;

/// The limit for calls other than long polls. A hanging call must not delay the next one until other receivers see a
/// message.
const SHORT: Duration = Duration::from_secs(5);

/// Codes of batch entries that failed for good. All other entries are retried, since SQS reports throttling as a
/// sender's fault too.
///
/// Source: <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html>,
/// Errors.
const FINAL: [&str; 4] = ["ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight", "InvalidIdFormat"];

/// The name of SQS in the SDKs' endpoint variables.
const VARIABLE: &str = "SQS";

/// A receipt handle that belongs to no message.
const NO_RECEIPT: &str = "none";

/// An SQS queue.
pub(crate) struct LiveQueue {
    connection: Connection,
    /// The queue as the document names it, for errors.
    written: String,
    url: String,
    /// The endpoint, which is the same for every call.
    place: OnceCell<Place>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Found {
    queue_url: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Described {
    attributes: serde_json::Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Received {
    messages: Vec<Message>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Batched {
    successful: Vec<Entry>,
    failed: Vec<Entry>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    id: String,
    code: String,
}

impl LiveQueue {
    /// A key that identifies the queue however a document names it: `REGION.ACCOUNT.NAME`. An emulator may have no
    /// region.
    pub(crate) fn known_as(&self) -> String {
        let (host, path) = self.url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).unwrap_or(("", &self.url));
        let parts = region_of(host).into_iter().chain(path.split('/'));
        parts.collect::<Vec<_>>().join(".")
    }

    /// Finds a queue in the region of its ARN or URL, otherwise in the instance's region. It is called at the host of
    /// its URL, unless the SDKs' variables name another endpoint.
    ///
    /// # Errors
    ///
    /// If the queue does not exist, or this role may not use it.
    pub(crate) async fn find(connection: &Connection, queue: &QueueName) -> Result<Self, AwsError> {
        let call = Call::new(SERVICE, "GetQueueUrl", &queue.written);
        let elsewhere = match &queue.region {
            Some(region) => connection.elsewhere(region).await.map_err(|error| call.unplaced(error))?,
            None => None,
        };
        let mut connection = elsewhere.unwrap_or_else(|| connection.clone());
        if let Some(endpoint) = queue.endpoint().filter(|_| connection.endpoint(VARIABLE).is_none()) {
            if endpoint.strip_prefix("http://").is_some_and(|authority| !is_of_this_machine(authority)) {
                let why = format!("its URL is not an https URL, and AWS_ENDPOINT_URL_{VARIABLE} does not allow that");
                return Err(call.error(AwsErrorKind::Invalid, why));
            }
            if endpoint.contains("//sqs-fips.") {
                // The URL already is a FIPS endpoint, which the switch asks for.
                connection.endpoints.remove(USE_FIPS);
            }
            connection.endpoints.insert(format!("AWS_ENDPOINT_URL_{VARIABLE}"), endpoint);
        }
        let mut found =
            Self { connection, written: queue.written.clone(), url: queue.url.clone().unwrap_or_default(), place: OnceCell::new() };
        if queue.url.is_none() {
            let mut asked = json!({ "QueueName": queue.name });
            if let Some(account) = &queue.account {
                asked["QueueOwnerAWSAccountId"] = account.as_str().into();
            }
            let Found { queue_url } = found.ask("GetQueueUrl", "AmazonSQS.GetQueueUrl", &asked).await?;
            if queue_url.is_empty() {
                return Err(call.malformed("the response contains no URL"));
            }
            found.url = queue_url;
        }
        Ok(found)
    }

    /// Checks that this role may delete and return messages. Without these permissions, the worker would empty the
    /// queue without getting any message done. The check uses a receipt that does not exist, which SQS reports only to
    /// callers with the permission.
    ///
    /// # Errors
    ///
    /// If a permission is missing. Other failures are ignored here.
    pub(crate) async fn check_rights(&self) -> Result<(), AwsError> {
        let asked = [self.delete(&[NO_RECEIPT.into()]).await, self.hide(&[(NO_RECEIPT.into(), Duration::ZERO)]).await];
        let denied = asked.into_iter().filter_map(Result::err).find(|error| error.kind == AwsErrorKind::Denied);
        denied.map_or(Ok(()), Err)
    }

    async fn ask<A: DeserializeOwned>(&self, operation: &'static str, target: &'static str, asked: &Value) -> Result<A, AwsError> {
        let call = Call::new(SERVICE, operation, &self.written);
        let place = match self.place.get() {
            Some(place) => place,
            None => {
                let place = self.connection.place(SERVICE.name, VARIABLE).await.map_err(|error| call.unplaced(error))?;
                self.place.get_or_init(|| place)
            }
        };
        let answer = self.connection.json_1_0(&call, place, target, Bytes::from(asked.to_string())).await?;
        of_bytes(&answer).map_err(|_| call.malformed("the response is not the expected JSON"))
    }

    async fn batch(&self, operation: &'static str, target: &'static str, entries: Vec<Value>) -> Result<Vec<Rejected>, AwsError> {
        let count = entries.len();
        let asked = json!({ "QueueUrl": self.url, "Entries": entries });
        let late = |_| Call::new(SERVICE, operation, &self.written).error(AwsErrorKind::Unreachable, "no response in time");
        let Batched { successful, failed } = timeout(SHORT, self.ask(operation, target, &asked)).await.map_err(late)??;
        let is_done = |at: &str| successful.iter().any(|entry| entry.id == at);
        let rejected = |at: usize| {
            let id = at.to_string();
            let code = failed.iter().find(|entry| entry.id == id).map_or("no answer", |entry| &entry.code);
            (!is_done(&id)).then(|| Rejected { at, code: code.into(), transient: !FINAL.iter().any(|last| code.ends_with(last)) })
        };
        Ok((0..count).filter_map(rejected).collect())
    }
}

#[async_trait(?Send)]
impl Queue for LiveQueue {
    async fn attributes(&self) -> Result<Attributes, AwsError> {
        let asked = json!({ "QueueUrl": self.url, "AttributeNames": ["RedrivePolicy"] });
        let Described { attributes } = self.ask("GetQueueAttributes", "AmazonSQS.GetQueueAttributes", &asked).await?;
        Ok(Attributes { has_dead_letters: attributes.contains_key("RedrivePolicy") })
    }

    fn time(&self) -> Timestamp {
        Timestamp::try_from(self.connection.http.clock().by_aws()).unwrap_or_default()
    }

    async fn receive(&self, wanted: &Receive) -> Result<Vec<Message>, AwsError> {
        let mut asked = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": wanted.most,
            "VisibilityTimeout": wanted.visibility.as_secs(),
            "WaitTimeSeconds": LONG_POLL,
            "MessageAttributeNames": ["All"],
            "MessageSystemAttributeNames": ["All"],
        });
        if let Some(attempt) = &wanted.attempt {
            asked["ReceiveRequestAttemptId"] = attempt.as_str().into();
        }
        let Received { messages } = self.ask("ReceiveMessage", "AmazonSQS.ReceiveMessage", &asked).await?;
        Ok(messages)
    }

    async fn delete(&self, receipts: &[String]) -> Result<Vec<Rejected>, AwsError> {
        let entry = |(at, receipt): (usize, &String)| json!({ "Id": at.to_string(), "ReceiptHandle": receipt });
        let entries = receipts.iter().enumerate().map(entry).collect();
        self.batch("DeleteMessageBatch", "AmazonSQS.DeleteMessageBatch", entries).await
    }

    async fn send(&self, sent: &Sent) -> Result<String, AwsError> {
        let mut said = json!({});
        for (name, value) in &sent.said {
            said[*name] = json!({ "DataType": "String", "StringValue": value });
        }
        let mut asked = json!({ "QueueUrl": self.url, "MessageBody": sent.body, "MessageAttributes": said });
        if let Some((group, once)) = &sent.fifo {
            asked["MessageGroupId"] = group.as_str().into();
            asked["MessageDeduplicationId"] = once.as_str().into();
        }
        let answer: Value = self.ask("SendMessage", "AmazonSQS.SendMessage", &asked).await?;
        Ok(answer["MessageId"].as_str().unwrap_or_default().to_owned())
    }

    async fn hide(&self, receipts: &[(String, Duration)]) -> Result<Vec<Rejected>, AwsError> {
        let entry = |(at, (receipt, visibility)): (usize, &(String, Duration))| {
            // Whole seconds, rounded up so that a message is never visible too early. A value near the limit of twelve
            // hours is already whole.
            let seconds = u64::try_from(visibility.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            json!({ "Id": at.to_string(), "ReceiptHandle": receipt, "VisibilityTimeout": seconds })
        };
        let entries = receipts.iter().enumerate().map(entry).collect();
        self.batch("ChangeMessageVisibilityBatch", "AmazonSQS.ChangeMessageVisibilityBatch", entries).await
    }
}

#[cfg(test)]
mod tests;
