//! Settings of a document that the template sets as well.
//!
//! User data overrides the document, so the document's value would be lost silently. Fields that the template does not
//! set, such as `logs` of `signals.evidence`, are the document's.

use ingot::desk::{Key, Mistake, Node, Value};

/// The mistakes of a document, with all layers merged, to which the template adds `added`.
pub(super) fn find(document: &Node, added: &Node) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    both(document, added, "", &mut mistakes);
    second_signals(document, added, &mut mistakes);
    second_drains(document, added, &mut mistakes);
    mistakes
}

pub(super) fn entries(node: &Node) -> &[(Key, Node)] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

fn both(document: &Node, added: &Node, above: &str, mistakes: &mut Vec<Mistake>) {
    for (key, own) in entries(document) {
        let Some(of_template) = added.get(&key.name) else { continue };
        let path = format!("{above}{}", key.name);
        let are_maps = matches!((&own.value, &of_template.value), (Value::Map(_), Value::Map(_)));
        if are_maps {
            both(own, of_template, &format!("{path}."), mistakes);
        } else if own.to_json() != of_template.to_json() {
            let message = format!("the template of the environment sets `{path}`, so this value would be lost");
            mistakes.push(Mistake::at(&key.place, message, format!("remove `{path}`")));
        }
    }
}

/// An instance has only one drain, the template's.
fn second_drains(document: &Node, added: &Node, mistakes: &mut Vec<Mistake>) {
    let of_template = added.get("drains");
    for (key, _) in document.get("drains").into_iter().flat_map(entries) {
        if of_template.is_some_and(|drains| drains.get(&key.name).is_none()) {
            let message = format!("`drains.{}` is a second drain, but an instance has only one: `drains.leave` of the template", key.name);
            mistakes.push(Mistake::at(&key.place, message, "move its fields, such as `grace`, to `drains.leave`"));
        }
    }
}

/// Signals with the same recipient as a signal of the template, but without what that one waits for.
fn second_signals(document: &Node, added: &Node, mistakes: &mut Vec<Mistake>) {
    let Some(signals) = document.get("signals") else { return };
    let own = entries(signals).iter().filter(|(key, _)| added.get("signals").is_none_or(|added| added.get(&key.name).is_none()));
    for (key, signal) in own {
        let stack = signal.get("cloudformation").filter(|to| to.get("wait_condition_url").is_none() && to.get("resource").is_none());
        let hook = signal.get("lifecycle_hook").filter(|to| match to.get("name").map(|name| &name.value) {
            Some(Value::String(name)) => name == "ready",
            _ => true,
        });
        let (who, name) = match (stack, hook) {
            (Some(_), _) => ("CloudFormation", "stack"),
            (None, Some(_)) => ("the hook `ready`", "hook"),
            (None, None) => continue,
        };
        let message = format!("`signals.{}` notifies {who}, as `signals.{name}` of the template does", key.name);
        mistakes.push(Mistake::at(&key.place, message, format!("remove it, and move fields such as `timeout` to `signals.{name}`")));
    }
}
