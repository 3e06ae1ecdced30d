//! What AWS and instances say of an environment, besides its stack. What cannot be read is no reason to say nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::operator::Operator;
use super::output::talk;
use crate::aws::evidence::{Known, Left};
use crate::aws::instances;
use crate::aws::s3::Bucket;
use crate::conduct::Witness;
use crate::deployment::record::Record;
use crate::failure::Failure;
use crate::story::{Checked, Evidence, Happened};

/// By how much the clock that wrote the record may differ from those of AWS.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// The tag of an instance that says by which deployment it was launched.
const DEPLOYMENT: &str = "ingot:deployment";

#[derive(Debug)]
pub(super) struct Reader<'a> {
    operator: &'a Operator,
    bucket: Bucket,
    /// The name of the evidence bucket.
    name: &'a str,
    known: Known,
    /// Deployments of instances; `None` for one that EC2 does not know any more.
    deployments: RefCell<BTreeMap<String, Option<u64>>>,
    has_warned: Cell<bool>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(operator: &'a Operator, evidence: &'a str) -> Self {
        let bucket = Bucket::new(&operator.aws, evidence);
        Self { operator, bucket, name: evidence, known: Known::default(), deployments: RefCell::default(), has_warned: Cell::new(false) }
    }

    pub(super) fn left(&self) -> Left<'_, Bucket> {
        let Self { operator, bucket, name, .. } = self;
        Left { objects: bucket, bucket: name, application: &operator.place.application, environment: operator.name() }
    }

    /// The evidence of failures since then, each with its deployment.
    pub(super) async fn evidence_since(&self, since: Timestamp) -> Vec<Evidence> {
        let left = self.left();
        let boots = left.boots(since).await.unwrap_or_else(|failure| self.warn(&failure));
        let ids: Vec<&str> = boots.iter().map(|one| one.key.instance.as_str()).collect();
        // Both at once: whoever waits for it wants it now.
        let (found, looked_up) = tokio::join!(left.failures(&boots, &self.known), self.look_up(&ids));
        looked_up.unwrap_or_else(|failure| self.warn(&failure));
        let mut found = found.unwrap_or_else(|failure| self.warn(&failure));
        for one in &mut found {
            one.deployment = self.deployment(&one.instance);
        }
        found
    }

    /// By which deployment an instance was launched, once it was looked up.
    pub(super) fn deployment(&self, instance: &str) -> Option<u64> {
        self.deployments.borrow().get(instance).copied().flatten()
    }

    /// Asks EC2 for the tags of instances, once each.
    pub(super) async fn look_up(&self, ids: &[&str]) -> Result<(), Failure> {
        let mut new: Vec<&str> = ids.iter().copied().filter(|id| !self.deployments.borrow().contains_key(*id)).collect();
        new.sort_unstable();
        new.dedup();
        let found = if new.is_empty() { Vec::new() } else { instances::instances(&self.operator.aws, &new).await? };
        let mut deployments = self.deployments.borrow_mut();
        deployments.extend(new.iter().map(|id| ((*id).to_owned(), None)));
        let of = |tags: &BTreeMap<String, String>| tags.get(DEPLOYMENT).and_then(|number| number.parse().ok());
        deployments.extend(found.into_iter().map(|one| (one.id, of(&one.tags))));
        Ok(())
    }

    /// What Auto Scaling and target groups say since then.
    pub(super) async fn groups_since(&self, since: Timestamp) -> Happened {
        let mut happened = Happened::default();
        self.groups_into(&mut happened, since).await.unwrap_or_else(|failure| self.warn(&failure));
        happened
    }

    async fn groups_into(&self, happened: &mut Happened, since: Timestamp) -> Result<(), Failure> {
        let Operator { groups, place, .. } = self.operator;
        for group in groups.of(&place.application, self.operator.name()).await? {
            happened.activities.extend(groups.activities(&group.name, since).await?);
            happened.refreshes.extend(groups.refreshes(&group.name, since).await?);
            let Some(targets) = &group.targets else { continue };
            let at = Timestamp::now();
            let checked = groups.health(targets).await?.into_iter();
            happened.health.extend(checked.map(|(instance, target)| Checked { at, instance, state: target.state, why: target.why }));
        }
        happened.activities.sort_by_key(|one| one.begun);
        Ok(())
    }

    /// Says once that something cannot be read.
    fn warn<T: Default>(&self, failure: &Failure) -> T {
        if !self.has_warned.replace(true) {
            talk(&format!("warning: {failure}"));
        }
        T::default()
    }
}

impl Witness for Reader<'_> {
    async fn evidence(&self, record: &Record) -> Vec<Evidence> {
        self.evidence_since(earlier(record)).await
    }

    async fn groups(&self, record: &Record) -> Happened {
        self.groups_since(earlier(record)).await
    }

    async fn console(&self, instance: &str) -> Option<String> {
        instances::console(&self.operator.aws, instance).await.unwrap_or_else(|failure| self.warn(&failure))
    }
}

fn earlier(record: &Record) -> Timestamp {
    record.began.checked_sub(SKEW).unwrap_or(record.began)
}
