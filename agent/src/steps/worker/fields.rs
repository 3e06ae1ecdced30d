//! The fields of a worker, and their validation before anything is contacted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::cron::Cron;
use super::settings;
use crate::address::Address;
use crate::aws::sqs::{HIDDEN_AT_MOST, QueueName};
use crate::failure::Objection;
use crate::step::fields::{TimeLimit, within};
use crate::steps::application::KIND;
use crate::text::{Text, shown_on_a_line};

/// Source: `HttpConnections` of Elastic Beanstalk's worker environments; the other defaults are taken from there as
/// well.
const CONCURRENCY: u32 = 50;
const VISIBILITY: Duration = Duration::from_secs(300);
const MAX_DURATION: Duration = Duration::from_secs(3600);
const TIMEOUT: Duration = Duration::from_secs(300);
const RETRY_DELAY: Duration = Duration::from_secs(2);
const MAX_DELAY: Duration = Duration::from_secs(900);
const RETENTION: Duration = Duration::from_secs(4 * 86_400);
/// Source: `RetentionPeriod` of Elastic Beanstalk's worker environments.
const SHORTEST_RETENTION: Duration = Duration::from_secs(60);
const LONGEST_RETENTION: Duration = Duration::from_secs(14 * 86_400);
const MIME_TYPE: &str = "application/json";

/// Names of workers become parts of unit names.
const LONGEST_NAME: usize = 64;

/// A queue of SQS whose messages are posted to an application of this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Worker {
    /// Queue to take messages from: its name, URL or ARN. FIFO queues too.
    pub(super) queue: Text,
    /// Where messages are posted to: `applications.NAME`, or a URL of this machine such as `http://127.0.0.1:5000`.
    pub(super) to: Destination,
    /// Path of the POST. A periodic message names its own. Default: /.
    path: Option<String>,
    /// How many messages are handled at the same time. Default: 50.
    #[serde(default, deserialize_with = "within::<_, 1, 1000>")]
    #[schemars(range(min = 1, max = 1000))]
    concurrency: Option<u32>,
    /// How long a message is hidden from others, and by how much that is extended while it is handled. Default: 5m.
    visibility: Option<TimeLimit>,
    /// Longest time that the application may take for a message: 12h at most. Default: 1h.
    max_duration: Option<TimeLimit>,
    /// How long the application may send nothing before a message counts as failed. Default: 5m.
    #[serde(rename = "inactivity_timeout")]
    timeout: Option<TimeLimit>,
    /// How long running messages may take when the worker stops. Default: `max_duration`.
    drain: Option<TimeLimit>,
    /// When a message that failed is delivered again. Default: after 2s.
    #[serde(default)]
    pub(super) retry: Retry,
    /// Age since its first delivery at which a message is deleted without being posted: 1m to 14d. Default: 4d.
    retention: Option<TimeLimit>,
    /// Content-Type of the POST. Default: application/json.
    mime_type: Option<String>,
    /// Whether counts and ages go to CloudWatch once a minute. Default: false.
    #[serde(default)]
    pub(super) metrics: bool,
    /// Periodic tasks that the worker sends to its queue when they are due: a list of them, or `bundles.NAME` for the
    /// `cron.yaml` of its release. Default: none.
    pub(super) cron: Option<Cron>,
}

/// When a message that failed is delivered again.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Delay after a failure. Default: 2s.
    delay: Option<TimeLimit>,
    /// Whether the delay doubles with each delivery. Default: constant.
    #[serde(default)]
    backoff: Growth,
    /// Longest delay with `exponential`. Default: 15m.
    max_delay: Option<TimeLimit>,
}

/// Whether delays grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Growth {
    #[default]
    Constant,
    Exponential,
}

/// The target of messages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Destination {
    Application(Address),
    Url { written: String, at: SocketAddr },
}

impl JsonSchema for Destination {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Destination".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let url = r"http://(localhost|127\.[0-9]+\.[0-9]+\.[0-9]+|\[::1\])(:[0-9]+)?/?";
        schemars::json_schema!({ "type": "string", "pattern": format!(r"^(applications\..+|{url})$") })
    }
}

impl TryFrom<String> for Destination {
    type Error = Objection;

    fn try_from(written: String) -> Result<Self, Objection> {
        if let Some(rest) = written.strip_prefix("http://") {
            let at = of_this_machine(rest.strip_suffix('/').unwrap_or(rest));
            return at.map(|at| Self::Url { written: written.clone(), at }).ok_or_else(|| {
                Objection::new(
                    format!("`{written}` is not a URL of this machine"),
                    "write only host and port, as in http://127.0.0.1:5000, and the path as `path:`",
                )
            });
        }
        match written.parse::<Address>() {
            Ok(address) if address.kind() == KIND => Ok(Self::Application(address)),
            _ => Err(Objection::new(
                format!("`{written}` is not an application of this document"),
                "write applications.NAME, or a URL such as http://127.0.0.1:5000",
            )),
        }
    }
}

/// `localhost` or a loopback address, with or without a port.
fn of_this_machine(authority: &str) -> Option<SocketAddr> {
    let at = authority.parse::<SocketAddr>().ok().or_else(|| {
        let (host, port) = authority.split_once(':').map_or((authority, Some(80)), |(host, port)| (host, port.parse().ok()));
        let ip = if host.eq_ignore_ascii_case("localhost") { Ipv4Addr::LOCALHOST.into() } else { host.parse::<IpAddr>().ok()? };
        Some((ip, port?).into())
    })?;
    (at.ip().is_loopback() && at.port() > 0).then_some(at)
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application(address) => address.fmt(f),
            Self::Url { written, .. } => f.write_str(written.trim_end_matches('/')),
        }
    }
}

impl Destination {
    pub(super) fn application(&self) -> Option<&Address> {
        match self {
            Self::Application(address) => Some(address),
            Self::Url { .. } => None,
        }
    }
}

impl Retry {
    pub(super) fn effective(self) -> settings::Retry {
        let doubled_up_to = (self.backoff == Growth::Exponential).then(|| limit(self.max_delay, MAX_DELAY));
        settings::Retry { delay: limit(self.delay, RETRY_DELAY), doubled_up_to }
    }
}

fn limit(given: Option<TimeLimit>, default: Duration) -> Duration {
    given.map_or(default, |limit| limit.0)
}

impl Worker {
    pub(super) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }

    pub(super) fn concurrency(&self) -> usize {
        self.concurrency.unwrap_or(CONCURRENCY) as usize
    }

    pub(super) fn visibility(&self) -> Duration {
        limit(self.visibility, VISIBILITY)
    }

    pub(super) fn max_duration(&self) -> Duration {
        limit(self.max_duration, MAX_DURATION)
    }

    pub(super) fn timeout(&self) -> Duration {
        limit(self.timeout, TIMEOUT)
    }

    /// The value of the field, or its default.
    pub(crate) fn drain(&self) -> Duration {
        limit(self.drain, self.max_duration())
    }

    pub(super) fn retention(&self) -> Duration {
        limit(self.retention, RETENTION)
    }

    pub(super) fn mime_type(&self) -> &str {
        self.mime_type.as_deref().unwrap_or(MIME_TYPE)
    }

    /// What is wrong with the fields, taken by themselves.
    pub(super) fn wrong(&self, key: &str) -> Vec<Objection> {
        let mut found: Vec<Objection> = Vec::new();
        let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) && !key.starts_with('-');
        if !is_plain || key.len() > LONGEST_NAME {
            let message = format!("`{}` is not the name of a worker", shown_on_a_line(key));
            found.push(Objection::new(message, "use up to 64 letters, digits, hyphens and underscores"));
        }
        if self.queue.is_plain() {
            found.extend(QueueName::parse(self.queue.raw()).err());
        }
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
        if !self.path().starts_with('/') || !is_token(self.path()) {
            let message = format!("`path` is `{}`, which is not a path", shown_on_a_line(self.path()));
            found.push(Objection::new(message, "write it as in a URL, such as /jobs"));
        }
        if self.mime_type().is_empty() || !self.mime_type().bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            found.push(Objection::new("`mime_type` is not a Content-Type", "write it as in application/json"));
        }
        found.extend(self.wrong_times());
        found.extend(self.cron.iter().flat_map(Cron::wrong));
        found
    }

    fn wrong_times(&self) -> Vec<Objection> {
        let mut found: Vec<Objection> = Vec::new();
        let visibility = self.visibility();
        if visibility < Duration::from_secs(10) || visibility > HIDDEN_AT_MOST {
            found.push(Objection::new(
                "`visibility` is not a time from 10s to 12h",
                "remove it: the default of 5m is extended while a message is handled",
            ));
        }
        if self.max_duration() > HIDDEN_AT_MOST {
            found.push(Objection::new(
                "`max_duration` is longer than 12h, and SQS hides a message no longer than that",
                "split the work into shorter messages",
            ));
        }
        if self.retention() < SHORTEST_RETENTION || self.retention() > LONGEST_RETENTION {
            found.push(Objection::new(
                "`retention` is not a time from 1m to 14d",
                "write at least 1m and at most 14d, as long as SQS keeps a message; the default of 4 days counts from the first delivery",
            ));
        }
        let settings::Retry { delay, doubled_up_to } = self.retry.effective();
        if doubled_up_to.is_some_and(|longest| longest < delay) {
            found.push(Objection::new(
                "`max_delay` is shorter than `delay`",
                "raise `max_delay`: a delay grows from `delay` to `max_delay`",
            ));
        }
        if delay.max(doubled_up_to.unwrap_or_default()) > HIDDEN_AT_MOST {
            found.push(Objection::new("a delay of `retry` is longer than 12h, and SQS hides a message no longer than that", "shorten it"));
        }
        if self.retry.max_delay.is_some() && doubled_up_to.is_none() {
            found.push(Objection::new("`max_delay` is for delays that grow", "add `backoff: exponential`, or remove it"));
        }
        found
    }
}

#[cfg(test)]
impl Worker {
    pub(super) fn of(fields: serde_json::Value) -> Self {
        serde_json::from_value(fields).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_has_the_defaults_of_beanstalk() {
        let worker = Worker::of(json!({ "queue": "shop-jobs", "to": "applications.shop" }));
        assert_eq!((worker.path(), worker.concurrency(), worker.mime_type()), ("/", 50, "application/json"));
        assert_eq!((worker.visibility().as_secs(), worker.drain().as_secs(), worker.retention().as_secs()), (300, 3600, 345_600));
        assert_eq!(worker.retry.effective(), settings::Retry { delay: RETRY_DELAY, doubled_up_to: None });
        assert!(worker.wrong("jobs").is_empty());
    }

    #[test]
    fn a_url_is_of_this_machine() {
        for (written, at) in [
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
            ("http://localhost:5000/", "127.0.0.1:5000"),
            ("http://localhost", "127.0.0.1:80"),
            ("http://[::1]:5000", "[::1]:5000"),
            ("http://127.0.0.2", "127.0.0.2:80"),
        ] {
            let Destination::Url { at: found, .. } = Destination::try_from(written.to_owned()).unwrap() else { panic!("{written}") };
            assert_eq!(found, at.parse().unwrap(), "{written}");
        }
        for written in [
            "http://10.0.0.1:5000",
            "http://example.com",
            "http://127.0.0.1:5000/jobs",
            "http://127.0.0.1:0",
            "https://localhost",
            "services.x",
        ] {
            assert!(Destination::try_from(written.to_owned()).is_err(), "{written}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let wrong = |more: serde_json::Value| {
            let mut fields = json!({ "queue": "shop-jobs", "to": "http://127.0.0.1:5000" });
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Worker::of(fields).wrong("jobs").into_iter().map(|objection| objection.message).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(wrong(json!({ "visibility": "1h" })), "");
        insta::assert_snapshot!([
            wrong(json!({ "queue": "shop jobs" })),
            wrong(json!({ "path": "jobs" })),
            wrong(json!({ "path": "/a b" })),
            wrong(json!({ "mime_type": "a\r\nb: c" })),
            wrong(json!({ "visibility": "1s" })),
            wrong(json!({ "max_duration": "13h" })),
            wrong(json!({ "retry": { "max_delay": "1h" } })),
            wrong(json!({ "retry": { "delay": "13h" } })),
            wrong(json!({ "retry": { "delay": "30m", "backoff": "exponential" } })),
            wrong(json!({ "retention": "30s" })),
            wrong(json!({ "retention": "15d" })),
        ].join("\n"), @"
        `shop jobs` is not the name, the URL or the ARN of a queue
        `path` is `jobs`, which is not a path
        `path` is `/a b`, which is not a path
        `mime_type` is not a Content-Type
        `visibility` is not a time from 10s to 12h
        `max_duration` is longer than 12h, and SQS hides a message no longer than that
        `max_delay` is for delays that grow
        a delay of `retry` is longer than 12h, and SQS hides a message no longer than that
        `max_delay` is shorter than `delay`
        `retention` is not a time from 1m to 14d
        `retention` is not a time from 1m to 14d
        ");
        assert_eq!(Worker::of(json!({ "queue": "a", "to": "applications.a" })).wrong("a/b").len(), 1);
    }
}
