//! The request that is posted for a message, byte for byte as the daemon of Elastic Beanstalk
//! posts it, plus one header.
//!
//! | header | of |
//! |---|---|
//! | `Host: localhost`, `User-Agent: aws-sqsd/…`, `Content-Type` | every request |
//! | `X-Aws-Sqsd-Msgid`, `-Queue`, `-Path`, `-Receive-Count` | every request |
//! | `X-Aws-Sqsd-First-Received-At`, `-Sent-At`, `-Sender-Id` | every request |
//! | `X-Aws-Sqsd-Attr-NAME` | an attribute of type `String` or `Number` |
//! | `X-Aws-Sqsd-Taskname`, `-Scheduled-At` | a periodic message |
//! | `X-Ingot-Deadline` | every request: when it is cut off if there is no answer until then |
//!
//! A periodic message has the attributes `beanstalk.sqsd.path` and `beanstalk.sqsd.scheduled_time`: it is posted to
//! that path, without a body. The sender of a message chooses its attributes, so no attribute may end a header line.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::aws::sqs::{Message, Said};

/// Applications check its beginning: `aws-sdk-rails`, `django-eb-sqs-worker` and others answer other clients with 403.
const USER_AGENT: &str = concat!("aws-sqsd/3.0 ingot/", env!("CARGO_PKG_VERSION"));

/// The prefix of the attributes of periodic messages; they are never sent as attributes.
const PERIODIC: &str = "beanstalk.sqsd.";
const PATH: &str = "beanstalk.sqsd.path";
const TASK_NAME: &str = "beanstalk.sqsd.task_name";
const SCHEDULED_TIME: &str = "beanstalk.sqsd.scheduled_time";

/// The usual length of a head without attributes, in bytes.
const USUAL: usize = 1024;

/// What a request needs in addition to its message.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// The name of the queue.
    pub(super) queue: &'a str,
    /// The path for messages without one of their own.
    pub(super) path: &'a str,
    pub(super) mime_type: &'a str,
    /// When the request is cut off if there is no answer until then.
    pub(super) deadline: Timestamp,
}

/// Head and body of the request for a message.
pub(super) fn request(message: &Message, about: About<'_>) -> Vec<u8> {
    let task = Task::of(message);
    let path = encoded(task.as_ref().map_or(about.path, |task| task.path));
    let body = if task.is_some() { "" } else { message.body.as_str() };
    let mut head = Head(String::with_capacity(USUAL + body.len()));
    head.0.push_str(&format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n"));
    head.line("User-Agent", USER_AGENT);
    head.line("Content-Type", about.mime_type);
    head.line("Content-Length", &body.len().to_string());
    head.line("X-Aws-Sqsd-Msgid", &message.id);
    head.line("X-Aws-Sqsd-Queue", about.queue);
    head.line("X-Aws-Sqsd-Path", &path);
    head.line("X-Aws-Sqsd-Receive-Count", &message.receive_count().to_string());
    head.maybe("X-Aws-Sqsd-First-Received-At", message.first_received_ms().and_then(seconds));
    head.maybe("X-Aws-Sqsd-Sent-At", message.sent_ms().and_then(seconds));
    head.maybe("X-Aws-Sqsd-Sender-Id", message.sender().map(str::to_owned));
    if let Some(task) = task {
        head.maybe("X-Aws-Sqsd-Taskname", task.name.map(str::to_owned));
        head.line("X-Aws-Sqsd-Scheduled-At", &iso(task.scheduled));
    }
    let mut sent = BTreeSet::new();
    for (name, said) in message.said.iter().filter(|(name, _)| !name.starts_with(PERIODIC)) {
        match attribute(said) {
            // Header names are not case-sensitive.
            Some(value) if sent.insert(name.to_ascii_lowercase()) && is_token(name) => head.line(&format!("X-Aws-Sqsd-Attr-{name}"), value),
            // Not logged for operators: it is the same for every message of its kind.
            _ => log::debug!("message {}: its attribute {name} is not sent: it is binary, or there is one of the same name", message.id),
        }
    }
    head.maybe("X-Ingot-Deadline", seconds(about.deadline.as_millisecond()));
    head.0.push_str("\r\n");
    head.0.push_str(body);
    head.0.into_bytes()
}

/// Whether a message is older than `retention`, counted from when any worker first received it.
pub(super) fn is_expired(message: &Message, retention: Duration, now: Timestamp) -> bool {
    let first = message.first_received_ms().unwrap_or_else(|| now.as_millisecond());
    u128::try_from(now.as_millisecond().saturating_sub(first)).is_ok_and(|age| age > retention.as_millis())
}

/// The attributes of a periodic message.
struct Task<'a> {
    path: &'a str,
    name: Option<&'a str>,
    scheduled: &'a str,
}

impl<'a> Task<'a> {
    /// A message with a path and no time is posted like all others.
    fn of(message: &'a Message) -> Option<Self> {
        let (path, scheduled) = message.text(PATH).zip(message.text(SCHEDULED_TIME))?;
        Some(Self { path, name: message.text(TASK_NAME), scheduled })
    }
}

/// The header lines so far.
struct Head(String);

impl Head {
    fn line(&mut self, name: &str, value: &str) {
        self.0.push_str(name);
        self.0.push_str(": ");
        if value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            self.0.push_str(value);
        } else {
            // A line break would start another header.
            self.0.extend(value.chars().map(|character| if character.is_control() && character != '\t' { ' ' } else { character }));
        }
        self.0.push_str("\r\n");
    }

    fn maybe(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.line(name, &value);
        }
    }
}

/// The value of an attribute, if it is sent.
fn attribute(said: &Said) -> Option<&str> {
    let kind = said.data_type.split('.').next()?;
    said.string_value.as_deref().filter(|_| matches!(kind, "String" | "Number"))
}

/// Whether it can be part of a header's name. SQS allows no other names.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Percent-encodes a path where necessary: what would end it, and what no path may contain.
fn encoded(path: &str) -> String {
    let slash = if path.starts_with('/') { "" } else { "/" };
    path.bytes().fold(slash.to_owned(), |mut encoded, byte| {
        match byte {
            b'!'..=b'~' if !b"\"#<>\\^`{|}".contains(&byte) => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

/// The time in the form `2019-11-14T00:47:00Z`.
fn seconds(ms: i64) -> Option<String> {
    Timestamp::from_second(ms.div_euclid(1000)).ok().map(|time| time.to_string())
}

/// Converts a time such as `2019-11-14 00:47:00 UTC` from the form of messages to that of headers.
fn iso(scheduled: &str) -> String {
    let bare = scheduled.strip_suffix(" UTC").map(|time| format!("{}Z", time.replacen(' ', "T", 1)));
    bare.unwrap_or_else(|| scheduled.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message { id: "a1b2".into(), body: "{\"é\": 1}\r\n\r\n".into(), ..Message::default() }
            .with("ApproximateReceiveCount", 4)
            .with("SentTimestamp", 1_573_692_420_500_i64)
            .with("ApproximateFirstReceiveTimestamp", 1_573_692_421_999_i64)
            .with("SenderId", "AROAX:i-0abc")
    }

    fn made(message: &Message) -> String {
        let about = About {
            queue: "shop-jobs",
            path: "/jobs",
            mime_type: "application/json",
            deadline: Timestamp::from_millisecond(1_573_696_020_999).unwrap(),
        };
        String::from_utf8(request(message, about)).unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION")
    }

    #[test]
    fn a_message_is_posted_as_beanstalk_posts_it() {
        let message =
            message().saying("color", "String", "rot\r\nX-Evil: 1").saying("size", "Number.int", "7").saying("raw", "Binary", "AA==");
        insta::assert_snapshot!(made(&message).replace("\r\n", "\n"), @r#"
        POST /jobs HTTP/1.1
        Host: localhost
        User-Agent: aws-sqsd/3.0 ingot/VERSION
        Content-Type: application/json
        Content-Length: 13
        X-Aws-Sqsd-Msgid: a1b2
        X-Aws-Sqsd-Queue: shop-jobs
        X-Aws-Sqsd-Path: /jobs
        X-Aws-Sqsd-Receive-Count: 4
        X-Aws-Sqsd-First-Received-At: 2019-11-14T00:47:01Z
        X-Aws-Sqsd-Sent-At: 2019-11-14T00:47:00Z
        X-Aws-Sqsd-Sender-Id: AROAX:i-0abc
        X-Aws-Sqsd-Attr-color: rot  X-Evil: 1
        X-Aws-Sqsd-Attr-size: 7
        X-Ingot-Deadline: 2019-11-14T01:47:00Z

        {"é": 1}
        "#);
    }

    #[test]
    fn the_body_goes_out_byte_for_byte() {
        let sent = made(&message());
        assert!(sent.ends_with("\r\n\r\n{\"é\": 1}\r\n\r\n") && sent.contains("Content-Length: 13\r\n"), "{sent:?}");
    }

    #[test]
    fn a_periodic_message_goes_to_its_own_path_without_a_body() {
        let message = message()
            .saying("beanstalk.sqsd.path", "String", "/tasks/night ly?a=b#c")
            .saying("beanstalk.sqsd.task_name", "String", "nightly")
            .saying("beanstalk.sqsd.scheduled_time", "String", "2019-11-14 00:47:00 UTC");
        let sent = made(&message);
        let own = ["POST ", "Content-Length", "X-Aws-Sqsd-Path", "X-Aws-Sqsd-Taskname", "X-Aws-Sqsd-Scheduled-At", "X-Aws-Sqsd-Attr"];
        let own: Vec<&str> = sent.split("\r\n").filter(|line| own.iter().any(|own| line.starts_with(own))).collect();
        insta::assert_snapshot!(own.join("\n"), @"
        POST /tasks/night%20ly?a=b%23c HTTP/1.1
        Content-Length: 0
        X-Aws-Sqsd-Path: /tasks/night%20ly?a=b%23c
        X-Aws-Sqsd-Taskname: nightly
        X-Aws-Sqsd-Scheduled-At: 2019-11-14T00:47:00Z
        ");
        assert!(sent.ends_with("\r\n\r\n"));
    }

    #[test]
    fn one_with_a_path_and_no_time_is_not_periodic() {
        let sent = made(&message().saying("beanstalk.sqsd.path", "String", "/tasks"));
        assert!(sent.starts_with("POST /jobs HTTP/1.1\r\n") && !sent.contains("Taskname") && sent.contains("{\"é\""), "{sent}");
    }

    #[test]
    fn names_that_differ_in_their_case_are_sent_once() {
        let sent = made(&message().saying("Color", "String", "1").saying("color", "String", "2"));
        assert_eq!(sent.matches("X-Aws-Sqsd-Attr-").count(), 1, "{sent}");
    }

    #[test]
    fn age_counts_from_the_first_delivery() {
        let at = |seconds: i64| Timestamp::from_second(1_573_692_421 + seconds).unwrap();
        let retention = Duration::from_secs(60);
        assert!(!is_expired(&message(), retention, at(60)) && is_expired(&message(), retention, at(62)));
        assert!(!is_expired(&Message::default(), retention, at(1_000_000)));
    }
}
