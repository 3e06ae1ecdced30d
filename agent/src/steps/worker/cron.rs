//! `cron:` of a worker: its periodic tasks, from the document or from the `cron.yaml` of a release.
//!
//! ```yaml
//! cron:                                   # or bundles.app
//!   - { name: nightly, schedule: "30 2 * * *", time_zone: Europe/Berlin, path: /tasks/nightly, catch_up: 1d }
//! ```
//!
//! [`Schedule`] determines when a task is due, and [`worker::cron`](crate::worker) what happens then.

mod file;
mod schedule;
mod task;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

pub(crate) use self::file::{FILE, tasks};
use self::schedule::PATTERN;
pub(crate) use self::schedule::Schedule;
pub(crate) use self::task::LONGEST_NAME;
use self::task::{USUAL, UTC, twice, wrong};
use super::settings;
use crate::address::Address;
use crate::failure::{Explanation, Objection};
use crate::host::{Files, HostError};
use crate::step::fields::TimeLimit;
use crate::text::shown_on_a_line;

/// The kind of step whose release may contain a task file.
const KIND: &str = "bundles";

/// Maximum of `catch_up`. It must still be known by then whether a due time was already sent: the docs say how long
/// claims have to be kept.
const LATEST: Duration = Duration::from_secs(7 * 86_400);

/// Minimum of `catch_up`: a worker that takes over a claim checks it after 35 s.
const SOONEST: Duration = Duration::from_secs(60);

/// Maximum delay for a FIFO queue without claims: SQS recognizes the duplicate message of another instance for 5
/// minutes.
pub(crate) const UNCLAIMED: Duration = Duration::from_secs(240);

/// The directory of this machine's time zones.
pub(super) const ZONES: &str = "/usr/share/zoneinfo";

/// Size limit in bytes; the largest time zone has 4 kB.
const ZONE_LIMIT: u64 = 256 << 10;

/// The source of a worker's periodic tasks.
#[derive(Debug, Clone)]
pub(super) enum Cron {
    /// The bundle whose release contains a `cron.yaml`.
    Release(Address),
    Tasks(Vec<Task>),
}

/// A periodic task.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    /// Name of the task, which the application finds in `X-Aws-Sqsd-Taskname`.
    name: String,
    /// When it is due, as in crontab: `30 2 * * *`, or `@daily`.
    #[schemars(with = "String", extend("pattern" = PATTERN))]
    schedule: Written,
    /// Path of its POST.
    path: String,
    /// Time zone of the schedule, such as `Europe/Berlin`. Default: UTC.
    #[schemars(with = "Option<String>", extend("pattern" = r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"))]
    time_zone: Option<Zone>,
    /// How late a missed time is still sent: 1m to 7d. Later ones are skipped. Default: 5m.
    catch_up: Option<TimeLimit>,
}

/// A schedule as written in the document.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Written(String);

impl TryFrom<String> for Written {
    type Error = Objection;

    fn try_from(text: String) -> Result<Self, Objection> {
        Schedule::read(&text).map(|_| Self(text))
    }
}

/// The name of a time zone.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Zone(String);

impl TryFrom<String> for Zone {
    type Error = Objection;

    fn try_from(text: String) -> Result<Self, Objection> {
        let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte));
        if text.split('/').all(is_part) {
            return Ok(Self(text));
        }
        Err(Objection::new(
            format!("`{}` is not the name of a time zone", shown_on_a_line(&text)),
            "write a name of the IANA database, such as Europe/Berlin",
        ))
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Cron;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bundles.NAME, or a list of tasks")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Cron, E> {
                match text.parse::<Address>() {
                    Ok(address) if address.kind() == KIND => Ok(Cron::Release(address)),
                    _ => Err(E::custom(Objection::new(
                        format!("`{}` is not a bundle of this document", shown_on_a_line(text)),
                        "write bundles.NAME to read the cron.yaml of its release, or a list of tasks",
                    ))),
                }
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, items: A) -> Result<Cron, A::Error> {
                Deserialize::deserialize(serde::de::value::SeqAccessDeserializer::new(items)).map(Cron::Tasks)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Cron {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cron".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let tasks = generator.subschema_for::<Vec<Task>>();
        schemars::json_schema!({ "anyOf": [{ "type": "string", "pattern": r"^bundles\..+" }, tasks] })
    }
}

impl Cron {
    pub(super) fn bundle(&self) -> Option<&Address> {
        match self {
            Self::Release(bundle) => Some(bundle),
            Self::Tasks(_) => None,
        }
    }

    /// Whether a task needs claims because of its `catch_up`, even on a FIFO queue.
    pub(super) fn catches_up(&self) -> bool {
        matches!(self, Self::Tasks(tasks) if tasks.iter().any(|task| task.catch_up.is_some_and(|limit| limit.0 > UNCLAIMED)))
    }

    /// The tasks of the document.
    pub(super) fn listed(&self) -> Vec<settings::Task> {
        let Self::Tasks(tasks) = self else { return Vec::new() };
        tasks
            .iter()
            .map(|task| settings::Task {
                name: task.name.clone(),
                schedule: task.schedule.0.clone(),
                time_zone: task.time_zone.as_ref().map_or(UTC, |zone| &zone.0).to_owned(),
                path: task.path.clone(),
                catch_up: task.catch_up.map_or(USUAL, |limit| limit.0),
            })
            .collect()
    }

    /// What is wrong with its tasks, taken by themselves.
    pub(super) fn wrong(&self) -> Vec<Objection> {
        let (mut found, mut names) = (Vec::new(), BTreeSet::new());
        for task in &self.listed() {
            found.extend(Schedule::parse(&task.schedule).err());
            found.extend(wrong(task));
            if !names.insert(task.name.clone()) {
                found.push(twice(&task.name));
            }
            if !(SOONEST..=LATEST).contains(&task.catch_up) {
                found.push(Objection::new(
                    format!("`catch_up` of `{}` is not a time from 1m to 7d", task.name),
                    "a worker needs some time, and old claims may be deleted",
                ));
            }
        }
        found
    }
}

/// Reads a time zone of this machine.
///
/// # Errors
///
/// If there is none with that name.
pub(crate) async fn zone(name: &str, files: &dyn Files) -> Result<TimeZone, Explanation> {
    if name == UTC {
        return Ok(TimeZone::UTC);
    }
    let path = Path::new(ZONES).join(name);
    let none = |why: &str| {
        let hint = format!("install tzdata in the image, correct `time_zone`, or leave it out for {UTC}");
        Explanation::new(format!("this machine has no time zone {name}: {} {why}", path.display()), Some(hint))
    };
    let found = match files.read(&path, ZONE_LIMIT).await {
        Ok(found) => found.ok_or_else(|| none("does not exist"))?,
        Err(error) => return Err(none(&format!("cannot be read: {}", Explanation::of(&error)))),
    };
    TimeZone::tzif(name, &found).map_err(|_| none("is not a time zone"))
}

/// The text of the task file in a release; `None` if there is none.
pub(super) async fn text(release: &Path, files: &dyn Files) -> Result<Option<String>, HostError> {
    let found = files.read(&release.join(FILE), file::LIMIT).await?;
    Ok(found.map(|found| String::from_utf8_lossy(&found).into_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cron(value: serde_json::Value) -> Result<Cron, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn tasks_have_their_defaults() {
        let read = cron(json!([{ "name": "nightly", "schedule": "30 2 * * *", "path": "/nightly" }])).unwrap();
        let [task] = read.listed().try_into().unwrap();
        assert_eq!((task.time_zone.as_str(), task.catch_up), ("UTC", USUAL));
        assert!(read.wrong().is_empty() && !read.catches_up());
        assert_eq!(cron(json!("bundles.app")).unwrap().bundle().unwrap().as_str(), "bundles.app");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for wrong in [json!("applications.app"), json!("cron.yaml"), json!(true), json!([{ "name": "a" }])] {
            assert!(cron(wrong.clone()).is_err(), "{wrong}");
        }
        let task = |more: serde_json::Value| {
            let mut task = json!({ "name": "a", "schedule": "@daily", "path": "/a" });
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            task
        };
        for wrong in [json!({ "schedule": "@reboot" }), json!({ "time_zone": "../../etc/passwd" }), json!({ "time_zone": "" })] {
            assert!(cron(json!([task(wrong.clone())])).is_err(), "{wrong}");
        }
        let two = cron(json!([task(json!({ "path": "a" })), task(json!({ "catch_up": "8d" })), task(json!({ "name": "" }))])).unwrap();
        let told: Vec<String> = two.wrong().into_iter().map(|objection| objection.message).collect();
        insta::assert_snapshot!(told.join("\n"), @"
        `a`, the path of the task `a`, is not a path
        two tasks are named `a`
        `catch_up` of `a` is not a time from 1m to 7d
        `` is not the name of a task
        ");
    }
}
