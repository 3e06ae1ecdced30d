//! What a person sees of a deployment: a line for each operation, and one for each instance that changed.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::output::talk;
use crate::aws::groups::Groups;
use crate::conduct::Tell;
use crate::deployment::course::Operation;
use crate::failure::Failure;
use crate::story::{self, Event};

/// Tells on stderr.
#[derive(Debug)]
pub(super) struct Watcher<'a> {
    groups: &'a Groups,
    application: &'a str,
    environment: &'a str,
    /// What was told of each instance.
    seen: RefCell<BTreeMap<String, String>>,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(groups: &'a Groups, application: &'a str, environment: &'a str) -> Self {
        Self { groups, application, environment, seen: RefCell::default() }
    }

    async fn instances(&self) -> Option<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        for group in self.groups.of(self.application, self.environment).await.ok()? {
            let health = match &group.targets {
                Some(targets) => self.groups.health(targets).await.ok()?,
                None => BTreeMap::new(),
            };
            for member in group.members {
                let target = health.get(&member.id).map(|target| format!(", {}", target.state)).unwrap_or_default();
                found.insert(member.id, format!("{}{target}", member.state));
            }
        }
        Some(found)
    }
}

impl Tell for Watcher<'_> {
    fn begins(&self, operation: Operation) {
        talk(match operation {
            Operation::Create => "creating the stack",
            Operation::SetPolicy => "setting the policy",
            Operation::SetRelease => "replacing what runs",
        });
    }

    fn waits_for_others(&self, status: &str) {
        talk(&format!("waiting: the stack is in {status}, by somebody else"));
    }

    fn silent(&self, failure: &Failure) {
        talk(&format!("{}; the deployment does not need this, and is looked at again", failure.sentence()));
    }

    fn event(&self, event: &Event) {
        let stack = format!("{}-{}", self.application, self.environment);
        if let Some(said) = story::sentence(event, &stack).filter(|_| story::is_bad(event)) {
            talk(&said);
        }
    }

    fn news(&self, sentence: &str) {
        talk(sentence);
    }

    async fn look(&self) {
        let Some(now) = self.instances().await else { return };
        let before = self.seen.replace(now.clone());
        for (id, state) in &now {
            if before.get(id) != Some(state) {
                talk(&format!("{id}: {state}"));
            }
        }
        before.keys().filter(|id| !now.contains_key(*id)).for_each(|id| talk(&format!("{id}: gone")));
    }
}
