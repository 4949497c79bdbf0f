//! Functions that change a type. What cannot be changed is NULL, never an error.
//! Timestamps and dates have their own: `parse_timestamp`, `to_unix_seconds` and so on.

use super::{boolean, double, long, string, take};
use crate::expr::function::{Accepts, Function, Group, parameter};
use crate::expr::udf;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "to_string",
        group: Group::Conversions,
        parameters: &[parameter("value", Accepts::Any)],
        returns: string,
        summary: "Any value as text; lists, structs and maps as JSON. NULL for binary that is not UTF-8.",
        example: ("to_string(4.5)", r#""4.5""#),
        build: |arguments| {
            let [value] = take(arguments);
            udf::to_string(value)
        },
    },
    Function {
        name: "to_long",
        group: Group::Conversions,
        parameters: &[parameter("value", Accepts::Any)],
        returns: long,
        summary: "Text, a number or a boolean as a whole number; a fraction is cut off, though text must not have one. NULL if it does not fit.",
        example: (r#"to_long(" 42 ")"#, "42"),
        build: |arguments| {
            let [value] = take(arguments);
            udf::to_long(value)
        },
    },
    Function {
        name: "to_double",
        group: Group::Conversions,
        parameters: &[parameter("value", Accepts::Any)],
        returns: double,
        summary: "Text, a number or a boolean as a double. NULL if the text is no number.",
        example: (r#"to_double("4.5")"#, "4.5"),
        build: |arguments| {
            let [value] = take(arguments);
            udf::to_double(value)
        },
    },
    Function {
        name: "to_boolean",
        group: Group::Conversions,
        parameters: &[parameter("value", Accepts::Any)],
        returns: boolean,
        summary: "Text such as `true`, `yes`, `on`, `1` and their opposites, or a number (0 is false). NULL for other text.",
        example: (r#"to_boolean("yes")"#, "true"),
        build: |arguments| {
            let [value] = take(arguments);
            udf::to_boolean(value)
        },
    },
];
