//! Keys and their values in memory: a hash table from the key's bytes to a slot, and columns of values
//! by slot. What a batch costs follows the keys that it touches.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, new_empty_array};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::row::{RowConverter, SortField};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::columns::{Pair, Values};
use super::{Part, StateError};

/// About what a key takes besides its bytes and its values: its entry, hash and allocation.
const KEY_OVERHEAD: usize = 64;

/// Turns key columns into bytes and back. Without key columns all rows have one key.
#[derive(Debug)]
pub(super) struct Keys {
    pub fields: Vec<Field>,
    converter: Option<RowConverter>,
    hasher: DefaultHashBuilder,
}

impl Keys {
    pub(super) fn new(fields: Vec<Field>) -> Result<Self, StateError> {
        let sort_fields: Vec<SortField> = fields.iter().map(|it| SortField::new(it.data_type().clone())).collect();
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(sort_fields)?) };
        Ok(Self { fields, converter, hasher: DefaultHashBuilder::default() })
    }

    /// The keys of the rows whose first columns are the key.
    pub(super) fn encode(&self, columns: &[ArrayRef]) -> Result<KeyRows, StateError> {
        let Some(converter) = &self.converter else { return Ok(KeyRows { rows: None }) };
        let columns = columns.get(..self.fields.len());
        let columns = columns.ok_or_else(|| StateError::internal("key columns are missing"))?;
        let columns: Vec<ArrayRef> = columns.iter().map(one_zero).collect();
        Ok(KeyRows { rows: Some(converter.convert_columns(&columns)?) })
    }

    pub(super) fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, StateError> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        Ok(converter.convert_rows(keys.map(|key| parser.parse(key)))?)
    }

    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }
}

/// Numbers that are equal as one: there is one zero, and one NaN.
fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => Arc::new(
            column
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|number| if number.is_nan() { f64::NAN } else { number + 0.0 }),
        ),
        DataType::Float32 => Arc::new(
            column
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|number| if number.is_nan() { f32::NAN } else { number + 0.0 }),
        ),
        _ => Arc::clone(column),
    }
}

/// The keys of a batch of rows.
pub(super) struct KeyRows {
    rows: Option<arrow::row::Rows>,
}

impl KeyRows {
    pub(super) fn get(&self, row: usize) -> &[u8] {
        self.rows.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

/// A table of keys.
#[derive(Debug)]
pub(super) struct Table {
    slots: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    values: Vec<Values>,
    key_bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    hash: u64,
    key: Box<[u8]>,
    /// A free slot has none.
    used: bool,
}

impl Table {
    pub(super) fn new(parts: &[Part]) -> Result<Self, StateError> {
        let values = parts.iter().map(Values::new).collect::<Result<_, _>>()?;
        Ok(Self { slots: HashTable::new(), entries: Vec::new(), free: Vec::new(), values, key_bytes: 0 })
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.slots.find(hash, |slot| self.is_key(*slot, hash, key)).copied()
    }

    /// The hash is looked at first: the key is somewhere else in memory.
    fn is_key(&self, slot: u32, hash: u64, key: &[u8]) -> bool {
        self.entries.get(slot as usize).is_some_and(|entry| entry.hash == hash && entry.key.as_ref() == key)
    }

    /// The slot of a key, and whether the key is new. Call [`Table::settle`] before values are merged.
    pub(super) fn intern(&mut self, hash: u64, key: &[u8]) -> Result<(u32, bool), StateError> {
        if let Some(slot) = self.find(hash, key) {
            return Ok((slot, false));
        }
        let entry = Entry { hash, key: key.into(), used: true };
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(old) = self.entries.get_mut(slot as usize) {
                    *old = entry;
                }
                slot
            }
            None => {
                let slot = u32::try_from(self.entries.len()).map_err(|_| StateError::TooManyKeys)?;
                self.entries.push(entry);
                slot
            }
        };
        self.key_bytes += key.len();
        let entries = &self.entries;
        self.slots.insert_unique(hash, slot, |slot| entries.get(*slot as usize).map_or(0, |entry| entry.hash));
        Ok((slot, true))
    }

    /// Makes room for the values of new slots.
    pub(super) fn settle(&mut self) {
        let slots = self.entries.len();
        self.values.iter_mut().for_each(|values| values.resize(slots));
    }

    /// As if no values had been merged into the slot; its key stays.
    pub(super) fn reset(&mut self, slot: u32) {
        self.values.iter_mut().for_each(|values| values.reset(slot));
    }

    pub(super) fn is_used(&self, slot: u32) -> bool {
        self.entries.get(slot as usize).is_some_and(|entry| entry.used)
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let Some(entry) = self.entries.get_mut(slot as usize).filter(|entry| entry.used) else { return };
        let gone = std::mem::take(entry);
        if let Ok(found) = self.slots.find_entry(gone.hash, |other| *other == slot) {
            found.remove();
        }
        self.key_bytes -= gone.key.len();
        self.reset(slot);
        self.free.push(slot);
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.entries.clear();
        self.free.clear();
        self.key_bytes = 0;
        self.values.iter_mut().for_each(Values::clear);
    }

    pub(super) fn key(&self, slot: u32) -> &[u8] {
        self.entries.get(slot as usize).map_or(&[], |entry| entry.key.as_ref())
    }

    /// The slots in use, in ascending order.
    pub(super) fn used(&self) -> Vec<u32> {
        let slots = (0_u32..).zip(&self.entries);
        slots.filter(|(_, entry)| entry.used).map(|(slot, _)| slot).collect()
    }

    /// Merges rows into their slots; `columns` are those of all parts, one after the other.
    pub(super) fn merge(&mut self, pairs: &[Pair], columns: &[ArrayRef], parts: &[Part]) -> Result<(), StateError> {
        for (values, columns) in self.values.iter_mut().zip(split(columns, parts)) {
            values.merge(pairs, columns)?;
        }
        Ok(())
    }

    /// Merges rows into the part of that index.
    pub(super) fn merge_part(&mut self, part: usize, pairs: &[Pair], columns: &[ArrayRef]) -> Result<(), StateError> {
        self.values.get_mut(part).map_or(Ok(()), |values| values.merge(pairs, columns))
    }

    /// Takes rows out of the part of that index; false where digits were lost on the way.
    pub(super) fn subtract_part(
        &mut self,
        part: usize,
        pairs: &[Pair],
        columns: &[ArrayRef],
    ) -> Result<bool, StateError> {
        self.values.get_mut(part).map_or(Ok(true), |values| values.subtract(pairs, columns))
    }

    /// Replaces the values of the part of that index.
    pub(super) fn set(&mut self, part: usize, pairs: &[Pair], array: &ArrayRef) -> Result<(), StateError> {
        self.values.get_mut(part).map_or(Ok(()), |values| values.set(pairs, array))
    }

    /// The values that the part of that index has for slots.
    pub(super) fn part(&self, part: usize, slots: &[u32]) -> Result<Vec<ArrayRef>, StateError> {
        self.values.get(part).map_or(Ok(Vec::new()), |values| values.export(slots))
    }

    /// The values of slots, the columns of all parts one after the other.
    pub(super) fn values(&self, slots: &[u32]) -> Result<Vec<ArrayRef>, StateError> {
        let mut columns = Vec::new();
        for values in &self.values {
            columns.extend(values.export(slots)?);
        }
        Ok(columns)
    }

    /// Keys and values of slots.
    pub(super) fn export(&self, keys: &Keys, schema: &SchemaRef, slots: &[u32]) -> Result<RecordBatch, StateError> {
        let mut columns = if slots.is_empty() {
            keys.fields.iter().map(|field| new_empty_array(field.data_type())).collect()
        } else {
            keys.decode(slots.iter().map(|slot| self.key(*slot)))?
        };
        columns.extend(self.values(slots)?);
        let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let values: usize = self.values.iter().map(Values::bytes).sum();
        self.key_bytes + self.entries.capacity() * KEY_OVERHEAD + values
    }
}

/// The columns that keys and parts have when they are written down.
pub(super) fn schema(keys: &[Field], parts: &[Part]) -> SchemaRef {
    let parts = parts.iter().flat_map(|part| &part.columns);
    let columns = parts.map(|column| Field::new(&column.name, column.data_type.clone(), true));
    Arc::new(ArrowSchema::new(keys.iter().cloned().chain(columns).collect::<Vec<_>>()))
}

/// The columns of each part.
pub(super) fn split<'a>(mut columns: &'a [ArrayRef], parts: &'a [Part]) -> impl Iterator<Item = &'a [ArrayRef]> {
    parts.iter().map(move |part| {
        let (own, rest) = columns.split_at(part.columns.len().min(columns.len()));
        columns = rest;
        own
    })
}
