//! Names that AWS would reject, as far as they are known on a dev box. Otherwise an instance would find out only when
//! it calls AWS.

use std::collections::BTreeMap;

use crate::address::Address;
use crate::document::Item;
use crate::document::error::Mistake;
use crate::document::names::is_text;
use crate::document::tree::{Node, Value};
use crate::failure::Objection;
use crate::plan::filled::Known;

type Rule = fn(&str) -> Option<Objection>;

/// The fields that contain such names, by kind of step.
const RULES: [(&str, &str, Rule); 9] = [
    ("volumes", "snapshot", |name| id("a snapshot", "snap-", name)),
    ("volumes", "volume", |name| id("a volume", "vol-", name)),
    ("addresses", "elastic_ip", |name| name.starts_with("eipalloc-").then(|| id("an address", "eipalloc-", name))?),
    ("mounts", "device", file_system),
    ("databases", "instance", database),
    ("databases", "cluster", database),
    ("secrets", "secrets_manager", secret),
    ("secrets", "parameter", parameter),
    ("secrets", "parameters_under", |name| parameter(name.trim_end_matches('/'))),
];

/// Fields that name a user or a group.
const USERS: [&str; 4] = ["owner", "group", "as", "user"];

/// Adds the mistakes in the names used by steps.
pub(super) fn check(items: &BTreeMap<Address, Item>, broken: &[(Address, Node)], known: Option<&Known<'_>>, mistakes: &mut Vec<Mistake>) {
    let filled = |text: &str| known?.text(text);
    let written = items.iter().filter_map(|(address, item)| Some((address, item.written.as_ref()?)));
    for (address, node) in written.chain(broken.iter().map(|(address, node)| (address, node))) {
        walk(address.kind(), node, &filled, mistakes);
    }
}

/// `filled` renders a text with the values, if they are known.
fn walk(kind: &str, node: &Node, filled: &dyn Fn(&str) -> Option<String>, mistakes: &mut Vec<Mistake>) {
    let Value::Map(entries) = &node.value else { return };
    // Tags and variables may have any name.
    for (key, node) in entries.iter().filter(|(key, _)| !is_text(&key.name)) {
        let Value::String(text) = &node.value else {
            walk(kind, node, filled, mistakes);
            continue;
        };
        let rule = RULES.iter().find(|(of, field, _)| *of == kind && *field == key.name).map(|(.., rule)| *rule);
        let rule = rule.or_else(|| USERS.contains(&&*key.name).then_some(user as Rule));
        let name = || if text.contains("{{") { filled(text) } else { Some(text.clone()) };
        let wrong = rule.and_then(|rule| rule(&name()?));
        mistakes.extend(wrong.map(|objection| Mistake::of(&node.place, objection)));
    }
}

/// An EC2 ID: a prefix for its kind, followed by 8 or 17 hexadecimal digits.
fn id(what: &str, prefix: &str, name: &str) -> Option<Objection> {
    let digits = name.strip_prefix(prefix).unwrap_or_default();
    let is_id = matches!(digits.len(), 8 | 17) && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let hint = match name.split_once('-') {
        Some(("snap", _)) if prefix == "vol-" => format!("write `snapshot: {name}`"),
        Some(("vol", _)) if prefix == "snap-" => format!("write `volume: {name}`"),
        _ => format!("write the ID that AWS shows, as in {prefix}0123456789abcdef0"),
    };
    (!is_id).then(|| Objection::new(format!("`{name}` is not the ID of {what}"), hint))
}

/// Only examines names that begin like that of an EFS file system.
fn file_system(name: &str) -> Option<Objection> {
    let (id, _) = name.strip_prefix("fs-")?.split_once(['.', ':'])?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hint = "write the ID that AWS shows, as in fs-0123456789abcdef0";
    (!is_id).then(|| Objection::new(format!("`fs-{id}` is not the ID of a file system"), hint))
}

/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/CHAP_Limits.html#RDS_Limits.Constraints>
fn database(name: &str) -> Option<Objection> {
    if name.starts_with("arn:") {
        return None;
    }
    let is_name = name.len() <= 63
        && name.starts_with(|character: char| character.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.ends_with('-')
        && !name.contains("--");
    let hint = match name.split_once('.') {
        Some((first, rest)) if rest.contains(".rds.") => format!("write its name, not its endpoint: {first}"),
        _ => "use letters, digits and single hyphens, with a letter first".to_owned(),
    };
    (!is_name).then(|| Objection::new(format!("`{name}` cannot be the name of an RDS database"), hint))
}

/// Names made by AWS contain an exclamation mark as well, as in `rds!db-…`.
/// Source: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html>
fn secret(name: &str) -> Option<Objection> {
    let is_name = (1..=512).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+=.@-!".contains(&byte));
    let hint = "use letters, digits and /_+=.@-, as in prod/shop/db";
    (!name.starts_with("arn:") && !is_name).then(|| Objection::new(format!("`{name}` cannot be the name of a secret"), hint))
}

/// Source: <https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html>
fn parameter(name: &str) -> Option<Objection> {
    if name.starts_with("arn:") {
        return None;
    }
    let (path, _version) = name.split_once(':').unwrap_or((name, ""));
    let (rooted, begin) = (path.starts_with('/'), path.trim_start_matches('/').to_ascii_lowercase());
    // The remainder is the name of a secret.
    if begin.starts_with("aws/reference/secretsmanager/") {
        return None;
    }
    let is_of_aws = ["aws/service/", "aws/reference/"].iter().any(|public| format!("{begin}/").starts_with(public));
    let hint = if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte)) {
        "use letters, digits and /_.-, as in /prod/token".to_owned()
    } else if path.contains('/') && !rooted {
        format!("begin it with a slash: /{name}")
    } else if (begin.starts_with("aws") || begin.starts_with("ssm")) && !is_of_aws {
        "begin it with something other than `aws` and `ssm`, which AWS reserves".to_owned()
    } else {
        return None;
    };
    Some(Objection::new(format!("`{name}` cannot be the name of a parameter"), hint))
}

/// The form `USER:GROUP`, which chown(1) accepts but no step does.
fn user(name: &str) -> Option<Objection> {
    let (user, group) = name.split_once(':')?;
    let hint = format!("write `{user}` here, and `group: {group}` where the step has that field");
    Some(Objection::new(format!("`{name}` is not the name of a user or a group"), hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_aws_would_refuse() {
        let is_refused = |rule: Rule, name: &str| rule(name).is_some();
        for (rule, good, bad) in [
            (RULES[0].2, &["snap-0123456789abcdef0", "snap-0a1b2c3d"][..], &["snap-xyz", "vol-0a1b2c3d", "snap-1", "golden"][..]),
            (RULES[2].2, &["eipalloc-0a1b2c3d", "198.51.100.7"], &["eipalloc-xyz"]),
            (
                file_system,
                &["fs-0a1b2c3d.efs.eu-west-1.amazonaws.com:/", "/dev/sdf", "nas:/fs-x"],
                &["fs-xyz.efs.eu-west-1.amazonaws.com:/"],
            ),
            (
                database,
                &["shop-db", "a", "arn:aws:rds:eu-west-1:123456789012:db:shop"],
                &["shop_db", "1a", "a--b", "a-", "a.b.eu-west-1.rds.amazonaws.com"],
            ),
            (secret, &["prod/db", "a+b=c.d@e_f-g", "arn:aws:x", "rds!db-0a1b2c3d"], &["prod db", "", "a:b"]),
            (
                parameter,
                &["/prod/token:3", "token", "/aws/service/ami", "/aws/service", "/aws/reference/secretsmanager/a+b", "arn:aws:ssm"],
                &["prod/token", "/ssm/a", "/a b", "awsome"],
            ),
            (user, &["root", "1000"], &["root:root"]),
        ] {
            assert!(good.iter().all(|name| !is_refused(rule, name)) && bad.iter().all(|name| is_refused(rule, name)), "{good:?} {bad:?}");
        }
    }
}
