//! Exact arithmetic of decimals. Types are those of Arrow's own operators; a result that needs more
//! digits than its type has is NULL.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL128_MAX_SCALE, DataType, Decimal128Type, i256};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Expr};

use super::arithmetic::binary;
use super::{Kernel, call, column, internal, null, primitives, udf};

/// What to compute, of two decimals of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecimalOperator {
    /// `left + right`
    Add,
    /// `left - right`
    Subtract,
    /// `left * right`
    Multiply,
    /// `left / right`, with four digits more after the point, cut off; NULL on division by zero.
    Divide,
    /// The rest of a division, with the sign of `left`; NULL on division by zero.
    Modulo,
    /// `-value`, of one decimal.
    Negate,
}

/// The value of the operator over decimals of one type; NULL if it does not fit its type.
#[must_use]
pub fn decimal(operator: DecimalOperator, operands: Vec<Expr>) -> Expr {
    call(&udf(operator), operands)
}

impl DecimalOperator {
    /// Precision and scale of the result over decimals with these; `None` if no decimal has that
    /// many digits after the point.
    #[must_use]
    pub fn result(self, precision: u8, scale: i8) -> Option<(u8, i8)> {
        let (precision, scale) = match self {
            Self::Add | Self::Subtract => (precision.saturating_add(1), scale),
            Self::Multiply => (precision.saturating_mul(2).saturating_add(1), scale.saturating_mul(2)),
            Self::Divide => {
                let scale = scale.saturating_add(4).clamp(0, DECIMAL128_MAX_SCALE);
                (precision.saturating_add(scale.unsigned_abs()), scale)
            }
            Self::Modulo | Self::Negate => (precision, scale),
        };
        (scale <= DECIMAL128_MAX_SCALE).then_some((precision.min(DECIMAL128_MAX_PRECISION), scale))
    }

    fn compute(self, operands: &[ColumnarValue], precision: u8, scale: i8) -> Result<ColumnarValue> {
        let limit = power_of_ten(precision);
        // A value, and whether it is to be NULL.
        let checked = |(value, overflow): (i128, bool)| (value, overflow || value <= -limit || limit <= value);
        match self {
            Self::Add => binary::<Decimal128Type>(operands, |left, right| checked(left.overflowing_add(right))),
            Self::Subtract => binary::<Decimal128Type>(operands, |left, right| checked(left.overflowing_sub(right))),
            Self::Multiply => binary::<Decimal128Type>(operands, |left, right| checked(left.overflowing_mul(right))),
            Self::Divide => {
                let unit = power_of_ten(scale.unsigned_abs());
                binary::<Decimal128Type>(operands, |left, right| {
                    quotient(left, right, unit).map_or((0, true), |value| checked((value, false)))
                })
            }
            Self::Modulo => binary::<Decimal128Type>(operands, |left, right| {
                left.checked_rem(right).map_or((0, true), |rest| (rest, false))
            }),
            Self::Negate => {
                let [value] = operands else { return Err(internal("one argument expected")) };
                let zero = ColumnarValue::Scalar(ScalarValue::Decimal128(Some(0), precision, scale));
                binary::<Decimal128Type>(&[zero, value.clone()], |zero, value| checked(zero.overflowing_sub(value)))
            }
        }
    }
}

impl Kernel for DecimalOperator {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add_decimal",
            Self::Subtract => "subtract_decimal",
            Self::Multiply => "multiply_decimal",
            Self::Divide => "divide_decimal",
            Self::Modulo => "modulo_decimal",
            Self::Negate => "negate_decimal",
        }
    }

    fn returns(&self, arguments: &[DataType]) -> Result<DataType> {
        let Some(DataType::Decimal128(precision, scale)) = arguments.first() else {
            return Err(internal("a decimal expected"));
        };
        let (precision, scale) =
            self.result(*precision, *scale).ok_or_else(|| internal("too many digits after the point"))?;
        Ok(DataType::Decimal128(precision, scale))
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let types: Vec<DataType> = arguments.iter().map(ColumnarValue::data_type).collect();
        let result = self.returns(&types)?;
        let DataType::Decimal128(precision, scale) = result else { return Err(internal("a decimal expected")) };
        match self.compute(arguments, precision, scale)? {
            ColumnarValue::Array(numbers) => {
                Ok(column(primitives::<Decimal128Type>(&numbers)?.with_precision_and_scale(precision, scale)?))
            }
            // Only NULL is no column.
            ColumnarValue::Scalar(_) => null(&result),
        }
    }
}

/// 10 to the power of a precision or scale: at most 38, which fits.
fn power_of_ten(digits: u8) -> i128 {
    10_i128.checked_pow(u32::from(digits)).unwrap_or(i128::MAX)
}

/// `left * unit / right`, cut off. The product may have more digits than any decimal.
fn quotient(left: i128, right: i128, unit: i128) -> Option<i128> {
    match left.checked_mul(unit) {
        Some(product) => product.checked_div(right),
        None => {
            i256::from_i128(left).checked_mul(i256::from_i128(unit))?.checked_div(i256::from_i128(right))?.to_i128()
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Datum, Decimal128Array};
    use arrow::compute::kernels::numeric::{add, div, mul, rem, sub};
    use arrow::error::ArrowError;

    use super::super::testing::evaluate;
    use super::*;

    type ArrowKernel = fn(&dyn Datum, &dyn Datum) -> std::result::Result<ArrayRef, ArrowError>;

    /// The greatest number of 38 digits.
    const MAX: i128 = 10_i128.pow(38) - 1;

    fn decimals(values: &[i128], precision: u8, scale: i8) -> Decimal128Array {
        Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap()
    }

    fn result(operator: DecimalOperator, operands: &[Decimal128Array]) -> Vec<Option<i128>> {
        let operands: Vec<ColumnarValue> = operands.iter().cloned().map(column).collect();
        evaluate(&operator, &operands).as_primitive::<Decimal128Type>().iter().collect()
    }

    #[test]
    fn agrees_with_arrow_where_nothing_overflows() {
        let kernels: [(DecimalOperator, ArrowKernel); 5] = [
            (DecimalOperator::Add, add),
            (DecimalOperator::Subtract, sub),
            (DecimalOperator::Multiply, mul),
            (DecimalOperator::Divide, div),
            (DecimalOperator::Modulo, rem),
        ];
        for (precision, scale) in [(3, 0), (3, 3), (10, 2), (19, 19), (38, 10)] {
            let left = decimals(&[150, -577, 0, 999, -3], precision, scale);
            let right = decimals(&[7, 34, -356, -1, -2], precision, scale);
            for (operator, kernel) in kernels {
                let expected = kernel(&left, &right).unwrap();
                let got = evaluate(&operator, &[column(left.clone()), column(right.clone())]);
                assert_eq!(&got, &expected, "{operator:?} of decimal({precision},{scale})");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_null() {
        let left = decimals(&[MAX, -MAX, 3, MAX], 38, 0);
        let right = decimals(&[1, 1, 2, MAX], 38, 0);
        let operands = [left.clone(), right];
        assert_eq!(result(DecimalOperator::Add, &operands), [None, Some(1 - MAX), Some(5), None]);
        assert_eq!(result(DecimalOperator::Subtract, &operands), [Some(MAX - 1), None, Some(1), Some(0)]);
        assert_eq!(result(DecimalOperator::Multiply, &operands), [Some(MAX), Some(-MAX), Some(6), None]);
        assert_eq!(result(DecimalOperator::Negate, &[left]), [Some(-MAX), Some(MAX), Some(-3), Some(-MAX)]);
    }

    #[test]
    fn a_quotient_exists_though_its_dividend_overflows() {
        let left = decimals(&[MAX, MAX, MAX, 1], 38, 10);
        let right = decimals(&[MAX, 1, 0, 0], 38, 10);
        let operands = [left, right];
        assert_eq!(result(DecimalOperator::Divide, &operands), [Some(10_i128.pow(14)), None, None, None]);
        assert_eq!(result(DecimalOperator::Modulo, &operands), [Some(0), Some(0), None, None]);
    }

    #[test]
    fn null_and_one_value_for_all_rows() {
        let one = |value: Option<i128>| ColumnarValue::Scalar(ScalarValue::Decimal128(value, 10, 2));
        let numbers = column(decimals(&[150, 250], 10, 2));
        let sum = |left: &ColumnarValue, right: &ColumnarValue| -> Vec<Option<i128>> {
            let sum = evaluate(&DecimalOperator::Add, &[left.clone(), right.clone()]);
            sum.as_primitive::<Decimal128Type>().iter().collect()
        };
        assert_eq!(sum(&numbers, &one(Some(1))), [Some(151), Some(251)]);
        assert_eq!(sum(&one(Some(1)), &one(Some(2))), [Some(3)]);
        assert_eq!(sum(&numbers, &one(None)), [None]);
    }

    #[test]
    fn a_product_may_need_too_many_digits_after_the_point() {
        assert_eq!(DecimalOperator::Multiply.result(38, 19), Some((38, 38)));
        assert_eq!(DecimalOperator::Multiply.result(38, 20), None);
    }
}
