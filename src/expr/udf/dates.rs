//! Dates and timestamps, all in UTC. Results outside the years 1 to 9999 are NULL.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, TimestampMicrosecondArray};
use arrow::compute::kernels::temporal;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF};

use super::{Kernel, call, column, columns, literal_text, primitives, udf};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// The first and the last microsecond that a timestamp may have: of the years 1 and 9999.
const FIRST: i64 = -62_135_596_800 * SECOND;
const LAST: i64 = 253_402_300_800 * SECOND - 1;

static DATE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Time::Date));
static TO_UNIX_SECONDS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Time::ToUnixSeconds));
static TO_UNIX_MILLIS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Time::ToUnixMillis));
static FROM_UNIX_SECONDS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Time::FromUnixSeconds));
static FROM_UNIX_MILLIS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Time::FromUnixMillis));
static ADD_SECONDS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Time::AddSeconds));
static ADD_DAYS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Time::AddDays));
static SECONDS_BETWEEN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Time::SecondsBetween));

/// The day of a timestamp.
#[must_use]
pub fn date(timestamp: Expr) -> Expr {
    call(&DATE, vec![timestamp])
}

/// Whole seconds since 1970.
#[must_use]
pub fn to_unix_seconds(timestamp: Expr) -> Expr {
    call(&TO_UNIX_SECONDS, vec![timestamp])
}

/// Whole milliseconds since 1970.
#[must_use]
pub fn to_unix_millis(timestamp: Expr) -> Expr {
    call(&TO_UNIX_MILLIS, vec![timestamp])
}

/// The timestamp so many seconds after 1970.
#[must_use]
pub fn from_unix_seconds(seconds: Expr) -> Expr {
    call(&FROM_UNIX_SECONDS, vec![seconds])
}

/// The timestamp so many milliseconds after 1970.
#[must_use]
pub fn from_unix_millis(millis: Expr) -> Expr {
    call(&FROM_UNIX_MILLIS, vec![millis])
}

/// The timestamp so many seconds later.
#[must_use]
pub fn add_seconds(timestamp: Expr, seconds: Expr) -> Expr {
    call(&ADD_SECONDS, vec![timestamp, seconds])
}

/// The timestamp so many days later.
#[must_use]
pub fn add_days(timestamp: Expr, days: Expr) -> Expr {
    call(&ADD_DAYS, vec![timestamp, days])
}

/// The seconds from one timestamp to another.
#[must_use]
pub fn seconds_between(start: Expr, end: Expr) -> Expr {
    call(&SECONDS_BETWEEN, vec![start, end])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Time {
    Date,
    ToUnixSeconds,
    ToUnixMillis,
    FromUnixSeconds,
    FromUnixMillis,
    AddSeconds,
    AddDays,
    SecondsBetween,
}

impl Kernel for Time {
    fn name(&self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::ToUnixSeconds => "to_unix_seconds",
            Self::ToUnixMillis => "to_unix_millis",
            Self::FromUnixSeconds => "from_unix_seconds",
            Self::FromUnixMillis => "from_unix_millis",
            Self::AddSeconds => "add_seconds",
            Self::AddDays => "add_days",
            Self::SecondsBetween => "seconds_between",
        }
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self {
            Self::Date => DataType::Date32,
            Self::ToUnixSeconds | Self::ToUnixMillis => DataType::Int64,
            Self::SecondsBetween => DataType::Float64,
            Self::FromUnixSeconds | Self::FromUnixMillis | Self::AddSeconds | Self::AddDays => timestamp_type(),
        })
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        match self {
            Self::Date => {
                let days: Date32Array =
                    times(arguments)?.unary_opt(|micros| i32::try_from(micros.div_euclid(DAY)).ok());
                Ok(column(days))
            }
            Self::ToUnixSeconds => {
                let seconds: Int64Array = times(arguments)?.unary(|micros| micros.div_euclid(SECOND));
                Ok(column(seconds))
            }
            Self::ToUnixMillis => {
                let millis: Int64Array = times(arguments)?.unary(|micros| micros.div_euclid(1_000));
                Ok(column(millis))
            }
            Self::FromUnixSeconds => {
                let [seconds] = columns(arguments)?;
                Ok(timestamps(
                    primitives::<Float64Type>(&seconds)?.unary_opt(|seconds| micros_of(seconds).and_then(valid)),
                ))
            }
            Self::FromUnixMillis => {
                let [millis] = columns(arguments)?;
                let micros = |millis: i64| millis.checked_mul(1_000).and_then(valid);
                Ok(timestamps(primitives::<Int64Type>(&millis)?.unary_opt(micros)))
            }
            Self::AddSeconds => {
                let [starts, seconds] = columns(arguments)?;
                let (starts, seconds) = (micros(&starts)?, primitives::<Float64Type>(&seconds)?);
                let added = |(start, seconds): (Option<i64>, Option<f64>)| {
                    start?.checked_add(micros_of(seconds?)?).and_then(valid)
                };
                Ok(timestamps(starts.iter().zip(seconds.iter()).map(added).collect()))
            }
            Self::AddDays => {
                let [starts, days] = columns(arguments)?;
                let (starts, days) = (micros(&starts)?, primitives::<Int64Type>(&days)?);
                let added = |(start, days): (Option<i64>, Option<i64>)| {
                    start?.checked_add(days?.checked_mul(DAY)?).and_then(valid)
                };
                Ok(timestamps(starts.iter().zip(days.iter()).map(added).collect()))
            }
            Self::SecondsBetween => {
                let [starts, ends] = columns(arguments)?;
                let (starts, ends) = (micros(&starts)?, micros(&ends)?);
                let between =
                    |(start, end): (Option<i64>, Option<i64>)| Some(end?.checked_sub(start?)? as f64 / SECOND as f64);
                Ok(column(starts.iter().zip(ends.iter()).map(between).collect::<Float64Array>()))
            }
        }
    }
}

pub(super) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
}

pub(super) fn micros(array: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    primitives::<TimestampMicrosecondType>(array)
}

/// The timestamps of the only argument.
fn times(arguments: &[ColumnarValue]) -> Result<TimestampMicrosecondArray> {
    let [times] = columns(arguments)?;
    micros(&times)
}

pub(super) fn timestamps(micros: TimestampMicrosecondArray) -> ColumnarValue {
    column(micros.with_timezone("UTC"))
}

pub(super) fn valid(micros: i64) -> Option<i64> {
    (FIRST..=LAST).contains(&micros).then_some(micros)
}

fn micros_of(seconds: f64) -> Option<i64> {
    let micros = (seconds * SECOND as f64).round();
    // No number is no time, and what is out of range here is far outside the valid years.
    (micros.abs() < 9e18).then_some(micros as i64)
}

/// A number that is read off a calendar or a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The year.
    Year,
    /// 1 to 12.
    Month,
    /// 1 to 31.
    Day,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// 0 to 59.
    Second,
    /// 1 (Monday) to 7 (Sunday).
    DayOfWeek,
    /// 1 to 366.
    DayOfYear,
    /// 1 to 53, after ISO 8601.
    WeekOfYear,
}

/// That part of a timestamp, an int.
#[must_use]
pub fn date_part(part: Part, timestamp: Expr) -> Expr {
    call(&udf(part), vec![timestamp])
}

impl Kernel for Part {
    fn name(&self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
            Self::DayOfWeek => "day_of_week",
            Self::DayOfYear => "day_of_year",
            Self::WeekOfYear => "week_of_year",
        }
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        // Without a zone Arrow need not look up what UTC is.
        let times = times(arguments)?.with_timezone_opt(None::<Arc<str>>);
        let part = match self {
            Self::Year => temporal::DatePart::Year,
            Self::Month => temporal::DatePart::Month,
            Self::Day => temporal::DatePart::Day,
            Self::Hour => temporal::DatePart::Hour,
            Self::Minute => temporal::DatePart::Minute,
            Self::Second => temporal::DatePart::Second,
            Self::DayOfWeek => temporal::DatePart::DayOfWeekMonday1,
            Self::DayOfYear => temporal::DatePart::DayOfYear,
            Self::WeekOfYear => temporal::DatePart::WeekISO,
        };
        Ok(ColumnarValue::Array(temporal::date_part(&times, part)?))
    }
}

const UNITS: [(&str, Unit); 8] = [
    ("second", Unit::Second),
    ("minute", Unit::Minute),
    ("hour", Unit::Hour),
    ("day", Unit::Day),
    ("week", Unit::Week),
    ("month", Unit::Month),
    ("quarter", Unit::Quarter),
    ("year", Unit::Year),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

fn unit(name: &str) -> Option<Unit> {
    UNITS.iter().find(|(unit, _)| *unit == name).map(|(_, unit)| *unit)
}

/// What is wrong with the unit of [`truncate`], if anything.
///
/// # Errors
///
/// Lists the units.
pub fn check_unit(name: &str) -> Result<(), String> {
    if unit(name).is_some() {
        return Ok(());
    }
    let units = UNITS.map(|(unit, _)| unit).join(", ");
    Err(format!("`{name}` is none of {units}"))
}

/// The start of the second, minute, ... that the timestamp lies in: `(timestamp, unit)`.
#[must_use]
pub fn truncate(arguments: Vec<Expr>) -> Expr {
    let unit = arguments.get(1).and_then(literal_text).and_then(unit);
    call(&udf(Truncate { unit }), arguments)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Truncate {
    /// `None` where the argument is no constant, which the caller does not allow.
    unit: Option<Unit>,
}

impl Kernel for Truncate {
    fn name(&self) -> &'static str {
        "truncate"
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let unit = self.unit.ok_or_else(|| no_constant("unit", self.name()))?;
        let [times, _] = columns(arguments)?;
        let times = micros(&times)?;
        let to = |length: i64| move |micros: i64| micros.checked_sub(micros.rem_euclid(length));
        Ok(timestamps(match unit {
            Unit::Second => times.unary_opt(to(SECOND)),
            Unit::Minute => times.unary_opt(to(MINUTE)),
            Unit::Hour => times.unary_opt(to(HOUR)),
            Unit::Day => times.unary_opt(to(DAY)),
            // 1970 began with a Thursday, three days after a Monday.
            Unit::Week => times.unary_opt(|micros| {
                let day = micros.div_euclid(DAY);
                (day - (day + 3).rem_euclid(7)).checked_mul(DAY)
            }),
            Unit::Month => times.unary_opt(|micros| first_day(micros, |date| date.month0())),
            Unit::Quarter => times.unary_opt(|micros| first_day(micros, |date| date.month0() / 3 * 3)),
            Unit::Year => times.unary_opt(|micros| first_day(micros, |_| 0)),
        }))
    }
}

/// The first day of a month (counted from 0) in the timestamp's year.
fn first_day(micros: i64, month0: impl Fn(NaiveDate) -> u32) -> Option<i64> {
    let date = DateTime::<Utc>::from_timestamp_micros(micros)?.date_naive();
    let first = NaiveDate::from_ymd_opt(date.year(), month0(date) + 1, 1)?;
    Some(first.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

pub(super) fn no_constant(what: &str, function: &str) -> DataFusionError {
    DataFusionError::Plan(format!("the {what} of {function} must be a constant"))
}

#[cfg(test)]
pub(super) mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Date32Type;
    use datafusion::common::ScalarValue;

    use super::super::testing::{evaluate, text};
    use super::*;

    pub(in super::super) fn times(values: &[&str]) -> ColumnarValue {
        let micros = values.iter().map(|value| value.parse::<DateTime<Utc>>().unwrap().timestamp_micros());
        timestamps(micros.collect::<Vec<_>>().into())
    }

    pub(in super::super) fn shown(array: &ArrayRef) -> Vec<Option<String>> {
        let micros = array.as_primitive::<TimestampMicrosecondType>();
        let show = |micros| DateTime::<Utc>::from_timestamp_micros(micros).unwrap().to_rfc3339();
        micros.iter().map(|micros| micros.map(show).map(|time| time.replace("+00:00", "Z"))).collect()
    }

    fn truncated(name: &str, value: &str) -> String {
        let kernel = Truncate { unit: unit(name) };
        shown(&evaluate(&kernel, &[times(&[value]), text(name)])).remove(0).unwrap()
    }

    #[test]
    fn starts_of_units() {
        let time = "2020-05-13T07:10:42.5Z";
        assert_eq!(truncated("second", time), "2020-05-13T07:10:42Z");
        assert_eq!(truncated("hour", time), "2020-05-13T07:00:00Z");
        assert_eq!(truncated("week", time), "2020-05-11T00:00:00Z");
        assert_eq!(truncated("month", time), "2020-05-01T00:00:00Z");
        assert_eq!(truncated("quarter", time), "2020-04-01T00:00:00Z");
        assert_eq!(truncated("year", "1969-12-31T23:59:59Z"), "1969-01-01T00:00:00Z");
        assert_eq!(truncated("week", "1969-12-28T23:59:59Z"), "1969-12-22T00:00:00Z");
        assert!(check_unit("days").unwrap_err().contains("second, minute"));
    }

    #[test]
    fn sums_and_differences() {
        let seconds = ColumnarValue::Scalar(ScalarValue::Float64(Some(-0.5)));
        let start = times(&["2020-01-13T07:10:00Z"]);
        let later = shown(&evaluate(&Time::AddSeconds, &[start.clone(), seconds]));
        assert_eq!(later, [Some("2020-01-13T07:09:59.500Z".to_owned())]);
        let days = ColumnarValue::Scalar(ScalarValue::Int64(Some(i64::MAX)));
        assert_eq!(shown(&evaluate(&Time::AddDays, &[start.clone(), days])), [None]);
        let between = evaluate(&Time::SecondsBetween, &[start, times(&["2020-01-13T07:09:59Z"])]);
        assert_eq!(between.as_primitive::<Float64Type>().value(0), -1.0);
    }

    #[test]
    fn before_1970() {
        let time = times(&["1969-12-31T23:00:00Z"]);
        let day = evaluate(&Time::Date, std::slice::from_ref(&time));
        assert_eq!(day.as_primitive::<Date32Type>().value(0), -1);
        let hour = evaluate(&Part::Hour, &[time]);
        assert_eq!(hour.as_primitive::<arrow::datatypes::Int32Type>().value(0), 23);
    }
}
