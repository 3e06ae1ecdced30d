//! The facts of this instance, which a document can use without declaring them: `{{instance.id}}`,
//! `{{instance.region}}`, `{{instance.tags.NAME}}` …
//!
//! Facts come from the instance identity document and, for tags that a document refers to, from instance metadata. On a
//! workstation they come from `--facts FILE`, or are readable placeholders.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::aws::Identity;

/// Every fact except tags, with its description.
pub(crate) const FACTS: [(&str, &str); 8] = [
    ("id", "the instance ID, i-…"),
    ("region", "such as eu-central-1"),
    ("zone", "the availability zone, such as eu-central-1a"),
    ("account", "the account ID, twelve digits"),
    ("image", "the ID of the AMI it was launched from"),
    ("type", "such as m7g.large"),
    ("architecture", "x86_64 or arm64"),
    ("private_ip", "its private IPv4 address"),
];

/// The name of the tags among the facts.
pub(crate) const TAGS: &str = "tags";

/// The `instance` object that templates see.
pub(crate) fn instance(identity: &Identity, tags: BTreeMap<String, String>) -> Value {
    let values = [
        &identity.instance_id,
        &identity.region,
        &identity.availability_zone,
        &identity.account_id,
        &identity.image_id,
        &identity.instance_type,
        &identity.architecture,
        &identity.private_ip,
    ];
    let mut instance = Map::new();
    for ((name, _), value) in FACTS.iter().zip(values) {
        // A fact that IMDS does not provide is missing, so that a template that prints it fails
        // instead of printing nothing.
        if !value.is_empty() {
            instance.insert((*name).to_owned(), Value::from(value.as_str()));
        }
    }
    instance.insert(TAGS.to_owned(), tags.into_iter().map(|(key, value)| (key, Value::from(value))).collect::<Map<_, _>>().into());
    Value::Object(instance)
}

/// The lines of `/run/ingot/facts.env`, for `EnvironmentFile=`: `INGOT_INSTANCE_ID=…`, and `AWS_REGION` for SDKs. Also
/// returns the names of the facts that are left out.
///
/// Values are written without quotes, because readers of such files interpret quotes differently. A value that any of
/// them could misread, for example as the beginning of another line, is left out.
pub(crate) fn environment_file(instance: &Value) -> (String, Vec<&'static str>) {
    let (mut lines, mut left_out) = (String::new(), Vec::new());
    for (name, _) in FACTS {
        let Some(value) = instance.get(name).and_then(Value::as_str) else { continue };
        if !value.chars().all(|character| character.is_ascii_alphanumeric() || "-_.:/+@".contains(character)) {
            left_out.push(name);
            continue;
        }
        lines.push_str(&format!("INGOT_INSTANCE_{}={value}\n", name.to_uppercase()));
        if name == "region" {
            lines.push_str(&format!("AWS_REGION={value}\n"));
        }
    }
    (lines, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { instance_id: "i-0abc".into(), region: "eu-central-1".into(), ..Identity::default() }
    }

    #[test]
    fn leaves_out_what_is_not_known() {
        let instance = instance(&identity(), BTreeMap::from([("Name".into(), "shop".into())]));
        assert_eq!(instance, serde_json::json!({"id": "i-0abc", "region": "eu-central-1", "tags": {"Name": "shop"}}));
    }

    #[test]
    fn writes_an_environment_file() {
        let instance = instance(&identity(), BTreeMap::new());
        let lines = "INGOT_INSTANCE_ID=i-0abc\nINGOT_INSTANCE_REGION=eu-central-1\nAWS_REGION=eu-central-1\n";
        assert_eq!(environment_file(&instance), (lines.into(), Vec::new()));
    }

    /// Otherwise anyone who controls the answers of IMDS could set any variable of a service.
    #[test]
    fn no_fact_becomes_a_second_variable() {
        for value in ["m7g\nLD_PRELOAD=/tmp/x", "m7g\r", "a\0b", "ends\\", "\"quoted", "two words", "$HOME", "a#b"] {
            let identity = Identity { instance_type: value.into(), ..identity() };
            let (lines, left_out) = environment_file(&super::instance(&identity, BTreeMap::new()));
            assert_eq!((lines.lines().count(), left_out), (3, vec!["type"]), "{value:?}");
        }
    }
}
