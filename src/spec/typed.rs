//! Reads a [`Node`] into a settings type, and finds everything that does not fit in one go.
//!
//! serde stops at the first error. So the value that an error points at is reported and taken out
//! (a mistyped key is put right), and the reading is tried again, until the rest fits or nothing is
//! left to take out. What fits then serves to find more that is wrong further on; it never runs.

mod error;

use std::sync::Arc;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use self::error::{Error, Problem};
use super::document::{Entry, Node, Scalar, Value};
use crate::diagnostic::{Diagnostic, SourceFile, Span, codes, suggest};

/// Each finding costs another reading, so a file that is nothing but wrong is given up at some point.
const MAX_FINDINGS: usize = 100;

/// Reads `node` as a `T`. What does not fit goes to `findings`; a `T` of the rest comes back where
/// that is one, so a caller that wants to use it must look at the findings.
pub fn read<T: DeserializeOwned>(node: &Node, file: &Arc<SourceFile>, findings: &mut Vec<Diagnostic>) -> Option<T> {
    read_and_mend(node, file, findings).0
}

/// As [`read`]. Where something was wrong, the node comes back as it was understood, too: mistyped keys put
/// right, what did not fit left out.
pub fn read_and_mend<T: DeserializeOwned>(
    node: &Node,
    file: &Arc<SourceFile>,
    findings: &mut Vec<Diagnostic>,
) -> (Option<T>, Option<Node>) {
    let mut error = match T::deserialize(NodeReader(node)) {
        Ok(value) => return (Some(value), None),
        Err(error) => error,
    };
    // Off the good path now, so copies do not matter.
    let mut rest = node.clone();
    let mut removed: Vec<String> = Vec::new();
    for _ in 0..MAX_FINDINGS {
        let span = error.span.unwrap_or(node.span);
        // A place that has a finding already (a `${...}` that could not be filled in) needs no second.
        let known = findings.iter().any(|finding| finding.span == Some(span) && Arc::ptr_eq(&finding.file, file));
        let excused = known || matches!(&error.problem, Problem::MissingKey(key) if removed.contains(key));
        if !excused {
            findings.push(error.finding(file, span));
        }
        let put_right = match &error.problem {
            Problem::UnknownKey(key, known) | Problem::UnknownKind(key, known) => {
                suggest::nearest(key, known.iter().copied()).is_some_and(|meant| rename(&mut rest, span, meant))
            }
            _ => false,
        };
        // Without its kind, a component is nothing.
        let is_kind = matches!(error.problem, Problem::UnknownKind(..));
        let out = if is_kind { around(&rest, span).unwrap_or(span) } else { span };
        if !put_right && !take_out(&mut rest, out, &mut removed) {
            return (None, Some(rest));
        }
        error = match T::deserialize(NodeReader(&rest)) {
            Ok(value) => return (Some(value), Some(rest)),
            Err(next) => next,
        };
    }
    (None, Some(rest))
}

/// The place of the mapping whose key is at a place.
fn around(node: &Node, key_span: Span) -> Option<Span> {
    if node.entries().iter().any(|entry| entry.key_span == key_span) {
        return Some(node.span);
    }
    let values = node.entries().iter().map(|entry| &entry.value);
    values.chain(node.items()).find_map(|below| around(below, key_span))
}

/// Gives the key at a place another name, unless the mapping has a key of that name.
fn rename(node: &mut Node, span: Span, name: &str) -> bool {
    match &mut node.value {
        Value::Scalar(_) => false,
        Value::Sequence(items) => items.iter_mut().any(|item| rename(item, span, name)),
        Value::Mapping(entries) => {
            let taken = entries.iter().any(|entry| entry.key == name);
            if let Some(entry) = entries.iter_mut().find(|entry| entry.key_span == span) {
                if !taken {
                    name.clone_into(&mut entry.key);
                }
                return !taken;
            }
            entries.iter_mut().any(|entry| rename(&mut entry.value, span, name))
        }
    }
}

/// Removes the entry or item at a place; false if there is none below `node`.
fn take_out(node: &mut Node, span: Span, removed: &mut Vec<String>) -> bool {
    match &mut node.value {
        Value::Scalar(_) => false,
        Value::Sequence(items) => {
            let before = items.len();
            items.retain(|item| item.span != span);
            items.len() < before || items.iter_mut().any(|item| take_out(item, span, removed))
        }
        Value::Mapping(entries) => {
            let before = entries.len();
            entries.retain(|entry| {
                let keep = entry.key_span != span && entry.value.span != span;
                if !keep {
                    removed.push(entry.key.clone());
                }
                keep
            });
            if entries.len() == before {
                let Some(at) = entries.iter_mut().position(|entry| take_out(&mut entry.value, span, removed)) else {
                    return false;
                };
                // A mapping of which nothing is left would only be wrong in another way.
                if entries.get(at).is_some_and(|entry| entry.value.value == Value::Mapping(Vec::new())) {
                    removed.push(entries.remove(at).key);
                }
            }
            true
        }
    }
}

/// serde's view of a node: what a scalar is depends on what is asked for.
#[derive(Clone, Copy)]
struct NodeReader<'a>(&'a Node);

impl<'a> NodeReader<'a> {
    fn scalar(self, expected: &dyn de::Expected) -> Result<&'a Scalar, Error> {
        match &self.0.value {
            Value::Scalar(scalar) => Ok(scalar),
            _ => Err(Error::wrong_type(self.0, expected)),
        }
    }
}

/// Whether it is a whole number, however large.
fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let scalar = self.scalar(&visitor)?;
            match scalar.text.parse::<$type>() {
                Ok(number) if scalar.plain => visitor.$visit(number).map_err(|error: Error| error.of(self.0)),
                Err(_) if scalar.plain && is_whole(&scalar.text) => {
                    Err(Error::out_of_range(self.0, scalar, &format!("from {} to {}", $type::MIN, $type::MAX)))
                }
                _ => Err(Error::wrong_type(self.0, &visitor)),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for NodeReader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.value {
            Value::Sequence(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
            Value::Scalar(scalar) if !scalar.plain => visitor.visit_str(&scalar.text),
            Value::Scalar(scalar) => match serde_yaml::from_str(&scalar.text) {
                Ok(serde_yaml::Value::Null) => visitor.visit_unit(),
                Ok(serde_yaml::Value::Bool(value)) => visitor.visit_bool(value),
                Ok(serde_yaml::Value::Number(number)) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                    (Some(value), _, _) => visitor.visit_u64(value),
                    (_, Some(value), _) => visitor.visit_i64(value),
                    (_, _, value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
                },
                _ => visitor.visit_str(&scalar.text),
            },
        }
        .map_err(|error: Error| error.of(self.0))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let scalar = self.scalar(&visitor)?;
        match scalar.text.as_str() {
            "true" | "True" | "TRUE" if scalar.plain => visitor.visit_bool(true),
            "false" | "False" | "FALSE" if scalar.plain => visitor.visit_bool(false),
            _ => Err(Error::wrong_type(self.0, &"`true` or `false`")),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let scalar = self.scalar(&visitor)?;
        match scalar.text.parse::<f64>() {
            Ok(number) if scalar.plain && number.is_finite() => {
                visitor.visit_f64(number).map_err(|error: Error| error.of(self.0))
            }
            _ => Err(Error::wrong_type(self.0, &visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let scalar = self.scalar(&visitor)?;
        if self.0.is_null() && scalar.text.is_empty() {
            return Err(Error::wrong_type(self.0, &visitor));
        }
        visitor.visit_str(&scalar.text).map_err(|error: Error| error.of(self.0))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        let code = match name {
            "Duration" | "Size" => Some(codes::BAD_DURATION),
            "Type" => Some(codes::BAD_TYPE),
            _ => None,
        };
        visitor.visit_newtype_struct(self).map_err(|error| match (code, error.at(self.0.span)) {
            (
                Some(code),
                Error { problem: Problem::Invalid(_, message) | Problem::WrongType(message), span, filled },
            ) => Error { problem: Problem::Invalid(code, message), span, filled },
            (_, error) => error,
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.value {
            Value::Sequence(items) => visitor
                .visit_seq(SeqDeserializer::new(items.iter().map(NodeReader)))
                .map_err(|error| error.at(self.0.span)),
            _ => Err(Error::wrong_type(self.0, &visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.value {
            Value::Mapping(entries) => visitor
                .visit_map(MapDeserializer::new(
                    entries.iter().map(|entry| (KeyReader(entry), NodeReader(&entry.value))),
                ))
                .map_err(|error: Error| error.at(self.0.span)),
            _ if self.0.is_null() => visitor
                .visit_map(MapDeserializer::new(std::iter::empty::<(NodeReader<'_>, NodeReader<'_>)>()))
                .map_err(|error: Error| error.at(self.0.span)),
            _ => Err(Error::wrong_type(self.0, &visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let chosen = match &self.0.value {
            Value::Scalar(scalar) if !self.0.is_null() => {
                ChosenKind { kind: &scalar.text, kind_span: self.0.span, settings: None, span: self.0.span }
            }
            Value::Mapping(entries) => match entries.as_slice() {
                [entry] => ChosenKind {
                    kind: &entry.key,
                    kind_span: entry.key_span,
                    settings: Some(&entry.value),
                    span: self.0.span,
                },
                _ => return Err(Error::wrong_type(self.0, &"a mapping with exactly one key")),
            },
            _ => return Err(Error::wrong_type(self.0, &"one name, or a mapping with one key")),
        };
        visitor.visit_enum(chosen).map_err(|error| error.of(self.0))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() { visitor.visit_unit() } else { Err(Error::wrong_type(self.0, &visitor)) }
    }

    forward_to_deserialize_any! { i128 u128 bytes byte_buf unit_struct tuple tuple_struct identifier ignored_any }
}

impl<'de> IntoDeserializer<'de, Error> for NodeReader<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A mapping's key: text, with its place for unknown ones.
struct KeyReader<'a>(&'a Entry);

impl<'de> Deserializer<'de> for KeyReader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(&self.0.key).map_err(|error: Error| error.at(self.0.key_span))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for KeyReader<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// `kind`, or `kind: settings`.
struct ChosenKind<'a> {
    kind: &'a str,
    kind_span: Span,
    settings: Option<&'a Node>,
    span: Span,
}

impl<'de> EnumAccess<'de> for ChosenKind<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.kind.into_deserializer();
        let kind = seed.deserialize(name).map_err(|error| error.at(self.kind_span))?;
        Ok((kind, self))
    }
}

impl<'de> VariantAccess<'de> for ChosenKind<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.settings {
            Some(node) if !node.is_null() && !node.entries().is_empty() => Err(Error::wrong_type(node, &"no settings")),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        match self.settings {
            Some(node) => seed.deserialize(NodeReader(node)),
            None => seed.deserialize(NodeReader(&Node::empty(self.span))),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        NodeReader(self.settings.unwrap_or(&Node::empty(self.span))).deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        NodeReader(self.settings.unwrap_or(&Node::empty(self.span))).deserialize_map(visitor)
    }
}
