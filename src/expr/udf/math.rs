//! Functions of numbers. A result that is no number is NULL; whole numbers stay whole.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF};

use super::arithmetic::binary;
use super::{Kernel, call, column, columns, internal, primitives, udf};

/// A function from double to double.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DoubleFunction {
    /// The square root.
    Sqrt,
    /// `e` to the power of the number.
    Exp,
    /// The natural logarithm.
    Ln,
    /// The logarithm to base 10.
    Log10,
    /// The logarithm to base 2.
    Log2,
    /// The sine of an angle in radians.
    Sin,
    /// The cosine.
    Cos,
    /// The tangent.
    Tan,
}

/// The value of the function; NULL where it has none.
#[must_use]
pub fn double_function(function: DoubleFunction, number: Expr) -> Expr {
    call(&udf(function), vec![number])
}

impl Kernel for DoubleFunction {
    fn name(&self) -> &'static str {
        match self {
            Self::Sqrt => "sqrt",
            Self::Exp => "exp",
            Self::Ln => "ln",
            Self::Log10 => "log10",
            Self::Log2 => "log2",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Tan => "tan",
        }
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let [numbers] = columns(arguments)?;
        let numbers = primitives::<Float64Type>(&numbers)?;
        let positive = |logarithm: fn(f64) -> f64| move |x: f64| if x <= 0.0 { f64::NAN } else { logarithm(x) };
        Ok(column(match self {
            Self::Sqrt => apply(&numbers, f64::sqrt),
            Self::Exp => apply(&numbers, f64::exp),
            Self::Ln => apply(&numbers, positive(f64::ln)),
            Self::Log10 => apply(&numbers, positive(f64::log10)),
            Self::Log2 => apply(&numbers, positive(f64::log2)),
            Self::Sin => apply(&numbers, f64::sin),
            Self::Cos => apply(&numbers, f64::cos),
            Self::Tan => apply(&numbers, f64::tan),
        }))
    }
}

fn apply(numbers: &Float64Array, function: impl Fn(f64) -> f64) -> Float64Array {
    numbers.unary_opt(|x| {
        let y = function(x);
        (x.is_nan() || !y.is_nan()).then_some(y)
    })
}

static POWER: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Math::Power));
static SIGN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Math::Sign));
static ABS: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Math::Abs));
static BUCKET: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Math::Bucket));

/// `base` to the power of `exponent`.
#[must_use]
pub fn power(base: Expr, exponent: Expr) -> Expr {
    call(&POWER, vec![base, exponent])
}

/// -1, 0 or 1.
#[must_use]
pub fn sign(number: Expr) -> Expr {
    call(&SIGN, vec![number])
}

/// The number without its sign; NULL on overflow.
#[must_use]
pub fn abs(number: Expr) -> Expr {
    call(&ABS, vec![number])
}

/// The greatest multiple of `width` that is not above the number (not below it, for a negative width).
#[must_use]
pub fn bucket(number: Expr, width: Expr) -> Expr {
    call(&BUCKET, vec![number, width])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Math {
    Power,
    Sign,
    Abs,
    Bucket,
}

impl Kernel for Math {
    fn name(&self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Sign => "sign",
            Self::Abs => "abs",
            Self::Bucket => "bucket",
        }
    }

    fn returns(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(match self {
            Self::Power => DataType::Float64,
            Self::Sign => DataType::Int32,
            Self::Abs => number_type(arguments),
            Self::Bucket if arguments.iter().all(DataType::is_integer) => DataType::Int64,
            Self::Bucket => DataType::Float64,
        })
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        match self {
            Self::Power => binary::<Float64Type>(arguments, |base, exponent| {
                let value = base.powf(exponent);
                let lost = value.is_nan() && !base.is_nan() && !exponent.is_nan();
                (value, lost || (base == 0.0 && exponent < 0.0))
            }),
            Self::Sign => {
                let [numbers] = columns(arguments)?;
                let signs: Int32Array = primitives::<Float64Type>(&numbers)?.unary_opt(|x| {
                    if x > 0.0 {
                        Some(1)
                    } else if x < 0.0 {
                        Some(-1)
                    } else {
                        (!x.is_nan()).then_some(0)
                    }
                });
                Ok(column(signs))
            }
            Self::Abs => {
                let [numbers] = columns(arguments)?;
                absolute(&numbers).map(ColumnarValue::Array)
            }
            Self::Bucket if arguments.iter().all(|argument| argument.data_type().is_integer()) => {
                binary::<Int64Type>(arguments, |number, width| {
                    floor_to(number, width).map_or((0, true), |value| (value, false))
                })
            }
            Self::Bucket => binary::<Float64Type>(arguments, |number, width| {
                let value = (number / width).floor() * width;
                (value, width == 0.0 || (value.is_nan() && !number.is_nan() && !width.is_nan()))
            }),
        }
    }
}

fn floor_to(number: i64, width: i64) -> Option<i64> {
    let quotient = number.checked_div(width)?;
    let inexact = quotient.checked_mul(width)? != number;
    let below = inexact && (number < 0) != (width < 0);
    quotient.checked_sub(i64::from(below))?.checked_mul(width)
}

/// The literal NULL counts as a double.
fn number_type(arguments: &[DataType]) -> DataType {
    match arguments.first() {
        Some(DataType::Null) | None => DataType::Float64,
        Some(number) => number.clone(),
    }
}

fn absolute(numbers: &ArrayRef) -> Result<ArrayRef> {
    let absolute: ArrayRef = match numbers.data_type() {
        DataType::Int32 => Arc::new(primitives::<Int32Type>(numbers)?.unary_opt::<_, Int32Type>(i32::checked_abs)),
        DataType::Int64 => Arc::new(primitives::<Int64Type>(numbers)?.unary_opt::<_, Int64Type>(i64::checked_abs)),
        DataType::Float32 => Arc::new(primitives::<Float32Type>(numbers)?.unary::<_, Float32Type>(f32::abs)),
        DataType::Float64 | DataType::Null => {
            Arc::new(primitives::<Float64Type>(numbers)?.unary::<_, Float64Type>(f64::abs))
        }
        DataType::Decimal128(precision, scale) => Arc::new(
            primitives::<Decimal128Type>(numbers)?
                .unary_opt::<_, Decimal128Type>(i128::checked_abs)
                .with_precision_and_scale(*precision, *scale)?,
        ),
        other => return Err(unsupported("abs", other)),
    };
    Ok(absolute)
}

fn unsupported(function: &str, data_type: &DataType) -> DataFusionError {
    DataFusionError::Plan(format!("{function} takes a number, not {data_type}"))
}

/// How to get rid of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// To the nearest number; a half goes away from zero.
    Round,
    /// Down.
    Floor,
    /// Up.
    Ceil,
}

/// The number rounded, to a number of digits after the point (only [`Rounding::Round`]) or to a
/// whole number. The type stays; NULL if the result does not fit it.
#[must_use]
pub fn round(rounding: Rounding, arguments: Vec<Expr>) -> Expr {
    call(&udf(rounding), arguments)
}

impl Kernel for Rounding {
    fn name(&self) -> &'static str {
        match self {
            Self::Round => "round",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
        }
    }

    fn returns(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(number_type(arguments))
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let (numbers, digits) = match arrays.as_slice() {
            [numbers] => (numbers, None),
            [numbers, digits] => (numbers, Some(primitives::<Int64Type>(digits)?)),
            _ => return Err(internal("one or two arguments expected")),
        };
        let digits = digits.as_ref();
        let rounded: ArrayRef = match numbers.data_type() {
            DataType::Int32 => Arc::new(rounded::<Int32Type>(numbers, digits, |number, digits| {
                self.decimal(i128::from(number), 0, digits).and_then(|number| i32::try_from(number).ok())
            })?),
            DataType::Int64 => Arc::new(rounded::<Int64Type>(numbers, digits, |number, digits| {
                self.decimal(i128::from(number), 0, digits).and_then(|number| i64::try_from(number).ok())
            })?),
            DataType::Float32 => Arc::new(rounded::<Float32Type>(numbers, digits, |number, digits| {
                Some(self.double(f64::from(number), digits) as f32)
            })?),
            DataType::Float64 | DataType::Null => {
                Arc::new(rounded::<Float64Type>(numbers, digits, |number, digits| Some(self.double(number, digits)))?)
            }
            DataType::Decimal128(precision, scale) => {
                let limit = 10_i128.checked_pow(u32::from(*precision)).unwrap_or(i128::MAX);
                let numbers = rounded::<Decimal128Type>(numbers, digits, |number, digits| {
                    self.decimal(number, *scale, digits).filter(|number| -limit < *number && *number < limit)
                })?;
                Arc::new(numbers.with_precision_and_scale(*precision, *scale)?)
            }
            other => return Err(unsupported(self.name(), other)),
        };
        Ok(ColumnarValue::Array(rounded))
    }
}

fn rounded<T: ArrowPrimitiveType>(
    numbers: &ArrayRef,
    digits: Option<&Int64Array>,
    round: impl Fn(T::Native, i64) -> Option<T::Native>,
) -> Result<PrimitiveArray<T>> {
    let numbers = primitives::<T>(numbers)?;
    Ok(match digits {
        None => numbers.unary_opt(|number| round(number, 0)),
        Some(digits) => numbers.iter().zip(digits.iter()).map(|(number, digits)| round(number?, digits?)).collect(),
    })
}

impl Rounding {
    /// Rounds a number with `scale` digits after the point, given without the point.
    fn decimal(self, number: i128, scale: i8, digits: i64) -> Option<i128> {
        let dropped = i64::from(scale).saturating_sub(digits);
        if dropped <= 0 {
            return Some(number);
        }
        // No number has that many digits.
        let Some(unit) = u32::try_from(dropped).ok().and_then(|dropped| 10_i128.checked_pow(dropped)) else {
            return Some(0);
        };
        let units = match self {
            Self::Floor => number.div_euclid(unit),
            Self::Ceil => -number.checked_neg()?.div_euclid(unit),
            Self::Round => {
                let magnitude = number.checked_abs()?.checked_add(unit / 2)? / unit;
                magnitude * number.signum()
            }
        };
        units.checked_mul(unit)
    }

    fn double(self, number: f64, digits: i64) -> f64 {
        match self {
            Self::Floor => number.floor(),
            Self::Ceil => number.ceil(),
            Self::Round => {
                // Powers of ten beyond these leave the range of doubles.
                let digits = i32::try_from(digits.clamp(-308, 308)).unwrap_or(0);
                let unit = 10_f64.powi(digits.abs());
                if digits < 0 {
                    return (number / unit).round() * unit;
                }
                let scaled = number * unit;
                if scaled.is_finite() { scaled.round() / unit } else { number }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Decimal128Array};
    use datafusion::common::ScalarValue;

    use super::super::testing::evaluate;
    use super::*;

    fn doubles(kernel: &impl Kernel, values: &[f64]) -> Vec<Option<f64>> {
        let numbers = column(Float64Array::from(values.to_vec()));
        evaluate(kernel, &[numbers]).as_primitive::<Float64Type>().iter().collect()
    }

    fn longs(kernel: &impl Kernel, arguments: &[ColumnarValue]) -> Vec<Option<i64>> {
        evaluate(kernel, arguments).as_primitive::<Int64Type>().iter().collect()
    }

    fn long(value: i64) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(value)))
    }

    #[test]
    fn what_does_not_exist_is_null() {
        assert_eq!(doubles(&DoubleFunction::Sqrt, &[4.0, -1.0]), [Some(2.0), None]);
        assert_eq!(doubles(&DoubleFunction::Ln, &[1.0, 0.0, -1.0]), [Some(0.0), None, None]);
        assert_eq!(longs(&Math::Abs, &[column(Int64Array::from(vec![-3, i64::MIN]))]), [Some(3), None]);
    }

    #[test]
    fn halves_go_away_from_zero() {
        assert_eq!(doubles(&Rounding::Round, &[2.5, -2.5, 1e300]), [Some(3.0), Some(-3.0), Some(1e300)]);
        let numbers = column(Int64Array::from(vec![1250, -1250, 1249, i64::MAX]));
        assert_eq!(
            longs(&Rounding::Round, &[numbers.clone(), long(-2)]),
            [Some(1300), Some(-1300), Some(1200), Some(9_223_372_036_854_775_800)]
        );
        assert_eq!(longs(&Rounding::Round, &[numbers, long(-19)]), [Some(0), Some(0), Some(0), None]);
    }

    #[test]
    fn decimals_keep_their_type() {
        let numbers = Decimal128Array::from(vec![125, -125, 999]).with_precision_and_scale(3, 2).unwrap();
        let round = |rounding: Rounding| -> Vec<Option<i128>> {
            evaluate(&rounding, &[column(numbers.clone())]).as_primitive::<Decimal128Type>().iter().collect()
        };
        assert_eq!(round(Rounding::Floor), [Some(100), Some(-200), Some(900)]);
        assert_eq!(round(Rounding::Ceil), [Some(200), Some(-100), None]);
        assert_eq!(round(Rounding::Round), [Some(100), Some(-100), None]);
    }

    #[test]
    fn buckets() {
        let numbers = column(Int64Array::from(vec![17, -1, 20, i64::MIN]));
        assert_eq!(longs(&Math::Bucket, &[numbers.clone(), long(10)]), [Some(10), Some(-10), Some(20), None]);
        assert_eq!(longs(&Math::Bucket, &[numbers, long(0)]), [None; 4]);
        let width = ColumnarValue::Scalar(ScalarValue::Float64(Some(0.5)));
        let numbers = column(Float64Array::from(vec![1.7]));
        let buckets = evaluate(&Math::Bucket, &[numbers, width]);
        assert_eq!(buckets.as_primitive::<Float64Type>().value(0), 1.5);
    }
}
