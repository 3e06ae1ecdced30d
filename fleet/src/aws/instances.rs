//! Instances as EC2 describes them, and their console output.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingot::desk::Element;
use jiff::Timestamp;

use super::Aws;
use super::ec2::EC2;
use super::signed;
use super::trouble::Call;
use crate::failure::Failure;

/// Maximum number of values in a filter.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html>
const MOST_VALUES: usize = 200;

/// An instance as EC2 describes it. EC2 lists an instance for about an hour after its termination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: String,
    /// Such as `running` or `terminated`.
    pub(crate) state: String,
    pub(crate) image: String,
    pub(crate) launched: Option<Timestamp>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Looks up instances. Those that EC2 does not list are left out.
pub(crate) async fn instances(aws: &Aws, ids: &[&str]) -> Result<Vec<Known>, Failure> {
    let mut all = Vec::new();
    for ids in ids.chunks(MOST_VALUES) {
        let on = format!("the instances {}", ids.join(", "));
        let call = Call { action: "ec2:DescribeInstances", doing: "look up", on, region: &aws.region };
        // By a filter, since an unknown ID among `InstanceId`s fails the whole call.
        let names: Vec<String> = (1..=ids.len()).map(|number| format!("Filter.1.Value.{number}")).collect();
        let mut parameters = vec![("Filter.1.Name", "instance-id")];
        parameters.extend(names.iter().map(String::as_str).zip(ids.iter().copied()));
        let answer = signed::query(aws, &EC2, "DescribeInstances", &parameters).await.map_err(|trouble| trouble.failure(&call))?;
        all.extend(answer.items("reservationSet").flat_map(|reservation| reservation.items("instancesSet")).filter_map(known));
    }
    Ok(all)
}

/// Tags instances.
pub(crate) async fn tag(aws: &Aws, ids: &[String], tags: &[(&str, String)]) -> Result<(), Failure> {
    let call = Call { action: "ec2:CreateTags", doing: "tag", on: format!("the instances {}", ids.join(", ")), region: &aws.region };
    let numbered = |name: &str, part: &str, at: usize| format!("{name}.{}{part}", at + 1);
    let mut parameters: Vec<(String, &str)> = Vec::new();
    parameters.extend(ids.iter().enumerate().map(|(at, id)| (numbered("ResourceId", "", at), id.as_str())));
    for (at, (key, value)) in tags.iter().enumerate() {
        parameters.extend([(numbered("Tag", ".Key", at), *key), (numbered("Tag", ".Value", at), value.as_str())]);
    }
    let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    signed::query(aws, &EC2, "CreateTags", &parameters).await.map_err(|trouble| trouble.failure(&call))?;
    Ok(())
}

fn known(instance: &Element) -> Option<Known> {
    let text = |element: &Element, name: &str| element.text(name).unwrap_or_default().to_owned();
    Some(Known {
        id: instance.text("instanceId")?.to_owned(),
        state: instance.child("instanceState").map(|state| text(state, "name")).unwrap_or_default(),
        image: text(instance, "imageId"),
        launched: instance.parsed("launchTime"),
        tags: instance.items("tagSet").map(|tag| (text(tag, "key"), text(tag, "value"))).collect(),
    })
}

/// Returns the console output of an instance, as far as EC2 has it, or `None` if it has none.
pub(crate) async fn console(aws: &Aws, id: &str) -> Result<Option<String>, Failure> {
    let call = Call { action: "ec2:GetConsoleOutput", doing: "read", on: format!("the console of {id}"), region: &aws.region };
    let answer = signed::query(aws, &EC2, "GetConsoleOutput", &[("InstanceId", id)]).await.map_err(|trouble| trouble.failure(&call))?;
    let packed: String = answer.text("output").unwrap_or_default().split_whitespace().collect();
    let output = STANDARD.decode(packed).unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(&output).into_owned()).filter(|output| !output.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_and_its_tags_are_read() {
        let answer = Element::parse(
            b"<r><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState>\
              <code>48</code><name>terminated</name></instanceState><launchTime>2026-12-01T09:00:00.000Z</launchTime><tagSet><item>\
              <key>ingot:deployment</key><value>7</value></item></tagSet></item><item><imageId>ami-2</imageId></item></instancesSet>\
              </item></reservationSet></r>",
        );
        let answer = answer.unwrap();
        let found: Vec<Known> = answer.items("reservationSet").flat_map(|one| one.items("instancesSet")).filter_map(known).collect();
        let [found] = found.as_slice() else { panic!("{found:?}") };
        let launched = found.launched.unwrap().to_string();
        assert_eq!((found.id.as_str(), found.image.as_str(), launched.as_str()), ("i-1", "ami-1", "2026-12-01T09:00:00Z"));
        assert_eq!((found.state.as_str(), found.tags["ingot:deployment"].as_str()), ("terminated", "7"));
    }
}
