//! Line breaks and other control characters in names: of an address, a user, a secret, a bucket.
//!
//! No such thing has a name like that, and the call that uses the name would fail late with an obscure error. Texts
//! that are passed on unchanged may contain anything.

use crate::document::error::Mistake;
use crate::document::tree::{Key, Node, Value};
use crate::text::{is_unshowable, shown_on_a_line};

/// Fields of any kind of step that are not names: the input of programs and files, certificates, and tags, which may be
/// any text.
const TEXTS: [&str; 13] = [
    "content",
    "run",
    "check",
    "exec",
    "environment",
    "ca",
    "certificate",
    "key",
    "build",
    "when",
    "tags",
    "with_tags",
    "newest_with_tags",
];

/// Whether the field holds free text, not a name.
pub(crate) fn is_text(field: &str) -> bool {
    TEXTS.contains(&field)
}

/// The mistake in the name of a step.
pub(super) fn of_step(key: &Key) -> Option<Mistake> {
    if key.name.contains("{{") {
        let message = format!("`{}` contains a reference, but the name of a step cannot", shown(&key.name));
        return Some(Mistake::at(&key.place, message, "write the name itself, without braces"));
    }
    is_broken(&key.name).then(|| {
        let message = format!("`{}` contains a line break or another control character", shown(&key.name));
        Mistake::at(&key.place, message, "give the step a name of printable characters")
    })
}

/// Finds impossible names below `node`. Its field `text`, if given, holds free text here even if it is a name
/// elsewhere.
pub(super) fn check(node: &Node, text: Option<&str>, mistakes: &mut Vec<Mistake>) {
    match &node.value {
        Value::String(text) if is_broken(text) && is_broken(&without_templates(text)) => {
            let message = format!("`{}` contains a line break or another control character", shown(text));
            mistakes.push(Mistake::at(&node.place, message, "remove it; in YAML, `>-` folds lines and drops the line break at the end"));
        }
        Value::Sequence(items) => items.iter().for_each(|item| check(item, None, mistakes)),
        Value::Map(entries) => {
            for (_, node) in entries.iter().filter(|(key, _)| !is_text(&key.name) && Some(key.name.as_str()) != text) {
                check(node, None, mistakes);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(..) | Value::Number(_) => {}
    }
}

fn is_broken(text: &str) -> bool {
    let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    !is_plain && text.contains(|character| matches!(character, '\n' | '\t') || is_unshowable(character))
}

/// Removes templates: a line break within one does not appear in the rendered text.
fn without_templates(text: &str) -> String {
    let mut parts = text.split("{{");
    let mut without = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| without.push_str(part.split_once("}}").map_or("", |(_, rest)| rest)));
    without
}

fn shown(text: &str) -> String {
    shown_on_a_line(text).replace('\t', "\\t")
}

#[cfg(test)]
mod tests {
    use crate::document::BootDocument;
    use crate::document::source::Layers;

    fn mistakes(fields: &str) -> Vec<String> {
        let mut layers = Layers::default();
        layers.add("doc", &format!("version: 1\n{fields}\n"));
        BootDocument::of(layers).mistakes.into_iter().map(|mistake| mistake.message).collect()
    }

    #[test]
    fn nothing_has_a_name_with_a_line_break() {
        for fields in [
            r#"services: { a.service: { ready: { http: "http://a\nb/" } } }"#,
            r#"services: { a.service: { ready: { tcp: "a\nb:1" } } }"#,
            r#"files: { /etc/a: { content: a, owner: "ro\not" } }"#,
            r#"secrets: { a: { secrets_manager: "x\ny" } }"#,
            r#"secrets: { a: { secrets_manager: "{{values.x}}\n" } }"#,
            r#"mounts: { /srv/a: { device: "/dev/a\tb", options: ["a\u0007"] } }"#,
            r#"volumes: { a: { from: { volume: "vol-\u202e1" } } }"#,
            r#"bundles: { a: { s3: "s3://a/b\r", into: /opt/a, links: { "x": "/a\nb" } } }"#,
            r#"bundles: { a: { s3: "s3://a/b", into: /opt/a, links: { value: "/a\nb" } } }"#,
        ] {
            let found = mistakes(fields);
            assert!(!found.is_empty() && found.iter().all(|said| said.contains("control character")), "{fields}: {found:?}");
        }
    }

    #[test]
    fn what_is_handed_on_may_hold_anything() {
        for fields in [
            r#"files: { /etc/a: { content: "a\n\tb\u0007", check: [sh, -c, "a\nb"] } }"#,
            r#"commands: { a: { run: [sh, -c, "a\nb"], environment: { A: "a\nb" } } }"#,
            r#"credentials: { a: "a\nb", b: { value: "a\nb" } }"#,
            r#"secrets: { a: { secrets_manager: "{{#if (has values.x)}}a{{else\n}}b{{/if}}" } }"#,
            r#"files: { /etc/ä: { content: a, owner: "ü" } }"#,
        ] {
            assert_eq!(mistakes(fields), [""; 0], "{fields}");
        }
    }
}
