//! A serde deserializer over a [`Node`]: passes values to the types, and attaches every error to the value it came
//! from.
//!
//! Used only by [`decode`](super::decode), which decides what to skip and keeps the mistakes.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::error::DecodeError;
use super::forms;
use super::reading::{Numbered, Reading};
use crate::document::tree::{Key, Node, Value};
use crate::number;
use crate::text::{TEXT_WITH_PLACE, placed};

/// One value, and the reading it is part of.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) at: Numbered<'a>,
    pub(super) reading: &'a Reading<'a>,
    /// Whether the value is never rendered, so that its braces belong to other programs.
    pub(super) is_verbatim: bool,
}

/// A field whose strings are run as they are, at any depth.
const VERBATIM: &str = "build";

impl<'a> Reader<'a> {
    /// The reader of the next value.
    fn next(self, node: &'a Node) -> Self {
        Self { at: self.reading.number(node), ..self }
    }

    /// Attaches an error to this value, unless it came from a value inside it.
    fn tie(self, error: DecodeError) -> DecodeError {
        error.within(self.at, self.reading)
    }

    fn unexpected(self) -> Unexpected<'a> {
        match &self.at.node.value {
            Value::Null => Unexpected::Unit,
            Value::Bool(value, _) => Unexpected::Bool(*value),
            Value::Number(text) => Unexpected::Float(number::float(text)),
            Value::String(value) => Unexpected::Str(value),
            Value::Sequence(_) => Unexpected::Seq,
            Value::Map(_) => Unexpected::Map,
        }
    }

    /// A number or a boolean as it was written, where a step accepts it in place of a string.
    fn scalar(self) -> Option<&'a str> {
        match &self.at.node.value {
            Value::Number(text) if self.reading.is_of_a_step() => Some(text),
            Value::Bool(_, text) if self.reading.is_of_a_step() => Some(text),
            _ => None,
        }
    }

    fn visit<'de, V: Visitor<'de>>(self, known: Option<&'static [&'static str]>, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.at.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value, _) => visitor.visit_bool(*value),
            // `1e2` and `0x64` are equivalent to `100`.
            Value::Number(text) => match number::whole(text).map(|whole| (i64::try_from(whole), u64::try_from(whole))) {
                Some((Ok(integer), _)) => visitor.visit_i64(integer),
                Some((_, Ok(integer))) => visitor.visit_u64(integer),
                _ => visitor.visit_f64(number::float(text)),
            },
            Value::String(value) => visitor.visit_str(value),
            Value::Sequence(items) => visitor.visit_seq(Items { reader: self, left: items.iter() }),
            Value::Map(entries) => visitor.visit_map(Entries { reader: self, left: entries.iter(), known, value: None }),
        }
        .map_err(|error: DecodeError| self.tie(error))
    }
}

impl<'de> serde::Deserializer<'de> for Reader<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.visit(None, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.at.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        if name != TEXT_WITH_PLACE {
            return visitor.visit_newtype_struct(self).map_err(|error: DecodeError| self.tie(error));
        }
        match &self.at.node.value {
            Value::String(text) => placed(text, &self.at.node.place, visitor),
            _ => match self.scalar() {
                Some(text) => placed(text, &self.at.node.place, visitor),
                None => Err(serde::de::Error::invalid_type(self.unexpected(), &visitor)),
            },
        }
        .map_err(|error: DecodeError| self.tie(error))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match &self.at.node.value {
            Value::Map(_) => self.visit(Some(fields), visitor),
            value => Err(self.tie(DecodeError::new(format!("expected a map, found {}", value.describe()), forms::of_map(value, fields)))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(Variant(self, variants)).map_err(|error: DecodeError| self.tie(error))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.at.node.value {
            // Only a [`Text`](crate::text::Text) is rendered.
            Value::String(text) if !self.is_verbatim && self.reading.is_of_a_step() && is_reference(text) => Err(DecodeError::new(
                format!("`{text}` is a reference, but this field does not accept references"),
                "write the value itself, without braces".into(),
            )),
            _ => match self.scalar() {
                Some(text) => visitor.visit_str(text),
                None => return self.visit(None, visitor),
            },
        }
        .map_err(|error: DecodeError| self.tie(error))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// Whether a tag in a text begins with a name from the document. Templates of other programs, such as docker's, are
/// ordinary text.
fn is_reference(text: &str) -> bool {
    let mut tags = text.split("{{").skip(1).filter_map(|tag| Some(tag.split_once("}}")?.0.trim_start_matches(['~', '{', '#', ' '])));
    tags.any(|tag| ["values.", "instance.", "secrets."].iter().any(|root| tag.starts_with(root)))
}

struct Items<'a> {
    reader: Reader<'a>,
    left: std::slice::Iter<'a, Node>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let reading = self.reader.reading;
        for node in self.left.by_ref() {
            if reading.is_next_aside() {
                reading.pass_over(node);
                continue;
            }
            let item = self.reader.next(node);
            return seed.deserialize(item).map(Some).map_err(|error| item.tie(error));
        }
        Ok(None)
    }
}

struct Entries<'a> {
    reader: Reader<'a>,
    left: std::slice::Iter<'a, (Key, Node)>,
    /// The fields of a struct; `None` for a map, which accepts any key.
    known: Option<&'static [&'static str]>,
    value: Option<Reader<'a>>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let Reader { at: map, reading, .. } = self.reader;
        for (key, node) in self.left.by_ref() {
            if reading.is_next_aside() || reading.is_apart(map.number, &key.name) {
                reading.pass_over(node);
                continue;
            }
            if let Some(known) = self.known
                && !known.contains(&key.name.as_str())
            {
                reading.pass_over_unknown(map.number, key, node, || [known, reading.known_apart(map.number)].concat());
                continue;
            }
            let value = self.reader.next(node);
            let value = Reader { is_verbatim: value.is_verbatim || key.name == VERBATIM, ..value };
            self.value = Some(value);
            let name: StrDeserializer<'_, DecodeError> = key.name.as_str().into_deserializer();
            return seed.deserialize(name).map(Some).map_err(|error| value.tie(error));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let value = self.value.take().expect("serde asks for a value after its key");
        seed.deserialize(value).map_err(|error| value.tie(error))
    }
}

/// A plain word that names a variant without content.
struct Variant<'a>(Reader<'a>, &'static [&'static str]);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), DecodeError> {
        match &self.0.at.node.value {
            Value::String(name) => {
                let name: StrDeserializer<'_, DecodeError> = name.as_str().into_deserializer();
                Ok((seed.deserialize(name)?, self))
            }
            value => {
                let variants = self.1.join(", ");
                Err(DecodeError::new(format!("expected one of {variants}, found {}", value.describe()), format!("write one of {variants}")))
            }
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
