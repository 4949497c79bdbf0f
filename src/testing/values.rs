//! Values written in a test file, as rows of known columns.
//!
//! YAML leaves open whether `no` or `1e3` is text. Here the column's type decides.

use serde_json::{Map, Value};

use crate::schema::{Column, ColumnType, Schema};
use crate::spec::Node;
use crate::spec::document;

/// A row for [`to_batch`](crate::sources::rows::to_batch): a mapping as it is, or the value of the
/// only column.
///
/// # Errors
/// Why what is written is no row.
pub(super) fn row(node: &Node, schema: &Schema) -> Result<Value, String> {
    if let document::Value::Mapping(entries) = &node.value {
        let column_type = |name: &str| schema.column(name).map(|column| &column.column_type);
        let fields = entries.iter().map(|entry| (entry.key.clone(), value(&entry.value, column_type(&entry.key))));
        return Ok(Value::Object(fields.collect()));
    }
    match schema.columns.as_slice() {
        [Column { name, column_type }] => {
            Ok(Value::Object(Map::from_iter([(name.clone(), value(node, Some(column_type)))])))
        }
        _ => Err(format!("a row of {schema} is a mapping from columns to values, this is {}", node.shape())),
    }
}

/// A value as its type wants it; as YAML reads it where that does not help.
fn value(node: &Node, column_type: Option<&ColumnType>) -> Value {
    if node.is_null() {
        return Value::Null;
    }
    match (&node.value, column_type) {
        (document::Value::Sequence(items), kind) => {
            let element = if let Some(ColumnType::List(element)) = kind { Some(&**element) } else { None };
            Value::Array(items.iter().map(|item| value(item, element)).collect())
        }
        (document::Value::Mapping(entries), kind) => {
            let field =
                |entry: &document::Entry| (entry.key.clone(), value(&entry.value, field_type(kind, &entry.key)));
            Value::Object(entries.iter().map(field).collect())
        }
        (document::Value::Scalar(scalar), Some(kind)) if is_text(kind) => Value::from(scalar.text.as_str()),
        (document::Value::Scalar(scalar), _) if scalar.plain => plain(&scalar.text),
        (document::Value::Scalar(scalar), _) => Value::from(scalar.text.as_str()),
    }
}

fn field_type<'a>(column_type: Option<&'a ColumnType>, name: &str) -> Option<&'a ColumnType> {
    match column_type? {
        ColumnType::Struct(columns) => {
            columns.iter().find(|column| column.name == name).map(|column| &column.column_type)
        }
        ColumnType::Map(_, of) => Some(&**of),
        _ => None,
    }
}

/// Types whose values are handed over as text. Decimals are among them for their exact digits.
fn is_text(column_type: &ColumnType) -> bool {
    matches!(
        column_type,
        ColumnType::String | ColumnType::Date | ColumnType::Timestamp | ColumnType::Binary | ColumnType::Decimal(..)
    )
}

/// A number or a boolean if YAML says so, else text.
fn plain(text: &str) -> Value {
    match serde_yaml::from_str::<Value>(text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_))) => value,
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::diagnostic::SourceFile;
    use crate::schema::parse_type;

    fn schema(columns: &[(&str, &str)]) -> Schema {
        Schema::new(columns.iter().map(|(name, text)| Column::new(*name, parse_type(text).unwrap())).collect())
    }

    fn node(text: &str) -> Node {
        document::read(&Arc::new(SourceFile::new("a.test.yaml", text)), &mut Vec::new()).unwrap()
    }

    #[test]
    fn the_type_decides_what_a_scalar_is() {
        for (column_type, text, value) in [
            ("string", "no", json!("no")),
            ("string", "1e3", json!("1e3")),
            ("string", "007", json!("007")),
            ("string", "null", json!(null)),
            ("string", "'null'", json!("null")),
            ("string", "''", json!("")),
            ("long", "7", json!(7)),
            ("long", "-7", json!(-7)),
            ("long", "'7'", json!("7")),
            ("long", "one", json!("one")),
            ("double", "2", json!(2)),
            ("double", "1e3", json!(1000.0)),
            ("boolean", "true", json!(true)),
            ("decimal(20,2)", "123456789012345678.25", json!("123456789012345678.25")),
            ("timestamp", "2020-01-12T13:34:00Z", json!("2020-01-12T13:34:00Z")),
            ("list<string>", "[1, no, ~]", json!(["1", "no", null])),
            ("list<long>", "[1, no]", json!([1, "no"])),
            ("struct<a: string, b: long>", "{ b: 1, a: 1 }", json!({ "b": 1, "a": "1" })),
            ("map<string, string>", "{ x: 1 }", json!({ "x": "1" })),
        ] {
            let row = row(&node(&format!("{{ c: {text} }}")), &schema(&[("c", column_type)])).unwrap();
            assert_eq!(row, json!({ "c": value }), "{column_type}: {text}");
        }
    }

    #[test]
    fn a_single_value_is_a_row_with_one_column() {
        let words = schema(&[("word", "string")]);
        assert_eq!(row(&node("007"), &words), Ok(json!({ "word": "007" })));
        assert_eq!(row(&node("[1]"), &schema(&[("a", "list<string>")])), Ok(json!({ "a": ["1"] })));
        let error = row(&node("spark"), &schema(&[("word", "string"), ("count", "long")])).unwrap_err();
        assert_eq!(
            error,
            "a row of (word: string, count: long) is a mapping from columns to values, this is a single value"
        );
    }
}
