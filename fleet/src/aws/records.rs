//! The records of an environment's deployments, and the documents that they name.
//!
//! `deployments/N.json` is made only where there is none, and N only where N-1 has ended: whoever makes it is the one that
//! deploys. Answers get lost, so whoever is refused reads back whether the record is its own.

use ingot::desk::LARGEST_DOCUMENT;
use jiff::Timestamp;

use super::objects::{Condition, Object, Objects, Put};
use crate::deployment::history::Counting;
use crate::deployment::record::{Beginner, Document, Goal, NoRecord, Record, State};
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

/// A record, and the ETag that it has in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) record: Record,
    etag: String,
}

/// What came of beginning a deployment.
#[derive(Debug)]
pub(crate) enum Begun {
    /// This one has the lock.
    Mine(Kept),
    /// Another deployment has it, or had it a moment ago.
    Taken(Kept),
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

    /// The numbers of all records, the newest first.
    pub(crate) async fn numbers(&self) -> Result<Vec<u64>, Failure> {
        let prefix = self.prefix();
        let found = self.objects.list(&prefix).await?;
        let number = |key: &str| {
            let text = key.strip_prefix(&prefix)?.strip_suffix(".json")?;
            // Anything else is nobody's record: 007 would be a second one of 7.
            text.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == text)
        };
        let mut numbers: Vec<u64> = found.iter().filter_map(|object| number(&object.key)).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    /// One record; `None` if there is none.
    pub(crate) async fn read(&self, number: u64) -> Result<Option<Kept>, Failure> {
        let Some(Object { content, etag }) = self.objects.get(&self.key(number)).await? else { return Ok(None) };
        match Record::read(&content, &self.place.application, self.environment, number) {
            Ok(record) => Ok(Some(Kept { record, etag })),
            Err(error) => Err(Failure::new(Exit::Failed, format!("cannot tell how deployment {number} of {} stands", self.environment))
                .why(format!("{}: {}", self.place.url(&self.key(number)), chain(&error)))
                .hint(match error {
                    NoRecord::Newer(_) => "update ingot-fleet".to_owned(),
                    _ => format!(
                        "bring back the version before: `aws s3api list-object-versions --bucket {} --prefix {}`",
                        self.place.bucket,
                        self.key(number)
                    ),
                })),
        }
    }

    /// The records that count now.
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

    /// The newest record.
    pub(crate) async fn newest(&self) -> Result<Option<Kept>, Failure> {
        match self.numbers().await?.first() {
            Some(number) => self.read(*number).await,
            None => Ok(None),
        }
    }

    /// Begins the next deployment, unless one is under way.
    pub(crate) async fn begin(&self, goal: Goal, beginner: Beginner) -> Result<Begun, Failure> {
        let newest = self.newest().await?;
        let number = match newest {
            Some(kept) if kept.record.state == State::UnderWay && kept.record.attempt == beginner.attempt => return Ok(Begun::Mine(kept)),
            Some(kept) if kept.record.state == State::UnderWay => return Ok(Begun::Taken(kept)),
            Some(kept) => kept.record.number + 1,
            None => 1,
        };
        let record = Record::begin(&self.place.application, self.environment, number, goal, beginner);
        match self.objects.put(&self.key(number), record.write(), Condition::Absent).await? {
            Put::Done { etag } => Ok(Begun::Mine(Kept { record, etag })),
            Put::Refused => match self.read(number).await? {
                Some(kept) if kept.record.attempt == record.attempt => Ok(Begun::Mine(kept)),
                Some(kept) => Ok(Begun::Taken(kept)),
                None => Err(Failure::new(Exit::Failed, format!("{} came and went", self.place.url(&self.key(number))))
                    .hint("find out who deletes records, and run it again")),
            },
        }
    }

    /// Writes how a deployment has ended, and why where that was not well.
    pub(crate) async fn finish(&self, kept: &Kept, state: State, at: Timestamp, cause: Option<String>) -> Result<Kept, Failure> {
        let ended = kept.record.end(state, at, cause);
        let number = ended.number;
        match self.objects.put(&self.key(number), ended.write(), Condition::Unchanged(&kept.etag)).await? {
            Put::Done { etag } => Ok(Kept { record: ended, etag }),
            Put::Refused => match self.read(number).await? {
                // Ours, or that of another one who saw the same end.
                Some(found) if found.record.attempt == ended.attempt && found.record.state == ended.state => Ok(found),
                Some(found) => {
                    Err(Failure::new(Exit::Failed, format!("deployment {number} of {} is not {} any more", self.environment, ended.state))
                        .why(found.record.told())
                        .hint("somebody else went on with it: look at `ingot-fleet releases`"))
                }
                None => Err(Failure::new(Exit::Failed, format!("{} is gone", self.place.url(&self.key(number))))
                    .hint("find out who deletes records")),
            },
        }
    }

    /// Where a boot document is kept, by its digest.
    pub(crate) fn document(&self, content: &[u8]) -> Result<Document, Failure> {
        if content.len() as u64 > LARGEST_DOCUMENT {
            let message = format!(
                "the document of {} has {} bytes, more than the {LARGEST_DOCUMENT} that instances read",
                self.environment,
                content.len()
            );
            return Err(Failure::new(Exit::Document, message).hint("take content out of it: into the release, the image, or secrets"));
        }
        let sha256 = Sha256::of(content);
        Ok(Document { key: self.place.document(self.environment, sha256), sha256 })
    }

    /// Keeps a boot document, once.
    pub(crate) async fn keep_document(&self, document: &Document, content: &[u8]) -> Result<(), Failure> {
        // Refused: it is there, by its name the same.
        self.objects.put(&document.key, content.to_vec(), Condition::Absent).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
