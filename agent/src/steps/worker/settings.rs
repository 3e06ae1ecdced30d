//! The settings with which a worker is started: written by the boot, read by the daemon. They contain no secret.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long a worker may take to find its queue.
pub(crate) const START: Duration = Duration::from_secs(120);

/// The directory of the settings of all workers.
pub(crate) const DIRECTORY: &str = "/run/ingot/workers";

/// Size limit in bytes: settings take a few hundred, and some more for each periodic task.
pub(crate) const LIMIT: u64 = 1 << 20;

/// The socket on which a worker accepts requests to pause, before its application is stopped.
pub(crate) fn hold(name: &str) -> PathBuf {
    format!("/run/ingot-worker/{name}/hold").into()
}

/// Everything that a worker has to know. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// Name, URL or ARN.
    pub(crate) queue: String,
    pub(crate) to: Target,
    pub(crate) concurrency: usize,
    #[serde(serialize_with = "as_ms", deserialize_with = "of_ms")]
    pub(crate) visibility: Duration,
    #[serde(serialize_with = "as_ms", deserialize_with = "of_ms")]
    pub(crate) max_duration: Duration,
    #[serde(serialize_with = "as_ms", deserialize_with = "of_ms")]
    pub(crate) timeout: Duration,
    #[serde(serialize_with = "as_ms", deserialize_with = "of_ms")]
    pub(crate) drain: Duration,
    pub(crate) retry: Retry,
    #[serde(serialize_with = "as_ms", deserialize_with = "of_ms")]
    pub(crate) retention: Duration,
    pub(crate) mime_type: String,
    pub(crate) metrics: bool,
    /// The messages that it sends to its queue when they are due.
    #[serde(default)]
    pub(crate) tasks: Vec<Task>,
    /// Where due times are claimed, if they are.
    #[serde(default)]
    pub(crate) claims: Option<Claims>,
}

/// A periodic task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) schedule: String,
    pub(crate) time_zone: String,
    pub(crate) path: String,
    /// The maximum delay with which a due time is still sent.
    #[serde(serialize_with = "as_ms", deserialize_with = "of_ms")]
    pub(crate) catch_up: Duration,
}

/// Where the instances of a fleet claim due times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// `s3://BUCKET/PREFIX/`.
    pub(crate) below: String,
    /// The ID of this instance.
    pub(crate) holder: String,
}

/// Where messages are posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The address that works whichever release serves.
    pub(crate) at: SocketAddr,
    /// For an application whose releases overlap: the ports on which the releases themselves listen.
    pub(crate) slots: Option<Slots>,
    pub(crate) path: String,
    /// The path that answers with 200 to 399 when the application is ready; without it, a connection is enough.
    pub(crate) ready: Option<String>,
    /// Whether a container engine accepts connections on the port, even while nothing listens inside the container.
    pub(crate) published: bool,
}

/// The ports of an application's two slots, and the link to the one that serves: its target ends in `-a` or `-b`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slots {
    pub(crate) link: PathBuf,
    pub(crate) a: u16,
    pub(crate) b: u16,
}

/// How long a message is hidden after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retry {
    #[serde(serialize_with = "as_ms", deserialize_with = "of_ms")]
    pub(crate) delay: Duration,
    /// The maximum delay, if the delay doubles with each reception.
    #[serde(serialize_with = "as_ms_or_none", deserialize_with = "of_ms_or_none")]
    pub(crate) doubled_up_to: Option<Duration>,
}

#[cfg(test)]
impl Settings {
    /// The settings of a worker without periodic tasks that posts to port 5000 of this machine.
    pub(crate) fn of_queue(queue: &str) -> Self {
        Self {
            queue: queue.into(),
            to: Target { at: ([127, 0, 0, 1], 5000).into(), slots: None, path: "/".into(), ready: None, published: false },
            concurrency: 5,
            visibility: Duration::from_secs(30),
            max_duration: Duration::from_secs(3600),
            timeout: Duration::from_secs(3600),
            drain: Duration::from_secs(60),
            retry: Retry { delay: Duration::from_secs(2), doubled_up_to: None },
            retention: Duration::from_secs(86_400),
            mime_type: "application/json".into(),
            metrics: false,
            tasks: Vec::new(),
            claims: None,
        }
    }
}

fn as_ms<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(ms(*duration))
}

fn of_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

fn as_ms_or_none<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(ms).serialize(serializer)
}

fn of_ms_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
