//! What EC2 knows of instances, and what they wrote to their consoles.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingot::desk::Element;

use super::Aws;
use super::ec2::EC2;
use super::signed;
use super::trouble::Call;
use crate::failure::Failure;

/// An instance as EC2 knows it. It knows one for about an hour after its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: String,
    /// Such as `running` or `terminated`.
    pub(crate) state: String,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Looks instances up. Those that EC2 does not know are left out.
pub(crate) async fn instances(aws: &Aws, ids: &[&str]) -> Result<Vec<Known>, Failure> {
    let call =
        Call { action: "ec2:DescribeInstances", doing: "look up", on: format!("the instances {}", ids.join(", ")), region: &aws.region };
    // By a filter: one that is not known is no mistake then.
    let names: Vec<String> = (1..=ids.len()).map(|number| format!("Filter.1.Value.{number}")).collect();
    let mut parameters = vec![("Filter.1.Name", "instance-id")];
    parameters.extend(names.iter().map(String::as_str).zip(ids.iter().copied()));
    let answer = signed::query(aws, &EC2, "DescribeInstances", &parameters).await.map_err(|trouble| trouble.failure(&call))?;
    let found = answer.items("reservationSet").flat_map(|reservation| reservation.items("instancesSet"));
    Ok(found.filter_map(known).collect())
}

fn known(instance: &Element) -> Option<Known> {
    let text = |element: &Element, name: &str| element.text(name).unwrap_or_default().to_owned();
    Some(Known {
        id: instance.text("instanceId")?.to_owned(),
        state: instance.child("instanceState").map(|state| text(state, "name")).unwrap_or_default(),
        tags: instance.items("tagSet").map(|tag| (text(tag, "key"), text(tag, "value"))).collect(),
    })
}

/// What an instance has written to its console, as far as EC2 has it; `None` if it has none.
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
    fn tags_and_state_are_read() {
        let answer = Element::parse(
            b"<r><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId><instanceState><code>48</code>\
              <name>terminated</name></instanceState><tagSet><item><key>ingot:deployment</key><value>7</value></item></tagSet></item>\
              </instancesSet></item></reservationSet></r>",
        );
        let answer = answer.unwrap();
        let found = answer.items("reservationSet").flat_map(|one| one.items("instancesSet")).find_map(known).unwrap();
        assert_eq!((found.id.as_str(), found.state.as_str(), found.tags["ingot:deployment"].as_str()), ("i-1", "terminated", "7"));
    }
}
