//! What a name that refers to nothing is likely meant as: a fact by the name that other tools give it, a value or a step
//! without what comes before its name.

use serde_json::Value as Json;

use crate::address::Address;
use crate::address::Reference;
use crate::document::KINDS;
use crate::facts::{FACTS, TAGS};
use crate::failure::nearest;

/// Names of facts elsewhere, such as in IMDS and cloud-init, each with ours.
const FACTS_ELSEWHERE: [(&str, &str); 12] = [
    ("instance_id", "id"),
    ("instanceid", "id"),
    ("instance_region", "region"),
    ("availability_zone", "zone"),
    ("az", "zone"),
    ("account_id", "account"),
    ("ami", "image"),
    ("ami_id", "image"),
    ("image_id", "image"),
    ("instance_type", "type"),
    ("arch", "architecture"),
    ("local_ipv4", "private_ip"),
];

/// Objects of cloud-init, Ansible and others that contain facts.
const OBJECTS_ELSEWHERE: [&str; 6] = ["ds", "v1", "ec2", "aws", "meta_data", "ansible_facts"];

/// The fact that a word means, whatever tool it is from.
pub(crate) fn fact_meant(word: &str) -> Option<&'static str> {
    let word = word.replace('-', "_").to_ascii_lowercase();
    let ours = FACTS.iter().map(|(name, _)| *name).find(|name| *name == word);
    ours.or_else(|| FACTS_ELSEWHERE.iter().find(|(name, _)| *name == word).map(|(_, ours)| *ours))
}

/// The hint for a reference whose first segment is unknown. `steps` are the addresses of all steps.
pub(super) fn reference_meant<'s>(reference: &Reference, values: &Json, mut steps: impl Iterator<Item = &'s str>) -> String {
    let root = reference.root();
    let written = if reference.written.starts_with(root) { reference.written.clone() } else { reference.to_string() };
    let fact = reference.segments.last().filter(|_| reference.segments.len() == 1 || OBJECTS_ELSEWHERE.contains(&root));
    if values.get(root).is_some() {
        return format!("write `values.{written}`");
    }
    if let Some(address) = steps.find(|step| step.split_once('.').is_some_and(|(_, key)| key == root)) {
        return format!("write `{}.{written}`", address.split('.').next().unwrap_or_default());
    }
    if root == TAGS {
        let name = if reference.segments.len() > 1 { written } else { format!("{TAGS}.Name") };
        return format!("write `instance.{name}`");
    }
    if let Some(fact) = fact.and_then(|fact| fact_meant(fact)) {
        return format!("write `instance.{fact}`");
    }
    let roots = ["values", "instance"].into_iter().chain(KINDS.iter().map(|kind| kind.name));
    match nearest(root, roots) {
        Some(near) => format!("did you mean `{near}{}`?", &written[root.len().min(written.len())..]),
        None => format!("write `values.{written}` and define it under `values:`, or begin with instance or secrets"),
    }
}

/// The hint for a step that does not exist, and whether it resembles one of `known`.
pub(super) fn step_meant(address: &Address, known: &[&str]) -> (String, bool) {
    let (kind, key) = (address.kind(), address.key());
    let is_kind = |kind: &str| KINDS.iter().any(|known| known.name == kind);
    // The kind may be left out or wrong.
    let by_key = known.iter().find(|known| {
        let own = known.split_once('.').map_or("", |(_, key)| key);
        own == address.as_str() || !is_kind(kind) && own == key
    });
    if let Some(near) = by_key.copied().or_else(|| nearest(address.as_str(), known.iter().copied())) {
        return (format!("did you mean {near}?"), true);
    }
    let of_kind = |kind: &str, key: &str| format!("write `{kind}.{key}`, and add {key} to `{kind}:`");
    let hint = match nearest(kind, KINDS.iter().map(|kind| kind.name)) {
        _ if is_kind(kind) => format!("add {key} to `{kind}:`"),
        Some(kind) => of_kind(kind, key),
        None if address.as_str().ends_with(".service") => of_kind("services", address.as_str()),
        None => format!("begin with the kind of the step: {}", KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")),
    };
    (hint, false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::address::Usage;

    fn meant(path: &str) -> String {
        let segments = path.split('.').map(str::to_owned).collect();
        let reference = Reference { segments, usage: Usage::Printed, written: path.to_owned() };
        let steps = ["secrets.db", "services.a.service"];
        reference_meant(&reference, &json!({ "env": "prod" }), steps.into_iter())
    }

    #[test]
    fn a_reference_without_its_beginning_gets_it() {
        for (path, hint) in [
            ("instance_id", "write `instance.id`"),
            ("instance-id", "write `instance.id`"),
            ("region", "write `instance.region`"),
            ("availability_zone", "write `instance.zone`"),
            ("ds.meta_data.instance_id", "write `instance.id`"),
            ("v1.region", "write `instance.region`"),
            ("tags.Name", "write `instance.tags.Name`"),
            ("tags", "write `instance.tags.Name`"),
            ("env", "write `values.env`"),
            ("db.password", "write `secrets.db.password`"),
            ("value.env", "did you mean `values.env`?"),
            ("name", "write `values.name` and define it under `values:`, or begin with instance or secrets"),
        ] {
            assert_eq!(meant(path), hint, "{path}");
        }
    }

    #[test]
    fn an_address_without_its_kind_gets_it() {
        let known = ["files./etc/x", "services.a.service", "commands.migrate"];
        for (address, hint, is_known) in [
            ("service.a.service", "did you mean services.a.service?", true),
            ("a.service", "did you mean services.a.service?", true),
            ("job.migrate", "did you mean commands.migrate?", true),
            ("file./etc/x", "did you mean files./etc/x?", true),
            ("service.worker.service", "write `services.worker.service`, and add worker.service to `services:`", false),
            ("nginx.service", "write `services.nginx.service`, and add nginx.service to `services:`", false),
            ("databases.main", "add main to `databases:`", false),
        ] {
            assert_eq!(step_meant(&address.parse().unwrap(), &known), (hint.to_owned(), is_known), "{address}");
        }
    }
}
