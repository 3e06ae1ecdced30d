//! What the regular replacement of instances requires of a document: a successor boots while its predecessor still
//! serves, and so still has its volumes.

use ingot::desk::{Node, Value};

use crate::fleet::Site;
use crate::stack::collisions::entries;

/// The volumes that an instance takes over, each with the field that says so.
fn taken_over(document: &Node) -> impl Iterator<Item = (&str, &'static str)> {
    let is_set = |node: Option<&Node>| node.is_some_and(|node| node.value != Value::Null);
    document.get("volumes").into_iter().flat_map(entries).filter_map(move |(key, volume)| {
        let field = match volume.get("from") {
            _ if is_set(volume.get("reuse")) => "reuse",
            Some(from) if is_set(from.get("volume")) => "from.volume",
            _ => return None,
        };
        Some((key.name.as_str(), field))
    })
}

/// Checks that no successor needs a volume of its predecessor.
pub(super) fn check(document: &Node, site: &mut Site<'_>) {
    for (name, field) in taken_over(document) {
        let message = format!("with `refresh`, a successor boots before its predecessor ends, which still has `{field}` of volumes.{name}");
        let other = match field {
            "reuse" => format!("`reuse` of volumes.{name}"),
            _ => format!("create volumes.{name} from a snapshot"),
        };
        site.wrong("refresh", message, format!("remove `refresh`, or {other}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_volumes_of_a_predecessor_count() {
        let text = "volumes: { a: { reuse: { with_tags: { a: b } } }, b: { from: { volume: vol-0a } }, c: { from: { snapshot: snap-0a } }, \
                    d: { reuse: null } }";
        let document = ingot::desk::parse(&"web.yaml".into(), text).0.unwrap();
        assert_eq!(taken_over(&document).collect::<Vec<_>>(), [("a", "reuse"), ("b", "from.volume")]);
        assert_eq!(taken_over(&ingot::desk::parse(&"web.yaml".into(), "{}").0.unwrap()).count(), 0);
    }
}
