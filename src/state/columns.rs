//! The values of keyed state, one typed column per [`Part`], addressed by slot.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal256Array, Float64Array, Int64Array, ListArray, new_null_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Decimal256Type, Float64Type, Int64Type, i256};
use arrow::row::{RowConverter, SortField};

use super::{Merge, Part, StateError};

/// Where a row of the input goes: its index, and the slot of its key.
pub(super) type Pair = (u32, u32);

/// When what is left of a number after subtractions is less than this part of what it was at most, its last
/// digits are those of what is gone.
const CANCELLED: f64 = 1.0 / 1024.0;
/// A mean may be off by this part of what matters: itself, or how far values are from it.
const MEAN_ERROR: f64 = 1e-11;

/// The values of one part for all slots.
#[derive(Debug)]
pub(super) enum Values {
    Longs(Vec<i64>),
    Doubles(Vec<Double>),
    Decimals(Vec<i256>, DataType),
    Moments(Vec<Moments>),
    Single(Singles),
    List(Lists),
    Set(Sets),
}

impl Values {
    pub(super) fn new(part: &Part) -> Result<Self, StateError> {
        let first = part.columns.first().ok_or_else(|| StateError::internal("a part without columns"))?;
        Ok(match part.merge {
            Merge::Sum => match &first.data_type {
                DataType::Int64 => Self::Longs(Vec::new()),
                DataType::Float64 => Self::Doubles(Vec::new()),
                decimal @ DataType::Decimal256(..) => Self::Decimals(Vec::new(), decimal.clone()),
                other => return Err(StateError::internal(format!("a sum of {other}"))),
            },
            Merge::Moments => Self::Moments(Vec::new()),
            Merge::Min | Merge::Max | Merge::First | Merge::Last => Self::Single(Singles {
                rows: Rows::new(&first.data_type)?,
                merge: part.merge,
                values: Vec::new(),
                bytes: 0,
            }),
            Merge::Append => {
                let element = element(&first.data_type)?;
                Self::List(Lists { rows: Rows::new(element)?, values: Vec::new(), bytes: 0 })
            }
            Merge::Union => {
                let element = element(&first.data_type)?;
                Self::Set(Sets { rows: Rows::new(element)?, values: Vec::new(), bytes: 0 })
            }
        })
    }

    /// Room for so many slots.
    pub(super) fn resize(&mut self, slots: usize) {
        match self {
            Self::Longs(values) => values.resize(slots, 0),
            Self::Doubles(values) => values.resize(slots, Double::default()),
            Self::Decimals(values, _) => values.resize(slots, i256::ZERO),
            Self::Moments(values) => values.resize(slots, Moments::default()),
            Self::Single(singles) => singles.values.resize(slots, Box::default()),
            Self::List(lists) => lists.values.resize_with(slots, Vec::new),
            Self::Set(sets) => sets.values.resize_with(slots, HashSet::new),
        }
    }

    /// As if nothing had ever been merged.
    pub(super) fn clear(&mut self) {
        self.resize(0);
        match self {
            Self::Single(Singles { bytes, .. }) | Self::List(Lists { bytes, .. }) | Self::Set(Sets { bytes, .. }) => {
                *bytes = 0;
            }
            Self::Longs(_) | Self::Doubles(_) | Self::Decimals(..) | Self::Moments(_) => {}
        }
    }

    /// As if the slot had never been used.
    pub(super) fn reset(&mut self, slot: u32) {
        fn clear<T: Default>(values: &mut [T], slot: u32) -> T {
            values.get_mut(slot as usize).map(std::mem::take).unwrap_or_default()
        }
        match self {
            Self::Longs(values) => drop(clear(values, slot)),
            Self::Doubles(values) => drop(clear(values, slot)),
            Self::Decimals(values, _) => drop(clear(values, slot)),
            Self::Moments(values) => drop(clear(values, slot)),
            Self::Single(singles) => singles.bytes -= weight_of(&clear(&mut singles.values, slot)),
            Self::List(lists) => {
                let gone = clear(&mut lists.values, slot);
                lists.bytes -= gone.iter().map(|it| weight(it)).sum::<usize>();
            }
            Self::Set(sets) => {
                let gone = clear(&mut sets.values, slot);
                sets.bytes -= gone.iter().map(|it| weight(it)).sum::<usize>();
            }
        }
    }

    /// Merges rows into their slots, in order. NULL changes nothing, except for the first and the last
    /// value, which may be NULL.
    pub(super) fn merge(&mut self, pairs: &[Pair], arrays: &[ArrayRef]) -> Result<(), StateError> {
        let array = arrays.first().ok_or_else(|| StateError::internal("a part without columns"))?;
        match self {
            Self::Longs(values) => {
                let array = array.as_primitive::<Int64Type>();
                each_valid(array, pairs, values, |index, value| *value = value.wrapping_add(array.value(index)));
            }
            Self::Doubles(values) => {
                let array = array.as_primitive::<Float64Type>();
                each_valid(array, pairs, values, |index, value| value.add(array.value(index)));
            }
            Self::Decimals(values, _) => {
                let array = array.as_primitive::<Decimal256Type>();
                each_valid(array, pairs, values, |index, value| *value = value.wrapping_add(array.value(index)));
            }
            Self::Moments(values) => {
                let read = Moments::reader(arrays)?;
                each_valid(array, pairs, values, |index, value| value.add(read(index)));
            }
            Self::Single(singles) => singles.merge(pairs, array)?,
            Self::List(lists) => lists.merge(pairs, array)?,
            Self::Set(sets) => sets.merge(pairs, array)?,
        }
        Ok(())
    }

    /// Takes rows that were merged before out again. False where a result may have lost digits, so that
    /// it has to be computed anew.
    pub(super) fn subtract(&mut self, pairs: &[Pair], arrays: &[ArrayRef]) -> Result<bool, StateError> {
        let array = arrays.first().ok_or_else(|| StateError::internal("a part without columns"))?;
        let mut exact = true;
        match self {
            Self::Longs(values) => {
                let array = array.as_primitive::<Int64Type>();
                each_valid(array, pairs, values, |index, value| *value = value.wrapping_sub(array.value(index)));
            }
            Self::Doubles(values) => {
                let array = array.as_primitive::<Float64Type>();
                each_valid(array, pairs, values, |index, value| exact &= value.subtract(array.value(index)));
            }
            Self::Decimals(values, _) => {
                let array = array.as_primitive::<Decimal256Type>();
                each_valid(array, pairs, values, |index, value| *value = value.wrapping_sub(array.value(index)));
            }
            Self::Moments(values) => {
                let read = Moments::reader(arrays)?;
                each_valid(array, pairs, values, |index, value| exact &= value.subtract(read(index)));
            }
            Self::Single(_) | Self::List(_) | Self::Set(_) => {
                return Err(StateError::internal("nothing can be taken out of this aggregate"));
            }
        }
        Ok(exact)
    }

    /// Replaces the values of slots; for states that are computed by expressions.
    pub(super) fn set(&mut self, pairs: &[Pair], array: &ArrayRef) -> Result<(), StateError> {
        match self {
            Self::Single(singles) => singles.merge(pairs, array),
            _ => Err(StateError::internal("an aggregate cannot be replaced")),
        }
    }

    /// The values of slots, as they were merged: one array for each column of the part.
    pub(super) fn export(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, StateError> {
        fn gather<T: Copy + Default>(values: &[T], slots: &[u32]) -> impl Iterator<Item = T> {
            slots.iter().map(|slot| values.get(*slot as usize).copied().unwrap_or_default())
        }
        Ok(match self {
            Self::Longs(values) => vec![Arc::new(Int64Array::from_iter_values(gather(values, slots)))],
            Self::Doubles(values) => {
                let values = gather(values, slots).map(|double| double.value);
                vec![Arc::new(Float64Array::from_iter_values(values))]
            }
            Self::Decimals(values, data_type) => {
                let array = Decimal256Array::from_iter_values(gather(values, slots));
                vec![Arc::new(array.with_data_type(data_type.clone()))]
            }
            Self::Moments(values) => Moments::export(gather(values, slots)),
            Self::Single(singles) => vec![singles.export(slots)?],
            Self::List(lists) => {
                vec![
                    lists
                        .rows
                        .lists(slots.iter().map(|slot| lists.values.get(*slot as usize).into_iter().flatten()))?,
                ]
            }
            Self::Set(sets) => {
                let mut sorted = Vec::with_capacity(slots.len());
                for slot in slots {
                    let mut set: Vec<&Box<[u8]>> = sets.values.get(*slot as usize).into_iter().flatten().collect();
                    // A set has no order; the same one is always written in the same way.
                    set.sort_unstable();
                    sorted.push(set);
                }
                vec![sets.rows.lists(sorted.iter().map(|set| set.iter().copied()))?]
            }
        })
    }

    /// About how much memory the values take.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Longs(values) => values.capacity() * size_of::<i64>(),
            Self::Doubles(values) => values.capacity() * size_of::<Double>(),
            Self::Decimals(values, _) => values.capacity() * size_of::<i256>(),
            Self::Moments(values) => values.capacity() * size_of::<Moments>(),
            Self::Single(singles) => singles.bytes + singles.values.capacity() * size_of::<Box<[u8]>>(),
            Self::List(lists) => lists.bytes + lists.values.capacity() * size_of::<Vec<Box<[u8]>>>(),
            Self::Set(sets) => sets.bytes + sets.values.capacity() * size_of::<HashSet<Box<[u8]>>>(),
        }
    }
}

/// Calls `apply` with each row that is not NULL, and its slot's value.
fn each_valid<T>(array: &dyn Array, pairs: &[Pair], values: &mut [T], mut apply: impl FnMut(usize, &mut T)) {
    let nulls = array.nulls();
    for (row, slot) in pairs {
        let row = *row as usize;
        if nulls.is_some_and(|nulls| nulls.is_null(row)) {
            continue;
        }
        if let Some(value) = values.get_mut(*slot as usize) {
            apply(row, value);
        }
    }
}

/// A sum that remembers how large it and what was added to it have been.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Double {
    value: f64,
    most: f64,
}

impl Double {
    fn add(&mut self, number: f64) {
        self.value += number;
        self.most = self.most.max(self.value.abs()).max(number.abs());
    }

    fn subtract(&mut self, number: f64) -> bool {
        self.value -= number;
        number == 0.0 || keeps_digits(self.most, self.value)
    }
}

fn keeps_digits(most: f64, rest: f64) -> bool {
    rest.is_finite() && most.is_finite() && rest.abs() >= most * CANCELLED
}

/// What a value takes that may not be set.
fn weight_of(bytes: &[u8]) -> usize {
    if bytes.is_empty() { 0 } else { bytes.len() + 16 }
}

/// About what an allocation takes besides its bytes.
fn weight(bytes: &[u8]) -> usize {
    bytes.len() + 16 + size_of::<Box<[u8]>>()
}

fn element(list: &DataType) -> Result<&DataType, StateError> {
    match list {
        DataType::List(field) => Ok(field.data_type()),
        other => Err(StateError::internal(format!("a list of {other}"))),
    }
}

/// Count, mean and variance (of the population) of numbers, which can be merged and taken apart
/// (Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    count: i64,
    mean: f64,
    /// The sum of the squares of the distances from the mean.
    squares: f64,
    /// How large both have been.
    most_mean: f64,
    most_squares: f64,
}

impl Moments {
    fn reader(arrays: &[ArrayRef]) -> Result<impl Fn(usize) -> Self, StateError> {
        let [counts, means, variances] = arrays else { return Err(StateError::internal("moments are three columns")) };
        let (counts, means) = (counts.as_primitive::<Int64Type>(), means.as_primitive::<Float64Type>());
        let variances = variances.as_primitive::<Float64Type>();
        Ok(move |index| {
            let count = counts.value(index);
            if count == 0 {
                return Self::default();
            }
            let (mean, squares) = (means.value(index), variances.value(index) * count as f64);
            Self { count, mean, squares, most_mean: mean.abs(), most_squares: squares }
        })
    }

    fn add(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other;
            return;
        }
        let count = self.count + other.count;
        let (own, others, all) = (self.count as f64, other.count as f64, count as f64);
        let distance = other.mean - self.mean;
        self.mean += distance * others / all;
        self.squares += other.squares + distance * distance * own * others / all;
        self.count = count;
        self.most_mean = self.most_mean.max(self.mean.abs()).max(other.mean.abs());
        self.most_squares = self.most_squares.max(self.squares);
    }

    fn subtract(&mut self, other: Self) -> bool {
        if other.count == 0 {
            return true;
        }
        let count = self.count - other.count;
        if count <= 0 {
            *self = Self::default();
            return true;
        }
        let (rest, others, all) = (count as f64, other.count as f64, self.count as f64);
        self.mean = (self.mean * all - other.mean * others) / rest;
        let distance = other.mean - self.mean;
        self.squares -= other.squares + distance * distance * rest * others / all;
        self.count = count;
        let exact = keeps_digits(self.most_squares, self.squares);
        self.squares = self.squares.max(0.0);
        let error = f64::EPSILON * self.most_mean * all / rest;
        let matters = self.mean.abs().max((self.squares / rest).sqrt());
        exact && error <= MEAN_ERROR * matters
    }

    fn export(moments: impl Iterator<Item = Self>) -> Vec<ArrayRef> {
        let moments: Vec<Self> = moments.collect();
        let counts = Int64Array::from_iter_values(moments.iter().map(|it| it.count));
        let some = |value: f64, count: i64| (count > 0).then_some(value);
        let means: Float64Array = moments.iter().map(|it| some(it.mean, it.count)).collect();
        let variances: Float64Array = moments.iter().map(|it| some(it.squares / it.count as f64, it.count)).collect();
        vec![Arc::new(counts), Arc::new(means), Arc::new(variances)]
    }
}

/// Turns values of any type into bytes and back; the bytes compare as the values do, NULL first.
#[derive(Debug)]
struct Rows {
    converter: RowConverter,
    data_type: DataType,
}

/// The first byte of a NULL's row, where NULL comes first.
const NULL_ROW: u8 = 0;

impl Rows {
    fn new(data_type: &DataType) -> Result<Self, StateError> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Self { converter, data_type: data_type.clone() })
    }

    fn encode(&self, array: &ArrayRef) -> Result<arrow::row::Rows, StateError> {
        Ok(self.converter.convert_columns(std::slice::from_ref(array))?)
    }

    fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<ArrayRef, StateError> {
        let parser = self.converter.parser();
        let mut arrays = self.converter.convert_rows(rows.map(|row| parser.parse(row)))?;
        arrays.pop().ok_or_else(|| StateError::internal("rows without a column"))
    }

    /// One list for each iterator; an empty one is NULL, as over no values at all.
    fn lists<'a, I>(&self, lists: impl Iterator<Item = I>) -> Result<ArrayRef, StateError>
    where
        I: Iterator<Item = &'a Box<[u8]>>,
    {
        let (mut elements, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
        for list in lists {
            let before = elements.len();
            elements.extend(list.map(|row| row.as_ref()));
            lengths.push(elements.len() - before);
            valid.push(elements.len() > before);
        }
        if i32::try_from(elements.len()).is_err() {
            return Err(StateError::TooManyValues);
        }
        let elements = self.decode(elements.into_iter())?;
        let field = Arc::new(arrow::datatypes::Field::new_list_field(self.data_type.clone(), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(field, offsets, elements, Some(NullBuffer::from(valid)))?))
    }
}

/// One value for each slot: the smallest, the greatest, the first or the last.
#[derive(Debug)]
pub(super) struct Singles {
    rows: Rows,
    merge: Merge,
    /// An empty one has not been set; also NULL has a byte.
    values: Vec<Box<[u8]>>,
    bytes: usize,
}

impl Singles {
    fn merge(&mut self, pairs: &[Pair], array: &ArrayRef) -> Result<(), StateError> {
        let rows = self.rows.encode(array)?;
        for (row, slot) in pairs {
            let (new, Some(value)) = (rows.row(*row as usize), self.values.get_mut(*slot as usize)) else { continue };
            let new = new.data();
            let is_null = new.first() == Some(&NULL_ROW);
            let unset = value.is_empty();
            let replace = match self.merge {
                Merge::First => unset,
                Merge::Min => unset || value.first() == Some(&NULL_ROW) || (!is_null && new < value.as_ref()),
                Merge::Max => unset || (!is_null && new > value.as_ref()),
                _ => true,
            };
            if !replace {
                continue;
            }
            if value.len() == new.len() {
                value.copy_from_slice(new);
            } else {
                self.bytes = self.bytes + weight_of(new) - weight_of(value);
                *value = new.into();
            }
        }
        Ok(())
    }

    fn export(&self, slots: &[u32]) -> Result<ArrayRef, StateError> {
        let null = self.rows.encode(&new_null_array(&self.rows.data_type, 1))?;
        let null = null.row(0);
        let value = |slot: &u32| {
            let value = self.values.get(*slot as usize).map_or(&[][..], |value| value.as_ref());
            if value.is_empty() { null.data() } else { value }
        };
        self.rows.decode(slots.iter().map(value))
    }
}

/// A list for each slot.
#[derive(Debug)]
pub(super) struct Lists {
    rows: Rows,
    values: Vec<Vec<Box<[u8]>>>,
    bytes: usize,
}

impl Lists {
    fn merge(&mut self, pairs: &[Pair], array: &ArrayRef) -> Result<(), StateError> {
        let bytes = &mut self.bytes;
        each_element(&self.rows, pairs, array, &mut self.values, |values, element| {
            *bytes += weight(element);
            values.push(element.into());
        })
    }
}

/// A set for each slot.
#[derive(Debug)]
pub(super) struct Sets {
    rows: Rows,
    values: Vec<HashSet<Box<[u8]>>>,
    bytes: usize,
}

impl Sets {
    fn merge(&mut self, pairs: &[Pair], array: &ArrayRef) -> Result<(), StateError> {
        let bytes = &mut self.bytes;
        each_element(&self.rows, pairs, array, &mut self.values, |values, element| {
            if !values.contains(element) {
                *bytes += weight(element);
                values.insert(element.into());
            }
        })
    }
}

/// Calls `apply` with each element of the lists, as a row, and its slot's value.
fn each_element<T>(
    rows: &Rows,
    pairs: &[Pair],
    lists: &ArrayRef,
    values: &mut [T],
    mut apply: impl FnMut(&mut T, &[u8]),
) -> Result<(), StateError> {
    let lists = lists.as_list::<i32>();
    let elements = rows.encode(lists.values())?;
    each_valid(lists, pairs, values, |index, value| {
        for element in range(lists, index) {
            apply(value, elements.row(element).data());
        }
    });
    Ok(())
}

/// Where the elements of a list are.
fn range(list: &ListArray, index: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    let at = |index: usize| offsets.get(index).map_or(0, |offset| usize::try_from(*offset).unwrap_or(0));
    at(index)..at(index + 1)
}
