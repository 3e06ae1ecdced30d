//! The records of an environment's deployments, and the documents that they name.
//!
//! `deployments/N.json` is made only where there is none, and N only where N-1 has ended: whoever makes it is the one that
//! deploys. Answers get lost, so whoever is refused reads back whether the record is its own. Whoever orders an operation of
//! CloudFormation changes the record first, and whoever ends a deployment of which nothing is to be seen on the stack does
//! so only if the record is as it was read: so no operation begins after the end.

use ingot::desk::LARGEST_DOCUMENT;
use jiff::Timestamp;

use super::objects::{Condition, Object, Objects, Put};
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

/// A record, and the ETag that it has in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) record: Record,
    etag: String,
}

/// A deployment that is to begin.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) kind: Kind,
    pub(crate) goal: Goal,
    /// Where its terms are kept.
    pub(crate) terms: Document,
    pub(crate) beginner: Beginner,
    /// The number of the newest record that it was planned on; 0 if there was none.
    pub(crate) after: u64,
}

/// What came of beginning a deployment.
#[derive(Debug)]
pub(crate) enum Begun {
    /// This one has the lock.
    Mine(Kept),
    /// Another deployment has it.
    Taken(Kept),
    /// Another one had it meanwhile, and has ended: what was planned may be out of date.
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

    /// Begins the next deployment, unless one is under way, or has been since it was planned.
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

    /// Writes down that an operation is ordered now. `None` if the record is another one than it was read, so that it has to
    /// be looked at again.
    pub(crate) async fn order(&self, kept: &Kept, token: &str) -> Result<Option<Kept>, Failure> {
        self.change(kept, kept.record.order(token, Timestamp::now())).await
    }

    /// Writes down which way a deployment goes, and why. `None` if the record is another one than it was read.
    pub(crate) async fn turn(&self, kept: &Kept, token: &str, cause: Option<String>) -> Result<Option<Kept>, Failure> {
        self.change(kept, kept.record.turn(token, Timestamp::now(), cause)).await
    }

    /// Writes how a deployment has ended, as is to be seen on the stack, and why where that was not well.
    pub(crate) async fn finish(&self, kept: &Kept, state: State, at: Timestamp, cause: Option<String>) -> Result<Kept, Failure> {
        let number = kept.record.number;
        let mut kept = kept.clone();
        loop {
            if let Some(ended) = self.end(&kept, state, at, cause.clone()).await? {
                return Ok(ended);
            }
            let is_bad = |state| matches!(state, State::Failed | State::Undone);
            match self.read(number).await?.ok_or_else(|| self.gone(number))? {
                // Somebody has ordered an operation that came too late for it.
                found if found.record.attempt == kept.record.attempt && found.record.state == State::UnderWay => kept = found,
                // Another one saw the same end; perhaps it knows less of why it was so.
                found if found.record.state == state || (is_bad(found.record.state) && is_bad(state)) => return Ok(found),
                found => {
                    return Err(Failure::new(Exit::Failed, format!("deployment {number} of {} is not {state} any more", self.environment))
                        .why(found.record.told())
                        .hint("somebody else went on with it: look at `ingot-fleet releases`"));
                }
            }
        }
    }

    /// Ends a deployment if its record is as it was read; `None` if it is not, so that it has to be looked at again.
    pub(crate) async fn end(&self, kept: &Kept, state: State, at: Timestamp, cause: Option<String>) -> Result<Option<Kept>, Failure> {
        self.change(kept, kept.record.end(state, at, cause)).await
    }

    /// Writes another record in place of the one that was read. `None` if that is not there any more.
    async fn change(&self, kept: &Kept, record: Record) -> Result<Option<Kept>, Failure> {
        let number = record.number;
        match self.objects.put(&self.key(number), record.write(), Condition::Unchanged(&kept.etag)).await? {
            Put::Done { etag } => Ok(Some(Kept { record, etag })),
            // The answer of a call before may have got lost.
            Put::Refused => Ok(Some(self.read(number).await?.ok_or_else(|| self.gone(number))?).filter(|found| found.record == record)),
        }
    }

    fn gone(&self, number: u64) -> Failure {
        Failure::new(Exit::Failed, format!("{} is gone", self.place.url(&self.key(number)))).hint("find out who deletes records")
    }

    /// Keeps the terms of a deployment, once. Returns where.
    pub(crate) async fn keep_terms(&self, terms: &Terms) -> Result<Document, Failure> {
        let content = terms.write();
        let sha256 = Sha256::of(&content);
        let kept = Document { key: self.place.terms(self.environment, sha256), sha256 };
        // Refused: they are there, by their name the same.
        self.objects.put(&kept.key, content, Condition::Absent).await?;
        Ok(kept)
    }

    /// The terms of a deployment; `None` of one that was begun before terms were kept.
    pub(crate) async fn terms(&self, record: &Record) -> Result<Option<Terms>, Failure> {
        let Some(Document { key, sha256 }) = &record.terms else { return Ok(None) };
        let content = self.objects.get(key).await?.map(|object| object.content);
        let read = content.filter(|content| Sha256::of(content) == *sha256).and_then(|content| Terms::read(&content));
        let unread = || {
            Failure::new(Exit::Failed, format!("cannot tell what deployment {} of {} sets", record.number, self.environment))
                .why(format!("{} is not what this ingot-fleet writes", self.place.url(key)))
                .hint(format!("update ingot-fleet, or end the deployment with `ingot-fleet abort {}`", self.environment))
        };
        read.map(Some).ok_or_else(unread)
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
