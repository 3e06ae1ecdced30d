//! A serde deserializer over a [`Node`]: hands values to the types, and ties every error to the value it came from.
//!
//! Used by [`decode`](super::decode) alone, which says what to pass over and keeps what was found.

use std::fmt;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::document::decode::{Reading, Unknown, listed, unknown_key};
use crate::document::error::Mistake;
use crate::document::tree::{Key, Node, Value};
use crate::failure::nearest;
use crate::text::TEXT_WITH_PLACE;

/// An error of one reading: the mistake, and the value to set aside.
#[derive(Debug)]
pub(super) struct DecodeError {
    message: String,
    pub(super) mistake: Option<Box<Mistake>>,
    pub(super) missing: Option<&'static str>,
    pub(super) at: Option<*const Node>,
    hint: Option<String>,
}

impl DecodeError {
    fn new(message: String, hint: String) -> Self {
        Self { message, mistake: None, missing: None, at: None, hint: Some(hint) }
    }

    /// Ties the error to the innermost value that it came from.
    pub(super) fn within(mut self, node: &Node) -> Self {
        if self.at.is_none() {
            self.at = Some(node);
            let (message, hint) = (self.message.clone(), self.hint.clone());
            self.mistake = Some(Box::new(Mistake { place: Some(node.place.clone()), message, hint, may_come_later: false }));
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
    /// Of an [`Objection`](crate::failure::Objection), or of something that prints in one way only and has no hint.
    fn custom<T: fmt::Display>(what: T) -> Self {
        let (message, hint) = (what.to_string(), format!("{what:#}"));
        Self { hint: (hint != message).then_some(hint), ..Self::new(message, String::new()) }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let range = match expected.to_string().as_str() {
            "u8" => Some((0, u64::from(u8::MAX))),
            "u16" => Some((0, u64::from(u16::MAX))),
            "u32" => Some((0, u64::from(u32::MAX))),
            "u64" => Some((0, i64::MAX as u64)),
            _ => None,
        };
        let found = match found {
            Unexpected::Signed(number) => number.to_string(),
            other => other.to_string(),
        };
        match range {
            Some((low, high)) => Self::new(format!("{found} is out of range"), format!("write a number from {low} to {high}")),
            None => Self::new(format!("{found} is not {expected}"), format!("write {expected}")),
        }
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
        } else if ["u8", "u16", "u32", "u64", "i64"].contains(&expected.as_str()) {
            "a number"
        } else {
            &expected
        };
        Self::new(format!("expected {expected}, found {found}"), hint)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::new(format!("`{field}` is missing here"), format!("add `{field}:`")) }
    }

    /// Of a map that might have been something shorter; all others are looked through before serde sees them.
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let hint = match nearest(field, expected.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", listed(expected)),
        };
        Self::new(format!("unknown key `{field}`"), hint)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = match nearest(variant, expected.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("write one of {}", listed(expected)),
        };
        Self::new(format!("`{variant}` is not one of {}", listed(expected)), hint)
    }
}

/// One value, and the reading it is part of.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) node: &'a Node,
    pub(super) reading: &'a Reading<'a>,
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
