//! The record of one deployment, `APP/environments/ENV/deployments/N.json`: what is to run, who asked for it, and how it ended.
//!
//! Whoever makes the object has the lock of the environment: two records of one number cannot be. It is changed before each
//! order of an operation, and when the deployment ends. Reading and writing objects is the business of
//! [`records`](crate::aws::records).

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::release::name::Name;

/// What this version writes; it reads those before it, too. A field more is another schema: who rewrites a record must not
/// lose any. Records of schema 1 have no kind, no terms and no orders.
const SCHEMA: u32 = 2;

/// Which verb asks for a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Create,
    Deploy,
    /// Takes no alarms and no bake.
    Rollback,
}

/// What a deployment is to bring about.
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

/// An object that never changes: the boot document with its properties, or the terms of a deployment.
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
    /// Whether ingot-fleet deploys by it.
    pub(crate) const fn has_engine(self) -> bool {
        !matches!(self, Self::TrafficSplitting)
    }

    /// As it is written in fleet.yaml.
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

/// How many instances there were to be when it began.
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
    /// Every instance in service runs what was asked for.
    Good,
    /// It failed by itself, and everything is as before.
    Failed,
    /// Somebody ended it, and everything is as before.
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

/// The last operation that was ordered of CloudFormation, or is about to be. Its order may still be on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ordered {
    pub(crate) token: String,
    pub(crate) at: Timestamp,
    /// How often it was ordered.
    pub(crate) times: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    schema: u32,
    pub(crate) application: String,
    pub(crate) environment: String,
    pub(crate) number: u64,
    /// A word that no other attempt has: by it whoever made the record knows it again, when the answer got lost.
    pub(crate) attempt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<Kind>,
    pub(crate) goal: Goal,
    /// What it sets besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) terms: Option<Document>,
    pub(crate) by: String,
    pub(crate) began: Timestamp,
    /// Whoever orders an operation says so here first: so nobody ends the deployment in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ordered: Option<Ordered>,
    pub(crate) state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Timestamp>,
    /// Why it did not end well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
}

impl Ordered {
    /// Whether it can bring nothing about where the stack was there and is gone: an update needs one, and a creation that was
    /// ordered once has made it. `creates` is the token of the creation.
    pub(crate) fn is_of_the_past(&self, creates: &str) -> bool {
        self.token != creates || self.times == 1
    }
}

/// Who begins a deployment, when, and by which word the attempt is known.
#[derive(Debug, Clone)]
pub(crate) struct Beginner {
    pub(crate) by: String,
    pub(crate) at: Timestamp,
    pub(crate) attempt: String,
}

/// Why an object that should be a record is none.
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
            (true, true) => Err(NoRecord::Impossible("it is under way and has ended")),
            (false, false) => Err(NoRecord::Impossible("it has ended, and does not say when")),
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

    /// The same, of which it is known what it sets besides its goal.
    pub(crate) fn on(self, kind: Kind, terms: Document) -> Self {
        Self { kind: Some(kind), terms: Some(terms), ..self }
    }

    /// Whether it makes the environment if there is none. Of a record that does not say so, it is not known.
    pub(crate) fn may_create(&self) -> bool {
        self.kind.is_none_or(|kind| kind == Kind::Create)
    }

    /// Whether it is that of an older ingot-fleet, which does not write down here what it orders.
    pub(crate) fn orders_without_a_word(&self) -> bool {
        self.schema < SCHEMA
    }

    /// The same deployment, of which an operation is ordered now.
    pub(crate) fn order(&self, token: &str, at: Timestamp) -> Self {
        let before = self.ordered.as_ref().filter(|ordered| ordered.token == token).map_or(0, |ordered| ordered.times);
        // What a newer one says needs its schema.
        Self { schema: SCHEMA, ordered: Some(Ordered { token: token.to_owned(), at, times: before + 1 }), ..self.clone() }
    }

    /// The same deployment, which goes another way for a cause.
    pub(crate) fn turn(&self, token: &str, at: Timestamp, cause: Option<String>) -> Self {
        Self { cause, ..self.order(token, at) }
    }

    /// The same deployment, ended.
    pub(crate) fn end(&self, state: State, at: Timestamp, cause: Option<String>) -> Self {
        Self { state, ended: Some(at), cause, ..self.clone() }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("a record has only strings for keys");
        content.push(b'\n');
        content
    }

    /// One line for people: which, how it stands, since when, by whom.
    pub(crate) fn told(&self) -> String {
        let Self { number, environment, state, by, .. } = self;
        let (verb, at) = self.ended.map_or(("begun", self.began), |ended| ("ended", ended));
        format!("deployment {number} of {environment} ({}) is {state}: {verb} {at:.0} by {by}", self.goal.release.name)
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
        assert_eq!(record().told(), "deployment 7 of prod (v1) is under way: begun 2026-11-30T23:00:00Z by ann");
    }

    #[test]
    fn reads_what_was_written_before_there_were_terms() {
        let text = String::from_utf8(Record::begin("shop", "prod", 7, goal("v1"), beginner("ann")).write()).unwrap();
        let old = text.replace("\"schema\": 2", "\"schema\": 1");
        let record = Record::read(old.as_bytes(), "shop", "prod", 7).unwrap();
        assert_eq!((record.kind, record.terms.clone(), record.may_create()), (None, None, true));
        assert!(record.orders_without_a_word() && !record.order("t", record.began).orders_without_a_word());
        // Who ends it loses nothing, and who orders an operation of it says so by a schema that has a word for it.
        let at = "2026-11-30T23:05:00Z".parse().unwrap();
        let schema = |record: &Record| serde_json::from_slice::<serde_json::Value>(&record.write()).unwrap()["schema"].clone();
        assert_eq!((schema(&record.end(State::Good, at, None)), schema(&record.order("t", at))), (1.into(), 2.into()));
    }

    #[test]
    fn orders_are_counted_each() {
        let at = "2026-11-30T23:05:00Z".parse().unwrap();
        let times = |record: &Record| record.ordered.as_ref().map_or(0, |ordered| ordered.times);
        let twice = record().order("a", at).order("a", at);
        assert_eq!((times(&twice), times(&twice.order("b", at))), (2, 1));
    }

    #[test]
    fn says_what_is_none() {
        let read = |text: &str, number| Record::read(text.as_bytes(), "shop", "prod", number).unwrap_err();
        let text = String::from_utf8(record().write()).unwrap();
        for torn in [&text[..text.len() / 2], "", "[]", "{\"schema\": \"1\"}", &text.replace("\"goal\"", "\"aim\"")] {
            assert!(matches!(read(torn, 7), NoRecord::Foreign(_)), "{torn}");
        }
        // A field that this version does not know would be lost when the record is changed.
        assert!(matches!(read(&text.replacen('{', "{\"more\": 1,", 1), 7), NoRecord::Foreign(_)));
        assert!(matches!(read("{\"schema\": 3, \"state\": \"paused\"}", 7), NoRecord::Newer(3)));
        assert_eq!(read(&text, 8).to_string(), "it is the record of deployment 7 of prod of shop");
        assert!(matches!(read(&text.replace("under_way", "good"), 7), NoRecord::Impossible(_)));
    }
}
