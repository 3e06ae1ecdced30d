//! Reads what a plan needs from the metadata service: facts, tags, and the phase of the instance.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::aws::autoscaling::GROUP_TAG;
use crate::aws::{Identity, ImdsError};
use crate::boot::state::Boot;
use crate::boot::stop::{Stop, unfilled};
use crate::execute::publish;
use crate::facts;
use crate::failure::Explanation;
use crate::plan::Plan;
use crate::step::Phase;

/// The file that gives the facts to units, by `EnvironmentFile=`.
const FACTS_FILE: &str = "/run/ingot/facts.env";

/// How many times, and at which interval, ingot reads the target state of an instance in a
/// group while it is not set yet.
const STATE_TRIES: u32 = 10;
const STATE_EVERY: Duration = Duration::from_millis(500);

impl Boot {
    /// Returns the phase that this instance is in. Asks the metadata service only if the plan depends on the phase.
    pub(super) async fn phase(&self, plan: &Plan) -> Result<Phase, ImdsError> {
        if !plan.heeds_phase {
            return Ok(Phase::Serve);
        }
        let metadata = self.cloud().metadata();
        let mut state = metadata.target_lifecycle_state().await?;
        // The group may not have set the state yet. An instance must not start to serve in a warm pool.
        for _ in 0..STATE_TRIES {
            if state.is_some() || !matches!(metadata.tag(GROUP_TAG).await, Ok(Some(_))) {
                break;
            }
            self.clock().sleep(STATE_EVERY).await;
            state = metadata.target_lifecycle_state().await?;
        }
        let phase = Phase::of(state.as_deref());
        self.recorder.amend(|report| report.phase = Some(phase));
        Ok(phase)
    }

    /// Gives facts and values to the steps, and writes the facts to a file for units.
    pub(super) async fn learn_facts(&self, plan: &Plan, identity: Option<&Identity>) -> Result<(), Stop> {
        let instance = self.facts_of(plan.tags(), identity).await?;
        let values = plan.values.resolve(&instance).map_err(|(place, error)| unfilled(&place, &error))?;
        // A boot that reads no facts keeps the file of an earlier boot.
        if identity.is_some() {
            let (lines, left_out) = facts::environment_file(&instance);
            for fact in left_out {
                self.note(&format!(
                    "{FACTS_FILE} leaves out the fact `{fact}`: its value has characters that an environment file cannot contain"
                ));
            }
            self.needs_disk(FACTS_FILE);
            publish(Path::new(FACTS_FILE), lines.as_bytes(), &self.ground.host).await?;
            self.has_it();
        }
        let known = &self.world().known;
        known.set_root("instance", instance);
        known.set_root("values", values);
        Ok(())
    }

    /// Reads these tags, and returns the facts with them.
    pub(super) async fn facts_of(&self, keys: BTreeSet<&str>, identity: Option<&Identity>) -> Result<Value, Stop> {
        let metadata = self.cloud().metadata();
        let mut tags = BTreeMap::new();
        let mut disabled = None;
        let read = keys.into_iter().map(|key| join(std::future::ready(key), metadata.tag(key)));
        for (key, tag) in join_all(read).await {
            match tag {
                Ok(Some(value)) => {
                    tags.insert(key.to_owned(), value);
                }
                Ok(None) => {}
                // Only the steps that need the tag fail. Steps that test for it, or have an alternative,
                // are not affected.
                Err(error @ ImdsError::TagsDisabled) => disabled = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(error) = disabled {
            self.note(&Explanation::of(&error).to_string());
        }
        Ok(identity.map_or_else(|| json!({}), |identity| facts::instance(identity, tags)))
    }
}
