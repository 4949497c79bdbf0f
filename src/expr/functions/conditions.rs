//! Conditions, and what to do about NULL.
//! Only the value that is asked for is computed.

use datafusion::functions::expr_fn;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Case;

use super::{boolean, first, take};
use crate::expr::function::{Accepts, Function, Group, parameter, repeated};
use crate::schema::ColumnType;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "if",
        group: Group::Conditions,
        parameters: &[
            parameter("condition", Accepts::Boolean),
            parameter("then", Accepts::Same),
            parameter("otherwise", Accepts::Same),
        ],
        returns: second,
        summary: "One value where the condition is true, another where it is false or NULL.",
        example: (r#"if(2 > 1, "yes", "no")"#, r#""yes""#),
        build: |arguments| {
            let [condition, then, otherwise] = take(arguments);
            Expr::Case(Case::new(None, vec![(Box::new(condition), Box::new(then))], Some(Box::new(otherwise))))
        },
    },
    Function {
        name: "coalesce",
        group: Group::Conditions,
        parameters: &[repeated("values", Accepts::Same)],
        returns: first,
        summary: "The first value that is not NULL; NULL if all are.",
        example: ("coalesce(null_if(1, 1), 2)", "2"),
        build: expr_fn::coalesce,
    },
    Function {
        name: "is_null",
        group: Group::Conditions,
        parameters: &[parameter("value", Accepts::Any)],
        returns: boolean,
        summary: "Whether a value is NULL.",
        example: ("is_null(null_if(1, 1))", "true"),
        build: |arguments| {
            let [value] = take(arguments);
            Expr::IsNull(Box::new(value))
        },
    },
    Function {
        name: "is_not_null",
        group: Group::Conditions,
        parameters: &[parameter("value", Accepts::Any)],
        returns: boolean,
        summary: "Whether a value is not NULL.",
        example: ("is_not_null(1)", "true"),
        build: |arguments| {
            let [value] = take(arguments);
            Expr::IsNotNull(Box::new(value))
        },
    },
    Function {
        name: "null_if",
        group: Group::Conditions,
        parameters: &[parameter("value", Accepts::Comparable), parameter("other", Accepts::Comparable)],
        returns: first,
        summary: "NULL if the values are equal, else the first.",
        example: ("null_if(1, 2)", "1"),
        build: |arguments| {
            let [value, other] = take(arguments);
            expr_fn::nullif(value, other)
        },
    },
];

fn second(types: &[ColumnType]) -> ColumnType {
    types.get(1).cloned().unwrap_or(ColumnType::Null)
}
