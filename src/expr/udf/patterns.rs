//! Regular expressions, compiled once per call in an expression. What they find shares the bytes of
//! the text.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, ListArray, NullBufferBuilder, StringViewArray, StringViewBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr};
use regex::{CaptureLocations, Regex};

use super::views::{Pieces, Row};
use super::{Kernel, Operand, call, column, columns, internal, list_of, literal_text, offset, strings, udf};

/// What is wrong with a regular expression, if anything.
///
/// # Errors
///
/// The message of the `regex` crate.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    Regex::new(pattern).map(|_| ()).map_err(|error| error.to_string())
}

/// Whether the pattern is found: `(text, pattern)`.
#[must_use]
pub fn regex_match(arguments: Vec<Expr>) -> Expr {
    build(Operation::Match, arguments)
}

/// What the first match, or a group of it, has matched: `(text, pattern[, group])`.
#[must_use]
pub fn regex_extract(arguments: Vec<Expr>) -> Expr {
    build(Operation::Extract, arguments)
}

/// As [`regex_extract`], of all matches.
#[must_use]
pub fn regex_extract_all(arguments: Vec<Expr>) -> Expr {
    build(Operation::ExtractAll, arguments)
}

/// The text with all matches replaced: `(text, pattern, replacement)`.
#[must_use]
pub fn regex_replace(arguments: Vec<Expr>) -> Expr {
    build(Operation::Replace, arguments)
}

fn build(operation: Operation, arguments: Vec<Expr>) -> Expr {
    let pattern = arguments.get(1).and_then(literal_text).and_then(|pattern| Regex::new(pattern).ok()).map(Pattern);
    call(&udf(RegexFunction { operation, pattern }), arguments)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Match,
    Extract,
    ExtractAll,
    Replace,
}

/// A compiled pattern; its text says which.
#[derive(Clone, Debug)]
struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RegexFunction {
    operation: Operation,
    /// `None` where the argument is no constant, which the caller does not allow.
    pattern: Option<Pattern>,
}

impl Kernel for RegexFunction {
    fn name(&self) -> &'static str {
        match self.operation {
            Operation::Match => "regex_match",
            Operation::Extract => "regex_extract",
            Operation::ExtractAll => "regex_extract_all",
            Operation::Replace => "regex_replace",
        }
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.operation {
            Operation::Match => DataType::Boolean,
            Operation::Extract | Operation::Replace => DataType::Utf8View,
            Operation::ExtractAll => list_of(DataType::Utf8View),
        })
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let Some(Pattern(regex)) = &self.pattern else {
            let message = format!("the pattern of {} must be a constant", self.name());
            return Err(DataFusionError::Plan(message));
        };
        if self.operation == Operation::Replace {
            let [texts, _, replacements] = columns(arguments)?;
            return Ok(column(replace(regex, &strings(&texts)?, &strings(&replacements)?)));
        }
        let [text, _, group @ ..] = arguments else { return Err(internal("two arguments expected")) };
        let group = match group.first() {
            Some(group) => Operand::<Int64Type>::new(group)?,
            None => Operand::One(Some(i64::from(regex.captures_len() > 1))),
        };
        let rows = match (text, &group) {
            (ColumnarValue::Scalar(_), Operand::Many(groups)) => groups.len(),
            (ColumnarValue::Scalar(_), Operand::One(_)) => 1,
            (ColumnarValue::Array(array), _) => array.len(),
        };
        let texts = strings(&text.to_array(rows)?)?;
        Ok(match self.operation {
            Operation::Match => {
                let found = texts.iter().map(|text| text.map(|text| regex.is_match(text)));
                column(found.collect::<BooleanArray>())
            }
            Operation::Extract | Operation::Replace => column(extract(regex, &texts, &group)?),
            Operation::ExtractAll => column(extract_all(regex, &texts, &group)?),
        })
    }
}

fn extract(regex: &Regex, texts: &StringViewArray, groups: &Operand<Int64Type>) -> Result<StringViewArray> {
    let mut locations = regex.capture_locations();
    let mut pieces = Pieces::new(texts, texts.len());
    let mut nulls = NullBufferBuilder::new(texts.len());
    for index in 0..texts.len() {
        let found = match (pieces.row(index), group(groups, index)) {
            (Some(row), Some(group)) => first(regex, &mut locations, &row, group).map(|found| (row, found)),
            _ => None,
        };
        match found {
            Some((row, (start, end))) => {
                pieces.push(&row, start, end);
                nulls.append_non_null();
            }
            None => {
                pieces.push_null();
                nulls.append_null();
            }
        }
    }
    pieces.finish(nulls.finish())
}

fn group(groups: &Operand<Int64Type>, row: usize) -> Option<usize> {
    groups.at(row).and_then(|group| usize::try_from(group).ok())
}

fn first(regex: &Regex, locations: &mut CaptureLocations, row: &Row<'_>, group: usize) -> Option<(usize, usize)> {
    if group == 0 {
        // Without groups the search is much cheaper.
        return regex.find(row.text()).map(|found| (found.start(), found.end()));
    }
    regex.captures_read(locations, row.text())?;
    locations.get(group)
}

fn extract_all(regex: &Regex, texts: &StringViewArray, groups: &Operand<Int64Type>) -> Result<ListArray> {
    let mut pieces = Pieces::new(texts, texts.len());
    let mut offsets = Vec::with_capacity(texts.len() + 1);
    offsets.push(0);
    let mut nulls = NullBufferBuilder::new(texts.len());
    for index in 0..texts.len() {
        match (pieces.row(index), group(groups, index)) {
            (Some(row), Some(0)) => {
                for found in regex.find_iter(row.text()) {
                    pieces.push(&row, found.start(), found.end());
                }
                nulls.append_non_null();
            }
            (Some(row), Some(group)) if group < regex.captures_len() => {
                for found in regex.captures_iter(row.text()) {
                    // A group that took no part in the match has matched nothing.
                    let (start, end) = found.get(group).map_or((0, 0), |found| (found.start(), found.end()));
                    pieces.push(&row, start, end);
                }
                nulls.append_non_null();
            }
            _ => nulls.append_null(),
        }
        offsets.push(offset(pieces.len())?);
    }
    let nulls: Option<NullBuffer> = nulls.finish();
    Ok(ListArray::try_new(
        Arc::new(Field::new_list_field(DataType::Utf8View, true)),
        OffsetBuffer::new(offsets.into()),
        Arc::new(pieces.finish(None)?),
        nulls,
    )?)
}

fn replace(regex: &Regex, texts: &StringViewArray, replacements: &StringViewArray) -> StringViewArray {
    let mut replaced = StringViewBuilder::with_capacity(texts.len());
    for (text, replacement) in texts.iter().zip(replacements.iter()) {
        match (text, replacement) {
            (Some(text), Some(replacement)) => replaced.append_value(regex.replace_all(text, replacement)),
            _ => replaced.append_null(),
        }
    }
    replaced.finish()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray};
    use datafusion::common::ScalarValue;

    use super::super::testing::{evaluate, text, texts};
    use super::*;

    fn run(operation: Operation, values: &[Option<&str>], pattern: &str, last: Option<ColumnarValue>) -> ArrayRef {
        let kernel = RegexFunction { operation, pattern: Regex::new(pattern).ok().map(Pattern) };
        let mut arguments = vec![texts(values), text(pattern)];
        arguments.extend(last);
        evaluate(&kernel, &arguments)
    }

    fn group(number: i64) -> Option<ColumnarValue> {
        Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(number))))
    }

    #[test]
    fn groups() {
        let values = [Some("user=a_rather_long_name id=7"), Some("nobody"), None];
        let extract = |pattern: &str, group| -> Vec<Option<String>> {
            let found = run(Operation::Extract, &values, pattern, group);
            found.as_string_view().iter().map(|text| text.map(str::to_owned)).collect()
        };
        let name = Some("a_rather_long_name".to_owned());
        assert_eq!(extract("user=(\\w+) id=(\\d)", None), [name, None, None]);
        assert_eq!(extract("user=(\\w+) id=(\\d)", group(2)), [Some("7".to_owned()), None, None]);
        assert_eq!(extract("id=(\\d)", group(0)), [Some("id=7".to_owned()), None, None]);
        assert_eq!(extract("o[bn]", None), [Some("on".to_owned()), Some("ob".to_owned()), None]);
        assert_eq!(extract("user=(\\w+)", group(2)), [None, None, None]);
        assert_eq!(extract("user=(\\w+)", group(-1)), [None, None, None]);
    }

    #[test]
    fn all_matches() {
        let values = [Some("a=1 b=22"), Some("none"), None];
        let found = run(Operation::ExtractAll, &values, "\\w=(\\d+)", None);
        let rows: Vec<Option<Vec<String>>> = found
            .as_list::<i32>()
            .iter()
            .map(|row| row.map(|row| row.as_string_view().iter().flatten().map(str::to_owned).collect()))
            .collect();
        assert_eq!(rows, [Some(vec!["1".to_owned(), "22".to_owned()]), Some(vec![]), None]);
    }

    #[test]
    fn replacements() {
        let replaced = run(Operation::Replace, &[Some("a-b c-d"), None], "(\\w)-(\\w)", Some(text("${2}_$1")));
        assert_eq!(replaced.as_string_view().iter().collect::<Vec<_>>(), [Some("b_a d_c"), None]);
    }

    #[test]
    fn matches() {
        let found = run(Operation::Match, &[Some("error 42"), Some("fine"), None], "\\d+", None);
        assert_eq!(found.as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(false), None]);
    }

    #[test]
    fn a_bad_pattern_has_a_reason() {
        assert!(check_pattern("(").unwrap_err().contains("unclosed group"));
        assert_eq!(check_pattern("(a)"), Ok(()));
    }
}
