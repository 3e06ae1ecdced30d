//! Placeholders for facts and secrets that were not given: `<secrets.db.password>`, in the shape that the document
//! needs. A list or map that the document loops over has one item, `<secrets.db.hosts.*>`; the key of a map is `<key>`.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::address::{EACH, Reference, Usage};
use crate::plan::{Plan, PlanNode};
use crate::template::{Need, Needed, Template, descend};

/// The key of the only item in a map whose keys are not known.
const KEY: &str = "<key>";

/// Adds a placeholder for every fact and output that the plan refers to and that `tree` lacks. References that are only
/// tested, by `has` or `default`, get none, and neither do those below roots that are `known`. Returns the references
/// that got one, and the lookups for [`complete_keys`].
pub(super) fn complete(tree: &mut Map<String, Value>, plan: &Plan, known: &[&str]) -> (BTreeSet<String>, Vec<Need>) {
    let mut stand_ins = BTreeSet::new();
    let unknown = |reference: &&Reference| reference.usage != Usage::Tested && !known.contains(&reference.root());
    for reference in plan.unknowns().into_iter().filter(unknown) {
        if insert(tree, &reference.segments, &Needed::Any, true) {
            stand_ins.insert(reference.to_string());
        }
    }
    let mut needs = needs(plan);
    for Need { path, shape } in &needs {
        insert(tree, path, shape, false);
    }
    needs.retain(|need| matches!(need.shape, Needed::Key(_)));
    (stand_ins, needs)
}

/// Adds what `lookup` looks for, once the values that give its keys are known.
pub(super) fn complete_keys(tree: &mut Map<String, Value>, needs: &[Need], values: &Value) {
    for Need { path, shape } in needs {
        let Needed::Key(key) = shape else { continue };
        let known = match key.split_first() {
            Some((root, rest)) if root == "values" => descend(values, rest),
            Some((root, rest)) => tree.get(root).and_then(|root| descend(root, rest)),
            None => None,
        };
        let known = known.and_then(Value::as_str).map(str::to_owned);
        known.into_iter().for_each(|key| {
            let path = [path.as_slice(), &[key]].concat();
            insert(tree, &path, &Needed::Any, false);
        });
    }
}

/// What the templates of the plan need of facts and secrets.
fn needs(plan: &Plan) -> Vec<Need> {
    let is_unknown = |root: &str| matches!(root, "instance" | "secrets");
    let of_unknown = |node: &&PlanNode| node.references.iter().any(|reference| is_unknown(reference.root()));
    let mut needs = Vec::new();
    for node in plan.nodes.iter().filter(of_unknown) {
        let texts = node.step.shape(node.address.key()).texts.into_iter().filter(|text| !text.is_plain());
        needs.extend(texts.filter_map(|text| Template::parse(text.raw()).ok()).flat_map(|template| template.needs()));
        needs.extend(node.step.template().and_then(|path| plan.templates.get(path)).into_iter().flat_map(Template::needs));
    }
    needs.retain(|need| need.path.first().is_some_and(|root| is_unknown(root)));
    needs
}

/// Adds a placeholder at `path`, replacing a placeholder on the way there. Given values are kept. If there is nothing
/// at the root, a placeholder is only added if it is `referred_to`. Returns whether one was added.
fn insert(tree: &mut Map<String, Value>, path: &[String], shape: &Needed, referred_to: bool) -> bool {
    let Some((root, rest)) = path.split_first() else { return false };
    if !referred_to && !tree.contains_key(root) {
        return false;
    }
    let mut at = tree.entry(root).or_insert_with(|| json!({}));
    let (mut is_new, mut is_ours) = (false, false);
    for (n, segment) in rest.iter().enumerate() {
        let here = &path[..=n];
        if is_stand_in(at, here) {
            *at = if segment == EACH { json!([]) } else { json!({}) };
            is_ours = true;
        }
        let next = match at {
            Value::Object(fields) => {
                let key = if segment == EACH { KEY } else { segment };
                if !fields.contains_key(key) {
                    let is_part = is_ours || fields.values().any(|field| field.as_str().is_some_and(|text| is_below(text, here)));
                    if !referred_to && !is_part {
                        return false;
                    }
                    is_new = true;
                    fields.insert(key.to_owned(), stand_in(&path[..n + 2]));
                }
                fields.get_mut(key)
            }
            Value::Array(items) if segment == EACH => {
                if items.is_empty() {
                    items.push(stand_in(&path[..n + 2]));
                }
                items.first_mut()
            }
            _ => None,
        };
        let Some(next) = next else { return is_new };
        at = next;
    }
    if is_stand_in(at, path) {
        match shape {
            Needed::Any => {}
            Needed::List => *at = json!([stand_in(&below(path, EACH))]),
            Needed::Map | Needed::Key(_) => *at = json!({ KEY: stand_in(&below(path, EACH)) }),
            Needed::Base64 => {
                let text = stand_in(path).as_str().map(|text| base64::engine::general_purpose::STANDARD.encode(text));
                *at = json!(text);
            }
        }
    }
    is_new
}

fn stand_in(path: &[String]) -> Value {
    json!(format!("<{}>", path.join(".")))
}

fn is_stand_in(value: &Value, path: &[String]) -> bool {
    *value == stand_in(path)
}

/// Whether this is the placeholder for something directly below `path`.
fn is_below(text: &str, path: &[String]) -> bool {
    text.strip_prefix('<').is_some_and(|rest| rest.strip_prefix(&path.join(".")).is_some_and(|rest| rest.starts_with('.')))
}

fn below(path: &[String], key: &str) -> Vec<String> {
    path.iter().cloned().chain([key.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::document::BootDocument;
    use crate::document::source::Layers;

    /// The placeholders for what a file with this content refers to, in addition to what was `given`.
    fn stood_in(content: &str, given: Value) -> Value {
        let mut layers = Layers::default();
        let document = json!({
            "version": 1,
            "values": { "which": "one" },
            "secrets": { "db": { "secrets_manager": "db" }, "flags": { "parameters_under": "/flags/" } },
            "files": { "/etc/a": { "content": content } },
        });
        layers.add_named("test", format!("#ingot\n{document}").as_bytes());
        let plan = Plan::compile(BootDocument::of(layers), &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"));
        let Value::Object(mut tree) = given else { panic!("a map") };
        let (_, needs) = complete(&mut tree, &plan, &[]);
        complete_keys(&mut tree, &needs, &json!({ "which": "one" }));
        Value::Object(tree)
    }

    #[test]
    fn what_stands_in_has_the_shape_that_the_template_needs() {
        for (content, expected) in [
            ("{{secrets.db.password}}", json!({ "db": { "password": "<secrets.db.password>" } })),
            ("{{#each secrets.flags}}{{@key}}={{this}}{{/each}}", json!({ "flags": { "<key>": "<secrets.flags.*>" } })),
            (
                "{{#each secrets.flags}}{{@key}}{{/each}}{{secrets.flags.a}}",
                json!({ "flags": { "<key>": "<secrets.flags.*>", "a": "<secrets.flags.a>" } }),
            ),
            (
                "{{#each secrets.db.users}}{{name}}{{#each roles}}{{this}}{{/each}}{{/each}}",
                json!({ "db": { "users": [{ "name": "<secrets.db.users.*.name>", "roles": ["<secrets.db.users.*.roles.*>"] }] } }),
            ),
            ("{{join secrets.db.hosts ' '}}", json!({ "db": { "hosts": ["<secrets.db.hosts.*>"] } })),
            ("{{lookup secrets.flags 'a'}}", json!({ "flags": { "a": "<secrets.flags.a>" } })),
            ("{{lookup secrets.flags values.which}}", json!({ "flags": { "<key>": "<secrets.flags.*>", "one": "<secrets.flags.one>" } })),
            ("{{#with secrets.db}}{{password}}{{/with}}", json!({ "db": { "password": "<secrets.db.password>" } })),
            ("{{unbase64 secrets.db.key}}", json!({ "db": { "key": "PHNlY3JldHMuZGIua2V5Pg==" } })),
            ("{{#if (has secrets.db.tls)}}{{secrets.db.tls}}{{/if}}", json!(null)),
        ] {
            assert_eq!(stood_in(content, json!({})).get("secrets").unwrap_or(&Value::Null), &expected, "{content}");
        }
    }

    #[test]
    fn what_was_given_stays() {
        let given = json!({ "secrets": { "flags": { "a": "1" }, "db": { "hosts": ["h"] } } });
        let content = "{{#each secrets.flags}}{{@key}}{{/each}}{{lookup secrets.flags values.which}}{{join secrets.db.hosts ' '}}";
        assert_eq!(stood_in(content, given.clone()), given);
    }
}
