//! Finds the position of a value that a message quotes.

use super::{Node, Value};
use crate::text::Place;

impl Node {
    /// The place of the text in backquotes at the start of a message: a string, a key, or a part of a string.
    pub(crate) fn quoted_in(&self, message: &str) -> Option<&Place> {
        let word = message.strip_prefix('`')?.split('`').next().filter(|word| !word.is_empty())?;
        let is = |text: &str| text == word;
        self.find(&is, &|_| false).or_else(|| self.find(&|_| false, &is)).or_else(|| self.find(&|text| text.contains(word), &|_| false))
    }

    fn find(&self, is_value: &dyn Fn(&str) -> bool, is_key: &dyn Fn(&str) -> bool) -> Option<&Place> {
        match &self.value {
            Value::String(text) | Value::Number(text) => is_value(text).then_some(&self.place),
            Value::Bool(_, text) => is_value(text).then_some(&self.place),
            Value::Null => None,
            Value::Sequence(items) => items.iter().find_map(|item| item.find(is_value, is_key)),
            Value::Map(entries) => {
                entries.iter().find_map(|(key, node)| if is_key(&key.name) { Some(&key.place) } else { node.find(is_value, is_key) })
            }
        }
    }
}
