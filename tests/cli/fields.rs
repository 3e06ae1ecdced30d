//! Field tables in Markdown, generated from the JSON Schema of boot documents.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// The patterns of the schema, each with the type that it describes.
const PATTERNS: [(&str, &str); 6] = [
    (r"^[0-9]+(\.[0-9]+)? ?[a-z]", "duration"),
    ("^(100|[0-9]{1,2}) *%$", "percentage"),
    ("^(100|[1-9][0-9]?) *%$", "percentage"),
    ("^0?[0-7]{3,4}$", "mode"),
    (r"^[a-z]+\..+", "address"),
    (r"^(managed$|secrets\..+)", "address or `managed`"),
];

/// The kinds of step, in the singular like the names of their pages.
pub(crate) fn kinds(schema: &Value) -> Vec<String> {
    steps(schema).map(|(name, _)| singular(name).to_owned()).collect()
}

/// The tables for `name`: a kind of step (`file`), a field of one (`mount.preload`), `document`, or `common` for the
/// fields that every step has. A field that is among `apart`, the names of all tables, has its table elsewhere.
pub(crate) fn tables(schema: &Value, name: &str, apart: &BTreeSet<String>) -> String {
    match name {
        "document" => document(schema),
        "common" => {
            let (_, step) = steps(schema).find(|(_, step)| step.get("properties").is_some()).expect("a step has fields");
            let own = names(step).difference(&common(schema)).cloned().collect();
            // The rules for its other fields are left out.
            table(&json!({ "properties": without(step, &own)["properties"] }), "", &|_| false)
        }
        name => match (field(schema, name), object(field(schema, name))) {
            (_, Some(map)) => table(&without(map, &common(schema)), "", &|path| apart.contains(&format!("{name}.{path}"))),
            (node, None) => format!("{HEAD}{}", row("the value", node, false)),
        },
    }
}

/// The schema of a kind of step, or of a field of one.
fn field<'a>(schema: &'a Value, name: &str) -> &'a Value {
    let mut path = name.split('.');
    let kind = path.next().unwrap_or_default();
    let (_, step) = steps(schema).find(|(name, _)| singular(name) == kind).unwrap_or_else(|| panic!("there is no kind `{kind}`"));
    path.fold(step, |node, field| {
        let fields = object(node).and_then(|node| node["properties"].as_object());
        fields.and_then(|fields| fields.get(field)).unwrap_or_else(|| panic!("the schema has no `{name}`"))
    })
}

/// The sections of steps, each with the schema of one step.
fn steps(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = schema["properties"].as_object().expect("a document has fields");
    fields
        .iter()
        .filter_map(|(name, node)| Some((name.as_str(), node.get("additionalProperties").filter(|step| step.is_object())?)))
        .map(|(name, step)| (name, but_null(step)))
}

/// The schema of a value without null, if that leaves a single one.
fn but_null(node: &Value) -> &Value {
    match (node.get("properties"), shapes(node).as_slice()) {
        (None, [one]) => one,
        _ => node,
    }
}

fn singular(name: &str) -> &str {
    name.strip_suffix("es").filter(|name| name.ends_with("ss")).or(name.strip_suffix('s')).unwrap_or(name)
}

fn names(node: &Value) -> BTreeSet<String> {
    node["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect()
}

/// The names of the fields that every step has; a kind that is not a map has none.
fn common(schema: &Value) -> BTreeSet<String> {
    let fields = steps(schema).map(|(_, step)| names(step)).filter(|names| !names.is_empty());
    fields.reduce(|all, names| all.intersection(&names).cloned().collect()).unwrap_or_default()
}

/// A schema without some of its fields.
fn without(node: &Value, names: &BTreeSet<String>) -> Value {
    let mut node = node.clone();
    if let Some(fields) = node["properties"].as_object_mut() {
        fields.retain(|name, _| !names.contains(name));
    }
    node
}

/// The fields of a whole document: those of a step are on its own page.
fn document(schema: &Value) -> String {
    let mut schema = schema.clone();
    let pages: Vec<(String, String)> =
        steps(&schema).map(|(name, step)| (name.to_owned(), format!("{} See [{1}](steps/{1}.md).", text(step), singular(name)))).collect();
    for (name, page) in pages {
        schema["properties"][name]["description"] = page.into();
    }
    table(&schema, "", &|_| false)
}

/// The tables of a map that is not a step.
pub(crate) fn map(node: &Value) -> String {
    table(node, "", &|_| false)
}

const HEAD: &str = "| Field | Type | Description | Default |\n|---|---|---|---|\n";

/// The table of a map's fields, followed by those of nested maps, unless they are described elsewhere.
fn table(node: &Value, within: &str, is_apart: &dyn Fn(&str) -> bool) -> String {
    let fields = node["properties"].as_object().expect("a map has fields");
    let required: Vec<&str> = node["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut made = HEAD.to_owned();
    fields.iter().for_each(|(name, field)| made.push_str(&row(&format!("`{name}`"), field, required.contains(&name.as_str()))));
    rules(node).iter().for_each(|rule| made.push_str(&format!("\n{rule}\n")));
    for (name, field) in fields {
        let path = format!("{within}{name}");
        if let Some(inner) = object(field).filter(|inner| !names(inner).is_empty() && !is_apart(&path)) {
            made.push_str(&format!("\n#### `{path}`\n\n{}", table(inner, &format!("{path}."), is_apart)));
        }
    }
    made
}

fn row(name: &str, field: &Value, required: bool) -> String {
    let whole = describe(field);
    let (description, default) = whole.split_once("Default: ").unwrap_or((&whole, ""));
    // A field that may be in another layer, so that the schema cannot require it.
    let (description, required) = description.trim().strip_suffix("Required.").map_or((description, required), |rest| (rest, true));
    let words = words_of(field);
    let description = [&[description.trim().to_owned()], words.as_slice()].concat().join(" ");
    let default = if required { "required" } else { default.trim_end_matches('.') };
    format!("| {name} | {} | {} | {} |\n", type_of(field), cell(&description), cell(default))
}

/// Text as a single table cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn text(node: &Value) -> &str {
    node["description"].as_str().unwrap_or_default()
}

/// The schema's description of a field: its own, or that of its type.
fn describe(field: &Value) -> String {
    let whole = std::iter::once(field).chain(shapes(field));
    whole.map(text).find(|text| !text.is_empty()).unwrap_or_default().to_owned()
}

/// The meaning of each word that a field may contain, if the schema describes it.
fn words_of(field: &Value) -> Vec<String> {
    let words = shapes(field).into_iter().filter(|shape| shape.get("const").is_some() && !text(shape).is_empty());
    let words = words.filter(|shape| *shape != field);
    words.map(|shape| format!("`{}`: {}", word(&shape["const"]), text(shape))).collect()
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The alternative schemas of a value, without null.
fn shapes(node: &Value) -> Vec<&Value> {
    let is_null = |node: &Value| node["type"] == "null";
    // A schema that only requires fields is a rule for a map, not another shape.
    let is_rule = |node: &Value| node.get("type").is_none() && node.get("required").is_some();
    let choices = ["anyOf", "oneOf"].into_iter().filter_map(|key| node[key].as_array()).flatten();
    let choices: Vec<&Value> = choices.filter(|node| !is_null(node) && !is_rule(node)).collect();
    if choices.is_empty() { vec![node] } else { choices.into_iter().flat_map(shapes).collect() }
}

/// The map within a field: the field itself, one of its shapes, or the items of a list.
fn object(field: &Value) -> Option<&Value> {
    let within = |node: &'_ Value| node.get("properties").is_some_and(Value::is_object);
    shapes(field).into_iter().find_map(|shape| match (within(shape), shape.get("items")) {
        (true, _) => Some(shape),
        (false, Some(items)) => object(items),
        (false, None) => None,
    })
}

fn type_of(field: &Value) -> String {
    let mut types: Vec<String> = Vec::new();
    for shape in shapes(field) {
        let words = shape["enum"].as_array().into_iter().flatten().chain(shape.get("const")).filter(|value| !value.is_null());
        let words: Vec<String> = words.map(|value| format!("`{}`", word(value))).collect();
        types.extend(if words.is_empty() { vec![kind_of(shape)] } else { words });
    }
    types.dedup();
    match types.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => types.concat(),
    }
}

/// The type of a value that is not one of a few words.
fn kind_of(shape: &Value) -> String {
    let kinds = shape["type"].as_array().into_iter().flatten().chain([&shape["type"]]);
    let plural = |items: &Value| {
        let one = type_of(items);
        // Literal words have no plural.
        if one.starts_with('`') {
            return one;
        }
        one.split(" or ")
            .map(|word| match word.split_once([' ', ',']) {
                Some(("list", rest)) => format!("lists {rest}"),
                Some((first, rest)) => format!("{first}s,{rest}"),
                None if word.ends_with('s') => format!("{word}es"),
                None => format!("{word}s"),
            })
            .collect::<Vec<_>>()
            .join(" or ")
    };
    match kinds.filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("anything") {
        "string" => {
            let pattern = shape["pattern"].as_str().and_then(|pattern| PATTERNS.iter().find(|(known, _)| *known == pattern));
            pattern.map_or("string", |(_, name)| name).to_owned()
        }
        "integer" => match (shape["minimum"].as_u64(), shape["maximum"].as_u64()) {
            (Some(least), Some(most)) => format!("integer, {least} to {most}"),
            (Some(least @ 1..), None) => format!("integer, at least {least}"),
            _ => "integer".into(),
        },
        "array" => format!("list of {}", plural(&shape["items"])),
        "object" => match (&shape["additionalProperties"], names(shape).is_empty()) {
            (items @ Value::Object(_), _) if but_null(items).get("properties").is_some() => "map of steps".into(),
            (items @ Value::Object(_), _) => format!("map of {}", plural(items)),
            (Value::Bool(false), true) => "`{}`".into(),
            _ => "map".into(),
        },
        other => other.to_owned(),
    }
}

/// Which fields of a map belong together, as text.
fn rules(node: &Value) -> Vec<String> {
    let lists = |key: &str| -> Vec<Vec<String>> {
        let choices = node[key].as_array().into_iter().flatten().filter_map(|choice| choice["required"].as_array());
        choices.map(|names| names.iter().filter_map(Value::as_str).map(|name| format!("`{name}`")).collect()).collect()
    };
    let firsts = |lists: &[Vec<String>]| lists.iter().filter_map(|names| names.first().cloned()).collect::<Vec<_>>();
    let (one, any) = (lists("oneOf"), lists("anyOf"));
    let mut rules = Vec::new();
    if node["maxProperties"] == 1 {
        rules.push("Give exactly one of these fields.".to_owned());
    }
    if !one.is_empty() {
        rules.push(format!("Give exactly one of {}.", listed(&firsts(&one), "and")));
    }
    rules.extend(one.iter().filter_map(|names| Some(format!("{} requires {}.", names.first()?, names.get(1)?))));
    if !any.is_empty() {
        rules.push(format!("Give at least one of {}.", listed(&firsts(&any), "and")));
    }
    if let Some(name) = node["not"]["required"][0].as_str() {
        let others = node["not"]["anyOf"].as_array().into_iter().flatten().filter_map(|other| other["required"][0].as_str());
        rules.push(format!("`{name}` excludes {}.", listed(&others.map(|other| format!("`{other}`")).collect::<Vec<_>>(), "and")));
    }
    rules
}

fn listed(names: &[String], last: &str) -> String {
    match names.split_last() {
        Some((end, before)) if !before.is_empty() => format!("{} {last} {end}", before.join(", ")),
        _ => names.concat(),
    }
}
