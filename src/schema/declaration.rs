//! `schema:` in a pipeline file: a mapping from column names to types.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema as JsonSchemaValue, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::parse::SIMPLE_TYPES;
use super::{Column, ColumnType, Schema, parse_type};
use crate::diagnostic::suggest;

/// A column type as a scalar: `list<string>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeName(pub ColumnType);

impl<'de> Deserialize<'de> for TypeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = TypeName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<TypeName, D::Error> {
                deserializer.deserialize_str(self)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TypeName, E> {
                parse_type(text).map(TypeName).map_err(|error| {
                    let names = SIMPLE_TYPES.iter().map(|(name, _)| *name).chain(["list", "map", "struct", "decimal"]);
                    let help = error.unknown.as_deref().and_then(|word| suggest::help(word, names));
                    E::custom(help.map_or_else(|| error.to_string(), |help| format!("{error}; {help}")))
                })
            }
        }
        deserializer.deserialize_newtype_struct("Type", Text)
    }
}

impl JsonSchema for TypeName {
    fn schema_name() -> Cow<'static, str> {
        "Type".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaValue {
        json_schema!({
            "type": "string",
            "description": "string, boolean, int, long, float, double, decimal(p,s), date, timestamp, binary, \
                            list<T>, struct<name: T, ...>, map<K, V>",
            "examples": ["string", "long", "double", "timestamp", "list<string>"]
        })
    }
}

/// The columns a structured format has, in order. In the file it is such a mapping, or the path of
/// a YAML file with one (which loading has put in its place by the time this type is read).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaDeclaration(pub Schema);

impl<'de> Deserialize<'de> for SchemaDeclaration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Columns;
        impl<'de> Visitor<'de> for Columns {
            type Value = SchemaDeclaration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping from column names to types, or the path of a YAML file with one")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut columns = Vec::new();
                while let Some((name, TypeName(column_type))) = map.next_entry::<String, TypeName>()? {
                    columns.push(Column::new(name, column_type));
                }
                if columns.is_empty() {
                    return Err(A::Error::custom("a schema needs at least one column"));
                }
                Ok(SchemaDeclaration(Schema::new(columns)))
            }
        }
        deserializer.deserialize_map(Columns)
    }
}

impl JsonSchema for SchemaDeclaration {
    fn schema_name() -> Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> JsonSchemaValue {
        let type_name = generator.subschema_for::<TypeName>();
        json_schema!({
            "description": "The columns: a mapping from names to types, or the path of a YAML file with such a mapping.",
            "anyOf": [
                { "type": "object", "additionalProperties": type_name, "minProperties": 1 },
                { "type": "string" }
            ]
        })
    }
}
