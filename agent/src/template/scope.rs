//! The values that a template may read, and the memory that holds them, which is wiped when dropped.
//!
//! A rendered value may come from a secret, and so may the result of a helper. Therefore neither [`Scope`] nor the two
//! types used for rendering can be printed or leave a copy behind.

use std::fmt;

use serde_json::{Map, Value};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::text::SecretText;

/// The maximum size of a rendered template, and of a text that a helper returns, in bytes: the same as for user data.
/// Nested loops over lists multiply the size, and so do helpers.
pub(crate) const SIZE_LIMIT: usize = 16 << 20;

/// The values a template may refer to, as one tree: `{instance: {…}, values: {…}, secrets: {…}}`.
#[derive(Clone)]
pub(crate) struct Scope(Value);

impl Scope {
    pub(crate) fn new() -> Self {
        Self(Value::Object(Map::new()))
    }

    /// Sets the value at the path `segments`, replacing any existing value.
    pub(crate) fn insert(&mut self, segments: &[String], value: Value) {
        let mut slot = &mut self.0;
        for segment in segments {
            // An existing list already contains its items: `values.hosts` is inserted before `values.hosts.0`.
            if let Value::Array(items) = slot {
                match segment.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                    Some(item) => slot = item,
                    None => return,
                }
                continue;
            }
            if !slot.is_object() {
                wipe(slot);
                *slot = Value::Object(Map::new());
            }
            let Value::Object(map) = slot else { return };
            slot = map.entry(segment.as_str()).or_insert(Value::Null);
        }
        wipe(slot);
        *slot = value;
    }

    /// The value at the path `segments`, if there is one.
    pub(crate) fn get(&self, segments: &[String]) -> Option<&Value> {
        descend(&self.0, segments)
    }

    pub(super) fn tree(&self) -> &Value {
        &self.0
    }
}

/// The value in `value` at `segments`, which are keys of maps and indices of lists.
pub(crate) fn descend<'a>(value: &'a Value, segments: &[String]) -> Option<&'a Value> {
    segments.iter().try_fold(value, |value, segment| match value {
        Value::Object(map) => map.get(segment),
        Value::Array(list) => list.get(segment.parse::<usize>().ok()?),
        _ => None,
    })
}

impl From<Value> for Scope {
    fn from(tree: Value) -> Self {
        Self(tree)
    }
}

/// Shows that there are values, but never the values.
impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope([redacted])")
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl ZeroizeOnDrop for Scope {}

/// A value returned by a helper.
pub(super) struct Wiped(Value);

impl Wiped {
    pub(super) fn value(&self) -> &Value {
        &self.0
    }
}

impl<V: Into<Value>> From<V> for Wiped {
    fn from(value: V) -> Self {
        Self(value.into())
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites every string in `value`, including keys, because a JSON secret may have user names as keys. The digits of
/// numbers cannot be reached, and are only freed.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(list) => list.iter_mut().for_each(wipe),
        Value::Object(map) => {
            for (mut key, mut value) in std::mem::take(map) {
                key.zeroize();
                wipe(&mut value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => *value = Value::Null,
    }
}

/// A string under construction. A `String` that grows leaves its old content in freed memory; this one wipes it.
pub(super) struct Buffer(Zeroizing<String>);

impl Buffer {
    pub(super) fn new() -> Self {
        Self::with_capacity(256)
    }

    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Zeroizing::new(String::with_capacity(bytes)))
    }

    pub(super) fn push_str(&mut self, text: &str) {
        let needed = self.0.len() + text.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(String::with_capacity(needed.max(self.0.capacity() * 2)));
            larger.push_str(&self.0);
            self.0 = larger;
        }
        self.0.push_str(text);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, character: char) {
        self.push_str(character.encode_utf8(&mut [0; 4]));
    }

    /// Lets `write` append to the string, which has room for `bytes` more and must not grow beyond that.
    pub(super) fn append(&mut self, bytes: usize, write: impl FnOnce(&mut String)) {
        let mut larger = Zeroizing::new(String::with_capacity(self.0.len() + bytes));
        larger.push_str(&self.0);
        write(&mut larger);
        self.0 = larger;
    }

    pub(super) fn into_secret(mut self) -> SecretText {
        SecretText::from(std::mem::take(&mut *self.0))
    }

    pub(super) fn into_value(mut self) -> Wiped {
        Wiped(Value::String(std::mem::take(&mut *self.0)))
    }
}

impl fmt::Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(dotted: &str) -> Vec<String> {
        dotted.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn inserts_at_any_depth_and_replaces_what_was_there() {
        let mut scope = Scope::new();
        scope.insert(&path("volumes.data.device"), json!("/dev/nvme1n1"));
        scope.insert(&path("volumes.data.id"), json!("vol-1"));
        scope.insert(&path("secrets.db"), json!("plain"));
        scope.insert(&path("secrets.db.password"), json!("p"));
        assert_eq!(scope.0, json!({"volumes": {"data": {"device": "/dev/nvme1n1", "id": "vol-1"}}, "secrets": {"db": {"password": "p"}}}));
    }

    #[test]
    fn finds_keys_of_maps_and_indices_of_lists() {
        let scope = Scope::from(json!({"values": {"hosts": [{"name": "a"}, {"name": "b"}]}}));
        assert_eq!(scope.get(&path("values.hosts.1.name")), Some(&json!("b")));
        assert_eq!(scope.get(&path("values.hosts.2")), None);
        assert_eq!(scope.get(&path("values.hosts.name")), None);
    }

    #[test]
    fn wiping_overwrites_the_bytes_of_a_string() {
        let mut value = json!("hunter2hunter2");
        wipe(&mut value);
        let Value::String(mut text) = value else { panic!("a string stays one") };
        assert!(text.is_empty() && text.capacity() >= 14);
        // SAFETY: nothing is written, and `wipe` initialized the whole capacity with zeros.
        let bytes = unsafe { std::slice::from_raw_parts(text.as_mut_vec().as_ptr(), 14) };
        assert_eq!(bytes, [0; 14]);
    }

    #[test]
    fn wiping_reaches_lists_maps_and_keys() {
        let mut value = json!({"a": ["secret", {"b": "secret"}], "c": 7});
        wipe(&mut value);
        assert_eq!(value, json!({}));
        let mut list = json!(["secret", 7]);
        wipe(&mut list);
        assert_eq!(list, json!(["", null]));
    }

    #[test]
    fn a_scope_does_not_print() {
        let scope = Scope::from(json!({"secrets": {"db": "hunter2"}}));
        assert_eq!(format!("{scope:?}"), "Scope([redacted])");
    }

    #[test]
    fn a_buffer_grows_and_keeps_what_it_holds() {
        let mut buffer = Buffer::with_capacity(1);
        buffer.push_str("ab");
        buffer.push('ü');
        buffer.append(1, |text| text.push('!'));
        assert_eq!(buffer.into_secret().expose(), "abü!");
    }
}
