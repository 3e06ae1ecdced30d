//! The facts of the instance on which a dry run runs, for a comparison with its files.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::address::Reference;
use crate::aws::{ImdsError, Metadata};
use crate::facts::{self, TAGS};
use crate::failure::Explanation;
use crate::plan::Plan;
use crate::rehearse::request::Refusal;
use crate::template::Template;

/// The `instance` object of this instance, with the tags that the plan refers to, and a note if
/// IMDS does not provide tags.
pub(super) async fn facts(metadata: &dyn Metadata, plan: &Plan) -> Result<(Value, Option<String>), Refusal> {
    let identity = metadata.identity().await?;
    let (mut tags, mut note) = (BTreeMap::new(), None);
    for key in keys(plan) {
        match metadata.tag(&key).await {
            Ok(Some(value)) => drop(tags.insert(key, value)),
            Ok(None) => {}
            Err(error @ ImdsError::TagsDisabled) => note = Some(Explanation::of(&error).to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((facts::instance(&identity, tags), note))
}

/// The keys of the tags to which the steps or their `when:` refer.
fn keys(plan: &Plan) -> BTreeSet<String> {
    let mut keys: BTreeSet<String> = plan.tags().into_iter().map(str::to_owned).collect();
    for (_, when) in &plan.open {
        let references = Template::parse(when).map(Template::into_references).unwrap_or_default();
        keys.extend(references.into_iter().filter(|reference| reference.root() == "instance").filter_map(tag));
    }
    keys
}

fn tag(reference: Reference) -> Option<String> {
    let mut segments = reference.segments.into_iter().skip(1);
    segments.next().filter(|segment| segment == TAGS).and_then(|_| segments.next())
}
