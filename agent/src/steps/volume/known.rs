//! What EC2 knows about volumes: the tags that ingot sets, and the queries.

use std::collections::BTreeMap;

use super::fields::Volume;
use super::trouble::VolumeError;
use crate::aws::ec2::{self, Here, VolumeQuery};
use crate::step::Context;
use crate::text::Text;

/// Tags of every volume that ingot creates or reuses.
pub(super) const INSTANCE: &str = "ingot:instance";
pub(super) const ADDRESS: &str = "ingot:address";
const FROM: &str = "ingot:from";

pub(super) fn render(text: &Text, cx: &Context<'_>) -> Result<String, VolumeError> {
    cx.render(text).map(|rendered| rendered.expose().to_owned()).map_err(VolumeError::Render)
}

pub(super) fn tags(texts: &BTreeMap<String, Text>, cx: &Context<'_>) -> Result<BTreeMap<String, String>, VolumeError> {
    let mut tags = BTreeMap::new();
    for (key, text) in texts {
        tags.insert(key.clone(), render(text, cx)?);
    }
    Ok(tags)
}

/// All volumes that match a query.
pub(super) async fn volumes(query: VolumeQuery, cx: &Context<'_>) -> Result<Vec<ec2::Volume>, VolumeError> {
    cx.unthrottled(|| cx.world.aws.ec2.volumes(&query)).await.map_err(VolumeError::Ec2)
}

/// One volume. `None` if there is none with this ID.
pub(super) async fn describe(volume: &str, cx: &Context<'_>) -> Result<Option<ec2::Volume>, VolumeError> {
    let query = VolumeQuery { ids: vec![volume.to_owned()], ..VolumeQuery::default() };
    match cx.unthrottled(|| cx.world.aws.ec2.volumes(&query)).await {
        Ok(found) => Ok(found.into_iter().next()),
        Err(error) if error.code == "InvalidVolume.NotFound" => Ok(None),
        Err(error) => Err(VolumeError::Ec2(error)),
    }
}

/// Tags in a form for display.
pub(super) fn with(tags: &BTreeMap<String, String>) -> String {
    let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("with {}", tags.join(", "))
}

impl Volume {
    /// Tags of a volume that is created for this instance. The tags by which `reuse:` finds it are not among them,
    /// because another instance could take it before it is attached.
    pub(super) fn tags_of_new(&self, here: &Here, cx: &Context<'_>, from: &str) -> Result<BTreeMap<String, String>, VolumeError> {
        let mut tags = tags(&self.tags, cx)?;
        tags.insert(INSTANCE.into(), here.instance.clone());
        tags.insert(ADDRESS.into(), cx.address.to_string());
        tags.insert(FROM.into(), from.to_owned());
        Ok(tags)
    }

    /// Tags of a volume that is attached to this instance.
    pub(super) fn tags_for(&self, here: &Here, cx: &Context<'_>, from: &str) -> Result<BTreeMap<String, String>, VolumeError> {
        let mut tags = tags(self.reuse.as_ref().map_or(&BTreeMap::new(), |reuse| &reuse.with_tags), cx)?;
        tags.extend(self.tags_of_new(here, cx, from)?);
        Ok(tags)
    }
}
