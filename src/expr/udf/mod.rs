//! Functions that DataFusion has not, or that fail there where this language gives NULL.
//!
//! A family of functions is one type that implements [`Kernel`]; [`Udf`] makes DataFusion's scalar
//! function of it. They take whatever Arrow encoding arrives and cast it themselves.

mod arithmetic;
mod dates;
mod decimals;
mod digests;
mod format;
mod formats;
mod json;
mod lists;
mod math;
mod patterns;
mod split;
mod text;
mod views;

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

pub use arithmetic::{
    checked_add, checked_multiply, checked_subtract, divide, divide_double, modulo, modulo_double, negate,
};
pub use dates::{
    Part, add_days, add_seconds, check_unit, date, date_part, from_unix_millis, from_unix_seconds, seconds_between,
    to_unix_millis, to_unix_seconds, truncate,
};
pub use decimals::{DecimalOperator, decimal};
pub use digests::{hash, hex};
pub use format::{check_template, format};
pub use formats::{check_format, format_timestamp, parse_date, parse_timestamp};
pub use json::{JsonType, check_path, json_get};
pub use lists::{element_at, list_percentile, map, sequence, size, slice};
pub use math::{DoubleFunction, Rounding, abs, bucket, double_function, power, round, sign};
pub use patterns::{check_pattern, regex_extract, regex_extract_all, regex_match, regex_replace};
pub use split::split;
pub use text::{Side, to_boolean, to_double, to_long, to_string, trim};

/// What a family of functions does.
trait Kernel: Debug + Eq + Hash + Send + Sync + 'static {
    /// As plans show it.
    fn name(&self) -> &'static str;

    /// The type of the result.
    fn returns(&self, arguments: &[DataType]) -> Result<DataType>;

    /// The result: a column, or one value where all arguments are one value.
    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue>;
}

/// A [`Kernel`] as DataFusion wants it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Udf<K> {
    kernel: K,
    signature: Signature,
}

impl<K: Kernel> ScalarUDFImpl for Udf<K> {
    fn name(&self) -> &str {
        self.kernel.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.kernel.returns(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.kernel.evaluate(&arguments.args)
    }
}

/// The function, to be shared by all its calls.
fn udf<K: Kernel>(kernel: K) -> Arc<ScalarUDF> {
    let signature = Signature::variadic_any(Volatility::Immutable);
    Arc::new(ScalarUDF::from(Udf { kernel, signature }))
}

fn call(function: &Arc<ScalarUDF>, arguments: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(function), arguments))
}

/// The text of a literal, also where the caller has put a cast around it.
fn literal_text(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        Expr::Cast(cast) => literal_text(&cast.expr),
        Expr::TryCast(cast) => literal_text(&cast.expr),
        Expr::Alias(alias) => literal_text(&alias.expr),
        _ => None,
    }
}

fn column(array: impl Array + 'static) -> ColumnarValue {
    ColumnarValue::Array(Arc::new(array))
}

fn null(data_type: &DataType) -> Result<ColumnarValue> {
    Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(data_type)?))
}

/// The arguments as columns of one length; one value each where none of them is a column.
fn columns<const N: usize>(arguments: &[ColumnarValue]) -> Result<[ArrayRef; N]> {
    ColumnarValue::values_to_arrays(arguments)?
        .try_into()
        .map_err(|arrays: Vec<_>| internal(&format!("{N} arguments expected, got {}", arrays.len())))
}

/// A column of text.
fn strings(array: &ArrayRef) -> Result<StringViewArray> {
    if let Some(strings) = array.as_string_view_opt() {
        return Ok(strings.clone());
    }
    let array = cast(array, &DataType::Utf8View)?;
    array.as_string_view_opt().cloned().ok_or_else(|| internal("text expected"))
}

/// A column of numbers, dates or timestamps.
fn primitives<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<PrimitiveArray<T>> {
    if let Some(values) = array.as_primitive_opt::<T>() {
        return Ok(values.clone());
    }
    let array = cast(array, &T::DATA_TYPE)?;
    array.as_primitive_opt::<T>().cloned().ok_or_else(|| internal("another type expected"))
}

/// An argument that is one value for all rows, or a column.
enum Operand<T: ArrowPrimitiveType> {
    One(Option<T::Native>),
    Many(PrimitiveArray<T>),
}

impl<T: ArrowPrimitiveType> Operand<T> {
    fn new(argument: &ColumnarValue) -> Result<Self> {
        Ok(match argument {
            ColumnarValue::Array(array) => Self::Many(primitives(array)?),
            ColumnarValue::Scalar(value) => {
                let values = primitives::<T>(&value.to_array()?)?;
                Self::One(values.iter().next().flatten())
            }
        })
    }

    fn at(&self, row: usize) -> Option<T::Native> {
        match self {
            Self::One(value) => *value,
            Self::Many(values) if row < values.len() && values.is_valid(row) => Some(values.value(row)),
            Self::Many(_) => None,
        }
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

/// The end of the list that was written last.
fn offset(length: usize) -> Result<i32> {
    i32::try_from(length)
        .map_err(|_| DataFusionError::Execution("the lists of one batch have more than 2147483647 elements".to_owned()))
}

/// A mistake of the program, not of the user.
fn internal(message: &str) -> DataFusionError {
    DataFusionError::Internal(message.to_owned())
}

/// For the tests of the families.
#[cfg(test)]
mod testing {
    use super::*;

    /// What the kernel gives for these arguments, as a column.
    pub(super) fn evaluate<K: Kernel>(kernel: &K, arguments: &[ColumnarValue]) -> ArrayRef {
        let types: Vec<DataType> = arguments.iter().map(ColumnarValue::data_type).collect();
        let result = kernel.evaluate(arguments).unwrap();
        assert_eq!(result.data_type(), kernel.returns(&types).unwrap(), "{}", kernel.name());
        result.into_array(1).unwrap()
    }

    /// A column of text.
    pub(super) fn texts(values: &[Option<&str>]) -> ColumnarValue {
        column(values.iter().copied().collect::<StringViewArray>())
    }

    /// One text for all rows.
    pub(super) fn text(value: &str) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Utf8View(Some(value.to_owned())))
    }
}
