//! Lines that are not indented below what they belong to, which therefore has no value:
//!
//! ```yaml
//! files:
//!   /etc/motd:
//!   content: hello
//! ```

use crate::document::error::Mistake;
use crate::document::registry::{COMMON, Kind};
use crate::document::schema::schema;
use crate::document::tree::{Key, Node, Value};

/// The last section of a document without a value.
#[derive(Default)]
pub(super) struct Above(Option<Key>);

impl Above {
    /// The section without a value above this key of the document, if nothing is between them but other unknown keys.
    pub(super) fn next(&mut self, key: &Key, node: &Node) -> Option<Key> {
        let above = self.0.clone().filter(|above| above.place.file == key.place.file && above.place.line < key.place.line);
        if super::registry::top_level().any(|known| known == key.name) {
            self.0 = (node.value == Value::Null).then(|| key.clone());
        }
        above
    }
}

/// The mistake of an unknown section, which may be a step of the section `above`.
pub(super) fn section(key: &Key, above: Option<Key>, known: &[&str]) -> Mistake {
    let mistake = key.unknown(known);
    let is_misspelt = mistake.hint.as_ref().is_some_and(|hint| !hint.starts_with("expected one of"));
    match above.filter(|_| !is_misspelt) {
        Some(above) => Mistake { hint: Some(format!("indent it, if it belongs to `{}:` above it", above.name)), ..mistake },
        None => mistake,
    }
}

/// An entry of a section: a step, with whether fields follow it that are not indented.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) node: Node,
    pub(super) is_reported: bool,
}

/// The steps among the entries of a section: without the fields that follow a step without a value, which are mistakes.
pub(super) fn fields(kind: &Kind, entries: Vec<(Key, Node)>, mistakes: &mut Vec<Mistake>) -> Vec<Entry> {
    let has_bare = entries.iter().any(|(_, node)| node.value == Value::Null);
    let known = if has_bare { names(kind) } else { Vec::new() };
    let mut steps: Vec<Entry> = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let step = steps.last_mut().filter(|step| {
            let above = &step.key.place;
            step.node.value == Value::Null && above.file == key.place.file && above.line < key.place.line && known.contains(&key.name)
        });
        match step {
            Some(step) if step.is_reported => {}
            Some(step) => {
                step.is_reported = true;
                let message = format!("`{}` is a field, but it is not indented below `{}`", key.name, step.key.name);
                let hint = format!("indent it, and the fields after it, deeper than `{}:`", step.key.name);
                mistakes.push(Mistake::at(&key.place, message, hint));
            }
            None => steps.push(Entry { key, node, is_reported: false }),
        }
    }
    steps
}

/// The fields of a kind of step.
fn names(kind: &Kind) -> Vec<String> {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap_or_default();
    let step = &schema["properties"][kind.name]["additionalProperties"];
    let forms = step["anyOf"].as_array().map_or_else(|| vec![step], |forms| forms.iter().collect());
    let fields = forms.into_iter().filter_map(|form| form["properties"].as_object()).flat_map(|fields| fields.keys().cloned());
    fields.chain(COMMON.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use crate::document::BootDocument;
    use crate::document::source::Layers;

    fn mistakes(text: &str) -> Vec<String> {
        let mut layers = Layers::default();
        layers.add("x", &format!("version: 1\n{text}"));
        let said = BootDocument::of(layers).mistakes.into_iter();
        said.map(|one| format!("{}: {} ({})", one.place.unwrap(), one.message, one.hint.unwrap_or_default())).collect()
    }

    #[test]
    fn fields_beside_their_step_are_one_mistake() {
        for (text, said) in [
            (
                "files:\n  /etc/a:\n  content: x\n  mode: '0644'\n",
                "x:4:3: `content` is a field, but it is not indented below `/etc/a` (indent it, and the fields after it, deeper than `/etc/a:`)",
            ),
            (
                "commands:\n  a:\n  run: [x]\n  b: { run: [y] }\n",
                "x:4:3: `run` is a field, but it is not indented below `a` (indent it, and the fields after it, deeper than `a:`)",
            ),
            ("files:\n/etc/a:\n  content: x\n", "x:3:1: unknown key `/etc/a` (indent it, if it belongs to `files:` above it)"),
            ("files:\nservice: {}\n", "x:3:1: unknown key `service` (did you mean `services`?)"),
            (
                "services:\n  a.service:\n",
                "x:3:3: `a.service` has no value, and no earlier layer has anything to remove (write `{}` for a step that needs no fields; `null` removes one of an earlier layer)",
            ),
        ] {
            assert_eq!(mistakes(text), [said], "{text}");
        }
    }
}
