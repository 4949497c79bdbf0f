//! Aggregates computed bit by bit: what has to be kept of some rows so that more can be taken in later,
//! and the result from that. Steps with state and windows keep these *parts*; their columns and how they
//! merge are part of the checkpoint format, so they are our own and not the engine library's.

use arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType};
use datafusion::functions_aggregate::expr_fn;
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::{Expr, cast, is_null, lit, try_cast, when};
use datafusion::scalar::ScalarValue;

use super::compile::column;
use super::udf;
use crate::schema::ColumnType;

/// How the values of two sets of rows become those of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// They are added: `Int64` (it wraps), `Float64` or `Decimal256`. NULL adds nothing.
    Sum,
    /// The smaller one; NULL only where there is no other.
    Min,
    /// The greater one; NULL only where there is no other.
    Max,
    /// The one that came first, NULL or not.
    First,
    /// The one that came last, NULL or not. Also what an expression computes anew for every row.
    Last,
    /// One list after the other; an empty one is NULL.
    Append,
    /// The different elements of both lists; none are NULL.
    Union,
    /// Three columns: count, mean and variance of the population.
    Moments,
}

impl Merge {
    /// Whether rows can be taken out again.
    #[must_use]
    pub fn can_subtract(self) -> bool {
        matches!(self, Self::Sum | Self::Moments)
    }

    /// As checkpoints write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::Append => "append",
            Self::Union => "union",
            Self::Moments => "moments",
        }
    }
}

/// What is kept of an aggregate: one or more columns that merge together.
#[derive(Clone, Debug)]
pub struct Part {
    /// How they merge.
    pub merge: Merge,
    /// The columns.
    pub columns: Vec<PartColumn>,
}

/// A column that is kept.
#[derive(Clone, Debug)]
pub struct PartColumn {
    /// Its name, which says what it is, e.g. `sum(amount)`.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Its value over some rows: an aggregate.
    pub partial: Expr,
    /// Its value for one row.
    pub single: Expr,
}

/// An aggregate in parts.
#[derive(Clone, Debug)]
pub struct InParts {
    /// What is kept.
    pub parts: Vec<Part>,
    /// The aggregate's value, over the columns of the parts.
    pub result: Expr,
}

/// How an aggregate is computed bit by bit, from its arguments, their types and its text.
pub type Divide = fn(Vec<Expr>, &[ColumnType], &str) -> InParts;

fn part(merge: Merge, name: &str, data_type: DataType, partial: Expr, single: Expr) -> Part {
    Part { merge, columns: vec![PartColumn { name: name.to_owned(), data_type, partial, single }] }
}

fn only(arguments: Vec<Expr>) -> Expr {
    arguments.into_iter().next().unwrap_or_else(|| lit(ScalarValue::Null))
}

fn arrow(types: &[ColumnType]) -> DataType {
    types.first().map_or(DataType::Null, ColumnType::to_arrow)
}

/// `otherwise` where the condition does not hold, `then` where it does.
fn choose(condition: Expr, then: Expr, otherwise: Expr) -> Expr {
    // Both branches are given, so there is nothing that could be missing.
    when(condition, then.clone()).otherwise(otherwise).unwrap_or(then)
}

fn null_of(data_type: &DataType) -> Expr {
    lit(ScalarValue::try_from(data_type).unwrap_or(ScalarValue::Null))
}

pub(super) fn count(arguments: Vec<Expr>, _: &[ColumnType], text: &str) -> InParts {
    InParts { parts: vec![count_part(arguments.into_iter().next(), text)], result: column(text) }
}

fn count_part(x: Option<Expr>, name: &str) -> Part {
    let partial = expr_fn::count(x.clone().unwrap_or_else(|| lit(1_i64)));
    let single = x.map_or_else(|| lit(1_i64), |x| choose(is_null(x), lit(0_i64), lit(1_i64)));
    part(Merge::Sum, name, DataType::Int64, partial, single)
}

/// A sum, and how many values it is of: a sum of none is NULL, also after others have left it.
pub(super) fn sum(arguments: Vec<Expr>, types: &[ColumnType], text: &str) -> InParts {
    let x = only(arguments);
    let (kept, result_type) = match types.first() {
        Some(ColumnType::Decimal(_, scale)) => (DataType::Decimal256(DECIMAL256_MAX_PRECISION, *scale), None),
        Some(ColumnType::Int | ColumnType::Long) => (DataType::Int64, Some(DataType::Int64)),
        _ => (DataType::Float64, Some(DataType::Float64)),
    };
    let values = format!("{text}, values");
    let widened = cast(x.clone(), kept.clone());
    let parts = vec![
        part(Merge::Sum, text, kept.clone(), expr_fn::sum(widened.clone()), widened),
        count_part(Some(x), &values),
    ];
    let total = match result_type {
        Some(_) => column(text),
        None => try_cast(column(text), super::aggregates::sum_type(types).to_arrow()),
    };
    let null = null_of(&super::aggregates::sum_type(types).to_arrow());
    InParts { parts, result: choose(column(&values).eq(lit(0_i64)), null, total) }
}

pub(super) fn avg(arguments: Vec<Expr>, _: &[ColumnType], text: &str) -> InParts {
    let x = only(arguments);
    let (total, values) = (format!("{text}, sum"), format!("{text}, values"));
    let parts = vec![
        part(Merge::Sum, &total, DataType::Float64, expr_fn::sum(x.clone()), x.clone()),
        count_part(Some(x), &values),
    ];
    let mean = column(&total) / cast(column(&values), DataType::Float64);
    InParts { parts, result: choose(column(&values).eq(lit(0_i64)), null_of(&DataType::Float64), mean) }
}

fn kept_as_is(
    merge: Merge,
    arguments: Vec<Expr>,
    types: &[ColumnType],
    text: &str,
    build: fn(Expr) -> Expr,
) -> InParts {
    let x = only(arguments);
    let parts = vec![part(merge, text, arrow(types), build(x.clone()), x)];
    InParts { parts, result: column(text) }
}

pub(super) fn min(arguments: Vec<Expr>, types: &[ColumnType], text: &str) -> InParts {
    kept_as_is(Merge::Min, arguments, types, text, expr_fn::min)
}

pub(super) fn max(arguments: Vec<Expr>, types: &[ColumnType], text: &str) -> InParts {
    kept_as_is(Merge::Max, arguments, types, text, expr_fn::max)
}

pub(super) fn first(arguments: Vec<Expr>, types: &[ColumnType], text: &str) -> InParts {
    kept_as_is(Merge::First, arguments, types, text, |x| expr_fn::first_value(x, vec![]))
}

pub(super) fn last(arguments: Vec<Expr>, types: &[ColumnType], text: &str) -> InParts {
    kept_as_is(Merge::Last, arguments, types, text, |x| expr_fn::last_value(x, vec![]))
}

fn list_part(merge: Merge, x: Expr, types: &[ColumnType], text: &str) -> Part {
    let list = types.first().cloned().unwrap_or(ColumnType::Null).list_of().to_arrow();
    let partial = super::aggregates::collect(vec![x.clone()], merge == Merge::Union);
    let single = choose(is_null(x.clone()), null_of(&list), cast(make_array(vec![x]), list.clone()));
    part(merge, text, list, partial, single)
}

pub(super) fn collect_list(arguments: Vec<Expr>, types: &[ColumnType], text: &str) -> InParts {
    InParts { parts: vec![list_part(Merge::Append, only(arguments), types, text)], result: column(text) }
}

pub(super) fn collect_set(arguments: Vec<Expr>, types: &[ColumnType], text: &str) -> InParts {
    InParts { parts: vec![list_part(Merge::Union, only(arguments), types, text)], result: column(text) }
}

pub(super) fn count_distinct(arguments: Vec<Expr>, types: &[ColumnType], text: &str) -> InParts {
    let parts = vec![list_part(Merge::Union, only(arguments), types, text)];
    let size = cast(udf::size(column(text)), DataType::Int64);
    InParts { parts, result: choose(is_null(column(text)), lit(0_i64), size) }
}

pub(super) fn stddev(arguments: Vec<Expr>, _: &[ColumnType], text: &str) -> InParts {
    let x = only(arguments);
    let (mean, variance) = (format!("{text}, mean"), format!("{text}, variance"));
    let count = format!("{text}, values");
    let mut part = count_part(Some(x.clone()), &count);
    part.merge = Merge::Moments;
    let column_of = |name: &str, partial: Expr, single: Expr| PartColumn {
        name: name.to_owned(),
        data_type: DataType::Float64,
        partial,
        single,
    };
    part.columns.push(column_of(&mean, expr_fn::avg(x.clone()), x.clone()));
    part.columns.push(column_of(&variance, expr_fn::var_pop(x), lit(0.0)));
    let values = cast(column(&count), DataType::Float64);
    // Of a sample, as the aggregate over one batch.
    let of_sample = column(&variance) * values.clone() / (values - lit(1.0));
    let result = choose(
        column(&count).lt(lit(2_i64)),
        null_of(&DataType::Float64),
        datafusion::functions::math::expr_fn::sqrt(of_sample),
    );
    InParts { parts: vec![part], result }
}

/// It keeps all values, as it does over one batch.
pub(super) fn percentile(arguments: Vec<Expr>, types: &[ColumnType], text: &str) -> InParts {
    let mut arguments = arguments.into_iter();
    let (x, fraction) = (arguments.next(), arguments.next());
    let x = x.unwrap_or_else(|| lit(ScalarValue::Null));
    let part = list_part(Merge::Append, x, types, text);
    let result = udf::list_percentile(column(text), fraction.unwrap_or_else(|| lit(0.5)));
    InParts { parts: vec![part], result }
}
