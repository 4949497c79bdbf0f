//! `key:` of the grouping steps and joins: a column, a list of columns, or new names with
//! expressions.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema as JsonSchemaValue, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::StepCheck;
use crate::expr::Expression;
use crate::expr::compile::Typed;

/// A key as written; always names with expressions after reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    columns: IndexMap<String, Expression>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    One,
    List,
    Mapping,
}

impl Key {
    /// Types the key's columns against the rows that arrive. `path` is where the key stands.
    pub fn check(&self, step: &mut StepCheck<'_, '_>, path: &[&str]) -> Vec<(String, Typed)> {
        self.columns
            .iter()
            .enumerate()
            .map(|(index, (name, expression))| {
                let index = index.to_string();
                let last: &[&str] = match self.form {
                    Form::One => &[],
                    Form::List => &[index.as_str()],
                    Form::Mapping => &[name.as_str()],
                };
                let path = [path, last].concat();
                let typed = match self.form {
                    Form::Mapping => step.expression(&path, expression),
                    _ => {
                        let column = step.column(&path, name);
                        Typed { expr: crate::expr::compile::column(name), column_type: column.column_type }
                    }
                };
                (name.clone(), typed)
            })
            .collect()
    }
}

impl Key {
    /// What each of its columns is.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.columns.values()
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm;
        impl<'de> Visitor<'de> for AnyForm {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column, a list of columns, or a mapping from new names to expressions")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                let columns = IndexMap::from([(name.to_owned(), Expression(name.to_owned()))]);
                Ok(Key { columns, form: Form::One })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Key, A::Error> {
                let mut columns = IndexMap::new();
                while let Some(name) = items.next_element::<String>()? {
                    if columns.insert(name.clone(), Expression(name.clone())).is_some() {
                        return Err(A::Error::custom(format!("the column `{name}` is there twice")));
                    }
                }
                nonempty(Key { columns, form: Form::List })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Key, A::Error> {
                let mut columns = IndexMap::new();
                while let Some((name, expression)) = map.next_entry()? {
                    columns.insert(name, expression);
                }
                nonempty(Key { columns, form: Form::Mapping })
            }
        }
        fn nonempty<E: Error>(key: Key) -> Result<Key, E> {
            if key.columns.is_empty() { Err(E::custom("a key needs at least one column")) } else { Ok(key) }
        }
        deserializer.deserialize_any(AnyForm)
    }
}

impl JsonSchema for Key {
    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> JsonSchemaValue {
        let expression = generator.subschema_for::<Expression>();
        json_schema!({
            "description": "A column, a list of columns, or a mapping from new names to expressions.",
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "minItems": 1, "uniqueItems": true },
                { "type": "object", "additionalProperties": expression, "minProperties": 1 }
            ]
        })
    }
}
