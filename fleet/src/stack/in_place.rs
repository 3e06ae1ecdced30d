//! Whether releases can replace one another on instances that stay in service: an application must run the next release
//! beside the current one, and switch requests over once the next one is ready.

use ingot::desk::{Node, Value};

use crate::fleet::{Policy, Site};
use crate::stack::collisions::entries;

/// The process that answers requests.
const WEB: &str = "web";

/// Why the instances could not stay in service; `None` if they can.
fn obstacle(document: &Node) -> Option<String> {
    let mut applications = document.get("applications").into_iter().flat_map(entries).peekable();
    if applications.peek().is_none() {
        return Some("the document has no `applications`, and other units of a release are stopped before the next one starts".to_owned());
    }
    applications.find_map(|(key, application)| {
        let name = &key.name;
        if matches!(application.get("proxy").map(|node| &node.value), Some(Value::String(proxy)) if proxy == "none") {
            return Some(format!("with `proxy: none`, the releases of applications.{name} do not overlap"));
        }
        let overlaps = match application.get("overlap").map(|node| &node.value) {
            Some(Value::Bool(overlaps, _)) => *overlaps,
            Some(Value::Sequence(names)) => names.iter().any(|node| matches!(&node.value, Value::String(name) if name == WEB)),
            _ => true,
        };
        (!overlaps)
            .then(|| format!("because of `overlap`, the previous release of applications.{name} is stopped before the next one answers"))
    })
}

/// Why an environment would lose requests with the policy `in_place`, if it would. That is a mistake if it has this
/// policy.
pub(super) fn check(document: &Node, site: &mut Site<'_>, policy: Policy) -> Option<String> {
    let why = obstacle(document).filter(|_| site.is_balanced())?;
    if policy == Policy::InPlace {
        let hint = "choose another policy, such as rolling_with_batch, or let the releases overlap";
        site.wrong("deployment.policy", format!("`in_place` would lose requests: {why}"), hint);
    }
    Some(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(document: &str) -> Option<String> {
        obstacle(&ingot::desk::parse(&"web.yaml".into(), document).0.unwrap())
    }

    #[test]
    fn releases_that_overlap_lose_nothing() {
        for fine in ["{}", "{ overlap: true }", "{ overlap: [web, worker] }", "{ proxy: { listen: 80 } }"] {
            assert_eq!(found(&format!("applications: {{ shop: {fine} }}")), None, "{fine}");
        }
    }

    #[test]
    fn one_that_stops_first_is_an_obstacle() {
        for bad in ["{ overlap: false }", "{ overlap: [worker] }", "{ proxy: none }"] {
            let why = found(&format!("applications: {{ good: {{}}, shop: {bad} }}")).unwrap();
            assert!(why.contains("applications.shop"), "{why}");
        }
        assert!(found("services: {}").unwrap().contains("no `applications`"));
    }
}
