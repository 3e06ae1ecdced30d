//! What a plan asks of the instance metadata service: facts, tags, and the phase that the instance is in.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::aws::{Identity, ImdsError};
use crate::boot::state::Boot;
use crate::boot::stop::Stop;
use crate::execute::publish;
use crate::facts;
use crate::failure::Explanation;
use crate::plan::Plan;
use crate::step::Phase;
use crate::steps::signal::GROUP_TAG;

/// Where units find the facts, for `EnvironmentFile=`.
const FACTS_FILE: &str = "/run/ingot/facts.env";

/// How often an instance of a group is asked for its target state that has none yet, and after which pause.
const STATE_TRIES: u32 = 10;
const STATE_EVERY: Duration = Duration::from_millis(500);

impl Boot {
    /// The phase that this instance is in, for a plan to which it matters.
    pub(super) async fn phase(&self, plan: &Plan) -> Result<Phase, ImdsError> {
        if !plan.heeds_phase {
            return Ok(Phase::Serve);
        }
        let metadata = self.cloud().metadata();
        let mut state = metadata.target_lifecycle_state().await?;
        // Its group may not have said yet what it wants. To begin to serve in a warm pool would be wrong.
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

    /// Makes facts and values known to the steps, and to units by way of a file.
    pub(super) async fn learn_facts(&self, plan: &Plan, identity: Option<&Identity>) -> Result<(), Stop> {
        let instance = self.facts_of(plan, identity).await?;
        let values = plan.values.resolve(&instance).map_err(|(place, error)| {
            let error = Explanation::of(&error);
            Stop::Failed(Explanation { message: format!("{place}: {}", error.message), ..error })
        })?;
        // A boot that asks for no facts leaves those of an earlier one alone.
        if identity.is_some() {
            publish(Path::new(FACTS_FILE), facts::environment_file(&instance).as_bytes(), &self.ground.host).await?;
        }
        let known = &self.world().known;
        known.set_root("instance", instance);
        known.set_root("values", values);
        Ok(())
    }

    /// The facts that a plan asks for.
    pub(super) async fn facts_of(&self, plan: &Plan, identity: Option<&Identity>) -> Result<Value, Stop> {
        let metadata = self.cloud().metadata();
        let mut tags = BTreeMap::new();
        let mut disabled = None;
        let read = plan.tags().into_iter().map(|key| join(std::future::ready(key), metadata.tag(key)));
        for (key, tag) in join_all(read).await {
            match tag {
                Ok(Some(value)) => {
                    tags.insert(key.to_owned(), value);
                }
                Ok(None) => {}
                // The steps that need the tag fail, each by its name; those that test for it, or know another way, go on.
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
