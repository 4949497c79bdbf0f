//! Functions of dates and timestamps, all in UTC. A date counts as its midnight.
//! NULL gives NULL; so does a result outside the years 1 to 9999.

use super::{double, int, long, string, take, timestamp};
use crate::expr::function::{Accepts, Function, Group, optional, parameter};
use crate::expr::udf::{self, Part};
use crate::schema::ColumnType;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "parse_timestamp",
        group: Group::Dates,
        parameters: &[parameter("text", Accepts::String), optional("format", Accepts::Constant(udf::check_format))],
        returns: timestamp,
        summary: "The timestamp that a text holds: in ISO 8601, or in a format such as `%d/%b/%Y:%H:%M:%S %z`. Without a zone it is UTC. NULL if the text does not fit.",
        example: (
            r#"parse_timestamp("13/Jan/2020:08:10:00 +0100", "%d/%b/%Y:%H:%M:%S %z")"#,
            r#""2020-01-13T07:10:00Z""#,
        ),
        build: udf::parse_timestamp,
    },
    Function {
        name: "parse_date",
        group: Group::Dates,
        parameters: &[parameter("text", Accepts::String), optional("format", Accepts::Constant(udf::check_format))],
        returns: date,
        summary: "The date that a text holds: in ISO 8601, or in a format such as `%d.%m.%Y`. NULL if the text does not fit.",
        example: (r#"parse_date("13.01.2020", "%d.%m.%Y")"#, r#""2020-01-13""#),
        build: udf::parse_date,
    },
    Function {
        name: "format_timestamp",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp), parameter("format", Accepts::Constant(udf::check_format))],
        returns: string,
        summary: "A timestamp as text, in a format such as `%Y-%m-%d %H:%M:%S`.",
        example: (r#"format_timestamp(parse_timestamp("2020-01-13T07:10:00Z"), "%H:%M")"#, r#""07:10""#),
        build: udf::format_timestamp,
    },
    Function {
        name: "date",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: date,
        summary: "The date of a timestamp, in UTC.",
        example: (r#"date(parse_timestamp("2020-01-13T07:10:00Z"))"#, r#""2020-01-13""#),
        build: |arguments| {
            let [at] = take(arguments);
            udf::date(at)
        },
    },
    Function {
        name: "truncate",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp), parameter("unit", Accepts::Constant(udf::check_unit))],
        returns: timestamp,
        summary: "The start of the second, minute, hour, day, week (Monday), month, quarter or year that a timestamp lies in.",
        example: (r#"truncate(parse_timestamp("2020-01-13T07:10:00Z"), "hour")"#, r#""2020-01-13T07:00:00Z""#),
        build: udf::truncate,
    },
    Function {
        name: "year",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: int,
        summary: "The year.",
        example: (r#"year(parse_timestamp("2020-01-13T07:10:00Z"))"#, "2020"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::date_part(Part::Year, at)
        },
    },
    Function {
        name: "month",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: int,
        summary: "The month, 1 to 12.",
        example: (r#"month(parse_timestamp("2020-01-13T07:10:00Z"))"#, "1"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::date_part(Part::Month, at)
        },
    },
    Function {
        name: "day",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: int,
        summary: "The day of the month, 1 to 31.",
        example: (r#"day(parse_timestamp("2020-01-13T07:10:00Z"))"#, "13"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::date_part(Part::Day, at)
        },
    },
    Function {
        name: "hour",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: int,
        summary: "The hour, 0 to 23.",
        example: (r#"hour(parse_timestamp("2020-01-13T07:10:00Z"))"#, "7"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::date_part(Part::Hour, at)
        },
    },
    Function {
        name: "minute",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: int,
        summary: "The minute, 0 to 59.",
        example: (r#"minute(parse_timestamp("2020-01-13T07:10:00Z"))"#, "10"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::date_part(Part::Minute, at)
        },
    },
    Function {
        name: "second",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: int,
        summary: "The second, 0 to 59.",
        example: (r#"second(parse_timestamp("2020-01-13T07:10:00Z"))"#, "0"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::date_part(Part::Second, at)
        },
    },
    Function {
        name: "day_of_week",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: int,
        summary: "The day of the week, 1 (Monday) to 7 (Sunday).",
        example: (r#"day_of_week(parse_timestamp("2020-01-13T07:10:00Z"))"#, "1"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::date_part(Part::DayOfWeek, at)
        },
    },
    Function {
        name: "day_of_year",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: int,
        summary: "The day of the year, 1 to 366.",
        example: (r#"day_of_year(parse_timestamp("2020-01-13T07:10:00Z"))"#, "13"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::date_part(Part::DayOfYear, at)
        },
    },
    Function {
        name: "week_of_year",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: int,
        summary: "The week of the year after ISO 8601, 1 to 53.",
        example: (r#"week_of_year(parse_timestamp("2020-01-13T07:10:00Z"))"#, "3"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::date_part(Part::WeekOfYear, at)
        },
    },
    Function {
        name: "add_seconds",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp), parameter("seconds", Accepts::Double)],
        returns: timestamp,
        summary: "The timestamp so many seconds later, or earlier if negative.",
        example: (r#"add_seconds(parse_timestamp("2020-01-13T07:10:00Z"), 30)"#, r#""2020-01-13T07:10:30Z""#),
        build: |arguments| {
            let [at, seconds] = take(arguments);
            udf::add_seconds(at, seconds)
        },
    },
    Function {
        name: "add_days",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp), parameter("days", Accepts::Integer)],
        returns: timestamp,
        summary: "The timestamp so many days later, or earlier if negative. A date becomes a timestamp; `date(add_days(d, 1))` is a date.",
        example: (r#"add_days(parse_timestamp("2020-01-13T07:10:00Z"), 1)"#, r#""2020-01-14T07:10:00Z""#),
        build: |arguments| {
            let [at, days] = take(arguments);
            udf::add_days(at, days)
        },
    },
    Function {
        name: "seconds_between",
        group: Group::Dates,
        parameters: &[parameter("start", Accepts::Timestamp), parameter("end", Accepts::Timestamp)],
        returns: double,
        summary: "The seconds from start to end, negative if the end comes first.",
        example: (
            r#"seconds_between(parse_timestamp("2020-01-13T07:10:00Z"), parse_timestamp("2020-01-13T07:11:30Z"))"#,
            "90.0",
        ),
        build: |arguments| {
            let [start, end] = take(arguments);
            udf::seconds_between(start, end)
        },
    },
    Function {
        name: "to_unix_seconds",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: long,
        summary: "Whole seconds since the start of 1970.",
        example: (r#"to_unix_seconds(parse_timestamp("2020-01-13T07:10:00Z"))"#, "1578899400"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::to_unix_seconds(at)
        },
    },
    Function {
        name: "to_unix_millis",
        group: Group::Dates,
        parameters: &[parameter("at", Accepts::Timestamp)],
        returns: long,
        summary: "Whole milliseconds since the start of 1970.",
        example: (r#"to_unix_millis(parse_timestamp("2020-01-13T07:10:00Z"))"#, "1578899400000"),
        build: |arguments| {
            let [at] = take(arguments);
            udf::to_unix_millis(at)
        },
    },
    Function {
        name: "from_unix_seconds",
        group: Group::Dates,
        parameters: &[parameter("seconds", Accepts::Double)],
        returns: timestamp,
        summary: "The timestamp so many seconds after the start of 1970.",
        example: ("from_unix_seconds(1578899400)", r#""2020-01-13T07:10:00Z""#),
        build: |arguments| {
            let [seconds] = take(arguments);
            udf::from_unix_seconds(seconds)
        },
    },
    Function {
        name: "from_unix_millis",
        group: Group::Dates,
        parameters: &[parameter("millis", Accepts::Integer)],
        returns: timestamp,
        summary: "The timestamp so many milliseconds after the start of 1970.",
        example: ("from_unix_millis(1578899400000)", r#""2020-01-13T07:10:00Z""#),
        build: |arguments| {
            let [millis] = take(arguments);
            udf::from_unix_millis(millis)
        },
    },
];

fn date(_: &[ColumnType]) -> ColumnType {
    ColumnType::Date
}
