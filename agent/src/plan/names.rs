//! Names that AWS would reject, as far as they are known on a dev box. Otherwise an instance would find out only when
//! it calls AWS.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::aws::names;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::document::names::is_text;
use crate::document::tree::{Node, Value};
use crate::failure::Objection;
use crate::plan::filled::Known;

type Rule = fn(&str) -> Option<Objection>;

/// The fields that contain such names, by kind of step.
const RULES: [(&str, &str, Rule); 19] = [
    ("volumes", "snapshot", |name| names::id("a snapshot", "snap-", name)),
    ("volumes", "volume", |name| names::id("a volume", "vol-", name)),
    ("volumes", "kms_key", names::kms_key),
    ("volumes", "owner", names::account),
    ("addresses", "elastic_ip", |name| name.starts_with("eipalloc-").then(|| names::id("an address", "eipalloc-", name))?),
    ("mounts", "device", names::file_system),
    ("databases", "instance", names::database),
    ("databases", "cluster", names::database),
    ("databases", "snapshot", names::database_snapshot),
    ("databases", "class", names::database_class),
    ("databases", "security_groups", |name| names::id("a security group", "sg-", name)),
    ("secrets", "secrets_manager", names::secret),
    ("secrets", "parameter", names::parameter),
    ("secrets", "parameters_under", names::parameters),
    ("bundles", "parameter", names::parameter),
    ("signals", "stack", names::stack),
    ("signals", "resource", names::logical_id),
    ("signals", "name", names::lifecycle_hook),
    ("drains", "name", names::lifecycle_hook),
];

/// Fields that name a user or a group of the machine, and the kinds of step that have them.
const USERS: [&str; 4] = ["owner", "group", "as", "user"];
const OF_USERS: [&str; 5] = ["files", "mounts", "bundles", "commands", "applications"];

/// Adds the mistakes in the names used by steps.
pub(super) fn check(items: &BTreeMap<Address, Item>, broken: &[(Address, Node)], known: Option<&Known<'_>>, mistakes: &mut Vec<Mistake>) {
    let filled = |text: &str| known?.text(text);
    let written = items.iter().filter_map(|(address, item)| Some((address, item.written.as_ref()?)));
    for (address, node) in written.chain(broken.iter().map(|(address, node)| (address, node))) {
        walk((address.kind(), ""), node, &filled, mistakes);
    }
}

/// `filled` renders a text with the values, if they are known.
fn walk((kind, field): (&str, &str), node: &Node, filled: &dyn Fn(&str) -> Option<String>, mistakes: &mut Vec<Mistake>) {
    match &node.value {
        // Tags and variables may have any name.
        Value::Map(entries) => {
            let named = entries.iter().filter(|(key, _)| !is_text(&key.name));
            named.for_each(|(key, node)| walk((kind, &key.name), node, filled, mistakes));
        }
        Value::Sequence(items) => items.iter().for_each(|item| walk((kind, field), item, filled, mistakes)),
        Value::String(text) => {
            let Some(rule) = rule(kind, field) else { return };
            let name = if text.contains("{{") { filled(text) } else { Some(text.clone()) };
            mistakes.extend(name.and_then(|name| rule(&name)).map(|objection| Mistake::of(&node.place, objection)));
        }
        Value::Null | Value::Bool(..) | Value::Number(_) => {}
    }
}

fn rule(kind: &str, field: &str) -> Option<Rule> {
    let of_aws = RULES.iter().find(|(of, name, _)| *of == kind && *name == field).map(|(.., rule)| *rule);
    of_aws.or_else(|| (USERS.contains(&field) && OF_USERS.contains(&kind)).then_some(user as Rule))
}

/// The name of a user or a group as shadow-utils takes it; also the form `USER:GROUP`, which chown(1) accepts but no
/// step does.
///
/// Source: useradd(8), "CAVEATS"
fn user(name: &str) -> Option<Objection> {
    let hint = match name.split_once(':') {
        Some((user, group)) => format!("write `{user}` here, and `group: {group}` where the step has that field"),
        None if name.is_empty() => "write a name or a number, or remove the field".to_owned(),
        None if name.starts_with('-') || name.contains(|character: char| character.is_whitespace() || "/,".contains(character)) => {
            "write the name as it is in /etc/passwd or /etc/group: without spaces, slashes and commas, as in www-data".to_owned()
        }
        None => return None,
    };
    Some(Objection::new(format!("`{name}` is not the name of a user or a group"), hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_one_word() {
        for (name, is_good) in [
            ("root", true),
            ("1000", true),
            ("www-data", true),
            ("user@example.com", true),
            ("root:root", false),
            ("", false),
            ("www data", false),
            ("-1", false),
            ("a/b", false),
        ] {
            assert_eq!(user(name).is_none(), is_good, "{name}");
        }
    }

    #[test]
    fn fields_of_one_name_have_the_rule_of_their_kind() {
        let refuses = |kind, field, name: &str| rule(kind, field).is_some_and(|rule| rule(name).is_some());
        assert!(refuses("files", "group", "www data") && !refuses("signals", "group", "www data"));
        assert!(refuses("volumes", "owner", "root") && !refuses("files", "owner", "root"));
        assert!(refuses("signals", "name", "a b") && !refuses("secrets", "name", "a b"));
    }
}
