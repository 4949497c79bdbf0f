//! JSON in text: one value at a path. Only that value is built; the rest of the text is read over.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringViewArray, StringViewBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{Kernel, call, columns, literal_text, strings, udf};

/// What is wrong with a path, if anything.
///
/// # Errors
///
/// Says what was expected where.
pub fn check_path(path: &str) -> Result<(), String> {
    parse(path).map(|_| ())
}

/// The type that the value at the path is brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonType {
    /// Its text; JSON for objects and arrays.
    String,
    /// A whole number.
    Long,
    /// A number.
    Double,
    /// true or false.
    Boolean,
}

/// The value at a path: `(text, path)`. NULL where there is none of that type.
#[must_use]
pub fn json_get(json_type: JsonType, arguments: Vec<Expr>) -> Expr {
    let path = arguments.get(1).and_then(literal_text).and_then(|path| parse(path).ok());
    call(&udf(JsonGet { json_type, path }), arguments)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Key(String),
    Index(usize),
}

fn parse(path: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = path.trim();
    if rest.is_empty() {
        return Err("a path like `user.tags[0].name` is needed".to_owned());
    }
    let mut first = true;
    if let Some(tail) = rest.strip_prefix('$') {
        rest = tail;
        first = false;
    }
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('[') {
            let (step, tail) = bracket(tail)?;
            steps.push(step);
            rest = tail;
        } else {
            let tail = match rest.strip_prefix('.') {
                Some(tail) if !first => tail,
                None if first => rest,
                _ => return Err(format!("`.name` or `[0]` expected at `{rest}`")),
            };
            let (key, tail) = tail.split_at(tail.find(['.', '[']).unwrap_or(tail.len()));
            if key.is_empty() {
                return Err(format!("a name is missing before `{tail}`"));
            }
            steps.push(Step::Key(key.to_owned()));
            rest = tail;
        }
        first = false;
    }
    Ok(steps)
}

/// The step in brackets, and what follows them.
fn bracket(text: &str) -> Result<(Step, &str), String> {
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            return quoted
                .split_once(quote)
                .and_then(|(key, rest)| Some((Step::Key(key.to_owned()), rest.strip_prefix(']')?)))
                .ok_or_else(|| format!("`{quote}]` is missing after `[{text}`"));
        }
    }
    let (index, rest) = text.split_once(']').ok_or_else(|| format!("`]` is missing after `[{text}`"))?;
    match index.trim().parse() {
        Ok(index) => Ok((Step::Index(index), rest)),
        Err(_) => Err(format!("`[{index}]` is no position such as `[0]` and no name such as `[\"name\"]`")),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonGet {
    json_type: JsonType,
    /// `None` where the argument is no constant, which the caller does not allow.
    path: Option<Vec<Step>>,
}

impl Kernel for JsonGet {
    fn name(&self) -> &'static str {
        match self.json_type {
            JsonType::String => "json_get",
            JsonType::Long => "json_get_long",
            JsonType::Double => "json_get_double",
            JsonType::Boolean => "json_get_boolean",
        }
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.json_type {
            JsonType::String => DataType::Utf8View,
            JsonType::Long => DataType::Int64,
            JsonType::Double => DataType::Float64,
            JsonType::Boolean => DataType::Boolean,
        })
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let Some(path) = &self.path else {
            let message = format!("the path of {} must be a constant", self.name());
            return Err(DataFusionError::Plan(message));
        };
        let [texts, _] = columns(arguments)?;
        let texts = strings(&texts)?;
        let values = texts.iter().map(|text| text.and_then(|text| find(text, path)));
        let column: ArrayRef = match self.json_type {
            JsonType::String => Arc::new(as_texts(values, texts.len())),
            JsonType::Long => Arc::new(values.map(|value| value.and_then(as_long)).collect::<Int64Array>()),
            JsonType::Double => Arc::new(values.map(|value| value.and_then(as_double)).collect::<Float64Array>()),
            JsonType::Boolean => Arc::new(values.map(|value| value.and_then(as_boolean)).collect::<BooleanArray>()),
        };
        Ok(ColumnarValue::Array(column))
    }
}

fn as_texts(values: impl Iterator<Item = Option<Value>>, rows: usize) -> StringViewArray {
    let mut texts = StringViewBuilder::with_capacity(rows);
    for value in values {
        match value {
            None | Some(Value::Null) => texts.append_null(),
            Some(Value::String(text)) => texts.append_value(text),
            Some(other) => texts.append_value(other.to_string()),
        }
    }
    texts.finish()
}

fn as_long(value: Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// `2.0` and `1e3` are whole numbers, too.
fn whole(number: f64) -> Option<i64> {
    // The largest doubles below 2^63 and above -2^63; at the limits the cast would saturate.
    let fits = number.abs() < 9_223_372_036_854_775_808.0;
    (fits && number.fract() == 0.0).then_some(number as i64)
}

fn as_double(value: Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn as_boolean(value: Value) -> Option<bool> {
    match value {
        Value::Bool(boolean) => Some(boolean),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The value at the path; `None` if there is none or the text is no JSON.
fn find(text: &str, path: &[Step]) -> Option<Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = At(path).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    value
}

/// Reads a JSON value and keeps what is at the path in it.
struct At<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => serde::Deserialize::deserialize(deserializer).map(Some),
            Some((step, rest)) => deserializer.deserialize_any(Below { step, rest }),
        }
    }
}

/// Looks for one step; the rest of the path goes on from there.
struct Below<'a> {
    step: &'a Step,
    rest: &'a [Step],
}

impl<'de> Visitor<'de> for Below<'_> {
    type Value = Option<Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_step) = map.next_key_seed(IsKey(self.step))? {
            if is_step {
                found = map.next_value_seed(At(self.rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let Step::Index(index) = self.step {
            for _ in 0..*index {
                if list.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            match list.next_element_seed(At(self.rest))? {
                Some(value) => found = value,
                None => return Ok(None),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a key is that of the step, without building the key.
struct IsKey<'a>(&'a Step);

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(matches!(self.0, Step::Key(name) if name == key))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Float64Type, Int64Type};

    use super::super::testing::{evaluate, text, texts};
    use super::*;

    const ORDER: &str =
        r#" {"id": 7, "user": {"name": "Ann", "tags": ["a", {"b c": [1, 2.50]}], "x.y": null}, "ok": true} "#;

    fn get(path: &str) -> Option<String> {
        let kernel = JsonGet { json_type: JsonType::String, path: parse(path).ok() };
        let values = evaluate(&kernel, &[texts(&[Some(ORDER)]), text(path)]);
        values.as_string_view().iter().next().flatten().map(str::to_owned)
    }

    #[test]
    fn paths() {
        assert_eq!(get("id").as_deref(), Some("7"));
        assert_eq!(get("$.user.name").as_deref(), Some("Ann"));
        assert_eq!(get("user.tags[0]").as_deref(), Some("a"));
        assert_eq!(get("$['user'].tags[1][\"b c\"][1]").as_deref(), Some("2.5"));
        assert_eq!(get("user.tags").as_deref(), Some(r#"["a",{"b c":[1,2.5]}]"#));
        assert_eq!(get("user.tags[2]"), None);
        assert_eq!(get("user[0]"), None);
        assert_eq!(get("id.x"), None);
        assert_eq!(get("user['x.y']"), None);
        assert!(get("$").is_some_and(|text| text.starts_with("{\"id\":7,")));
    }

    #[test]
    fn what_is_no_json_is_null() {
        let kernel = JsonGet { json_type: JsonType::String, path: parse("a").ok() };
        let rows = [Some("{\"a\": 1"), Some("{\"a\": 1} x"), Some(""), Some("[1]"), Some("\"a\""), Some("null"), None];
        let values = evaluate(&kernel, &[texts(&rows), text("a")]);
        assert_eq!(values.null_count(), rows.len());
    }

    #[test]
    fn typed_values() {
        let rows = [Some("[1]"), Some("[2.0]"), Some("[2.5]"), Some("[\" 3 \"]"), Some("[true]"), Some("[1e40]")];
        let arguments = [texts(&rows), text("[0]")];
        let path = || parse("[0]").ok();
        let longs = evaluate(&JsonGet { json_type: JsonType::Long, path: path() }, &arguments);
        let longs: Vec<_> = longs.as_primitive::<Int64Type>().iter().collect();
        assert_eq!(longs, [Some(1), Some(2), None, Some(3), None, None]);
        let doubles = evaluate(&JsonGet { json_type: JsonType::Double, path: path() }, &arguments);
        let doubles: Vec<_> = doubles.as_primitive::<Float64Type>().iter().collect();
        assert_eq!(doubles, [Some(1.0), Some(2.0), Some(2.5), Some(3.0), None, Some(1e40)]);
        let booleans = evaluate(&JsonGet { json_type: JsonType::Boolean, path: path() }, &arguments);
        let booleans: Vec<_> = booleans.as_boolean().iter().collect();
        assert_eq!(booleans, [None, None, None, None, Some(true), None]);
    }

    #[test]
    fn bad_paths() {
        for path in ["", " ", ".a", "a..b", "a.", "a[x]", "a[0", "a['b", "a['b'x]", "$a", "a[0]b"] {
            assert!(check_path(path).is_err(), "{path}");
        }
    }
}
