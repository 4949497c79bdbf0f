//! The table of aggregates: functions over the rows of a group.
//!
//! Over no rows at all, counts are 0 and everything else is NULL.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::expr_fn;
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{AggregateUDF, Expr, cast, lit};
use datafusion::scalar::ScalarValue;

use super::function::{Accepts, Aggregate, optional, parameter};
use super::partial;
use crate::schema::ColumnType;

/// A sum of decimals has so many digits more than they: room for ten thousand million of them.
const SUM_DIGITS: u8 = 10;

const AGGREGATES: &[Aggregate] = &[
    Aggregate {
        name: "count",
        parameters: &[optional("x", Accepts::Any)],
        returns: |_| ColumnType::Long,
        summary: "The number of rows; `count(x)` leaves out those where x is NULL.",
        build: |arguments, _| expr_fn::count(arguments.into_iter().next().unwrap_or_else(|| lit(1_i64))),
        divide: partial::count,
    },
    Aggregate {
        name: "sum",
        parameters: &[parameter("x", Accepts::Number)],
        returns: sum_type,
        summary: "The sum. NULL values are left out; NULL if there is no other.",
        build: |arguments, types| sum(only(arguments), types),
        divide: partial::sum,
    },
    Aggregate {
        name: "avg",
        parameters: &[parameter("x", Accepts::Double)],
        returns: |_| ColumnType::Double,
        summary: "The arithmetic mean. NULL values are left out; NULL if there is no other.",
        build: |arguments, _| expr_fn::avg(only(arguments)),
        divide: partial::avg,
    },
    Aggregate {
        name: "min",
        parameters: &[parameter("x", Accepts::Comparable)],
        returns: same,
        summary: "The smallest value. NULL values are left out; NULL if there is no other.",
        build: |arguments, _| expr_fn::min(only(arguments)),
        divide: partial::min,
    },
    Aggregate {
        name: "max",
        parameters: &[parameter("x", Accepts::Comparable)],
        returns: same,
        summary: "The greatest value. NULL values are left out; NULL if there is no other.",
        build: |arguments, _| expr_fn::max(only(arguments)),
        divide: partial::max,
    },
    Aggregate {
        name: "first",
        parameters: &[parameter("x", Accepts::Any)],
        returns: same,
        summary: "The value of the row that came first, NULL or not.",
        build: |arguments, _| expr_fn::first_value(only(arguments), vec![]),
        divide: partial::first,
    },
    Aggregate {
        name: "last",
        parameters: &[parameter("x", Accepts::Any)],
        returns: same,
        summary: "The value of the row that came last, NULL or not.",
        build: |arguments, _| expr_fn::last_value(only(arguments), vec![]),
        divide: partial::last,
    },
    Aggregate {
        name: "count_distinct",
        parameters: &[parameter("x", Accepts::Any)],
        returns: |_| ColumnType::Long,
        summary: "The exact number of different values; NULL is none.",
        build: |arguments, _| expr_fn::count_distinct(only(arguments)),
        divide: partial::count_distinct,
    },
    Aggregate {
        name: "collect_list",
        parameters: &[parameter("x", Accepts::Any)],
        returns: list,
        summary: "All values in a list, in the order of the rows. NULL values are left out; NULL if there is no other.",
        build: |arguments, _| collect(arguments, false),
        divide: partial::collect_list,
    },
    Aggregate {
        name: "collect_set",
        parameters: &[parameter("x", Accepts::Any)],
        returns: list,
        summary: "All different values in a list, in no particular order. NULL values are left out; NULL if there is no other.",
        build: |arguments, _| collect(arguments, true),
        divide: partial::collect_set,
    },
    Aggregate {
        name: "stddev",
        parameters: &[parameter("x", Accepts::Double)],
        returns: |_| ColumnType::Double,
        summary: "The standard deviation of a sample. NULL values are left out; NULL for fewer than two others.",
        build: |arguments, _| expr_fn::stddev(only(arguments)),
        divide: partial::stddev,
    },
    Aggregate {
        name: "percentile",
        parameters: &[parameter("x", Accepts::Double), parameter("fraction", Accepts::Double)],
        returns: |_| ColumnType::Double,
        summary: "The value that a fraction of the values (a literal from 0 to 1, such as 0.95) does not exceed; exact, \
                  between two values it is interpolated. It keeps all values of the group in memory. NULL values are left out.",
        build: |arguments, _| aggregate(percentile_cont_udaf(), literals(arguments), false, None),
        divide: partial::percentile,
    },
];

/// All aggregates, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Aggregate> {
    AGGREGATES.iter()
}

/// The aggregate of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Aggregate> {
    all().find(|aggregate| aggregate.name == name)
}

/// The one argument.
fn only(arguments: Vec<Expr>) -> Expr {
    arguments.into_iter().next().unwrap_or_else(|| lit(ScalarValue::Null))
}

fn same(types: &[ColumnType]) -> ColumnType {
    types.first().cloned().unwrap_or(ColumnType::Null)
}

fn list(types: &[ColumnType]) -> ColumnType {
    same(types).list_of()
}

pub(super) fn sum_type(types: &[ColumnType]) -> ColumnType {
    match types.first() {
        Some(ColumnType::Int | ColumnType::Long) => ColumnType::Long,
        Some(ColumnType::Decimal(precision, scale)) => {
            ColumnType::Decimal(precision.saturating_add(SUM_DIGITS).min(DECIMAL128_MAX_PRECISION), *scale)
        }
        _ => ColumnType::Double,
    }
}

/// Decimals without room for ten digits more are summed up as wider ones, which cannot overflow; the caller's
/// cast makes NULL of a sum that does not fit.
fn sum(x: Expr, types: &[ColumnType]) -> Expr {
    match types {
        [ColumnType::Decimal(precision, scale)] if precision + SUM_DIGITS > DECIMAL128_MAX_PRECISION => {
            expr_fn::sum(cast(x, DataType::Decimal256(*precision, *scale)))
        }
        _ => expr_fn::sum(x),
    }
}

pub(super) fn collect(arguments: Vec<Expr>, distinct: bool) -> Expr {
    aggregate(array_agg_udaf(), arguments, distinct, Some(NullTreatment::IgnoreNulls))
}

fn aggregate(function: Arc<AggregateUDF>, arguments: Vec<Expr>, distinct: bool, nulls: Option<NullTreatment>) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(function, arguments, distinct, None, vec![], nulls))
}

/// A cast number is a literal of its own: DataFusion wants the fraction to be one.
fn literals(arguments: Vec<Expr>) -> Vec<Expr> {
    arguments.into_iter().map(folded).collect()
}

fn folded(expression: Expr) -> Expr {
    if let Expr::Cast(cast) = &expression
        && let Expr::Literal(value, metadata) = cast.expr.as_ref()
        && let Ok(value) = value.cast_to(cast.field.data_type())
    {
        return Expr::Literal(value, metadata.clone());
    }
    expression
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::col;

    use super::*;

    #[test]
    fn sums_have_room() {
        assert_eq!(sum_type(&[ColumnType::Int]), ColumnType::Long);
        assert_eq!(sum_type(&[ColumnType::Float]), ColumnType::Double);
        assert_eq!(sum_type(&[ColumnType::Decimal(20, 2)]), ColumnType::Decimal(30, 2));
        assert_eq!(sum_type(&[ColumnType::Decimal(35, 2)]), ColumnType::Decimal(38, 2));
    }

    #[test]
    fn decimals_without_room_are_summed_up_as_wider_ones() {
        let wide = cast(col("x"), DataType::Decimal256(29, 2));
        assert_eq!(sum(col("x"), &[ColumnType::Decimal(29, 2)]), expr_fn::sum(wide));
        assert_eq!(sum(col("x"), &[ColumnType::Decimal(28, 2)]), expr_fn::sum(col("x")));
        assert_eq!(sum(col("x"), &[ColumnType::Long]), expr_fn::sum(col("x")));
    }

    #[test]
    fn a_whole_fraction_is_a_literal() {
        assert_eq!(folded(cast(lit(1_i64), DataType::Float64)), lit(1.0));
        assert_eq!(folded(col("x")), col("x"));
    }
}
