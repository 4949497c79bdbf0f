//! Timestamps and dates as text, in formats of the `strftime` kind, which are read once per call in
//! an expression.

use std::fmt::Write;

use arrow::array::{Date32Array, StringViewArray, StringViewBuilder, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{DateTime, NaiveTime, Utc};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, try_cast};

use super::dates::{DAY, micros, no_constant, timestamp_type, timestamps, valid};
use super::{Kernel, call, column, columns, literal_text, strings, udf};

/// What is wrong with a date format, if anything.
///
/// # Errors
///
/// Says so.
pub fn check_format(format: &str) -> Result<(), String> {
    match items(format) {
        Some(items) if items.is_empty() => Err("the format is empty".to_owned()),
        Some(_) => Ok(()),
        None => Err("unknown `%` placeholder; for example `%Y-%m-%d %H:%M:%S%.f` is a valid format".to_owned()),
    }
}

fn items(format: &str) -> Option<Vec<Item<'static>>> {
    StrftimeItems::new(format).parse_to_owned().ok()
}

/// The timestamp in a text: `(text[, format])`.
#[must_use]
pub fn parse_timestamp(arguments: Vec<Expr>) -> Expr {
    parse(Formatted::Timestamp, arguments)
}

/// The date in a text: `(text[, format])`.
#[must_use]
pub fn parse_date(arguments: Vec<Expr>) -> Expr {
    parse(Formatted::Date, arguments)
}

fn parse(formatted: Formatted, mut arguments: Vec<Expr>) -> Expr {
    if arguments.len() == 1
        && let Some(text) = arguments.pop()
    {
        // Arrow reads ISO 8601.
        return try_cast(text, if formatted == Formatted::Date { DataType::Date32 } else { timestamp_type() });
    }
    with_format(formatted, arguments)
}

/// A timestamp as text: `(timestamp, format)`.
#[must_use]
pub fn format_timestamp(arguments: Vec<Expr>) -> Expr {
    with_format(Formatted::Text, arguments)
}

fn with_format(result: Formatted, arguments: Vec<Expr>) -> Expr {
    let format = arguments.get(1).and_then(literal_text).and_then(items);
    call(&udf(WithFormat { result, format }), arguments)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Formatted {
    Timestamp,
    Date,
    Text,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WithFormat {
    result: Formatted,
    /// `None` where the argument is no constant, which the caller does not allow.
    format: Option<Vec<Item<'static>>>,
}

impl Kernel for WithFormat {
    fn name(&self) -> &'static str {
        match self.result {
            Formatted::Timestamp => "parse_timestamp",
            Formatted::Date => "parse_date",
            Formatted::Text => "format_timestamp",
        }
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.result {
            Formatted::Timestamp => timestamp_type(),
            Formatted::Date => DataType::Date32,
            Formatted::Text => DataType::Utf8View,
        })
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let format = self.format.as_deref().ok_or_else(|| no_constant("format", self.name()))?;
        let [values, _] = columns(arguments)?;
        if self.result == Formatted::Text {
            return Ok(column(formatted(&micros(&values)?, format)));
        }
        let texts = strings(&values)?;
        let parsed = texts.iter().map(|text| text.and_then(|text| parsed_micros(text, format)).and_then(valid));
        if self.result == Formatted::Timestamp {
            return Ok(timestamps(parsed.collect()));
        }
        let days = parsed.map(|micros| i32::try_from(micros?.div_euclid(DAY)).ok());
        Ok(column(days.collect::<Date32Array>()))
    }
}

fn parsed_micros(text: &str, format: &[Item<'_>]) -> Option<i64> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, format.iter()).ok()?;
    if parsed.offset().is_some() {
        return Some(parsed.to_datetime().ok()?.timestamp_micros());
    }
    // An hour alone is enough for a time of day.
    if parsed.hour_mod_12().is_some() && parsed.minute().is_none() {
        parsed.set_minute(0).ok()?;
    }
    if let Ok(time) = parsed.to_naive_datetime_with_offset(0) {
        return Some(time.and_utc().timestamp_micros());
    }
    // A time of day that does not fit is an error, one that is not there is midnight.
    if parsed.hour_mod_12().is_some() || parsed.minute().is_some() {
        return None;
    }
    Some(parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

fn formatted(times: &TimestampMicrosecondArray, format: &[Item<'_>]) -> StringViewArray {
    let mut texts = StringViewBuilder::with_capacity(times.len());
    let mut text = String::new();
    for micros in times {
        text.clear();
        let written = micros.and_then(DateTime::<Utc>::from_timestamp_micros).is_some_and(|time| {
            // Fails only for placeholders that a time has no value for.
            write!(text, "{}", time.format_with_items(format.iter())).is_ok()
        });
        texts.append_option(written.then_some(text.as_str()));
    }
    texts.finish()
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::super::dates::tests::{shown, times};
    use super::super::testing::{evaluate, text, texts};
    use super::*;

    fn parsed(value: &str, format: &str) -> Option<String> {
        let kernel = WithFormat { result: Formatted::Timestamp, format: items(format) };
        shown(&evaluate(&kernel, &[texts(&[Some(value)]), text(format)])).remove(0)
    }

    #[test]
    fn formats() {
        let expected = Some("2020-01-13T07:10:00Z".to_owned());
        assert_eq!(parsed("13/Jan/2020:08:10:00 +0100", "%d/%b/%Y:%H:%M:%S %z"), expected);
        assert_eq!(parsed("2020-01-13 07:10:00", "%Y-%m-%d %H:%M:%S"), expected);
        assert_eq!(parsed("1578899400", "%s"), expected);
        assert_eq!(parsed("2020-01-13", "%Y-%m-%d"), Some("2020-01-13T00:00:00Z".to_owned()));
        assert_eq!(parsed("2020-01-13 07", "%Y-%m-%d %H"), Some("2020-01-13T07:00:00Z".to_owned()));
        assert_eq!(parsed("2020-01-13 x", "%Y-%m-%d"), None);
        assert_eq!(parsed("07:10", "%H:%M"), None);
        assert!(check_format("%Q").is_err());
        let kernel = WithFormat { result: Formatted::Text, format: items("%d.%m.%Y") };
        let texts = evaluate(&kernel, &[times(&["2020-01-13T07:10:00Z"]), text("%d.%m.%Y")]);
        assert_eq!(texts.as_string_view().value(0), "13.01.2020");
    }
}
