//! Reads `/etc/ingot/seal.yaml`, with the place of each mistake, and matches findings with it.

use std::path::Path;

use crate::document::decode::decode;
use crate::document::error::{DocumentError, Mistake, Sources};
use crate::document::tree::{self, Node, Value};
use crate::seal::finding::{AllowList, Allowed, Finding};

/// The path of the allow list in an image.
pub(crate) const PATH: &str = "/etc/ingot/seal.yaml";

impl AllowList {
    /// Parses the text of the file.
    ///
    /// # Errors
    ///
    /// Every mistake, like those of a boot document.
    pub(crate) fn parse(text: &str) -> Result<Self, DocumentError> {
        let (node, mut mistakes) = tree::parse(&PATH.into(), text);
        let list = node.as_ref().filter(|node| node.value != Value::Null).and_then(|node| {
            let list: Option<Self> = decode(node, &mut mistakes);
            mistakes.extend(list.iter().flat_map(|list| objections(list, node)));
            list
        });
        if mistakes.is_empty() {
            return Ok(list.unwrap_or_default());
        }
        Err(DocumentError::new(mistakes, Sources::from([(PATH.into(), text.into())])))
    }

    /// The index of the entry that allows `finding`.
    pub(crate) fn covering(&self, finding: &Finding) -> Option<usize> {
        self.allow.iter().position(|allowed| allowed.covers(finding))
    }
}

fn objections(list: &AllowList, node: &Node) -> Vec<Mistake> {
    let Some(Value::Sequence(nodes)) = node.get("allow").map(|node| &node.value) else { return Vec::new() };
    list.allow.iter().zip(nodes).flat_map(|(allowed, node)| objections_to(allowed, node)).collect()
}

fn objections_to(allowed: &Allowed, node: &Node) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut object = |field: &str, message: &str, hint: &str| {
        let place = node.get(field).map_or(&node.place, |node| &node.place);
        mistakes.push(Mistake::at(place, message, hint));
    };
    if !Path::new(&allowed.path).is_absolute() {
        object("path", "this is not an absolute path", "write the absolute path in the image");
    } else if glob::Pattern::new(&allowed.path).is_err() {
        object("path", "this is not a valid pattern", "use `*` and `?` within a name, and `**` for whole names");
    }
    if allowed.rule.trim().is_empty() {
        object("rule", "no rule is named", "write the rule of the finding, such as `authorized-keys`");
    }
    if allowed.reason.trim().is_empty() {
        object("reason", "no reason is given", "write why it is harmless: the reason goes into the attestation");
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        AllowList::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn an_entry_has_a_path_a_rule_and_a_reason() {
        let list = AllowList::parse("allow:\n  - { path: /a, rule: private-key, reason: a test key }\n").unwrap();
        assert_eq!(list.allow.len(), 1);
        assert_eq!(AllowList::parse("# nothing\n").unwrap(), AllowList::default());
        insta::assert_snapshot!(wrong("allow:\n  - path: etc/x\n    rule: private-key\n    reason: ''\n"), @r"
        /etc/ingot/seal.yaml:2:11: this is not an absolute path
            2 |   - path: etc/x
              |           ^
          hint: write the absolute path in the image

        /etc/ingot/seal.yaml:4:13: no reason is given
            4 |     reason: ''
              |             ^
          hint: write why it is harmless: the reason goes into the attestation
        ");
        assert!(wrong("allow:\n  - { path: /a, rule: x }\n").contains("reason"));
        assert!(wrong("alow: []\n").contains("did you mean `allow`?"));
    }
}
