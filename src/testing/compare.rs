//! Rows that were expected against rows that arrived.
//!
//! Both sides have been in Arrow columns of the same types before they get here, so times, dates
//! and numbers have one form each and compare by their text or value.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use arrow::error::ArrowError;
use arrow::json::writer::{JsonArray, WriterBuilder};
use arrow::record_batch::RecordBatch;
use serde_json::Value;

/// Floating point numbers that differ by less than this part of the larger one are the same.
const TOLERANCE: f64 = 1e-9;
/// Of so many missing and unexpected rows each it is looked which are most alike.
const MAX_PAIRED: usize = 200;

/// What is different between the expected rows and those that arrived, as indices into the two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// The same rows, in another order: the pairs then are the places that differ.
    pub reordered: bool,
    /// An expected row with the one that seems to have come instead.
    pub pairs: Vec<(usize, usize)>,
    /// Expected rows that nothing like has come for.
    pub missing: Vec<usize>,
    /// Rows that came and were not expected.
    pub extra: Vec<usize>,
}

/// The rows of batches as JSON objects with every column; NULL is `null`, and so is a floating
/// point number that is not finite. Decimals are texts, for their exact digits.
///
/// # Errors
/// A message where a type has no form in JSON: maps whose keys are not text.
pub(super) fn to_rows(batches: &[RecordBatch]) -> Result<Vec<Value>, String> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    let mut write = || -> Result<(), ArrowError> {
        for batch in batches {
            writer.write(&with_decimal_texts(batch)?)?;
        }
        writer.finish()
    };
    write().map_err(|error| format!("the rows cannot be compared: {error}"))?;
    serde_json::from_slice(&writer.into_inner()).map_err(|error| format!("the rows cannot be compared: {error}"))
}

fn with_decimal_texts(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let is_decimal = matches!(field.data_type(), DataType::Decimal128(..));
        let column = if is_decimal { cast(column, &DataType::Utf8)? } else { Arc::clone(column) };
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)
}

/// What differs; `None` if nothing does. Without `ordered` the rows may come in any order.
pub(super) fn compare(expected: &[Value], got: &[Value], ordered: bool) -> Option<Difference> {
    let (missing, extra) = unmatched(expected, got);
    if !missing.is_empty() || !extra.is_empty() {
        return Some(pair_up(expected, got, missing, extra));
    }
    if !ordered {
        return None;
    }
    let places = expected.iter().zip(got).enumerate().filter(|(_, (expected, got))| !same(expected, got));
    let pairs: Vec<(usize, usize)> = places.map(|(index, _)| (index, index)).collect();
    (!pairs.is_empty()).then(|| Difference { reordered: true, pairs, ..Difference::default() })
}

/// The indices of expected rows that did not come, and of rows that came and were not expected.
fn unmatched(expected: &[Value], got: &[Value]) -> (Vec<usize>, Vec<usize>) {
    let mut extra: Vec<(usize, &Value)> = got.iter().enumerate().collect();
    let mut missing = Vec::new();
    for (index, row) in expected.iter().enumerate() {
        match extra.iter().position(|(_, other)| same(row, other)) {
            Some(at) => {
                extra.remove(at);
            }
            None => missing.push(index),
        }
    }
    (missing, extra.into_iter().map(|(index, _)| index).collect())
}

/// Puts missing and unexpected rows together that have the most columns in common.
fn pair_up(expected: &[Value], got: &[Value], missing: Vec<usize>, extra: Vec<usize>) -> Difference {
    let mut alike = Vec::new();
    for &missing in missing.iter().take(MAX_PAIRED) {
        for &extra in extra.iter().take(MAX_PAIRED) {
            let (Some(expected), Some(got)) = (expected.get(missing), got.get(extra)) else { continue };
            let common = common_columns(expected, got);
            if common > 0 {
                alike.push((common, missing, extra));
            }
        }
    }
    alike.sort_by_key(|(common, missing, extra)| (std::cmp::Reverse(*common), *missing, *extra));
    let mut difference = Difference { missing, extra, ..Difference::default() };
    for (_, expected, got) in alike {
        if difference.missing.contains(&expected) && difference.extra.contains(&got) {
            difference.missing.retain(|it| *it != expected);
            difference.extra.retain(|it| *it != got);
            difference.pairs.push((expected, got));
        }
    }
    difference.pairs.sort_unstable();
    difference
}

fn common_columns(one: &Value, other: &Value) -> usize {
    let (Value::Object(one), Value::Object(other)) = (one, other) else { return 0 };
    one.iter().filter(|(name, value)| other.get(*name).is_some_and(|other| same(value, other))).count()
}

/// Whether two values are the same; the order of a mapping's keys does not matter.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64(), a.as_f64(), b.as_f64()) {
            (Some(a), Some(b), _, _) => a == b,
            (_, _, Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

impl Difference {
    /// What differs, in a line.
    pub(super) fn message(&self) -> String {
        let rows = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 row {one}")),
            count => Some(format!("{count} rows {many}")),
        };
        if self.reordered {
            let places = rows(self.pairs.len(), "stands elsewhere", "stand elsewhere").unwrap_or_default();
            return format!("the rows come in another order: {places}");
        }
        let parts = [
            rows(self.pairs.len(), "differs", "differ"),
            rows(self.missing.len(), "is missing", "are missing"),
            rows(self.extra.len(), "is not expected", "are not expected"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// A row as it would stand in a test file: `{word: spark, count: 2}`.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| format!("{}: {}", show_text(key), show(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::String(text) => show_text(text),
        other => other.to_string(),
    }
}

/// Text, in quotes where YAML would take it for something else than text. What looks like a number
/// stays as it is: the column's type says that it is none.
fn show_text(text: &str) -> String {
    let is_null = matches!(text, "" | "~" | "null" | "Null" | "NULL");
    let marked =
        text.starts_with(['\'', '&', '*', '!', '|', '>', '%', '@', '#', '`', ' ']) || text.ends_with([' ', ':']);
    let listed = text.starts_with("- ") || text.starts_with("? ") || text == "-" || text == "?";
    let inside = text.contains([',', '[', ']', '{', '}', '"']) || text.contains(": ") || text.contains(" #");
    if is_null || marked || listed || inside || text.chars().any(char::is_control) {
        return Value::from(text).to_string();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{Column, Schema, parse_type};
    use crate::sources::rows::to_batch;

    #[expect(clippy::needless_pass_by_value, reason = "it is called with `json!`")]
    fn differ(expected: Value, got: Value, ordered: bool) -> Option<Difference> {
        compare(expected.as_array().unwrap(), got.as_array().unwrap(), ordered)
    }

    #[test]
    fn order_matters_only_where_asked_for() {
        assert_eq!(differ(json!([{"a": 1}, {"a": 2}]), json!([{"a": 2}, {"a": 1}]), false), None);
        let difference =
            differ(json!([{"a": 1}, {"a": 2}, {"a": 3}]), json!([{"a": 2}, {"a": 1}, {"a": 3}]), true).unwrap();
        assert_eq!(difference, Difference { reordered: true, pairs: vec![(0, 0), (1, 1)], ..Difference::default() });
        assert_eq!(difference.message(), "the rows come in another order: 2 rows stand elsewhere");
        assert_eq!(differ(json!([{"a": 1}]), json!([{"a": 1}]), true), None);
    }

    #[test]
    fn rows_count_as_often_as_they_come() {
        let difference = differ(json!([{"a": 1}, {"a": 1}]), json!([{"a": 1}]), false).unwrap();
        assert_eq!((difference.missing.as_slice(), difference.extra.len()), (&[1][..], 0));
        assert_eq!(difference.message(), "1 row is missing");
        let difference = differ(json!([]), json!([{"a": 1}, {"a": 1}]), false).unwrap();
        assert_eq!(difference.message(), "2 rows are not expected");
    }

    #[test]
    fn rows_that_are_most_alike_are_put_together() {
        let expected = json!([{"w": "a", "n": 1, "x": 0}, {"w": "b", "n": 2, "x": 0}, {"w": "c", "n": 3, "x": 7}]);
        let got = json!([{"w": "b", "n": 9, "x": 0}, {"w": "a", "n": 8, "x": 0}, {"w": "d", "n": 4, "x": 5}]);
        let difference = differ(expected, got, false).unwrap();
        let wanted = Difference { pairs: vec![(0, 1), (1, 0)], missing: vec![2], extra: vec![2], reordered: false };
        assert_eq!(difference, wanted);
        assert_eq!(difference.message(), "2 rows differ, 1 row is missing, 1 row is not expected");
    }

    #[test]
    fn numbers_are_the_same_by_value() {
        for (one, other, equal) in [
            (json!(2), json!(2.0), true),
            (json!(0.1 + 0.2), json!(0.3), true),
            (json!(0), json!(-0.0), true),
            (json!(1.0), json!(1.000_001), false),
            (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992_i64), false),
            (json!("2"), json!(2), false),
            (json!(null), json!(0), false),
            (json!([{"a": 1.0}]), json!([{"a": 1}]), true),
            (json!({"a": 1, "b": 2}), json!({"b": 2, "a": 1}), true),
        ] {
            assert_eq!(same(&one, &other), equal, "{one} {other}");
        }
    }

    #[test]
    fn rows_from_columns_have_one_form() {
        let types = [("t", "timestamp"), ("d", "decimal(20,2)"), ("f", "double"), ("l", "list<struct<a: long>>")];
        let schema = Schema::new(types.map(|(name, text)| Column::new(name, parse_type(text).unwrap())).to_vec());
        let rows = [
            json!({ "t": "2020-01-12T13:34:00Z", "d": "123456789012345678.25", "f": 2, "l": [{ "a": 1 }, {}] }),
            json!({ "t": "2020-01-12T14:34:00+01:00" }),
        ];
        let rows = to_rows(&[to_batch(&rows, &schema).unwrap()]).unwrap();
        assert_eq!(rows[0]["t"], rows[1]["t"]);
        assert_eq!(rows[0]["d"], json!("123456789012345678.25"));
        assert_eq!(rows[0]["f"], json!(2.0));
        assert_eq!(rows[0]["l"], json!([{ "a": 1 }, { "a": null }]));
        assert_eq!(rows[1]["d"], json!(null));
        assert_eq!(to_rows(&[]), Ok(Vec::new()));
    }

    #[test]
    fn rows_are_shown_as_a_test_file_has_them() {
        let row = json!({ "word": "spark", "count": 2, "none": null, "text": "null", "list": ["a b", "a, b"], "at": "13:34:05Z" });
        assert_eq!(
            show(&row),
            r#"{word: spark, count: 2, none: null, text: "null", list: [a b, "a, b"], at: 13:34:05Z}"#
        );
    }
}
