//! The manual pages of ingot and of each of its commands. The command lines come from clap, the document from its
//! schema, and the rest from `man.roff`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::document::schema::schema;
use crate::packed;

/// The section of clap's page before which the other sections are inserted.
const VERSION: &str = ".SH VERSION\n";

/// Renders all pages in sequence.
pub(super) fn manual(mut command: clap::Command) -> String {
    command.build();
    let mut main = page(&command);
    let at = main.find(VERSION).unwrap_or(main.len());
    main.insert_str(at, &format!("{}{}", document(&schema()), packed::text(packed::MANUAL)));
    let pages = command.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set());
    pages.fold(main, |pages, command| pages + &page(command))
}

fn page(command: &clap::Command) -> String {
    let mut out = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut out).expect("writing to memory does not fail");
    String::from_utf8_lossy(&out).into_owned()
}

/// The document format: its sections, and the fields of their steps.
fn document(schema: &str) -> String {
    let mut out = String::from(
        ".SH BOOT DOCUMENT\nA YAML document that begins with the line \\fB#ingot\\fR. Strings may refer to facts, values and other \
         steps: \\fB{{secrets.db.password}}\\fR. A reference is a dependency.\n",
    );
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let Some(sections) = schema["properties"].as_object() else { return out };
    let steps = |section: &'_ Value| section.get("additionalProperties").and_then(fields).cloned();
    let mut common: Option<BTreeSet<String>> = None;
    for fields in sections.values().filter_map(steps) {
        let names: BTreeSet<String> = fields.keys().cloned().collect();
        common = Some(common.map_or(names.clone(), |common| common.intersection(&names).cloned().collect()));
    }
    let common = common.unwrap_or_default();
    let mut shared = None;
    for (name, section) in sections {
        let _ = writeln!(out, ".SS {}", escaped(name));
        let _ = writeln!(out, "{}", line(section));
        if let Some(mut fields) = steps(section) {
            let (of_all, own): (Map<_, _>, Map<_, _>) =
                fields.iter_mut().map(|(name, field)| (name.clone(), field.take())).partition(|(name, _)| common.contains(name));
            entries(&own, "", &mut out);
            shared.get_or_insert(of_all);
        }
    }
    if let Some(shared) = shared {
        out.push_str(".SS Fields of every step\n");
        entries(&shared, "", &mut out);
    }
    out
}

/// The fields of a map, and of nested maps by their paths.
fn entries(fields: &Map<String, Value>, above: &str, out: &mut String) {
    for (name, field) in fields {
        let path = format!("{above}{name}");
        let _ = write!(out, ".TP\n\\fB{}\\fR\n{}\n", escaped(&path), line(field));
        if let Some(inner) = self::fields(field) {
            entries(inner, &format!("{path}."), out);
        }
    }
}

/// The fields of a value that is or may be a map, or a list of maps.
fn fields(node: &Value) -> Option<&Map<String, Value>> {
    if let Some(fields) = node.get("properties").and_then(Value::as_object).filter(|_| node.get("type").is_some()) {
        return Some(fields);
    }
    let forms = ["anyOf", "oneOf"].into_iter().filter_map(|key| node.get(key)?.as_array()).flatten();
    forms.chain(node.get("items")).find_map(fields)
}

/// A description as a single line of roff.
fn line(node: &Value) -> String {
    let text = node["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let line = escaped(&text);
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_and_field_of_the_document_is_in_the_manual() {
        let document = document(&schema());
        for heading in ["version", "values", "secrets", "volumes", "signals", "Fields of every step"] {
            assert!(document.contains(&format!("\n.SS {heading}\n")), "{heading}");
        }
        for field in ["secrets_manager", "from.snapshot.newest_with_tags", "ready.http", "lifecycle_hook.name", "when"] {
            assert!(document.contains(&format!("\n\\fB{field}\\fR\n")), "{field}");
        }
        assert_eq!(document.matches("\n\\fBwhen\\fR\n").count(), 1, "what all steps have is there once");
        let mut lines = document.lines().peekable();
        while let Some(line) = lines.next() {
            let is_request = line.starts_with(".SH ") || line.starts_with(".SS ") || line == ".TP";
            assert!(is_request || !line.starts_with(['.', '\'']), "{line}");
            assert!(!line.is_empty(), "before {:?}", lines.peek());
        }
    }
}
