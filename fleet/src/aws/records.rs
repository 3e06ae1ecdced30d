//! The records of an environment's deployments, and the documents they refer to.
//!
//! `deployments/N.json` is the lock: it is created only if it does not exist, and only after N-1 has ended. Answers can
//! get lost, so a refused process reads the record back to see whether it is its own. A process updates the record
//! before it starts a CloudFormation operation, and ends a deployment that left no trace on the stack only if the
//! record is unchanged since it was read. So no operation starts after the end of its deployment.

use ingot::desk::LARGEST_DOCUMENT;
use jiff::Timestamp;

use super::objects::{Condition, Object, Objects, Put};
use super::trouble::who_deleted;
use crate::deployment::history::Counting;
use crate::deployment::record::{Beginner, Document, Goal, Kind, NoRecord, Record, State};
use crate::deployment::terms::Terms;
use crate::digest::Sha256;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::place::Place;

/// The records of one environment.
#[derive(Debug)]
pub(crate) struct Records<'a, O> {
    objects: &'a O,
    place: &'a Place,
    environment: &'a str,
}

/// A record and its ETag in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) record: Record,
    etag: String,
}

/// A deployment about to begin.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) goal: Goal,
    /// Where its terms are stored.
    pub(crate) terms: Document,
    pub(crate) beginner: Beginner,
    /// Number of the newest record at planning time; 0 if there was none.
    pub(crate) after: u64,
}

/// Result of beginning a deployment.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The lock is ours.
    Mine(Kept),
    /// Another deployment holds the lock.
    Taken(Kept),
    /// Another deployment held the lock and has ended since: the plan may be out of date.
    Overtaken(Kept),
}

impl<'a, O: Objects> Records<'a, O> {
    pub(crate) fn new(objects: &'a O, place: &'a Place, environment: &'a str) -> Self {
        Self { objects, place, environment }
    }

    fn prefix(&self) -> String {
        format!("{}{}/deployments/", self.place.environments(), self.environment)
    }

    fn key(&self, number: u64) -> String {
        format!("{}{number}.json", self.prefix())
    }

    /// Returns the numbers of all records, newest first.
    pub(crate) async fn numbers(&self) -> Result<Vec<u64>, Failure> {
        let prefix = self.prefix();
        let found = self.objects.list(&prefix).await?;
        let number = |key: &str| {
            let text = key.strip_prefix(&prefix)?.strip_suffix(".json")?;
            // Only the canonical spelling counts: 007 would be a second record 7.
            text.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == text)
        };
        let mut numbers: Vec<u64> = found.iter().filter_map(|object| number(&object.key)).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    /// Reads one record. Returns `None` if it does not exist.
    pub(crate) async fn read(&self, number: u64) -> Result<Option<Kept>, Failure> {
        let Some(Object { content, etag }) = self.objects.get(&self.key(number)).await? else { return Ok(None) };
        match Record::read(&content, &self.place.application, self.environment, number) {
            Ok(record) => Ok(Some(Kept { record, etag })),
            Err(error) => {
                Err(Failure::new(Exit::Failed, format!("cannot determine the state of deployment {number} of {}", self.environment))
                    .why(format!("{}: {}", self.place.url(&self.key(number)), chain(&error)))
                    .hint(match error {
                        NoRecord::Newer(_) => "update ingot-fleet".to_owned(),
                        _ => format!(
                            "restore the previous version: `aws s3api list-object-versions --bucket {} --prefix {}`",
                            self.place.bucket,
                            self.key(number)
                        ),
                    }))
            }
        }
    }

    /// Returns the records that currently count.
    pub(crate) async fn counting(&self) -> Result<Counting, Failure> {
        let mut counting = Counting::default();
        for number in self.numbers().await? {
            if let Some(kept) = self.read(number).await?
                && !counting.take(kept.record)
            {
                break;
            }
        }
        Ok(counting)
    }

    /// Returns the newest record.
    pub(crate) async fn newest(&self) -> Result<Option<Kept>, Failure> {
        match self.numbers().await?.first() {
            Some(number) => self.read(*number).await,
            None => Ok(None),
        }
    }

    /// Begins the next deployment, unless one is under way or has taken place since the plan was made.
    pub(crate) async fn begin(&self, draft: Draft) -> Result<Begun, Failure> {
        let Draft { kind, goal, terms, beginner, after } = draft;
        let newest = self.newest().await?;
        let number = match newest {
            Some(kept) if kept.record.attempt == beginner.attempt && kept.record.state == State::UnderWay => return Ok(Begun::Mine(kept)),
            Some(kept) if kept.record.state == State::UnderWay => return Ok(Begun::Taken(kept)),
            Some(kept) if kept.record.number != after => return Ok(Begun::Overtaken(kept)),
            Some(kept) => kept.record.number + 1,
            None => 1,
        };
        let record = Record::begin(&self.place.application, self.environment, number, goal, beginner).on(kind, terms);
        match self.objects.put(&self.key(number), record.write(), Condition::Absent).await? {
            Put::Done { etag } => Ok(Begun::Mine(Kept { record, etag })),
            Put::Refused => match self.read(number).await? {
                Some(kept) if kept.record.attempt == record.attempt => Ok(Begun::Mine(kept)),
                Some(kept) if kept.record.state == State::UnderWay => Ok(Begun::Taken(kept)),
                Some(kept) => Ok(Begun::Overtaken(kept)),
                None => Err(self.gone(number)),
            },
        }
    }

    /// Records that an operation starts now. Returns `None` if the record has changed since it was read; the caller
    /// must then read it again.
    pub(crate) async fn order(&self, kept: &Kept, token: &str) -> Result<Option<Kept>, Failure> {
        self.change(kept, kept.record.order(token, Timestamp::now())).await
    }

    /// Records the direction of a deployment, and why. Returns `None` if the record has changed since it was read.
    pub(crate) async fn turn(&self, kept: &Kept, token: &str, cause: Option<String>) -> Result<Option<Kept>, Failure> {
        self.change(kept, kept.record.turn(token, Timestamp::now(), cause)).await
    }

    /// Records the outcome of a deployment as the stack shows it, with the cause if it was not successful.
    pub(crate) async fn finish(&self, kept: &Kept, state: State, at: Timestamp, cause: Option<String>) -> Result<Kept, Failure> {
        let number = kept.record.number;
        let mut kept = kept.clone();
        loop {
            if let Some(ended) = self.end(&kept, state, at, cause.clone()).await? {
                return Ok(ended);
            }
            let is_bad = |state| matches!(state, State::Failed | State::Undone);
            match self.read(number).await?.ok_or_else(|| self.gone(number))? {
                // Another process started an operation too late to affect this outcome.
                found if found.record.attempt == kept.record.attempt && found.record.state == State::UnderWay => kept = found,
                // Another process recorded the same outcome, perhaps without its cause.
                found if found.record.state == state || (is_bad(found.record.state) && is_bad(state)) => return Ok(found),
                found => {
                    return Err(Failure::new(
                        Exit::Failed,
                        format!("cannot record deployment {number} of {} as {state}", self.environment),
                    )
                    .why(found.record.told())
                    .hint("another operator has continued it: check `ingot-fleet releases`"));
                }
            }
        }
    }

    /// Ends a deployment. Returns `None` if the record has changed since it was read; the caller must then read it
    /// again.
    pub(crate) async fn end(&self, kept: &Kept, state: State, at: Timestamp, cause: Option<String>) -> Result<Option<Kept>, Failure> {
        self.change(kept, kept.record.end(state, at, cause)).await
    }

    /// Replaces the record that was read. Returns `None` if it has changed since.
    async fn change(&self, kept: &Kept, record: Record) -> Result<Option<Kept>, Failure> {
        let number = record.number;
        match self.objects.put(&self.key(number), record.write(), Condition::Unchanged(&kept.etag)).await? {
            Put::Done { etag } => Ok(Some(Kept { record, etag })),
            // An earlier attempt may have succeeded and its answer been lost.
            Put::Refused => Ok(Some(self.read(number).await?.ok_or_else(|| self.gone(number))?).filter(|found| found.record == record)),
        }
    }

    fn gone(&self, number: u64) -> Failure {
        Failure::new(Exit::Failed, format!("{} is gone", self.place.url(&self.key(number)))).hint(who_deleted(&self.place.bucket))
    }

    /// Stores the terms of a deployment once, and returns where.
    pub(crate) async fn keep_terms(&self, terms: &Terms) -> Result<Document, Failure> {
        let content = terms.write();
        let sha256 = Sha256::of(&content);
        let kept = Document { key: self.place.terms(self.environment, sha256), sha256 };
        // Refused means they exist, and their name is their digest.
        self.objects.put(&kept.key, content, Condition::Absent).await?;
        Ok(kept)
    }

    /// Returns the terms of a deployment, or `None` if it began before terms were stored.
    pub(crate) async fn terms(&self, record: &Record) -> Result<Option<Terms>, Failure> {
        let Some(Document { key, sha256 }) = &record.terms else { return Ok(None) };
        let content = self.objects.get(key).await?.map(|object| object.content);
        let read = content.filter(|content| Sha256::of(content) == *sha256).and_then(|content| Terms::read(&content));
        let unread = || {
            Failure::new(Exit::Failed, format!("cannot determine the settings of deployment {} of {}", record.number, self.environment))
                .why(format!("{} is not in the format of this ingot-fleet", self.place.url(key)))
                .hint(format!("update ingot-fleet, or abort the deployment with `ingot-fleet abort {}`", self.environment))
        };
        read.map(Some).ok_or_else(unread)
    }

    /// Returns where a boot document is stored, by its digest.
    pub(crate) fn document(&self, content: &[u8]) -> Result<Document, Failure> {
        if content.len() as u64 > LARGEST_DOCUMENT {
            let message = format!(
                "the document of {} is {} bytes long, more than the {LARGEST_DOCUMENT} that instances read",
                self.environment,
                content.len()
            );
            return Err(Failure::new(Exit::Document, message).hint("move content from it into the release, the image, or secrets"));
        }
        let sha256 = Sha256::of(content);
        Ok(Document { key: self.place.document(self.environment, sha256), sha256 })
    }

    /// Stores a boot document once.
    pub(crate) async fn keep_document(&self, document: &Document, content: &[u8]) -> Result<(), Failure> {
        // Refused means it exists, and its name is its digest.
        self.objects.put(&document.key, content.to_vec(), Condition::Absent).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
