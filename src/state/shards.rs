//! A table in as many pieces as there are threads: a key's hash says in which piece it is.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::columns::Pair;
use super::table::{KeyRows, Keys, Table, schema};
use super::{Part, StateError};

/// Fewer rows are not worth a second thread.
const SMALL_ROWS: usize = 8_192;

/// What the pieces share.
#[derive(Debug)]
pub(super) struct Layout {
    pub keys: Keys,
    pub parts: Vec<Part>,
    /// The columns of keys and parts.
    pub schema: SchemaRef,
}

impl Layout {
    pub(super) fn new(keys: Vec<Field>, parts: Vec<Part>) -> Result<Self, StateError> {
        let schema = schema(&keys, &parts);
        Ok(Self { keys: Keys::new(keys)?, parts, schema })
    }
}

/// Rows whose first columns are the key, with their keys' bytes and hashes.
pub(super) struct Hashed {
    pub batch: RecordBatch,
    pub keys: KeyRows,
    hashes: Vec<u64>,
}

impl Hashed {
    pub(super) fn new(layout: &Layout, batch: RecordBatch) -> Result<Self, StateError> {
        let keys = layout.keys.encode(batch.columns())?;
        let hashes = (0..batch.num_rows()).map(|row| layout.keys.hash(keys.get(row))).collect();
        Ok(Self { batch, keys, hashes })
    }

    pub(super) fn hash(&self, row: u32) -> u64 {
        self.hashes.get(row as usize).copied().unwrap_or(0)
    }

    /// The columns after the key.
    pub(super) fn values(&self, layout: &Layout) -> &[ArrayRef] {
        self.batch.columns().get(layout.keys.fields.len()..).unwrap_or_default()
    }
}

/// One piece, with what its owner keeps beside the table.
#[derive(Debug)]
pub(super) struct Shard<T> {
    pub table: Table,
    pub beside: T,
    index: usize,
    count: usize,
}

impl<T> Shard<T> {
    /// The rows of a batch that belong here, in order.
    pub(super) fn rows<'a>(&self, hashed: &'a Hashed) -> impl Iterator<Item = u32> + use<'a, T> {
        let (index, count) = (self.index, self.count);
        let rows = (0_u32..).zip(&hashed.hashes);
        rows.filter(move |(_, hash)| shard_of(**hash, count) == index).map(|(row, _)| row)
    }

    /// The slots of the rows that belong here; `on_key` hears of each, and whether its key is new.
    pub(super) fn intern(
        &mut self,
        hashed: &Hashed,
        mut on_key: impl FnMut(&mut T, u32, bool),
    ) -> Result<Vec<Pair>, StateError> {
        let mut pairs = Vec::with_capacity(hashed.hashes.len() / self.count + 1);
        for row in self.rows(hashed) {
            let (slot, new) = self.table.intern(hashed.hash(row), hashed.keys.get(row as usize))?;
            on_key(&mut self.beside, slot, new);
            pairs.push((row, slot));
        }
        self.table.settle();
        Ok(pairs)
    }
}

/// Bits of the hash that the table itself does not look at first.
fn shard_of(hash: u64, count: usize) -> usize {
    ((hash >> 32) as usize) % count.max(1)
}

/// All pieces of a table.
#[derive(Debug)]
pub(super) struct Shards<T> {
    pub layout: Arc<Layout>,
    pub shards: Vec<Shard<T>>,
}

impl<T: Default + Send> Shards<T> {
    pub(super) fn new(layout: Arc<Layout>, count: usize) -> Result<Self, StateError> {
        let count = count.max(1);
        let shard = |index| {
            Ok::<_, StateError>(Shard { table: Table::new(&layout.parts)?, beside: T::default(), index, count })
        };
        let shards = (0..count).map(shard).collect::<Result<_, _>>()?;
        Ok(Self { layout, shards })
    }

    /// Encodes and hashes the keys of batches, side by side where there are many.
    pub(super) fn hashed(&self, batches: Vec<RecordBatch>) -> Result<Vec<Hashed>, StateError> {
        let batches: Vec<RecordBatch> = batches.into_iter().filter(|batch| batch.num_rows() > 0).collect();
        let layout = &self.layout;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows < SMALL_ROWS || self.shards.len() == 1 {
            return batches.into_iter().map(|batch| Hashed::new(layout, batch)).collect();
        }
        // Whole batches, about as many for each thread.
        let share = batches.len().div_ceil(self.shards.len()).max(1);
        let shares: Vec<Vec<RecordBatch>> = batches.chunks(share).map(<[RecordBatch]>::to_vec).collect();
        let hashed = side_by_side(shares, |share| {
            share.into_iter().map(|batch| Hashed::new(layout, batch)).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(hashed.into_iter().flatten().collect())
    }

    /// Runs `work` on every piece, side by side where there is enough to do, and gives the results in
    /// the order of the pieces.
    pub(super) fn each<R: Send>(
        &mut self,
        rows: usize,
        work: impl Fn(&Layout, &mut Shard<T>) -> Result<R, StateError> + Sync,
    ) -> Result<Vec<R>, StateError> {
        let layout = &self.layout;
        if rows < SMALL_ROWS || self.shards.len() == 1 {
            return self.shards.iter_mut().map(|shard| work(layout, shard)).collect();
        }
        side_by_side(self.shards.iter_mut().collect(), |shard| work(layout, shard))
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.table.len()).sum()
    }

    /// About how much memory the tables take.
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.table.bytes()).sum()
    }
}

/// Runs `work` on each item on a thread of its own; the results in the order of the items.
fn side_by_side<I: Send, R: Send>(
    items: Vec<I>,
    work: impl Fn(I) -> Result<R, StateError> + Sync,
) -> Result<Vec<R>, StateError> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items.into_iter().map(|item| scope.spawn(move || work(item))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<R, StateError>>| {
            thread.join().unwrap_or_else(|_| Err(StateError::internal("a thread of the state ended early")))
        };
        threads.into_iter().map(join).collect()
    })
}
