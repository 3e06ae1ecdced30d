//! The correct form of a value that is written in a shorter form than its field accepts: a name instead of a map, or a
//! line instead of a list.

use crate::document::tree::{Value, is_string};

/// What a text is meant as: a field of the expected map, the prefix of the text, and the field that the text belongs
/// in.
const FORMS: [(&str, &str, &str); 12] = [
    ("secrets_manager", "/", "parameter"),
    ("secrets_manager", "arn:aws:ssm:", "parameter"),
    ("secrets_manager", "", "secrets_manager"),
    ("snapshot", "snap-", "snapshot"),
    ("snapshot", "vol-", "volume"),
    ("snapshot", "/dev/", "device"),
    ("tcp", "http", "http"),
    ("tcp", "", "tcp"),
    ("content", "", "content"),
    ("elastic_ip", "", "elastic_ip"),
    ("device", "", "device"),
    ("name", "", "name"),
];

/// The hint for `found`, where a map with these fields is expected.
pub(super) fn of_map(found: &Value, fields: &[&str]) -> String {
    let has = |field: &str| fields.contains(&field);
    let of_text = |text: &str, has: &dyn Fn(&str) -> bool| {
        let form = FORMS.iter().find(|(of, begins, _)| has(of) && text.starts_with(begins));
        form.map(|(_, _, field)| format!("{{ {field}: {} }}", told(text)))
    };
    if let Value::String(text) = found
        && let Some((field, value)) = text.split_once(':').filter(|(field, value)| has(field) && !value.starts_with("//"))
    {
        let value = if is_shown(value) { value } else { "…" };
        return format!("put a space after the colon: `{field}: {value}`");
    }
    let form = match found {
        _ if fields.is_empty() => Some("{}".to_owned()),
        Value::String(text) if has("blank") && text == "blank" => Some("{ blank: {} }".to_owned()),
        Value::String(text) if has("from") => of_text(text, &|of| of == "snapshot").map(|from| format!("{{ from: {from} }}")),
        Value::String(text) if has("run") => Some(format!("{{ run: {} }}", list(text))),
        Value::String(text) => of_text(text, &has),
        _ if has("ready") || has("wait_condition_url") => Some("{}".to_owned()),
        _ if has("tcp") => Some("{ tcp: \"127.0.0.1:PORT\" }".to_owned()),
        _ => None,
    };
    form.map_or_else(|| format!("write a map with its fields: {}", fields.join(", ")), |form| format!("write `{form}`"))
}

/// A line rewritten as the intended list: the words of a command, or the items between commas.
pub(super) fn list(line: &str) -> String {
    let line = line.trim();
    if line.contains([' ', '\n']) && line.contains(|c: char| "|&;<>()$`\\\"'*?[]#~\n".contains(c)) {
        return format!("[/bin/sh, -c, {}]", if is_shown(line) { quoted(line) } else { "\"…\"".to_owned() });
    }
    let words: Vec<String> = line.split([' ', ',']).filter(|word| !word.is_empty()).map(written).collect();
    format!("[{}]", words.join(", "))
}

/// The longest text that a hint repeats, in characters.
const LONGEST: usize = 100;

/// Whether a hint may repeat a text. It must not repeat a whole file or a signed URL.
fn is_shown(text: &str) -> bool {
    text.chars().count() <= LONGEST && !text.contains(['\n', '\r', '?'])
}

fn told(text: &str) -> String {
    if is_shown(text) { written(text) } else { "\"…\"".to_owned() }
}

/// A text as it is written in a YAML list or map.
fn written(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_.-=+".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '-' && text.len() > 1);
    if begins && text.chars().all(is_plain) && is_string(text) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: a signature and a whole file were printed.
    #[test]
    fn what_is_long_or_signed_is_not_repeated() {
        let of = |text: &str, fields: &[&str]| of_map(&Value::String(text.into()), fields);
        assert_eq!(of("http://a/?X-Amz-Signature=hunter2", &["http", "tcp", "exec"]), "write `{ http: \"…\" }`");
        assert_eq!(of("a\npassword=hunter2\n", &["content"]), "write `{ content: \"…\" }`");
        assert_eq!(of(&"a".repeat(101), &["content"]), "write `{ content: \"…\" }`");
        assert_eq!(of("content:a?hunter2", &["content"]), "put a space after the colon: `content: …`");
        assert_eq!(list("curl 'http://a/?X-Amz-Signature=hunter2'"), "[/bin/sh, -c, \"…\"]");
        assert_eq!(of("http://127.0.0.1/", &["http", "tcp", "exec"]), "write `{ http: \"http://127.0.0.1/\" }`");
    }

    #[test]
    fn a_line_becomes_the_list_that_is_meant() {
        for (line, expected) in [
            ("systemctl restart x", "[systemctl, restart, x]"),
            ("noatime,nofail", "[noatime, nofail]"),
            ("commands.a", "[commands.a]"),
            ("sleep 5", "[sleep, \"5\"]"),
            ("cat a | sort", "[/bin/sh, -c, \"cat a | sort\"]"),
            ("set -e\necho a\n", "[/bin/sh, -c, \"…\"]"),
            ("-a", "[-a]"),
            ("prod/shop/*", "[\"prod/shop/*\"]"),
        ] {
            assert_eq!(list(line), expected);
        }
    }
}
