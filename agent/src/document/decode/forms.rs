//! The correct form of a value that is written in a shorter form than its field accepts: a name instead of a map, or a
//! line instead of a list.

use crate::aws::names::is_id;
use crate::document::tree::{Node, Value, is_string};

/// What a text is meant as: a field of the expected map, the prefix of the text, and the field that the text belongs
/// in.
const FORMS: [(&str, &str, &str); 5] = [
    ("secrets_manager", "/", "parameter"),
    ("secrets_manager", "arn:aws:ssm:", "parameter"),
    ("secrets_manager", "", "secrets_manager"),
    ("content", "", "content"),
    ("name", "", "name"),
];

/// The hint for `found`, where a map with these fields is expected.
pub(super) fn of_map(found: &Value, fields: &[&str]) -> String {
    let has = |field: &str| fields.contains(&field);
    let text = if let Value::String(text) = found { Some(text.trim()) } else { None };
    if has("tcp") {
        return format!("write `{}`", probe(found));
    }
    if let Some((field, value)) = text.and_then(|text| text.split_once(':')).filter(|(field, value)| has(field) && !value.starts_with("//"))
    {
        let value = if is_shown(value) { value } else { "…" };
        return format!("put a space after the colon: `{field}: {value}`");
    }
    let form = match (text, found) {
        _ if fields.is_empty() => Some("{}".to_owned()),
        _ if has("blank") => Some(source(found)),
        (Some(_), _) if has("from") => Some(format!("{{ from: {} }}", source(found))),
        (Some(text), _) if has("run") => Some(format!("{{ run: {} }}", list(text))),
        (_, Value::Sequence(words)) if has("run") => written_list(words).map(|list| format!("{{ run: {list} }}")),
        (Some(text), _) if has("elastic_ip") => {
            Some(format!("{{ elastic_ip: {} }}", if is_id("eipalloc-", text) { text } else { "eipalloc-0123456789abcdef0" }))
        }
        (Some(text), _) if has("device") => Some(format!("{{ device: {} }}", device(text))),
        (Some(text), _) if has("http") && text.starts_with('/') => Some(format!("{{ http: {} }}", told(text))),
        (_, Value::Number(_)) if has("http") => Some("{ http: / }".to_owned()),
        (Some(text), _) => {
            let form = FORMS.iter().find(|(of, begins, _)| has(of) && text.starts_with(begins));
            form.map(|(_, _, field)| format!("{{ {field}: {} }}", told(text)))
        }
        _ if has("ready") || has("wait_condition_url") => Some("{}".to_owned()),
        _ => None,
    };
    form.map_or_else(|| format!("write a map with its fields: {}", fields.join(", ")), |form| format!("write `{form}`"))
}

/// The probe that is meant. A port that it does not name is an example.
fn probe(found: &Value) -> String {
    let at_port = |port: &str| match port.parse::<u16>() {
        Ok(port @ 1..) => format!("{{ tcp: \"127.0.0.1:{port}\" }}"),
        _ => "{ tcp: \"127.0.0.1:8080\" }".to_owned(),
    };
    let of_text = |text: &str| match text.rsplit_once(':') {
        _ if text.contains(' ') => format!("{{ exec: {} }}", list(text)),
        _ if ["/usr/", "/bin/", "/sbin/", "/opt/"].iter().any(|programs| text.starts_with(programs)) => {
            format!("{{ exec: [{}] }}", told(text))
        }
        _ if text.starts_with('/') => format!("{{ http: {} }}", told(&format!("http://127.0.0.1:8080{text}"))),
        _ if text.starts_with("http://") || text.starts_with("https://") => format!("{{ http: {} }}", told(text)),
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => format!("{{ tcp: {} }}", told(text)),
        Some((_, port)) => at_port(port),
        None => at_port(text),
    };
    match found {
        Value::Number(port) => at_port(port),
        Value::Sequence(words) => written_list(words).map_or_else(|| at_port(""), |list| format!("{{ exec: {list} }}")),
        Value::String(text) => {
            let text = text.trim();
            let field =
                ["tcp:", "http:", "exec:"].into_iter().find_map(|field| text.strip_prefix(field).filter(|rest| !rest.starts_with("//")));
            of_text(field.unwrap_or(text).trim())
        }
        _ => at_port(""),
    }
}

/// The source of a volume that is meant, complete with an example of what it does not say.
fn source(found: &Value) -> String {
    let text = match found {
        Value::String(text) => text.trim(),
        Value::Number(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => return format!("{{ instance_store: {number} }}"),
        _ => "",
    };
    // The ARN of a snapshot or a volume ends with its ID.
    let id = if text.starts_with("arn:") { text.rsplit('/').next().unwrap_or(text) } else { text };
    for (field, prefix, example) in [("snapshot", "snap-", "snap-0123456789abcdef0"), ("volume", "vol-", "vol-0123456789abcdef0")] {
        if id.starts_with(prefix) || id == field && field == "volume" {
            return format!("{{ {field}: {} }}", if is_id(prefix, id) { id } else { example });
        }
    }
    match text {
        _ if text.contains("{{") => format!("{{ snapshot: {} }}", told(text)),
        "blank" | "new" | "empty" | "" => "{ blank: {} }".to_owned(),
        "instance_store" | "ephemeral" => "{ instance_store: 0 }".to_owned(),
        _ if text == "device" || device(text) != ANY_DEVICE || text.starts_with("/dev/") => format!("{{ device: {} }}", device(text)),
        _ => "{ snapshot: { newest_with_tags: { app: shop } } }".to_owned(),
    }
}

/// An example of a device.
const ANY_DEVICE: &str = "/dev/sdf";

/// The device that is meant: `sdg` is /dev/sdg, and the name of a step is its device.
fn device(text: &str) -> String {
    let bare = text.trim_start_matches("/dev/");
    match text.strip_prefix("volumes.") {
        Some(name) => format!("\"{{{{volumes.{}.device}}}}\"", name.split('.').next().unwrap_or(name)),
        None if text.starts_with("/dev/") && !bare.is_empty() && !bare.starts_with("nvme") || text.contains([':', '{']) => told(text),
        None if (bare.starts_with("sd") || bare.starts_with("xvd")) && bare.len() < 6 => format!("/dev/{bare}"),
        None => ANY_DEVICE.to_owned(),
    }
}

/// A list of words as it is written in YAML; `None` if it has other items, or none.
fn written_list(items: &[Node]) -> Option<String> {
    let word = |item: &Node| match &item.value {
        Value::String(text) => Some(told(text)),
        Value::Number(text) => Some(text.clone()),
        _ => None,
    };
    let words: Option<Vec<String>> = items.iter().map(word).collect();
    words.filter(|words| !words.is_empty()).map(|words| format!("[{}]", words.join(", ")))
}

/// A line rewritten as the intended list: the words of a command, or the items between commas.
pub(super) fn list(line: &str) -> String {
    let line = line.trim();
    if line.is_empty() {
        return "[ITEM, …]".to_owned();
    }
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
    use crate::document::tree::parse;

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
            (" ", "[ITEM, …]"),
        ] {
            assert_eq!(list(line), expected);
        }
    }

    #[test]
    fn a_probe_is_complete() {
        let of = |written: &str| of_map(&parse(&"x".into(), written).0.unwrap().value, &["http", "tcp", "exec", "timeout"]);
        for (written, expected) in [
            ("/health", "{ http: \"http://127.0.0.1:8080/health\" }"),
            ("[curl, -f, \"http://a/\"]", "{ exec: [curl, -f, \"http://a/\"] }"),
            ("curl -f x", "{ exec: [curl, -f, x] }"),
            ("/opt/shop/bin/check", "{ exec: [/opt/shop/bin/check] }"),
            ("8080", "{ tcp: \"127.0.0.1:8080\" }"),
            ("':8080'", "{ tcp: \"127.0.0.1:8080\" }"),
            ("tcp:9000", "{ tcp: \"127.0.0.1:9000\" }"),
            ("99999", "{ tcp: \"127.0.0.1:8080\" }"),
            ("localhost:80", "{ tcp: \"localhost:80\" }"),
            ("true", "{ tcp: \"127.0.0.1:8080\" }"),
            ("[]", "{ tcp: \"127.0.0.1:8080\" }"),
        ] {
            assert_eq!(of(written), format!("write `{expected}`"), "{written}");
        }
    }

    #[test]
    fn a_source_of_a_volume_is_complete() {
        let of = |written: &str| of_map(&parse(&"x".into(), written).0.unwrap().value, &["snapshot", "volume", "device", "blank"]);
        for (written, expected) in [
            ("instance_store", "{ instance_store: 0 }"),
            ("1", "{ instance_store: 1 }"),
            ("latest", "{ snapshot: { newest_with_tags: { app: shop } } }"),
            ("snapshot", "{ snapshot: { newest_with_tags: { app: shop } } }"),
            ("snap-xyz", "{ snapshot: snap-0123456789abcdef0 }"),
            ("snap-0a1b2c3d", "{ snapshot: snap-0a1b2c3d }"),
            ("arn:aws:ec2:eu-west-1::snapshot/snap-0a1b2c3d", "{ snapshot: snap-0a1b2c3d }"),
            ("volume", "{ volume: vol-0123456789abcdef0 }"),
            ("sdg", "{ device: /dev/sdg }"),
            ("/dev/nvme1n1", "{ device: /dev/sdf }"),
            ("device", "{ device: /dev/sdf }"),
            ("[x]", "{ blank: {} }"),
        ] {
            assert_eq!(of(written), format!("write `{expected}`"), "{written}");
        }
    }
}
