//! What AWS and the instances report about an environment, besides its stack. What cannot be read is a warning only.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::operator::Operator;
use super::output::talk;
use crate::aws::evidence::{Boot, Known, Left, MOST};
use crate::aws::instances;
use crate::aws::s3::Bucket;
use crate::conduct::Witness;
use crate::deployment::record::Record;
use crate::failure::Failure;
use crate::story::{Checked, Evidence, Happened};

/// By how much the clock that wrote the record may differ from those of AWS.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// How long to wait before EC2 is asked again for tags that it did not return.
const REST: Duration = Duration::from_secs(5);

/// The tag of an instance that names the deployment which launched it.
const DEPLOYMENT: &str = "ingot:deployment";

#[derive(Debug)]
pub(super) struct Reader<'a> {
    operator: &'a Operator,
    bucket: Bucket,
    /// The name of the evidence bucket.
    name: String,
    known: Known,
    /// Deployments of instances; `None` for an instance that EC2 no longer knows.
    deployments: RefCell<BTreeMap<String, Option<u64>>>,
    /// When EC2 may be asked for them again.
    rests_until: Cell<Option<Instant>>,
    /// The warnings that were given.
    told: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(operator: &'a Operator, evidence: &str) -> Self {
        let (bucket, name) = (Bucket::new(&operator.aws, evidence), evidence.to_owned());
        let (known, deployments) = (Known::default(), RefCell::default());
        Self { operator, bucket, name, known, deployments, rests_until: Cell::new(None), told: RefCell::default() }
    }

    pub(super) fn left(&self) -> Left<'_, Bucket> {
        let Self { operator, bucket, name, .. } = self;
        Left { objects: bucket, bucket: name, application: &operator.place.application, environment: operator.name() }
    }

    /// The evidence of failures since then, of the newest [`MOST`] at most, each with its deployment.
    pub(super) async fn evidence_since(&self, since: Timestamp) -> Vec<Evidence> {
        let mut found = match self.boots(since).await {
            // Newest first, so that the newest are read if there are too many.
            Some(boots) => self.read(boots.iter().rev().collect()).await.unwrap_or_default(),
            None => Vec::new(),
        };
        if found.len() == MOST {
            self.warn_of(format!(
                "only the newest {MOST} failures are shown: `ingot-fleet logs {} --failed` shows the others",
                self.operator.called()
            ));
        }
        found.reverse();
        found
    }

    /// The evidence that these instances have left since then.
    pub(super) async fn evidence_of(&self, instances: &[&str], since: Timestamp) -> Result<Vec<Evidence>, Failure> {
        let left = self.left();
        let boots = left.boots(since).await?;
        let theirs = boots.iter().filter(|one| instances.contains(&one.key.instance.as_str())).collect();
        left.failures(theirs, &self.known).await
    }

    async fn boots(&self, since: Timestamp) -> Option<Vec<Boot>> {
        self.left().boots(since).await.map_err(|failure| self.warn(&failure)).ok()
    }

    /// Reads the evidence of boots; `None` if it cannot be read.
    async fn read(&self, boots: Vec<&Boot>) -> Option<Vec<Evidence>> {
        let left = self.left();
        let ids: Vec<&str> = boots.iter().map(|one| one.key.instance.as_str()).collect();
        // Both at once, because the user is waiting.
        let (found, ()) = tokio::join!(left.failures(boots, &self.known), self.try_to_look_up(&ids));
        let mut found = found.map_err(|failure| self.warn(&failure)).ok()?;
        for one in &mut found {
            one.deployment = self.deployment(&one.instance);
        }
        Some(found)
    }

    /// Without the tags, the time tells the deployment. If EC2 does not return them, it is asked again later.
    async fn try_to_look_up(&self, ids: &[&str]) {
        if self.rests_until.get().is_some_and(|until| Instant::now() < until) {
            return;
        }
        if let Err(failure) = self.look_up(ids).await {
            self.rests_until.set(Some(Instant::now() + REST));
            self.warn(&failure);
        }
    }

    /// The deployment that launched an instance, once that was looked up.
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

    /// What Auto Scaling and the target groups report since then.
    pub(super) async fn groups_since(&self, since: Timestamp) -> Happened {
        let mut happened = Happened::default();
        if let Err(failure) = self.groups_into(&mut happened, since).await {
            self.warn(&failure);
        }
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

    /// Warns that something cannot be read, once for each thing.
    fn warn(&self, failure: &Failure) {
        if self.told.borrow_mut().insert(failure.what().to_owned()) {
            talk(&format!("warning: {failure}"));
        }
    }

    fn warn_of(&self, what: String) {
        if self.told.borrow_mut().insert(what.clone()) {
            talk(&format!("note: {what}"));
        }
    }
}

impl Witness for Reader<'_> {
    async fn evidence(&self, record: &Record) -> Option<Vec<Evidence>> {
        let boots = self.boots(earlier(record)).await?;
        if boots.len() > MOST {
            let ids: Vec<&str> = boots.iter().map(|one| one.key.instance.as_str()).collect();
            self.try_to_look_up(&ids).await;
        }
        // The boots of other deployments may be many, and would be read instead of its own.
        let is_other = |boot: &Boot| self.deployment(&boot.key.instance).is_some_and(|number| number != record.number);
        self.read(boots.iter().filter(|boot| !is_other(boot)).collect()).await
    }

    async fn groups(&self, record: &Record) -> Happened {
        self.groups_since(earlier(record)).await
    }

    async fn console(&self, instance: &str) -> Option<String> {
        instances::console(&self.operator.aws, instance).await.map_err(|failure| self.warn(&failure)).ok().flatten()
    }
}

fn earlier(record: &Record) -> Timestamp {
    record.began.checked_sub(SKEW).unwrap_or(record.began)
}
