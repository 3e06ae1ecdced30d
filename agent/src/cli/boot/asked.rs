//! What a plan asks of the instance metadata service: facts, tags, and the phase that the instance is in.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::future::{join, join_all};

use super::reach::{Stop, note};
use crate::aws::autoscaling::GROUP_TAG;
use crate::aws::imds::Imds;
use crate::aws::{Identity, ImdsError, Metadata};
use crate::execute::publish;
use crate::facts;
use crate::failure::Explanation;
use crate::host::Host;
use crate::plan::Plan;
use crate::report::event::Recorder;
use crate::step::{Phase, World};

/// Where units find the facts, for `EnvironmentFile=`.
const FACTS_FILE: &str = "/run/ingot/facts.env";

/// How often an instance of a group is asked for its target state that has none yet, and after which pause.
const STATE_TRIES: u32 = 10;
const STATE_EVERY: Duration = Duration::from_millis(500);

/// The phase that this instance is in, for a plan to which it matters.
pub(super) async fn phase(plan: &Plan, imds: &Imds, host: &Host, recorder: &Recorder) -> Result<Phase, ImdsError> {
    if !plan.heeds_phase {
        return Ok(Phase::Serve);
    }
    let mut state = imds.target_lifecycle_state().await?;
    // Its group may not have said yet what it wants. To begin to serve in a warm pool would be wrong.
    for _ in 0..STATE_TRIES {
        if state.is_some() || !matches!(imds.tag(GROUP_TAG).await, Ok(Some(_))) {
            break;
        }
        host.clock.sleep(STATE_EVERY).await;
        state = imds.target_lifecycle_state().await?;
    }
    let phase = Phase::of(state.as_deref());
    recorder.amend(|report| report.phase = Some(phase));
    Ok(phase)
}

/// Makes facts and values known to the steps, and to units by way of a file.
pub(super) async fn learn_facts(
    plan: &Plan,
    imds: &Imds,
    identity: Option<&Identity>,
    world: &World,
    recorder: &Recorder,
) -> Result<(), Stop> {
    let instance = facts_of(plan, imds, identity, recorder).await?;
    let values = plan.values.resolve(&instance).map_err(|(place, error)| {
        let error = Explanation::of(&error);
        Stop::Failed(Explanation { message: format!("{place}: {}", error.message), ..error })
    })?;
    // A boot that asks for no facts leaves those of an earlier one alone.
    if identity.is_some() {
        publish(Path::new(FACTS_FILE), facts::environment_file(&instance).as_bytes(), &world.host).await?;
    }
    world.known.set_root("instance", instance);
    world.known.set_root("values", values);
    Ok(())
}

/// The facts that a plan asks for.
pub(super) async fn facts_of(
    plan: &Plan,
    imds: &Imds,
    identity: Option<&Identity>,
    recorder: &Recorder,
) -> Result<serde_json::Value, Stop> {
    let mut tags = BTreeMap::new();
    let mut disabled = None;
    let read = plan.tags().into_iter().map(|key| join(std::future::ready(key), imds.tag(key)));
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
        note(recorder, &Explanation::of(&error).to_string());
    }
    Ok(identity.map_or_else(|| serde_json::json!({}), |identity| facts::instance(identity, tags)))
}
