//! Arithmetic whose results are NULL where DataFusion's wrap around or fail: overflow, division by
//! zero. A first pass computes all rows without branches; only if a row has no result, a second
//! one finds out which.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF};

use super::{Kernel, Operand, call, column, internal, null, udf};

/// What to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Negate,
    DivideDouble,
    ModuloDouble,
}

static ADD: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Arithmetic::Add));
static SUBTRACT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Arithmetic::Subtract));
static MULTIPLY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Arithmetic::Multiply));
static DIVIDE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Arithmetic::Divide));
static MODULO: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Arithmetic::Modulo));
static NEGATE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Arithmetic::Negate));
static DIVIDE_DOUBLE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Arithmetic::DivideDouble));
static MODULO_DOUBLE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Arithmetic::ModuloDouble));

/// `left + right` of longs; NULL on overflow.
#[must_use]
pub fn checked_add(left: Expr, right: Expr) -> Expr {
    call(&ADD, vec![left, right])
}

/// `left - right` of longs; NULL on overflow.
#[must_use]
pub fn checked_subtract(left: Expr, right: Expr) -> Expr {
    call(&SUBTRACT, vec![left, right])
}

/// `left * right` of longs; NULL on overflow.
#[must_use]
pub fn checked_multiply(left: Expr, right: Expr) -> Expr {
    call(&MULTIPLY, vec![left, right])
}

/// `left / right` of longs, without the fraction; NULL on overflow and division by zero.
#[must_use]
pub fn divide(left: Expr, right: Expr) -> Expr {
    call(&DIVIDE, vec![left, right])
}

/// The rest of [`divide`], with the sign of `left`; NULL on division by zero.
#[must_use]
pub fn modulo(left: Expr, right: Expr) -> Expr {
    call(&MODULO, vec![left, right])
}

/// `-value` of a long; NULL on overflow.
#[must_use]
pub fn negate(value: Expr) -> Expr {
    call(&NEGATE, vec![value])
}

/// `left / right` of doubles; NULL on division by zero.
#[must_use]
pub fn divide_double(left: Expr, right: Expr) -> Expr {
    call(&DIVIDE_DOUBLE, vec![left, right])
}

/// The rest of [`divide_double`] with a whole quotient, with the sign of `left`; NULL on division by zero.
#[must_use]
pub fn modulo_double(left: Expr, right: Expr) -> Expr {
    call(&MODULO_DOUBLE, vec![left, right])
}

impl Kernel for Arithmetic {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "checked_add",
            Self::Subtract => "checked_subtract",
            Self::Multiply => "checked_multiply",
            Self::Divide => "divide",
            Self::Modulo => "modulo",
            Self::Negate => "negate",
            Self::DivideDouble => "divide_double",
            Self::ModuloDouble => "modulo_double",
        }
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self {
            Self::DivideDouble | Self::ModuloDouble => DataType::Float64,
            _ => DataType::Int64,
        })
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        match self {
            Self::Add => binary::<Int64Type>(arguments, i64::overflowing_add),
            Self::Subtract => binary::<Int64Type>(arguments, i64::overflowing_sub),
            Self::Multiply => binary::<Int64Type>(arguments, i64::overflowing_mul),
            Self::Divide => binary::<Int64Type>(arguments, |left, right| {
                left.checked_div(right).map_or((0, true), |quotient| (quotient, false))
            }),
            Self::Modulo => binary::<Int64Type>(arguments, |left, right| {
                // The smallest long modulo -1 is 0, though its quotient overflows.
                if right == 0 { (0, true) } else { (left.wrapping_rem(right), false) }
            }),
            Self::Negate => {
                let [value] = arguments else { return Err(internal("one argument expected")) };
                let zero = ColumnarValue::Scalar(ScalarValue::Int64(Some(0)));
                binary::<Int64Type>(&[zero, value.clone()], i64::overflowing_sub)
            }
            Self::DivideDouble => binary::<Float64Type>(arguments, |left, right| (left / right, right == 0.0)),
            Self::ModuloDouble => binary::<Float64Type>(arguments, |left, right| (left % right, right == 0.0)),
        }
    }
}

/// Applies `operation`, which gives a value and whether that value is to be NULL.
pub(super) fn binary<T: ArrowPrimitiveType>(
    arguments: &[ColumnarValue],
    operation: impl Fn(T::Native, T::Native) -> (T::Native, bool),
) -> Result<ColumnarValue> {
    let [left, right] = arguments else { return Err(internal("two arguments expected")) };
    match (Operand::<T>::new(left)?, Operand::<T>::new(right)?) {
        (Operand::Many(left), Operand::Many(right)) => {
            if left.values().len() != right.values().len() {
                return Err(internal("columns of one length expected"));
            }
            let nulls = NullBuffer::union(nulls(&left), nulls(&right));
            let pairs = left.values().iter().zip(right.values().iter()).map(|(left, right)| (*left, *right));
            Ok(column(apply::<T>(pairs, nulls, operation)))
        }
        (Operand::Many(left), Operand::One(Some(right))) => {
            let pairs = left.values().iter().map(|left| (*left, right));
            Ok(column(apply::<T>(pairs, nulls(&left).cloned(), operation)))
        }
        (Operand::One(Some(left)), Operand::Many(right)) => {
            let pairs = right.values().iter().map(|right| (left, *right));
            Ok(column(apply::<T>(pairs, nulls(&right).cloned(), operation)))
        }
        (Operand::One(Some(left)), Operand::One(Some(right))) => {
            Ok(column(apply::<T>(std::iter::once((left, right)), None, operation)))
        }
        (Operand::One(None), _) | (_, Operand::One(None)) => null(&T::DATA_TYPE),
    }
}

fn nulls<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> Option<&NullBuffer> {
    arrow::array::Array::nulls(array)
}

fn apply<T: ArrowPrimitiveType>(
    pairs: impl Iterator<Item = (T::Native, T::Native)> + Clone,
    nulls: Option<NullBuffer>,
    operation: impl Fn(T::Native, T::Native) -> (T::Native, bool),
) -> PrimitiveArray<T> {
    let mut any_missing = false;
    let values: Vec<T::Native> = pairs
        .clone()
        .map(|(left, right)| {
            let (value, missing) = operation(left, right);
            any_missing |= missing;
            value
        })
        .collect();
    let nulls = if any_missing {
        let present: BooleanBuffer = pairs.map(|(left, right)| !operation(left, right).1).collect();
        NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::new(present)))
    } else {
        nulls
    };
    PrimitiveArray::new(ScalarBuffer::from(values), nulls)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Float64Array, Int64Array};

    use super::super::testing::evaluate;
    use super::*;

    fn longs(values: &[Option<i64>]) -> ColumnarValue {
        column(values.iter().copied().collect::<Int64Array>())
    }

    fn long(value: Option<i64>) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Int64(value))
    }

    fn result(operation: Arithmetic, arguments: &[ColumnarValue]) -> Vec<Option<i64>> {
        evaluate(&operation, arguments).as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn overflow_is_null() {
        let (min, max) = (Some(i64::MIN), Some(i64::MAX));
        let left = longs(&[Some(1), max, None, min]);
        assert_eq!(result(Arithmetic::Add, &[left.clone(), long(Some(1))]), [Some(2), None, None, Some(i64::MIN + 1)]);
        assert_eq!(
            result(Arithmetic::Subtract, &[left.clone(), long(Some(1))]),
            [Some(0), Some(i64::MAX - 1), None, None]
        );
        assert_eq!(
            result(Arithmetic::Multiply, &[left.clone(), longs(&[Some(7), Some(2), Some(2), None])]),
            [Some(7), None, None, None]
        );
        assert_eq!(result(Arithmetic::Negate, &[left]), [Some(-1), Some(-i64::MAX), None, None]);
    }

    #[test]
    fn division() {
        let left = longs(&[Some(7), Some(-7), Some(7), Some(i64::MIN)]);
        let right = longs(&[Some(2), Some(2), Some(0), Some(-1)]);
        assert_eq!(result(Arithmetic::Divide, &[left.clone(), right.clone()]), [Some(3), Some(-3), None, None]);
        assert_eq!(result(Arithmetic::Modulo, &[left, right]), [Some(1), Some(-1), None, Some(0)]);
    }

    #[test]
    fn one_value_for_all_rows() {
        assert_eq!(result(Arithmetic::Subtract, &[long(Some(10)), longs(&[Some(1), None])]), [Some(9), None]);
        assert_eq!(result(Arithmetic::Add, &[long(Some(1)), long(Some(2))]), [Some(3)]);
        assert_eq!(result(Arithmetic::Add, &[long(Some(1)), long(None)]), [None]);
        assert_eq!(result(Arithmetic::Divide, &[long(Some(1)), long(Some(0))]), [None]);
    }

    #[test]
    fn doubles() {
        let left = column(Float64Array::from(vec![7.5, -7.5, 1.0]));
        let right = column(Float64Array::from(vec![2.0, 2.0, -0.0]));
        let quotients = evaluate(&Arithmetic::DivideDouble, &[left.clone(), right.clone()]);
        let quotients: Vec<_> = quotients.as_primitive::<Float64Type>().iter().collect();
        assert_eq!(quotients, [Some(3.75), Some(-3.75), None]);
        let rests = evaluate(&Arithmetic::ModuloDouble, &[left, right]);
        let rests: Vec<_> = rests.as_primitive::<Float64Type>().iter().collect();
        assert_eq!(rests, [Some(1.5), Some(-1.5), None]);
    }
}
