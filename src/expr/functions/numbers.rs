//! Functions of numbers. A result that does not exist is NULL, whether it is too great for its type
//! or no number at all; so is the result if an argument is NULL, unless an entry says otherwise.

use datafusion::functions::expr_fn;

use super::{boolean, double, first, int, take};
use crate::expr::function::{Accepts, Function, Group, optional, parameter, repeated};
use crate::expr::udf::{self, DoubleFunction, Rounding};
use crate::schema::ColumnType;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "abs",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Number)],
        returns: first,
        summary: "The number without its sign. NULL if that does not fit its type.",
        example: ("abs(-3)", "3"),
        build: |arguments| {
            let [x] = take(arguments);
            udf::abs(x)
        },
    },
    Function {
        name: "sign",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Double)],
        returns: int,
        summary: "1, 0 or -1: whether a number is positive, zero or negative. NULL if it is not a number.",
        example: ("sign(-2.5)", "-1"),
        build: |arguments| {
            let [x] = take(arguments);
            udf::sign(x)
        },
    },
    Function {
        name: "round",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Number), optional("digits", Accepts::Integer)],
        returns: first,
        summary: "The nearest whole number, or the nearest one with so many digits after the point (before it, if negative). A half is rounded away from zero; the type stays.",
        example: ("round(1234.567, 1)", "1234.6"),
        build: |arguments| udf::round(Rounding::Round, arguments),
    },
    Function {
        name: "floor",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Number)],
        returns: first,
        summary: "The nearest whole number that is not greater; the type stays.",
        example: ("floor(1.8)", "1.0"),
        build: |arguments| udf::round(Rounding::Floor, arguments),
    },
    Function {
        name: "ceil",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Number)],
        returns: first,
        summary: "The nearest whole number that is not smaller; the type stays.",
        example: ("ceil(1.2)", "2.0"),
        build: |arguments| udf::round(Rounding::Ceil, arguments),
    },
    Function {
        name: "bucket",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Number), parameter("width", Accepts::Number)],
        returns: bucket_type,
        summary: "The start of the range of that width which the number lies in: `floor(x / width) * width`. NULL for the width 0.",
        example: ("bucket(17, 5)", "15"),
        build: |arguments| {
            let [x, width] = take(arguments);
            udf::bucket(x, width)
        },
    },
    Function {
        name: "least",
        group: Group::Numbers,
        parameters: &[repeated("values", Accepts::Comparable)],
        returns: first,
        summary: "The smallest of the values. NULL values are left out; NULL if there is no other.",
        example: ("least(3, 1, 2)", "1"),
        build: expr_fn::least,
    },
    Function {
        name: "greatest",
        group: Group::Numbers,
        parameters: &[repeated("values", Accepts::Comparable)],
        returns: first,
        summary: "The greatest of the values. NULL values are left out; NULL if there is no other.",
        example: ("greatest(3, 1, 2)", "3"),
        build: expr_fn::greatest,
    },
    Function {
        name: "sqrt",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Double)],
        returns: double,
        summary: "The square root. NULL for a negative number.",
        example: ("sqrt(9)", "3.0"),
        build: |arguments| {
            let [x] = take(arguments);
            udf::double_function(DoubleFunction::Sqrt, x)
        },
    },
    Function {
        name: "power",
        group: Group::Numbers,
        parameters: &[parameter("base", Accepts::Double), parameter("exponent", Accepts::Double)],
        returns: double,
        summary: "The base to the power of the exponent. NULL where there is no such number, as for `power(-1, 0.5)`.",
        example: ("power(2, 10)", "1024.0"),
        build: |arguments| {
            let [base, exponent] = take(arguments);
            udf::power(base, exponent)
        },
    },
    Function {
        name: "exp",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Double)],
        returns: double,
        summary: "Euler's number to the power of x.",
        example: ("exp(0)", "1.0"),
        build: |arguments| {
            let [x] = take(arguments);
            udf::double_function(DoubleFunction::Exp, x)
        },
    },
    Function {
        name: "ln",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Double)],
        returns: double,
        summary: "The natural logarithm. NULL unless the number is positive.",
        example: ("ln(1)", "0.0"),
        build: |arguments| {
            let [x] = take(arguments);
            udf::double_function(DoubleFunction::Ln, x)
        },
    },
    Function {
        name: "log10",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Double)],
        returns: double,
        summary: "The logarithm to base 10. NULL unless the number is positive.",
        example: ("log10(100)", "2.0"),
        build: |arguments| {
            let [x] = take(arguments);
            udf::double_function(DoubleFunction::Log10, x)
        },
    },
    Function {
        name: "log2",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Double)],
        returns: double,
        summary: "The logarithm to base 2. NULL unless the number is positive.",
        example: ("log2(8)", "3.0"),
        build: |arguments| {
            let [x] = take(arguments);
            udf::double_function(DoubleFunction::Log2, x)
        },
    },
    Function {
        name: "sin",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Double)],
        returns: double,
        summary: "The sine of an angle in radians.",
        example: ("sin(0)", "0.0"),
        build: |arguments| {
            let [x] = take(arguments);
            udf::double_function(DoubleFunction::Sin, x)
        },
    },
    Function {
        name: "cos",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Double)],
        returns: double,
        summary: "The cosine of an angle in radians.",
        example: ("cos(0)", "1.0"),
        build: |arguments| {
            let [x] = take(arguments);
            udf::double_function(DoubleFunction::Cos, x)
        },
    },
    Function {
        name: "tan",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Double)],
        returns: double,
        summary: "The tangent of an angle in radians.",
        example: ("tan(0)", "0.0"),
        build: |arguments| {
            let [x] = take(arguments);
            udf::double_function(DoubleFunction::Tan, x)
        },
    },
    Function {
        name: "is_nan",
        group: Group::Numbers,
        parameters: &[parameter("x", Accepts::Double)],
        returns: boolean,
        summary: "Whether a double is the special value NaN (not a number).",
        example: ("is_nan(1.5)", "false"),
        build: |arguments| {
            let [x] = take(arguments);
            expr_fn::isnan(x)
        },
    },
];

/// Whole numbers stay whole.
fn bucket_type(types: &[ColumnType]) -> ColumnType {
    if types.iter().all(ColumnType::is_integer) { ColumnType::Long } else { ColumnType::Double }
}
