//! Lists and maps.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int32Array, ListArray, MapArray, NullBufferBuilder, StructArray,
    UInt32Array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF};

use super::{Kernel, call, column, columns, list_of, offset, primitives, udf};

/// A longer sequence is surely a mistake, and would not fit into memory for many rows.
const LONGEST_SEQUENCE: i128 = 1_000_000;

static SIZE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Lists::Size));
static ELEMENT_AT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Lists::ElementAt));
static SLICE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Lists::Slice));
static SEQUENCE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Lists::Sequence));
static MAP: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Lists::Map));
static PERCENTILE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Lists::Percentile));

/// How many elements a list has.
#[must_use]
pub fn size(list: Expr) -> Expr {
    call(&SIZE, vec![list])
}

/// The element at a position counted from 1, or from the end if it is negative.
#[must_use]
pub fn element_at(list: Expr, position: Expr) -> Expr {
    call(&ELEMENT_AT, vec![list, position])
}

/// So many elements from a position on.
#[must_use]
pub fn slice(list: Expr, start: Expr, length: Expr) -> Expr {
    call(&SLICE, vec![list, start, length])
}

/// The whole numbers from one to another, both included.
#[must_use]
pub fn sequence(start: Expr, stop: Expr) -> Expr {
    call(&SEQUENCE, vec![start, stop])
}

/// A map of a list of keys and a list of values.
#[must_use]
pub fn map(keys: Expr, values: Expr) -> Expr {
    call(&MAP, vec![keys, values])
}

/// The value that a fraction of a list's numbers does not exceed, as the aggregate `percentile` has it.
#[must_use]
pub fn list_percentile(list: Expr, fraction: Expr) -> Expr {
    call(&PERCENTILE, vec![list, fraction])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lists {
    Size,
    ElementAt,
    Slice,
    Sequence,
    Map,
    Percentile,
}

impl Kernel for Lists {
    fn name(&self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::ElementAt => "element_at",
            Self::Slice => "slice",
            Self::Sequence => "sequence",
            Self::Map => "map_of_lists",
            Self::Percentile => "list_percentile",
        }
    }

    fn returns(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(match (self, arguments) {
            (Self::Size, _) => DataType::Int32,
            (Self::Percentile, _) => DataType::Float64,
            (Self::Sequence, _) => list_of(DataType::Int64),
            (Self::ElementAt | Self::Slice, [DataType::Null, ..]) => DataType::Null,
            (Self::ElementAt, [DataType::List(field), ..]) => field.data_type().clone(),
            (Self::Slice, [list @ DataType::List(_), ..]) => list.clone(),
            (Self::Map, [DataType::List(keys), DataType::List(values)]) => {
                map_type(keys.data_type().clone(), values.data_type().clone())
            }
            (Self::Map, [DataType::Null, _] | [_, DataType::Null]) => DataType::Null,
            _ => return Err(DataFusionError::Plan(format!("{} takes lists", self.name()))),
        })
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let types: Vec<DataType> = arguments.iter().map(ColumnarValue::data_type).collect();
        let result = self.returns(&types)?;
        if let Some(rows) = rows_of_null_list(self, arguments)? {
            return Ok(ColumnarValue::Array(new_null_array(&result, rows)));
        }
        match self {
            Self::Size => {
                let [lists] = columns(arguments)?;
                let sizes = ranges(list(&lists)?).map(|range| i32::try_from(range?.1).ok());
                Ok(column(sizes.collect::<Int32Array>()))
            }
            Self::ElementAt => {
                let [lists, positions] = columns(arguments)?;
                let (lists, positions) = (list(&lists)?, primitives::<Int64Type>(&positions)?);
                let indices = ranges(lists).zip(positions.iter()).map(|(range, position)| {
                    let (start, length) = range?;
                    let index = from_start(position?, length)?;
                    (0..length).contains(&index).then(|| u32::try_from(start + index).ok()).flatten()
                });
                let indices: UInt32Array = indices.collect();
                Ok(ColumnarValue::Array(take(lists.values(), &indices, None)?))
            }
            Self::Slice => {
                let [lists, starts, lengths] = columns(arguments)?;
                let starts = primitives::<Int64Type>(&starts)?;
                let lengths = primitives::<Int64Type>(&lengths)?;
                let wanted = starts.iter().zip(lengths.iter()).map(|(start, length)| Some((start?, length?)));
                Ok(column(sliced(list(&lists)?, wanted)?))
            }
            Self::Sequence => {
                let [starts, stops] = columns(arguments)?;
                let (starts, stops) = (primitives::<Int64Type>(&starts)?, primitives::<Int64Type>(&stops)?);
                let bounds = starts.iter().zip(stops.iter()).map(|(start, stop)| Some((start?, stop?)));
                Ok(column(sequences(bounds)?))
            }
            Self::Map => {
                let [keys, values] = columns(arguments)?;
                Ok(column(map_of(list(&keys)?, list(&values)?)?))
            }
            Self::Percentile => {
                let [lists, fractions] = columns(arguments)?;
                let (lists, fractions) = (list(&lists)?, primitives::<Float64Type>(&fractions)?);
                let percentiles = lists.iter().zip(fractions.iter()).map(|(numbers, fraction)| {
                    let numbers = primitives::<Float64Type>(&numbers?).ok()?;
                    percentile(numbers.iter().flatten().collect(), fraction?)
                });
                Ok(column(percentiles.collect::<Float64Array>()))
            }
        }
    }
}

/// The literal NULL has no element type, so it needs a way of its own.
fn rows_of_null_list(function: &Lists, arguments: &[ColumnarValue]) -> Result<Option<usize>> {
    let lists = match function {
        Lists::Sequence => 0,
        Lists::Map => 2,
        Lists::Size | Lists::ElementAt | Lists::Slice | Lists::Percentile => 1,
    };
    if !arguments.iter().take(lists).any(|argument| argument.data_type().is_null()) {
        return Ok(None);
    }
    let arrays = ColumnarValue::values_to_arrays(arguments)?;
    Ok(arrays.first().map(|array| array.len()))
}

fn list(array: &ArrayRef) -> Result<&ListArray> {
    array.as_list_opt::<i32>().ok_or_else(|| DataFusionError::Plan(format!("list expected, not {}", array.data_type())))
}

/// Between two numbers it is interpolated.
fn percentile(mut numbers: Vec<f64>, fraction: f64) -> Option<f64> {
    numbers.sort_unstable_by(f64::total_cmp);
    let place = fraction.clamp(0.0, 1.0) * (numbers.len().checked_sub(1)? as f64);
    // Not negative, and no more than there are numbers.
    let (below, above) = (numbers.get(place.floor() as usize)?, numbers.get(place.ceil() as usize)?);
    Some(if below == above { *below } else { below + (above - below) * place.fract() })
}

/// Where each list begins in the values, and its length; `None` for NULL.
fn ranges(lists: &ListArray) -> impl Iterator<Item = Option<(i64, i64)>> {
    lists.value_offsets().windows(2).enumerate().map(move |(row, window)| match window {
        [start, end] if lists.is_valid(row) => Some((i64::from(*start), i64::from(*end) - i64::from(*start))),
        _ => None,
    })
}

/// A position counted from 1 or from the end, counted from 0. It may lie outside of the list.
fn from_start(position: i64, length: i64) -> Option<i64> {
    match position {
        0 => None,
        1.. => position.checked_sub(1),
        _ => position.checked_add(length),
    }
}

fn sliced(lists: &ListArray, wanted: impl Iterator<Item = Option<(i64, i64)>>) -> Result<ListArray> {
    let mut indices: Vec<u32> = Vec::new();
    let mut offsets = vec![0];
    let mut nulls = NullBufferBuilder::new(lists.len());
    for (range, wanted) in ranges(lists).zip(wanted) {
        let slice = range.zip(wanted).and_then(|((first, size), (start, length))| {
            let start = from_start(start, size)?;
            let end = (length >= 0).then(|| start.saturating_add(length))?;
            let (start, end) = (start.clamp(0, size), end.clamp(0, size));
            Some((u32::try_from(first + start).ok()?, u32::try_from(first + end).ok()?))
        });
        if let Some((start, end)) = slice {
            indices.extend(start..end);
        }
        nulls.append(slice.is_some());
        offsets.push(offset(indices.len())?);
    }
    let DataType::List(field) = lists.data_type() else {
        return Err(DataFusionError::Internal("list expected".to_owned()));
    };
    let values = take(lists.values(), &UInt32Array::from(indices), None)?;
    Ok(ListArray::try_new(Arc::clone(field), OffsetBuffer::new(offsets.into()), values, nulls.finish())?)
}

fn sequences(bounds: impl Iterator<Item = Option<(i64, i64)>>) -> Result<ListArray> {
    let mut values: Vec<i64> = Vec::new();
    let mut offsets = vec![0];
    let mut nulls = NullBufferBuilder::new(0);
    for bounds in bounds {
        let bounds = bounds.filter(|(start, stop)| (i128::from(*stop) - i128::from(*start)).abs() < LONGEST_SEQUENCE);
        match bounds {
            Some((start, stop)) if start <= stop => values.extend(start..=stop),
            Some((start, stop)) => values.extend((stop..=start).rev()),
            None => {}
        }
        nulls.append(bounds.is_some());
        offsets.push(offset(values.len())?);
    }
    let field = Arc::new(Field::new_list_field(DataType::Int64, true));
    let values = arrow::array::Int64Array::from(values);
    Ok(ListArray::try_new(field, OffsetBuffer::new(offsets.into()), Arc::new(values), nulls.finish())?)
}

fn map_fields(key: DataType, value: DataType) -> Fields {
    Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)])
}

fn map_type(key: DataType, value: DataType) -> DataType {
    let entries = DataType::Struct(map_fields(key, value));
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

/// Of a key that occurs more than once the last value counts; a NULL is no key.
fn map_of(keys: &ListArray, values: &ListArray) -> Result<MapArray> {
    let converter = RowConverter::new(vec![SortField::new(keys.value_type())])?;
    let rows = converter.convert_columns(&[Arc::clone(keys.values())])?;
    let mut key_indices: Vec<u32> = Vec::new();
    let mut value_indices: Vec<u32> = Vec::new();
    let mut offsets = vec![0];
    let mut nulls = NullBufferBuilder::new(keys.len());
    let mut places = HashMap::new();
    for (key_range, value_range) in ranges(keys).zip(ranges(values)) {
        let same_length = key_range.zip(value_range).filter(|(keys, values)| keys.1 == values.1);
        nulls.append(same_length.is_some());
        places.clear();
        if let Some(((first_key, length), (first_value, _))) = same_length {
            for index in 0..length {
                let (Ok(key), Ok(value)) = (u32::try_from(first_key + index), u32::try_from(first_value + index))
                else {
                    continue;
                };
                if keys.values().is_null(key as usize) {
                    continue;
                }
                let place = *places.entry(rows.row(key as usize)).or_insert(key_indices.len());
                match value_indices.get_mut(place) {
                    Some(known) => *known = value,
                    None => {
                        key_indices.push(key);
                        value_indices.push(value);
                    }
                }
            }
        }
        offsets.push(offset(key_indices.len())?);
    }
    let fields = map_fields(keys.value_type(), values.value_type());
    let keys = take(keys.values(), &UInt32Array::from(key_indices), None)?;
    let values = take(values.values(), &UInt32Array::from(value_indices), None)?;
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    Ok(MapArray::try_new(field, OffsetBuffer::new(offsets.into()), entries, nulls.finish(), false)?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use datafusion::common::ScalarValue;

    use super::super::testing::evaluate;
    use super::*;

    fn lists() -> ListArray {
        let lists = [Some(vec![Some(9)]), Some(vec![Some(1), None, Some(3)]), Some(vec![]), None];
        ListArray::from_iter_primitive::<Int64Type, _, _>(lists).slice(1, 3)
    }

    fn long(value: i64) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::Int64(Some(value)))
    }

    fn rows(lists: &ArrayRef) -> Vec<Option<Vec<Option<i64>>>> {
        lists
            .as_list::<i32>()
            .iter()
            .map(|row| row.map(|row| row.as_primitive::<Int64Type>().iter().collect()))
            .collect()
    }

    #[test]
    fn elements() {
        let at = |position| -> Vec<Option<i64>> {
            evaluate(&Lists::ElementAt, &[column(lists()), long(position)]).as_primitive::<Int64Type>().iter().collect()
        };
        assert_eq!(at(1), [Some(1), None, None]);
        assert_eq!(at(-1), [Some(3), None, None]);
        assert_eq!(at(0), [None; 3]);
        assert_eq!(at(4), [None; 3]);
        assert_eq!(at(i64::MIN), [None; 3]);
        let sizes = evaluate(&Lists::Size, &[column(lists())]);
        let sizes: Vec<_> = sizes.as_primitive::<arrow::datatypes::Int32Type>().iter().collect();
        assert_eq!(sizes, [Some(3), Some(0), None]);
    }

    #[test]
    fn slices() {
        let slice = |start, length| rows(&evaluate(&Lists::Slice, &[column(lists()), long(start), long(length)]));
        assert_eq!(slice(1, 2), [Some(vec![Some(1), None]), Some(vec![]), None]);
        assert_eq!(slice(-2, 9), [Some(vec![None, Some(3)]), Some(vec![]), None]);
        assert_eq!(slice(3, i64::MAX), [Some(vec![Some(3)]), Some(vec![]), None]);
        assert_eq!(slice(0, 1), [None, None, None]);
        assert_eq!(slice(1, -1), [None, None, None]);
    }

    #[test]
    fn whole_numbers() {
        let between = |start, stop| rows(&evaluate(&Lists::Sequence, &[long(start), long(stop)])).remove(0);
        assert_eq!(between(1, 3), Some(vec![Some(1), Some(2), Some(3)]));
        assert_eq!(between(3, 2), Some(vec![Some(3), Some(2)]));
        assert_eq!(between(i64::MIN, i64::MAX), None);
    }

    #[test]
    fn maps_keep_the_last_value() {
        let words = [Some("a"), Some("b"), Some("a"), None].into_iter().collect::<StringViewArray>();
        let field = Arc::new(Field::new_list_field(DataType::Utf8View, true));
        let keys = ListArray::new(field, OffsetBuffer::from_lengths([4]), Arc::new(words), None);
        let values = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([1, 2, 3, 4].map(Some))]);
        let maps = evaluate(&Lists::Map, &[column(keys), column(values)]);
        let map = maps.as_map();
        assert_eq!(map.keys().as_string_view().iter().collect::<Vec<_>>(), [Some("a"), Some("b")]);
        assert_eq!(map.values().as_primitive::<Int64Type>(), &Int64Array::from(vec![3, 2]));
    }
}
