//! Operators: which types they take, and the DataFusion expressions they become.

use datafusion::logical_expr::{Expr, Operator, binary_expr, cast, lit, try_cast};
use datafusion::scalar::ScalarValue;

use super::ExpressionError;
use super::ast::{BinaryOperator, UnaryOperator};
use super::compile::Typed;
use super::udf::{self, DecimalOperator};
use crate::diagnostic::codes;
use crate::schema::ColumnType;

/// Brings `expr`, of the type `from`, to the type `to`; `None` where no value of the one is one of
/// the other.
#[must_use]
pub fn convert(expr: Expr, from: &ColumnType, to: &ColumnType) -> Option<Expr> {
    if from == to {
        return Some(expr);
    }
    let allowed = match (from, to) {
        (ColumnType::Null, _) => true,
        (from, to) if from.is_number() && to.is_number() => true,
        (ColumnType::Date, ColumnType::Timestamp) => true,
        _ => false,
    };
    // Only to these types a value may not fit: it is NULL then.
    let checked = matches!(to, ColumnType::Decimal(..) | ColumnType::Timestamp);
    let arrow = to.to_arrow();
    allowed.then(|| if checked { try_cast(expr, arrow) } else { cast(expr, arrow) })
}

/// The type that values of all these types can be brought to.
#[must_use]
pub fn common_type<'t>(types: impl IntoIterator<Item = &'t ColumnType>) -> Option<ColumnType> {
    types.into_iter().try_fold(ColumnType::Null, |common, next| match (common, next) {
        (ColumnType::Null, next) => Some(next.clone()),
        (common, ColumnType::Null) => Some(common),
        (common, next) if common == *next => Some(common),
        (common, next) if common.is_integer() && next.is_integer() => Some(ColumnType::Long),
        (common, next) if common.is_number() && next.is_number() => Some(ColumnType::Double),
        (ColumnType::Date, ColumnType::Timestamp) | (ColumnType::Timestamp, ColumnType::Date) => {
            Some(ColumnType::Timestamp)
        }
        _ => None,
    })
}

/// An operator before its operand.
pub(super) fn unary(operator: UnaryOperator, operand: Typed) -> Result<Typed, ExpressionError> {
    let Typed { expr, column_type } = operand;
    match operator {
        UnaryOperator::Not => {
            let expr = convert(expr, &column_type, &ColumnType::Boolean).ok_or_else(|| {
                ExpressionError::new(codes::TYPE_MISMATCH, format!("`!` needs a boolean, not {column_type}")).word("!")
            })?;
            Ok(Typed { expr: Expr::Not(Box::new(expr)), column_type: ColumnType::Boolean })
        }
        UnaryOperator::Negate if column_type.is_integer() => {
            let expr = as_type(Typed { expr, column_type }, &ColumnType::Long)?;
            Ok(Typed { expr: udf::negate(expr), column_type: ColumnType::Long })
        }
        UnaryOperator::Negate if matches!(column_type, ColumnType::Decimal(..)) => {
            Ok(Typed { expr: udf::decimal(DecimalOperator::Negate, vec![expr]), column_type })
        }
        UnaryOperator::Negate if column_type.is_number() || column_type == ColumnType::Null => {
            Ok(Typed { expr: Expr::Negative(Box::new(expr)), column_type })
        }
        UnaryOperator::Negate => {
            Err(ExpressionError::new(codes::TYPE_MISMATCH, format!("`-` needs a number, not {column_type}")).word("-"))
        }
    }
}

/// An operator between its operands.
pub(super) fn binary(operator: BinaryOperator, left: Typed, right: Typed) -> Result<Typed, ExpressionError> {
    match operator {
        BinaryOperator::And | BinaryOperator::Or => logical(operator, left, right),
        BinaryOperator::Add
        | BinaryOperator::Subtract
        | BinaryOperator::Multiply
        | BinaryOperator::Divide
        | BinaryOperator::Modulo
        | BinaryOperator::Power => arithmetic(operator, left, right),
        _ => comparison(operator, left, right),
    }
}

fn arithmetic(operator: BinaryOperator, left: Typed, right: Typed) -> Result<Typed, ExpressionError> {
    if operator == BinaryOperator::Add && are_texts(&left.column_type, &right.column_type) {
        let (left, right) = (as_type(left, &ColumnType::String)?, as_type(right, &ColumnType::String)?);
        let expr = binary_expr(left, Operator::StringConcat, right);
        return Ok(Typed { expr, column_type: ColumnType::String });
    }
    let common = common_type([&left.column_type, &right.column_type])
        .filter(|common| common.is_number() || *common == ColumnType::Null)
        .ok_or_else(|| mismatch(operator, &left.column_type, &right.column_type))?;
    let wanted = match common {
        _ if operator == BinaryOperator::Power => ColumnType::Double,
        ColumnType::Decimal(..) => common,
        ColumnType::Float | ColumnType::Double => ColumnType::Double,
        _ => ColumnType::Long,
    };
    let (left, right) = (as_type(left, &wanted)?, as_type(right, &wanted)?);
    match wanted {
        ColumnType::Decimal(precision, scale) => decimals(operator, left, right, precision, scale),
        ColumnType::Double => Ok(Typed { expr: doubles(operator, left, right), column_type: wanted }),
        _ => Ok(Typed { expr: longs(operator, left, right), column_type: wanted }),
    }
}

/// Two texts, or a text and NULL.
fn are_texts(left: &ColumnType, right: &ColumnType) -> bool {
    matches!(
        (left, right),
        (ColumnType::String, ColumnType::String | ColumnType::Null) | (ColumnType::Null, ColumnType::String)
    )
}

fn longs(operator: BinaryOperator, left: Expr, right: Expr) -> Expr {
    match operator {
        BinaryOperator::Add => udf::checked_add(left, right),
        BinaryOperator::Subtract => udf::checked_subtract(left, right),
        BinaryOperator::Multiply => udf::checked_multiply(left, right),
        BinaryOperator::Divide => udf::divide(left, right),
        _ => udf::modulo(left, right),
    }
}

fn doubles(operator: BinaryOperator, left: Expr, right: Expr) -> Expr {
    match operator {
        BinaryOperator::Add => binary_expr(left, Operator::Plus, right),
        BinaryOperator::Subtract => binary_expr(left, Operator::Minus, right),
        BinaryOperator::Multiply => binary_expr(left, Operator::Multiply, right),
        BinaryOperator::Divide => udf::divide_double(left, right),
        BinaryOperator::Modulo => udf::modulo_double(left, right),
        _ => udf::power(left, right),
    }
}

/// Two decimals of the same type.
fn decimals(
    operator: BinaryOperator,
    left: Expr,
    right: Expr,
    precision: u8,
    scale: i8,
) -> Result<Typed, ExpressionError> {
    let symbol = operator.symbol();
    let operator = match operator {
        BinaryOperator::Add => DecimalOperator::Add,
        BinaryOperator::Subtract => DecimalOperator::Subtract,
        BinaryOperator::Multiply => DecimalOperator::Multiply,
        BinaryOperator::Divide => DecimalOperator::Divide,
        _ => DecimalOperator::Modulo,
    };
    let (precision, scale) = operator.result(precision, scale).ok_or_else(|| {
        let sides = ColumnType::Decimal(precision, scale);
        let message = format!("`{symbol}` of two {sides} has more than 38 digits after the point");
        ExpressionError::new(codes::TYPE_MISMATCH, message)
            .help("a `cast` step before makes them decimals with fewer; `to_double(x)` computes with doubles")
            .word(symbol)
    })?;
    let expr = udf::decimal(operator, vec![left, right]);
    Ok(Typed { expr, column_type: ColumnType::Decimal(precision, scale) })
}

fn logical(operator: BinaryOperator, left: Typed, right: Typed) -> Result<Typed, ExpressionError> {
    let error = mismatch(operator, &left.column_type, &right.column_type);
    let boolean = |typed: Typed| convert(typed.expr, &typed.column_type, &ColumnType::Boolean);
    let (Some(left), Some(right)) = (boolean(left), boolean(right)) else { return Err(error) };
    let operator = if operator == BinaryOperator::And { Operator::And } else { Operator::Or };
    Ok(Typed { expr: binary_expr(left, operator, right), column_type: ColumnType::Boolean })
}

fn comparison(operator: BinaryOperator, left: Typed, right: Typed) -> Result<Typed, ExpressionError> {
    let (left, right) = (literal_in_time(left, &right.column_type)?, right);
    let right = literal_in_time(right, &left.column_type)?;
    let equality = matches!(operator, BinaryOperator::Equal | BinaryOperator::NotEqual);
    let common = common_type([&left.column_type, &right.column_type])
        .filter(|common| equality || common.is_ordered())
        .ok_or_else(|| mismatch(operator, &left.column_type, &right.column_type))?;
    let (left, right) = (as_type(left, &common)?, as_type(right, &common)?);
    let operator = match operator {
        BinaryOperator::Equal => Operator::Eq,
        BinaryOperator::NotEqual => Operator::NotEq,
        BinaryOperator::Less => Operator::Lt,
        BinaryOperator::LessOrEqual => Operator::LtEq,
        BinaryOperator::Greater => Operator::Gt,
        _ => Operator::GtEq,
    };
    Ok(Typed { expr: binary_expr(left, operator, right), column_type: ColumnType::Boolean })
}

/// A literal text beside a date or timestamp is one (`at > "2020-01-13"`).
fn literal_in_time(typed: Typed, other: &ColumnType) -> Result<Typed, ExpressionError> {
    let Expr::Literal(ScalarValue::Utf8View(Some(text)), _) = &typed.expr else { return Ok(typed) };
    if !matches!(other, ColumnType::Date | ColumnType::Timestamp) {
        return Ok(typed);
    }
    let column_type = if text.len() > 10 { ColumnType::Timestamp } else { ColumnType::Date };
    let array = ScalarValue::Utf8View(Some(text.clone())).cast_to(&column_type.to_arrow()).map_err(|_| {
        ExpressionError::new(codes::TYPE_MISMATCH, format!("`{text}` is no {other}"))
            .help("write it as `2020-01-13` or `2020-01-13T07:10:00Z`")
            .word(text)
    })?;
    Ok(Typed { expr: lit(array), column_type })
}

fn as_type(typed: Typed, to: &ColumnType) -> Result<Expr, ExpressionError> {
    convert(typed.expr, &typed.column_type, to)
        .ok_or_else(|| ExpressionError::new(codes::TYPE_MISMATCH, format!("{} is no {to}", typed.column_type)))
}

fn mismatch(operator: BinaryOperator, left: &ColumnType, right: &ColumnType) -> ExpressionError {
    let symbol = operator.symbol();
    let help = match (left, right) {
        (ColumnType::String, other) | (other, ColumnType::String) if other.is_number() => {
            "`to_string(x)` makes text of a number, `to_long(x)` and `to_double(x)` read one from text"
        }
        (ColumnType::Timestamp | ColumnType::Date, _) | (_, ColumnType::Timestamp | ColumnType::Date) => {
            "`add_seconds(t, n)` moves a time, `seconds_between(start, end)` subtracts two"
        }
        _ if matches!(operator, BinaryOperator::And | BinaryOperator::Or) => "both sides must be true or false",
        _ => "both sides need types that fit each other",
    };
    ExpressionError::new(codes::TYPE_MISMATCH, format!("`{symbol}` does not fit {left} and {right}"))
        .help(help)
        .word(symbol)
}
