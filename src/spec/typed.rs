//! Reads a [`Node`] into a settings type, and finds everything that does not fit in one go.
//!
//! serde stops at the first error. So the value that an error points at is reported and taken out
//! (a mistyped key is put right), and the reading is tried again, until the rest fits or nothing is
//! left to take out. What fits then serves to find more that is wrong further on; it never runs.

use std::fmt;
use std::sync::Arc;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::document::{Entry, Node, Scalar, Value};
use crate::diagnostic::{Code, Diagnostic, SourceFile, Span, codes, suggest};

/// Each finding costs another reading, so a file that is nothing but wrong is given up at some point.
const MAX_FINDINGS: usize = 100;

/// Reads `node` as a `T`. What does not fit goes to `findings`; a `T` of the rest comes back where
/// that is one, so a caller that wants to use it must look at the findings.
pub fn read<T: DeserializeOwned>(node: &Node, file: &Arc<SourceFile>, findings: &mut Vec<Diagnostic>) -> Option<T> {
    let error = match T::deserialize(NodeReader(node)) {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    // Off the good path now, so copies do not matter.
    let mut rest = node.clone();
    let mut removed: Vec<String> = Vec::new();
    let mut error = error;
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
            return None;
        }
        error = match T::deserialize(NodeReader(&rest)) {
            Ok(value) => return Some(value),
            Err(next) => next,
        };
    }
    None
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

/// Why a value does not fit, and where.
#[derive(Debug)]
pub struct Error {
    problem: Problem,
    span: Option<Span>,
    /// The value it is about came from outside the file.
    filled: bool,
}

#[derive(Debug)]
enum Problem {
    UnknownKey(String, &'static [&'static str]),
    UnknownKind(String, &'static [&'static str]),
    MissingKey(String),
    WrongType(String),
    Invalid(Code, String),
}

impl Error {
    /// At a value, unless it has a place already.
    fn of(mut self, node: &Node) -> Self {
        self.filled |= matches!(&node.value, Value::Scalar(scalar) if scalar.filled);
        self.at(node.span)
    }

    fn at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }

    fn wrong_type(node: &Node, expected: &dyn de::Expected) -> Self {
        let found = match &node.value {
            Value::Scalar(scalar) if scalar.filled => "what was filled in here".to_owned(),
            Value::Scalar(scalar) if !node.is_null() => format!("`{}`", scalar.text),
            _ => node.shape().to_owned(),
        };
        let expected = expected.to_string();
        let message = format!("expected {}, found {found}", in_user_terms(&expected));
        Self { problem: Problem::WrongType(message), span: Some(node.span), filled: false }
    }

    /// The message, unless it may quote what came from outside the file.
    fn without_secret(&self, message: String) -> String {
        if self.filled { "what was filled in here does not fit".to_owned() } else { message }
    }

    fn finding(&self, file: &Arc<SourceFile>, span: Span) -> Diagnostic {
        let new = |code, message: String| Diagnostic::new(code, file, span, self.without_secret(message));
        match &self.problem {
            Problem::UnknownKey(key, known) => new(codes::UNKNOWN_KEY, format!("the key `{key}` is not known here"))
                .maybe_help(suggest::help(key, known.iter().copied())),
            Problem::UnknownKind(kind, known) => new(codes::UNKNOWN_KIND, format!("there is no `{kind}` here"))
                .maybe_help(suggest::help(kind, known.iter().copied())),
            Problem::MissingKey(key) => {
                new(codes::MISSING_KEY, format!("the key `{key}` is missing")).help(format!("add `{key}: ...`"))
            }
            Problem::WrongType(message) => new(codes::WRONG_TYPE, message.clone()),
            Problem::Invalid(code, message) => new(*code, message.clone()),
        }
    }
}

/// serde names the types of the program.
fn in_user_terms(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "a mapping",
        _ if expected.starts_with("struct ") => "a mapping of settings",
        _ => expected,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::UnknownKey(key, _) => write!(f, "the key `{key}` is not known here"),
            Problem::UnknownKind(kind, _) => write!(f, "there is no `{kind}` here"),
            Problem::MissingKey(key) => write!(f, "the key `{key}` is missing"),
            Problem::WrongType(message) | Problem::Invalid(_, message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { problem: Problem::Invalid(codes::INVALID_VALUE, message.to_string()), span: None, filled: false }
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        let expected = in_user_terms(&expected);
        Self {
            problem: Problem::WrongType(format!("expected {expected}, found {unexpected}")),
            span: None,
            filled: false,
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self { problem: Problem::UnknownKey(field.to_owned(), expected), span: None, filled: false }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self { problem: Problem::UnknownKind(variant.to_owned(), expected), span: None, filled: false }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { problem: Problem::MissingKey(field.to_owned()), span: None, filled: false }
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

    fn number<'de, V: Visitor<'de>, N>(
        self,
        visitor: V,
        parse: impl Fn(&str) -> Option<N>,
        visit: impl Fn(V, N) -> Result<V::Value, Error>,
    ) -> Result<V::Value, Error> {
        let scalar = self.scalar(&visitor)?;
        match parse(&scalar.text).filter(|_| scalar.plain) {
            Some(number) => visit(visitor, number).map_err(|error| error.of(self.0)),
            None => Err(Error::wrong_type(self.0, &visitor)),
        }
    }
}

macro_rules! integers {
    ($($method:ident)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0.text().and_then(|text| text.parse::<u64>().ok()) {
                Some(number) => self.number(visitor, |_| Some(number), |visitor, number| visitor.visit_u64(number)),
                None => self.number(visitor, |text| text.parse().ok(), |visitor, number| visitor.visit_i64(number)),
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

    integers! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.number(
            visitor,
            |text| text.parse().ok().filter(|number: &f64| number.is_finite()),
            |visitor, number| visitor.visit_f64(number),
        )
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
