//! The record of one deployment, `APP/environments/ENV/deployments/N.json`: what it deploys, who began it, and how it
//! ended.
//!
//! Creating the object takes the lock of the environment, since there cannot be two records with one number. It is
//! updated before each request of an operation, and when the deployment ends. [`records`](crate::aws::records) reads
//! and writes the objects.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::release::name::Name;

/// Schema that this version writes; it also reads older ones. Each new field needs a new schema, since a version that
/// rewrites a record must not lose fields. Records of schema 1 have no kind, no terms and no requested operations.
const SCHEMA: u32 = 2;

/// The verb that began a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Create,
    Deploy,
    /// Sets no alarms and no bake time.
    Rollback,
}

/// What a deployment deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Goal {
    pub(crate) release: Release,
    /// The AMI that `image:` was resolved to.
    pub(crate) image: String,
    pub(crate) document: Document,
    pub(crate) policy: Policy,
    pub(crate) capacity: Capacity,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    pub(crate) name: Name,
    pub(crate) sha256: Sha256,
}

/// An immutable object: the boot document with its properties, or the terms of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) key: String,
    pub(crate) sha256: Sha256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Policy {
    AllAtOnce,
    Rolling,
    RollingWithBatch,
    Immutable,
    TrafficSplitting,
    InPlace,
}

impl Policy {
    /// Returns whether ingot-fleet supports it.
    pub(crate) const fn has_engine(self) -> bool {
        !matches!(self, Self::TrafficSplitting)
    }

    /// Returns its spelling in fleet.yaml.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::AllAtOnce => "all_at_once",
            Self::Rolling => "rolling",
            Self::RollingWithBatch => "rolling_with_batch",
            Self::Immutable => "immutable",
            Self::TrafficSplitting => "traffic_splitting",
            Self::InPlace => "in_place",
        }
    }
}

/// Sizes of the group when the deployment began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Capacity {
    pub(crate) min: u32,
    pub(crate) desired: u32,
    pub(crate) max: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    UnderWay,
    /// Every instance in service runs what was requested.
    Good,
    /// It failed, and everything is as before.
    Failed,
    /// An operator aborted it, and everything is as before.
    Undone,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnderWay => "under way",
            Self::Good => "good",
            Self::Failed => "failed",
            Self::Undone => "undone",
        })
    }
}

/// The last operation requested of CloudFormation, or about to be. The request may still be in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ordered {
    pub(crate) token: String,
    pub(crate) at: Timestamp,
    /// How often it was requested.
    pub(crate) times: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    schema: u32,
    pub(crate) application: String,
    pub(crate) environment: String,
    pub(crate) number: u64,
    /// Unique per attempt. It lets a process recognize its own record if the answer to the write was lost.
    pub(crate) attempt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<Kind>,
    pub(crate) goal: Goal,
    /// What it sets apart from its goal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) terms: Option<Document>,
    pub(crate) by: String,
    pub(crate) began: Timestamp,
    /// Set before an operation is requested, so that no other process ends the deployment in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ordered: Option<Ordered>,
    pub(crate) state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Timestamp>,
    /// Why it failed or was undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
}

impl Ordered {
    /// Returns whether the request can have no effect if the stack existed and is gone: an update needs the stack, and
    /// a creation requested once has already created it. `creates` is the token of the creation.
    pub(crate) fn is_of_the_past(&self, creates: &str) -> bool {
        self.token != creates || self.times == 1
    }
}

/// Who begins a deployment, when, and the unique name of the attempt.
#[derive(Debug, Clone)]
pub(crate) struct Beginner {
    pub(crate) by: String,
    pub(crate) at: Timestamp,
    pub(crate) attempt: String,
}

/// Why an object is not the expected record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRecord {
    #[error("it was written by a newer ingot-fleet (schema {0})")]
    Newer(u32),
    #[error("it is not the record of a deployment")]
    Foreign(#[source] serde_json::Error),
    #[error("it is the record of deployment {number} of {environment} of {application}")]
    Another { application: String, environment: String, number: u64 },
    #[error("{0}")]
    Impossible(&'static str),
}

impl Record {
    /// Reads the record of one deployment.
    pub(crate) fn read(content: &[u8], application: &str, environment: &str, number: u64) -> Result<Self, NoRecord> {
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
        }
        let head: Head = serde_json::from_slice(content).map_err(NoRecord::Foreign)?;
        if head.schema > SCHEMA {
            return Err(NoRecord::Newer(head.schema));
        }
        let found: Self = serde_json::from_slice(content).map_err(NoRecord::Foreign)?;
        if (found.application.as_str(), found.environment.as_str(), found.number) != (application, environment, number) {
            let Self { application, environment, number, .. } = found;
            return Err(NoRecord::Another { application, environment, number });
        }
        match (found.state == State::UnderWay, found.ended.is_some()) {
            (true, true) => Err(NoRecord::Impossible("it is under way but has an end time")),
            (false, false) => Err(NoRecord::Impossible("it has ended but has no end time")),
            _ => Ok(found),
        }
    }
}

impl Record {
    pub(crate) fn begin(application: &str, environment: &str, number: u64, goal: Goal, beginner: Beginner) -> Self {
        let Beginner { by, at, attempt } = beginner;
        let (application, environment) = (application.to_owned(), environment.to_owned());
        Self {
            schema: SCHEMA,
            application,
            environment,
            number,
            attempt,
            kind: None,
            goal,
            terms: None,
            by,
            began: at,
            ordered: None,
            state: State::UnderWay,
            ended: None,
            cause: None,
        }
    }

    /// Adds the kind and the terms of the deployment.
    pub(crate) fn on(self, kind: Kind, terms: Document) -> Self {
        Self { kind: Some(kind), terms: Some(terms), ..self }
    }

    /// Returns whether it may create the environment. A record without a kind may.
    pub(crate) fn may_create(&self) -> bool {
        self.kind.is_none_or(|kind| kind == Kind::Create)
    }

    /// Returns whether an older ingot-fleet wrote it, which does not record its requests here.
    pub(crate) fn orders_without_a_word(&self) -> bool {
        self.schema < SCHEMA
    }

    /// Records that an operation is requested now.
    pub(crate) fn order(&self, token: &str, at: Timestamp) -> Self {
        let before = self.ordered.as_ref().filter(|ordered| ordered.token == token).map_or(0, |ordered| ordered.times);
        // The field needs the current schema.
        Self { schema: SCHEMA, ordered: Some(Ordered { token: token.to_owned(), at, times: before + 1 }), ..self.clone() }
    }

    /// Records a new direction and its cause.
    pub(crate) fn turn(&self, token: &str, at: Timestamp, cause: Option<String>) -> Self {
        Self { cause, ..self.order(token, at) }
    }

    /// Records the end of the deployment.
    pub(crate) fn end(&self, state: State, at: Timestamp, cause: Option<String>) -> Self {
        Self { state, ended: Some(at), cause, ..self.clone() }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("a record has only strings for keys");
        content.push(b'\n');
        content
    }

    /// Describes the deployment in one line: which, its state, since when, by whom.
    pub(crate) fn told(&self) -> String {
        let Self { number, environment, state, by, .. } = self;
        let (began, release) = (self.began, &self.goal.release.name);
        match self.ended {
            None => format!("deployment {number} of {environment} ({release}) is {state}: started {began:.0} by {by}"),
            Some(ended) => format!("deployment {number} of {environment} ({release}) is {state}: started by {by}, finished {ended:.0}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn goal(release: &str) -> Goal {
        Goal {
            release: Release { name: release.parse().unwrap(), sha256: Sha256::of(release.as_bytes()) },
            image: "ami-0123456789abcdef0".into(),
            document: Document { key: "shop/environments/prod/documents/x.yaml".into(), sha256: Sha256::of(b"x") },
            policy: Policy::RollingWithBatch,
            capacity: Capacity { min: 2, desired: 4, max: 8 },
        }
    }

    pub(crate) fn beginner(by: &str) -> Beginner {
        let attempt = format!("{by}-1");
        Beginner { by: by.into(), at: "2026-11-30T23:00:00Z".parse().unwrap(), attempt }
    }

    pub(crate) fn record() -> Record {
        let terms = Document { key: "shop/environments/prod/documents/y.json".into(), sha256: Sha256::of(b"y") };
        Record::begin("shop", "prod", 7, goal("v1"), beginner("ann")).on(Kind::Deploy, terms)
    }

    #[test]
    fn reads_what_it_writes() {
        let begun = record();
        let ended = begun.end(State::Failed, "2026-11-30T23:05:00Z".parse().unwrap(), Some("services.shop did not start".into()));
        let ordered = begun.order("ingot-7-release-ann-1", "2026-11-30T23:01:00Z".parse().unwrap());
        for record in [begun, ended, ordered] {
            assert_eq!(Record::read(&record.write(), "shop", "prod", 7).unwrap(), record);
        }
        assert_eq!(record().told(), "deployment 7 of prod (v1) is under way: started 2026-11-30T23:00:00Z by ann");
    }

    #[test]
    fn reads_records_written_before_terms_existed() {
        let text = String::from_utf8(Record::begin("shop", "prod", 7, goal("v1"), beginner("ann")).write()).unwrap();
        let old = text.replace("\"schema\": 2", "\"schema\": 1");
        let record = Record::read(old.as_bytes(), "shop", "prod", 7).unwrap();
        assert_eq!((record.kind, record.terms.clone(), record.may_create()), (None, None, true));
        assert!(record.orders_without_a_word() && !record.order("t", record.began).orders_without_a_word());
        // Ending it keeps its schema, and requesting an operation raises it.
        let at = "2026-11-30T23:05:00Z".parse().unwrap();
        let schema = |record: &Record| serde_json::from_slice::<serde_json::Value>(&record.write()).unwrap()["schema"].clone();
        assert_eq!((schema(&record.end(State::Good, at, None)), schema(&record.order("t", at))), (1.into(), 2.into()));
    }

    #[test]
    fn requests_are_counted_per_token() {
        let at = "2026-11-30T23:05:00Z".parse().unwrap();
        let times = |record: &Record| record.ordered.as_ref().map_or(0, |ordered| ordered.times);
        let twice = record().order("a", at).order("a", at);
        assert_eq!((times(&twice), times(&twice.order("b", at))), (2, 1));
    }

    #[test]
    fn says_why_an_object_is_not_a_record() {
        let read = |text: &str, number| Record::read(text.as_bytes(), "shop", "prod", number).unwrap_err();
        let text = String::from_utf8(record().write()).unwrap();
        for torn in [&text[..text.len() / 2], "", "[]", "{\"schema\": \"1\"}", &text.replace("\"goal\"", "\"aim\"")] {
            assert!(matches!(read(torn, 7), NoRecord::Foreign(_)), "{torn}");
        }
        // An unknown field would be lost when the record is rewritten.
        assert!(matches!(read(&text.replacen('{', "{\"more\": 1,", 1), 7), NoRecord::Foreign(_)));
        assert!(matches!(read("{\"schema\": 3, \"state\": \"paused\"}", 7), NoRecord::Newer(3)));
        assert_eq!(read(&text, 8).to_string(), "it is the record of deployment 7 of prod of shop");
        assert!(matches!(read(&text.replace("under_way", "good"), 7), NoRecord::Impossible(_)));
    }
}
