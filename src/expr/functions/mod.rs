//! The table of functions that work on single rows, in the order of the documentation.
//!
//! An entry says all there is to know about a function; planner, documentation and tests read it
//! from here.

mod conditions;
mod conversions;
mod dates;
pub(super) mod foreign;
mod hashes;
mod json;
mod lists;
mod numbers;
mod strings;

use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, lit};
use datafusion::scalar::ScalarValue;

use super::function::Function;
use crate::schema::ColumnType;

const GROUPS: [&[Function]; 8] = [
    strings::FUNCTIONS,
    numbers::FUNCTIONS,
    conditions::FUNCTIONS,
    dates::FUNCTIONS,
    lists::FUNCTIONS,
    json::FUNCTIONS,
    hashes::FUNCTIONS,
    conversions::FUNCTIONS,
];

/// All functions, group by group.
pub fn all() -> impl Iterator<Item = &'static Function> {
    GROUPS.into_iter().flatten()
}

/// The function of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name)
}

/// The arguments one by one; NULL for those that were left out.
fn take<const N: usize>(arguments: Vec<Expr>) -> [Expr; N] {
    let mut arguments = arguments.into_iter();
    std::array::from_fn(|_| arguments.next().unwrap_or_else(|| lit(ScalarValue::Null)))
}

/// The value where the condition holds, else NULL.
fn only_if(condition: Expr, value: Expr) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(condition), Box::new(value))], None))
}

/// The number unless it is above the limit, which would make texts that do not fit into memory.
fn at_most(number: Expr, limit: i64) -> Expr {
    only_if(number.clone().lt_eq(lit(limit)), number)
}

fn string(_: &[ColumnType]) -> ColumnType {
    ColumnType::String
}

fn strings(_: &[ColumnType]) -> ColumnType {
    ColumnType::String.list_of()
}

fn boolean(_: &[ColumnType]) -> ColumnType {
    ColumnType::Boolean
}

fn int(_: &[ColumnType]) -> ColumnType {
    ColumnType::Int
}

fn long(_: &[ColumnType]) -> ColumnType {
    ColumnType::Long
}

fn double(_: &[ColumnType]) -> ColumnType {
    ColumnType::Double
}

fn timestamp(_: &[ColumnType]) -> ColumnType {
    ColumnType::Timestamp
}

/// The type of the first argument.
fn first(types: &[ColumnType]) -> ColumnType {
    types.first().cloned().unwrap_or(ColumnType::Null)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names = HashSet::new();
        for function in all() {
            assert!(names.insert(function.name), "{} stands in the table twice", function.name);
            assert!(crate::expr::aggregates::find(function.name).is_none(), "{} is an aggregate, too", function.name);
        }
    }

    #[test]
    fn only_last_parameters_are_optional_or_repeated() {
        for function in all() {
            let after_first = function.parameters.iter().skip_while(|parameter| !parameter.optional);
            assert!(after_first.clone().all(|parameter| parameter.optional), "{}", function.name);
            let repeated = function.parameters.iter().rev().skip(1).any(|parameter| parameter.repeated);
            assert!(!repeated, "{}", function.name);
        }
    }

    #[test]
    fn every_function_has_an_example_of_itself() {
        for function in all() {
            let (expression, value) = function.example;
            assert!(expression.contains(&format!("{}(", function.name)), "{}", function.name);
            assert!(serde_json::from_str::<serde_json::Value>(value).is_ok(), "{}", function.name);
            assert!(function.summary.ends_with('.'), "{}", function.name);
        }
    }
}
