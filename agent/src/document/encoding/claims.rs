//! Detects content for ingot in a text that does not begin as a boot document: keys, and parts of MIME messages.
//!
//! Only the top level is examined where the text is YAML. Of a script only the first line is examined, because a script
//! may write a boot document.

use std::sync::Arc;

use super::beginnings::{ARCHIVE, CLOUD_CONFIG, MARKER, PATCH, SCRIPT, TEMPLATE, begins_as_message, begins_with, for_cloud_init};
use super::marker::{Head, head, shown, slips_in, slips_to_ingot};
use super::slip::Slip;
use super::unread::{PROGRAM, ZIP};
use crate::document::registry::{self, INCLUDE, KINDS, VERSION};
use crate::document::tree::{self, Key, Node, Value};
use crate::template::announces_block_text;

/// The key of a cloud-config that contains a boot document.
const KEY: &str = "ingot";

/// The maximum number of letters in which a misspelling of `ingot` may differ from it.
const SLIPS: usize = 2;

/// The result of examining the top-level keys.
struct Keys {
    /// The position of the first key that belongs to ingot.
    at: (usize, usize),
    /// Whether the keys cannot be meant for another program.
    ours: bool,
}

/// The top-level keys of a text that belong to ingot, even if the text is not quite YAML. `None` if there are none.
fn keys(text: &str) -> Option<Keys> {
    let (node, mistakes) = tree::parse(&Arc::from(""), text);
    let Some(mut node) = node else { return if mistakes.is_empty() { None } else { keys_by_lines(text) } };
    registry::write_out(&mut node);
    let Value::Map(entries) = &node.value else { return None };
    let known = |key: &Key| registry::top_level().any(|name| name == key.name);
    let (first, _) = entries.iter().find(|(key, _)| known(key))?;
    let ours = entries.iter().filter(|(key, _)| known(key)).count();
    // In a cloud-config, `mounts:` is a list.
    let has_list = entries.iter().any(|(key, node)| known(key) && key.name != INCLUDE && matches!(node.value, Value::Sequence(_)));
    let ours = !has_list
        && match node.get("version").map(|version| &version.value) {
            Some(Value::Number(version) | Value::String(version)) => version == VERSION && (ours > 1 || entries.len() == 1),
            Some(_) => false,
            None => ours == entries.len() && (steps_are_ours(entries) || is_of_no_other(entries)),
        };
    Some(Keys { at: (first.place.line, first.place.column), ours })
}

/// Whether the steps of a map without `version` can be read as steps of a boot document. A Docker Compose file has
/// `services:` too.
fn steps_are_ours(entries: &[(Key, Node)]) -> bool {
    let kinds = entries.iter().filter_map(|(key, node)| Some((KINDS.iter().find(|kind| kind.name == key.name)?, node)));
    let steps: Vec<bool> = kinds
        .filter_map(|(kind, node)| if let Value::Map(steps) = &node.value { Some((kind, steps)) } else { None })
        .flat_map(|(kind, steps)| steps.iter().map(|(_, step)| (kind.decode)(step, &mut Vec::new()).is_some()))
        .collect();
    steps.iter().all(|is_ours| *is_ours) && (!steps.is_empty() || entries.len() > 1)
}

/// Whether a map whose keys all belong to ingot has steps, and no key that Docker Compose files also have. Its steps
/// may then contain mistakes.
fn is_of_no_other(entries: &[(Key, Node)]) -> bool {
    /// Source: <https://docs.docker.com/reference/compose-file/>.
    const COMPOSE: [&str; 4] = ["services", "secrets", "volumes", INCLUDE];

    let is_map = |(_, step): &(Key, Node)| matches!(step.value, Value::Map(_));
    let has_steps = |(key, node): &(Key, Node)| {
        let is_kind = KINDS.iter().any(|kind| kind.name == key.name);
        is_kind && matches!(&node.value, Value::Map(steps) if !steps.is_empty() && steps.iter().all(is_map))
    };
    entries.iter().any(has_steps) && !entries.iter().any(|(key, _)| COMPOSE.contains(&key.name.as_str()))
}

fn keys_by_lines(text: &str) -> Option<Keys> {
    let names = || text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, key_of(line)?.1)));
    let ours = |name: &str| registry::top_level().any(|known| known == name);
    let (line, _) = names().find(|(_, name)| ours(name))?;
    let others = names().any(|(_, name)| name != "version" && ours(name));
    let is_ours = |line: &str| {
        let value = line.split_once(':').map(|(_, value)| value.split(['#', ',']).next().unwrap_or_default());
        key_of(line).is_some_and(|(_, key)| key == "version")
            && value.is_some_and(|value| value.trim().trim_matches(['"', '\'']) == VERSION)
    };
    Some(Keys { at: (line, 1), ours: others && text.lines().any(is_ours) })
}

/// The key at the start of a line of YAML, if there is one, and the column where it begins.
fn key_of(line: &str) -> Option<(usize, &str)> {
    let (before, _) = line.split_once(':')?;
    let key = before.trim_start_matches(['-', ' ', '\t', '{']);
    let column = 1 + before.chars().count() - key.chars().count();
    let key = key.trim_end().trim_matches(['"', '\'']);
    (!key.is_empty() && !key.starts_with('#')).then_some((column, key))
}

/// The mistake in a text that is not for another program.
pub(super) fn unmarked(text: &str) -> Slip {
    if let Head::Slip(slip) = head(text) {
        return slip;
    }
    let slip = if let Some(keys) = keys(text) {
        let message = "these are the keys of a boot document, but the marker `#ingot` before them is missing";
        Slip::at(keys.at, message, "begin user data with the line `#ingot`")
    } else if let Some((line, first)) = first_line(text) {
        if for_cloud_init(first.as_bytes()).is_some() || begins_as_message(first.trim_ascii().as_bytes()) {
            let hint = "begin user data with this line, without comments or spaces before it";
            return Slip::at((line, 1), "other lines come before the marker of this user data", hint);
        }
        let message = format!("user data is {}, neither a boot document nor for a program that ingot knows", looks_like(first));
        let hint = "begin a boot document with the line `#ingot`, a script with `#!`, and a cloud-config with `#cloud-config`";
        Slip::at((line, 1), message, hint)
    } else {
        let message = "user data contains nothing but comments, without the marker `#ingot`";
        Slip::at((1, 1), message, "launch the instance with a boot document that begins with `#ingot`, or without user data")
    };
    Slip { only_unmarked: true, ..slip }
}

/// The first line that is neither empty nor a comment, or is a comment that some program recognizes.
fn first_line(text: &str) -> Option<(usize, &str)> {
    let is_comment = |line: &str| line.is_empty() || (line.starts_with('#') && for_cloud_init(line.as_bytes()).is_none());
    text.lines().enumerate().find(|(_, line)| !is_comment(line.trim())).map(|(index, line)| (index + 1, line))
}

/// Describes, for people, content that no known program reads. The description never quotes the content.
fn looks_like(line: &str) -> &'static str {
    match line.trim_start().as_bytes() {
        [b'<', ..] => "a script for Windows, or XML",
        [b'{', ..] => "JSON or a flow of YAML",
        [b'[', ..] => "TOML or a list",
        _ => "text",
    }
}

/// Content for ingot in a cloud-config that has no `ingot:` key.
pub(crate) fn in_cloud_config(text: &str) -> Option<Slip> {
    let (node, _) = tree::parse(&Arc::from(""), text);
    if let Some(Value::Map(entries)) = node.as_ref().map(|node| &node.value) {
        if let Some((key, _)) = entries.iter().find(|(key, _)| slips_to_ingot(&key.name) <= SLIPS) {
            let message = format!("`{}` is not the key `ingot`", shown(&key.name));
            return Some(Slip::at((key.place.line, key.place.column), message, "did you mean `ingot`?"));
        }
        if let Some(keys) = keys(text).filter(|keys| keys.ours) {
            let hint = "put `#ingot` in place of `#cloud-config`, or the document under a top-level `ingot:` key";
            return Some(Slip::at(keys.at, "these are the keys of a boot document, but this is a #cloud-config", hint));
        }
    } else if let Some(at) = names_ours(text).or_else(|| key_inside(text)) {
        let hint = "put the boot document under a top-level `ingot:` key, and correct the YAML";
        return Some(Slip::at(at, "this may be the key of a boot document, but the #cloud-config is not a map", hint));
    }
    match head(text) {
        Head::Slip(slip) if text.lines().nth(slip.line - 1) == Some(MARKER) => {
            let hint = "remove one of the two lines: the other decides which program reads this user data";
            Some(Slip::at((slip.line, slip.column), "the marker `#ingot` is inside a #cloud-config", hint))
        }
        _ => None,
    }
}

/// The position where a line of a text that ingot cannot parse begins with a key of ingot's, the marker, or the type of
/// a part. Indented lines are skipped, because they may belong to a file that the text writes.
fn names_ours(text: &str) -> Option<(usize, usize)> {
    let names = |line: &str| {
        let is_key = key_of(line).is_some_and(|(column, key)| column == 1 && slips_to_ingot(key) <= SLIPS);
        is_key || line.trim_end() == MARKER || is_our_type(line)
    };
    text.lines().position(names).map(|index| (index + 1, 1))
}

/// The position where a template names something of ingot's, between tags or in braces.
fn in_template(text: &str) -> Option<(usize, usize)> {
    names_ours(text).or_else(|| key_inside(text))
}

/// The position of an `ingot` key that is indented or in a list, with a key of a boot document directly below it. The
/// text of block scalars, such as the content of a file to write, is skipped.
fn key_inside(text: &str) -> Option<(usize, usize)> {
    let is_ours = |line: &str| key_of(line).is_some_and(|(_, key)| registry::top_level().any(|known| known == key));
    let mut lines = text.lines().enumerate().peekable();
    let mut block_text = None;
    while let Some((index, line)) = lines.next() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        if line.trim().is_empty() || block_text.is_some_and(|within| indent > within) {
            continue;
        }
        block_text = announces_block_text(line).then_some(indent);
        let Some((column, _)) = key_of(line).filter(|(_, key)| slips_to_ingot(key) <= 1) else { continue };
        let beside = line.split_once(':').map_or("", |(_, value)| value);
        if is_ours(beside) || lines.peek().is_some_and(|(_, below)| is_ours(below)) {
            return Some((index + 1, column));
        }
    }
    None
}

/// The position of an item of a cloud-config archive that is for ingot: by its type, or because its content would be
/// recognized as a part of a message.
fn in_archive(text: &str) -> Option<(usize, usize)> {
    let (node, _) = tree::parse(&Arc::from(""), text);
    let Some(Value::Sequence(items)) = node.map(|node| node.value) else { return names_ours(text) };
    items.iter().find_map(|item| {
        let text_of = |node: Option<&Node>| match node.map(|node| &node.value) {
            Some(Value::String(text)) => text.clone(),
            _ => String::new(),
        };
        let kind = text_of(item.get("type")).to_ascii_lowercase();
        let content = text_of(item.get("content").or(Some(item)));
        let is_ours = is_nearly_our_type(&kind) || in_text_part(&kind, &content).is_some();
        is_ours.then_some((item.place.line, item.place.column))
    })
}

/// Whether a text is for nodeadm, on EKS images: <https://awslabs.github.io/amazon-eks-ami/nodeadm/>.
pub(super) fn is_node_config(text: &str) -> bool {
    const API: &str = "node.eks.aws/";

    let says_so = |line: &str| {
        let value = line.strip_prefix("apiVersion:").map(|value| value.trim_start_matches([' ', '"', '\'']));
        value.is_some_and(|value| value.starts_with(API))
    };
    let in_json = || {
        let (node, _) = tree::parse(&Arc::from(""), text);
        let version = node.as_ref().and_then(|node| node.get("apiVersion"));
        matches!(version.map(|version| &version.value), Some(Value::String(version)) if version.starts_with(API))
    };
    text.lines().any(says_so) || (text.trim_start().starts_with('{') && in_json())
}

/// The position where a JSON patch of a cloud-config sets the key `ingot`.
fn in_patch(text: &str) -> Option<(usize, usize)> {
    let Value::Sequence(items) = tree::parse(&Arc::from(""), text).0?.value else { return None };
    let path = |item: &Node| match item.get("path").map(|path| &path.value) {
        Some(Value::String(path)) => path.split('/').nth(1) == Some(KEY),
        _ => false,
    };
    items.iter().find(|item| path(item)).map(|item| (item.place.line, item.place.column))
}

/// The mistake in a script whose interpreter is ingot, such as `#!ingot`.
fn in_script(text: &str) -> Option<Slip> {
    let (index, line) = text.lines().enumerate().find(|(_, line)| !line.trim().is_empty())?;
    let mut words = line.trim().strip_prefix("#!")?.split_whitespace();
    let names_us = |word: &str| word.rsplit('/').next().is_some_and(|name| slips_to_ingot(name) <= 1);
    words.any(names_us).then(|| {
        let message = format!("`{}` is not the marker `#ingot`", shown(line.trim()));
        Slip::at((index + 1, 1), message, "write the line as `#ingot`: a boot document is not a script")
    })
}

/// Content for ingot inside data that cloud-init turns into a cloud-config, or runs.
pub(super) fn in_other(what: &str, text: &str) -> Option<Slip> {
    let at = match what {
        SCRIPT => return in_script(text),
        ARCHIVE => in_archive(text)?,
        PATCH => in_patch(text)?,
        TEMPLATE => in_template(text)?,
        _ => return None,
    };
    let message = format!("this names a boot document inside {what}, where ingot does not read it");
    let hint = "send the boot document in a MIME message, in a part of the type `text/x-ingot`";
    Some(Slip::at(at, message, hint))
}

/// Content for ingot in a part of a MIME message that has another type. `kind` is that type in lower case; empty if the
/// part has none.
pub(super) fn in_part(kind: &str, text: &str) -> Option<Slip> {
    let is_archive = for_cloud_init(text.as_bytes()) == Some(ARCHIVE) || kind == "text/cloud-config-archive";
    match is_archive {
        true => in_other(ARCHIVE, text),
        false => in_text_part(kind, text),
    }
}

/// The same for any part except an archive. Also used for the items of an archive, so nested archives are not examined.
fn in_text_part(kind: &str, text: &str) -> Option<Slip> {
    let first = for_cloud_init(text.as_bytes());
    if first == Some(SCRIPT) {
        return in_script(text);
    }
    let found = match head(text) {
        Head::Marked => text.lines().position(|line| begins_with(line.as_bytes(), MARKER)).map(|index| (index + 1, 1)),
        Head::Slip(slip) => {
            let line = text.lines().nth(slip.line - 1).unwrap_or_default();
            // `#info`, `#init` and `#into` differ from `#ingot` in two letters, and begin comments of other programs.
            let is_near = || slips_in(line) <= 1 || keys(text).is_some();
            let is_meant = match is_generic(kind) {
                true => line.trim() == MARKER || (!slip.only_unmarked && is_near()),
                false => line.trim() == MARKER && line != MARKER,
            };
            is_meant.then_some((slip.line, slip.column))
        }
        Head::Unmarked => None,
    };
    let is_config = first == Some(CLOUD_CONFIG) || (kind == "text/cloud-config" && first.is_none());
    let in_text = || match first {
        Some(TEMPLATE) => in_template(text),
        _ if is_config => key_at_top(text).or_else(|| in_cloud_config(text).map(|slip| (slip.line, slip.column))),
        _ => map_at_top(text).or_else(|| keys(text).filter(|keys| keys.ours).map(|keys| keys.at)),
    };
    let found = found.or_else(|| is_generic(kind).then(in_text).flatten()).or_else(|| type_at(text));
    let kind = if kind.is_empty() { "without a type".to_owned() } else { format!("of the type `{}`", shown(kind)) };
    found.map(|at| {
        let message = format!("this part {kind} contains a boot document");
        Slip::at(at, message, "give the part the type `text/x-ingot`; in Terraform, `content_type = \"text/x-ingot\"`")
    })
}

/// The position of the key `ingot` at the top level.
fn key_at_top(text: &str) -> Option<(usize, usize)> {
    top_level_key(text, |_| true)
}

/// The same in a text that may be for another program: an `ingot` key whose value is not a map may name anything there.
fn map_at_top(text: &str) -> Option<(usize, usize)> {
    top_level_key(text, |value| matches!(value, Value::Map(_)))
}

fn top_level_key(text: &str, is_ours: impl Fn(&Value) -> bool) -> Option<(usize, usize)> {
    let node = tree::parse(&Arc::from(""), text).0?;
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, node)| key.name == KEY && is_ours(&node.value)).map(|(key, _)| (key.place.line, key.place.column))
}

/// The position of a header that declares a part for ingot: in the lines before the first empty one, or after a
/// delimiter.
fn type_at(text: &str) -> Option<(usize, usize)> {
    let mut in_headers = true;
    let index = text.lines().position(|line| {
        in_headers = line.starts_with("--") || (in_headers && !line.trim().is_empty());
        in_headers && !line.starts_with([' ', '\t']) && is_our_type(line)
    })?;
    Some((index + 1, 1))
}

/// Whether a line is the header of a part for ingot, possibly misspelled.
pub(super) fn is_our_type(line: &str) -> bool {
    let line = line.trim().to_ascii_lowercase();
    line.split_once(':').is_some_and(|(name, value)| {
        name.starts_with("content") && value.trim_start_matches([' ', '\t', '"', '\'']).starts_with("text/x-ingot")
    })
}

/// Whether a part of this type is text. If it cannot be read as text, it is for no known program.
pub(super) fn is_generic_text(kind: &str) -> bool {
    is_generic(kind) && kind != "application/octet-stream"
}

/// Whether an unreadable part is clearly for another program: an executable sent as a script, or an archive that is
/// named as one. Tools set either the type of scripts or no type for these.
pub(super) fn is_of_others(what: &str, kind: &str, file_name: &str) -> bool {
    const ARCHIVES: [&str; 4] = [".zip", ".jar", ".war", ".whl"];

    let is_archive = || what == ZIP && ARCHIVES.iter().any(|end| file_name.to_ascii_lowercase().ends_with(end));
    matches!(kind, "" | "text/x-shellscript") && (what == PROGRAM || is_archive())
}

/// Whether the text of a part of this type is one that cloud-init recognizes, or contains content for ingot.
pub(super) fn is_for_others(kind: &str, text: &str) -> bool {
    for_cloud_init(text.as_bytes()).is_some() || in_part(kind, text).is_some()
}

/// Whether the rest of a part that cannot be read beyond `text` may contain a boot document, or the `ingot:` key of a
/// cloud-config.
pub(super) fn may_go_on_as_ours(kind: &str, text: &str) -> bool {
    let may_hold_ours = for_cloud_init(text.as_bytes()).is_none_or(|what| matches!(what, CLOUD_CONFIG | ARCHIVE | TEMPLATE));
    let is_compressed = kind.ends_with("gzip") || kind.ends_with("zstd");
    may_hold_ours && (is_generic_text(kind) || (!text.is_empty() && (is_generic(kind) || is_compressed)))
}

/// Whether a type says little about a part: a tool's default, or a type that was not adapted.
fn is_generic(kind: &str) -> bool {
    const GENERIC: [&str; 6] = ["", "text/plain", "text/cloud-config", "text/jinja2", "text/x-shellscript", "application/octet-stream"];
    GENERIC.contains(&kind) || kind.ends_with("yaml") || kind.ends_with("json")
}

/// Whether a type was meant as `text/x-ingot`.
pub(super) fn is_nearly_our_type(kind: &str) -> bool {
    let subtype = kind.split('/').nth(1).unwrap_or(kind);
    let subtype = subtype.strip_prefix("x-").unwrap_or(subtype);
    subtype.contains("ingot") || slips_to_ingot(subtype) <= SLIPS
}
