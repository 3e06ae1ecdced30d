//! Makes typed values of a [`Node`], and finds every mistake on the way, not only the first.
//!
//! serde gives up at the first error. So a value that cannot be read is noted, set aside, and the whole is read once
//! more without it, until it reads well or nothing is left to set aside. Unknown keys need no second reading: the
//! names of a struct's fields are known before its map is read.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::document::error::Mistake;
use crate::document::tree::{Key, Node, Value};
use crate::failure::nearest;
use crate::text::TEXT_WITH_PLACE;

/// Reads `node` as a `T`. `None` if it has mistakes; they are all in `mistakes` then.
pub(crate) fn decode<T: DeserializeOwned>(node: &Node, mistakes: &mut Vec<Mistake>) -> Option<T> {
    decode_without(node, &[], mistakes)
}

/// The same, passing over the keys `apart` of the outermost map: somebody else reads those.
pub(crate) fn decode_without<T: DeserializeOwned>(node: &Node, apart: &[&'static str], mistakes: &mut Vec<Mistake>) -> Option<T> {
    let reading = Reading { aside: RefCell::default(), unknown: RefCell::default(), apart, root: node };
    let mut found: Vec<Mistake> = Vec::new();
    let value = loop {
        match T::deserialize(Reader { node, reading: &reading }) {
            Ok(value) => break Some(value),
            Err(error) => {
                let error = error.within(node);
                let at = error.at.unwrap_or(node as *const Node);
                let echo = reading.has_aside_below(at, error.missing) || reading.has_unknown_key(at);
                if !echo && let Some(mistake) = error.mistake {
                    found.push(*mistake);
                }
                let new = reading.aside.borrow_mut().insert(at);
                if std::ptr::eq(at, node) || !new {
                    break None;
                }
            }
        }
    };
    let failed = !found.is_empty();
    let unknown = reading.unknown.into_inner();
    let clean = unknown.is_empty() && !failed;
    mistakes.extend(found);
    mistakes.extend(unknown.into_iter().map(|unknown| unknown.mistake));
    value.filter(|_| clean)
}

struct Reading<'a> {
    /// Values that could not be read.
    aside: RefCell<BTreeSet<*const Node>>,
    /// Unknown keys by address, since every reading meets them anew, and the maps they stand in.
    unknown: RefCell<Vec<Unknown>>,
    apart: &'a [&'static str],
    root: &'a Node,
}

struct Unknown {
    key: *const Key,
    map: *const Node,
    mistake: Mistake,
}

impl Reading<'_> {
    /// Whether what is wrong with the map at `at` may come of a key that is only misspelt.
    fn has_unknown_key(&self, at: *const Node) -> bool {
        self.unknown.borrow().iter().any(|unknown| std::ptr::eq(unknown.map, at))
    }

    fn is_aside(&self, node: &Node) -> bool {
        self.aside.borrow().contains(&(node as *const Node))
    }

    /// Whether what is wrong with the map at `at` may come of a value in it that was set aside: a field that is missing, or
    /// what its fields are together.
    fn has_aside_below(&self, at: *const Node, missing: Option<&str>) -> bool {
        fn find(node: &Node, at: *const Node) -> Option<&Node> {
            if std::ptr::eq(node, at) {
                return Some(node);
            }
            match &node.value {
                Value::Sequence(items) => items.iter().find_map(|item| find(item, at)),
                Value::Map(entries) => entries.iter().find_map(|(_, child)| find(child, at)),
                _ => None,
            }
        }
        let Some(Value::Map(entries)) = find(self.root, at).map(|map| &map.value) else { return false };
        entries.iter().any(|(key, child)| self.is_aside(child) && missing.is_none_or(|field| key.name == field))
    }
}

/// An error of one reading: the mistake, and the value to set aside.
#[derive(Debug)]
struct DecodeError {
    message: String,
    mistake: Option<Box<Mistake>>,
    missing: Option<&'static str>,
    at: Option<*const Node>,
    hint: String,
}

impl DecodeError {
    fn new(message: String, hint: String) -> Self {
        Self { message, mistake: None, missing: None, at: None, hint }
    }

    /// Ties the error to the innermost value that it came from.
    fn within(mut self, node: &Node) -> Self {
        if self.at.is_none() {
            self.at = Some(node);
            let (message, hint) = match self.message.split_once(": ") {
                // Our own types say what to do after a colon.
                Some((what, todo)) if self.hint.is_empty() => (what.to_owned(), todo.to_owned()),
                _ => (self.message.clone(), self.hint.clone()),
            };
            let hint = (!hint.is_empty()).then_some(hint);
            self.mistake = Some(Box::new(Mistake { place: Some(node.place.clone()), message, hint }));
        }
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), String::new())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        let hint = match found {
            Unexpected::Bool(value) if expected.contains("string") => format!("put it in quotes: \"{value}\""),
            Unexpected::Signed(value) if expected.contains("string") => format!("put it in quotes: \"{value}\""),
            Unexpected::Float(value) if expected.contains("string") => format!("put it in quotes: \"{value}\""),
            Unexpected::Str(_) if expected.contains("sequence") => "write a list: [ … ]".into(),
            _ if expected == "a map" => "write `{ key: value, … }`".into(),
            Unexpected::Map if expected.contains("string") => "put a value that begins with {{ in quotes".into(),
            _ => "write it in the form that is expected here".into(),
        };
        let found = match found {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_) => "a number",
            Unexpected::Str(_) => "a string",
            Unexpected::Unit => "nothing",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a map",
            _ => "something else",
        };
        let expected = if expected.starts_with("struct ") {
            "a map"
        } else if expected == "a sequence" {
            "a list"
        } else {
            &expected
        };
        Self::new(format!("expected {expected}, found {found}"), hint)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::new(format!("`{field}` is missing here"), format!("add `{field}:`")) }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = match nearest(variant, expected.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", listed(expected)),
        };
        Self::new(format!("`{variant}` is not one of {}", listed(expected)), hint)
    }
}

fn listed(words: &[&str]) -> String {
    words.join(", ")
}

/// The mistake of an unknown key.
pub(crate) fn unknown_key(key: &Key, known: &[&str]) -> Mistake {
    let hint = match nearest(&key.name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", listed(known)),
    };
    Mistake::at(&key.place, format!("unknown key `{}`", key.name), hint)
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    reading: &'a Reading<'a>,
}

impl<'a> Reader<'a> {
    fn of(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    fn unexpected(self) -> Unexpected<'a> {
        match &self.node.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Integer(value) => Unexpected::Signed(*value),
            Value::Float(value) => Unexpected::Float(*value),
            Value::String(value) => Unexpected::Str(value),
            Value::Sequence(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        }
    }

    fn visit<'de, V: Visitor<'de>>(self, known: Option<&'static [&'static str]>, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_str(value),
            Value::Sequence(items) => visitor.visit_seq(Items { reader: self, left: items.iter() }),
            Value::Map(entries) => visitor.visit_map(Entries { reader: self, left: entries.iter(), known, value: None }),
        }
        .map_err(|error: DecodeError| error.within(self.node))
    }
}

impl<'de> serde::Deserializer<'de> for Reader<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit(None, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        if name != TEXT_WITH_PLACE {
            return visitor.visit_newtype_struct(self).map_err(|error: DecodeError| error.within(self.node));
        }
        match &self.node.value {
            Value::String(text) => {
                let place = &self.node.place;
                let joined = format!("{}:{}:{}\0{text}", place.line, place.column, place.file);
                let with_place: StringDeserializer<DecodeError> = joined.into_deserializer();
                visitor.visit_newtype_struct(with_place)
            }
            _ => Err(serde::de::Error::invalid_type(self.unexpected(), &visitor)),
        }
        .map_err(|error: DecodeError| error.within(self.node))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.node.value {
            Value::Map(_) => self.visit(Some(fields), visitor),
            _ => Err(DecodeError::within(serde::de::Error::invalid_type(self.unexpected(), &"a map"), self.node)),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(Variant(self)).map_err(|error: DecodeError| error.within(self.node))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    reader: Reader<'a>,
    left: std::slice::Iter<'a, Node>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let reading = self.reader.reading;
        match self.left.find(|node| !reading.is_aside(node)) {
            Some(node) => seed.deserialize(self.reader.of(node)).map(Some).map_err(|error| error.within(node)),
            None => Ok(None),
        }
    }
}

struct Entries<'a> {
    reader: Reader<'a>,
    left: std::slice::Iter<'a, (Key, Node)>,
    /// The fields of a struct; `None` for a map, which takes any key.
    known: Option<&'static [&'static str]>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let reading = self.reader.reading;
        let apart = if std::ptr::eq(self.reader.node, reading.root) { reading.apart } else { &[] };
        for (key, node) in self.left.by_ref() {
            if reading.is_aside(node) || apart.contains(&key.name.as_str()) {
                continue;
            }
            if let Some(known) = self.known
                && !known.contains(&key.name.as_str())
            {
                let mut unknown = reading.unknown.borrow_mut();
                if !unknown.iter().any(|seen| std::ptr::eq(seen.key, key)) {
                    unknown.push(Unknown { key, map: self.reader.node, mistake: unknown_key(key, &[known, apart].concat()) });
                }
                continue;
            }
            self.value = Some(node);
            let name: StrDeserializer<'_, DecodeError> = key.name.as_str().into_deserializer();
            return seed.deserialize(name).map(Some).map_err(|error| error.within(node));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let node = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(self.reader.of(node)).map_err(|error| error.within(node))
    }
}

/// A plain word that names a variant without content.
struct Variant<'a>(Reader<'a>);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), DecodeError> {
        match &self.0.node.value {
            Value::String(name) => {
                let name: StrDeserializer<'_, DecodeError> = name.as_str().into_deserializer();
                Ok((seed.deserialize(name)?, self))
            }
            _ => Err(serde::de::Error::invalid_type(self.0.unexpected(), &"a word")),
        }
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeError> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(serde::de::Error::custom("a list cannot follow this word"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], _visitor: V) -> Result<V::Value, DecodeError> {
        Err(serde::de::Error::custom("a map cannot follow this word"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::tree::parse;
    use crate::text::Text;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        run: Vec<Text>,
        #[serde(default)]
        once: Once,
        limit: Option<crate::steps::fields::TimeLimit>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Once {
        #[default]
        Instance,
        Always,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
    }

    fn read(text: &str) -> (Option<Sample>, Vec<String>) {
        let node = parse(&"x".into(), text).0.unwrap();
        let mut mistakes = Vec::new();
        let value = decode_without(&node, &["after"], &mut mistakes);
        let lines = mistakes.into_iter().map(|m| format!("{}: {} ({})", m.place.unwrap(), m.message, m.hint.unwrap_or_default()));
        (value, lines.collect())
    }

    #[test]
    fn reads_what_is_right_and_gives_texts_their_place() {
        let (value, mistakes) = read("run: [a, 'b']\nonce: always\nafter: whatever\n");
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!(value.unwrap().run[1].place().unwrap().to_string(), "x:1:10");
    }

    #[test]
    fn finds_every_mistake_of_one_value() {
        let (value, mistakes) = read("run: [a, 5, true]\nonce: allways\nlimit: soon\ninner: {nam: x}\nrum: [a]\n");
        assert_eq!(value, None);
        insta::assert_snapshot!(mistakes.join("\n"), @r#"
        x:1:10: expected a string, found a number (put it in quotes: "5")
        x:1:13: expected a string, found a boolean (put it in quotes: "true")
        x:2:7: `allways` is not one of instance, always (did you mean `always`?)
        x:3:8: `soon` is not a length of time (write a number and its unit, as in 90s, 20m or 1h30m)
        x:4:9: unknown key `nam` (did you mean `name`?)
        x:5:1: unknown key `rum` (did you mean `run`?)
        "#);
    }

    #[test]
    fn does_not_call_missing_what_was_only_wrong() {
        let (_, mistakes) = read("run: 5\n");
        assert_eq!(mistakes, ["x:1:6: expected a list, found a number (write it in the form that is expected here)"]);
    }
}
