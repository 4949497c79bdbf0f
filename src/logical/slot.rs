//! A slot: the leaf of a plan whose rows change from batch to batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use crate::formats::Decoded;
use crate::sources::{Block, SourceError};
use crate::spec::OnError;
use crate::transforms::operator::{Named, RunContext};

/// Less than this is not worth a second thread.
const SMALL_BATCH_BYTES: u64 = 64 << 10;

/// Holds a batch's blocks, shared out to partitions.
pub struct Slot {
    name: String,
    schema: SchemaRef,
    on_error: OnError,
    run: Arc<RunContext>,
    partitions: Mutex<Vec<Vec<Block>>>,
    rows: AtomicU64,
    decode_nanos: AtomicU64,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot({})", self.name)
    }
}

impl Slot {
    /// An empty slot for rows of these columns.
    #[must_use]
    pub fn new(name: &str, schema: SchemaRef, partitions: usize, on_error: OnError, run: Arc<RunContext>) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            schema,
            on_error,
            run,
            partitions: Mutex::new(vec![Vec::new(); partitions.max(1)]),
            rows: AtomicU64::new(0),
            decode_nanos: AtomicU64::new(0),
        })
    }

    /// The source or stream whose rows it holds.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts a batch's blocks in. Each partition gets a run of neighbours of about the same weight,
    /// so that the rows of partition 0, 1, ... one after the other are in the order of arrival.
    pub fn fill(&self, blocks: Vec<Block>) {
        let total: u64 = blocks.iter().map(|block| block.weight).sum();
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        let count = if total <= SMALL_BATCH_BYTES { 1 } else { partitions.len() as u64 };
        partitions.iter_mut().for_each(Vec::clear);
        let mut before = 0;
        for block in blocks {
            // The partition in which the block's middle falls.
            let middle = before + block.weight / 2;
            let index = (middle * count / total.max(1)).min(count - 1);
            before += block.weight;
            if let Some(partition) = partitions.get_mut(index as usize) {
                partition.push(block);
            }
        }
        self.rows.store(0, Ordering::Relaxed);
        self.decode_nanos.store(0, Ordering::Relaxed);
    }

    /// Lets go of the batch's blocks.
    pub fn clear(&self) {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.iter_mut().for_each(Vec::clear);
    }

    /// How many rows have been read since the slot was filled.
    #[must_use]
    pub fn rows_read(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// How long decoding took since the slot was filled, added up over the threads.
    #[must_use]
    pub fn decode_nanos(&self) -> u64 {
        self.decode_nanos.load(Ordering::Relaxed)
    }

    fn partition(&self, index: usize) -> Vec<Block> {
        let partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        partitions.get(index).cloned().unwrap_or_default()
    }

    fn accept(&self, decoded: Result<Decoded, SourceError>) -> Result<Vec<RecordBatch>> {
        let decoded = decoded.map_err(|error| Named::error(format!("source `{}`: {error}", self.name)))?;
        let rows = decoded.batches.iter().map(|batch| batch.num_rows() as u64).sum();
        self.rows.fetch_add(rows, Ordering::Relaxed);
        let kept = self.run.bad_rows(&self.name, self.on_error, &decoded.bad_rows);
        kept.map_err(|message| Named::error(format!("source {message}")))?;
        Ok(decoded.batches)
    }
}

/// The slot as a table of a plan.
#[derive(Debug)]
pub struct SlotTable(pub Arc<Slot>);

#[async_trait]
impl TableProvider for SlotTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.0.schema.fields().len()).collect());
        let schema = Arc::new(self.0.schema.project(&columns)?);
        let count = self.0.partitions.lock().unwrap_or_else(PoisonError::into_inner).len();
        let partitions = (0..count).map(|index| {
            let stream = SlotPartition {
                slot: Arc::clone(&self.0),
                index,
                columns: columns.clone(),
                schema: Arc::clone(&schema),
            };
            Arc::new(stream) as Arc<dyn PartitionStream>
        });
        let exec = StreamingTableExec::try_new(Arc::clone(&schema), partitions.collect(), None, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// One partition of a slot, with the columns that the plan needs.
#[derive(Debug)]
struct SlotPartition {
    slot: Arc<Slot>,
    index: usize,
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl PartitionStream for SlotPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let slot = Arc::clone(&self.slot);
        let batches = Batches {
            blocks: slot.partition(self.index).into_iter(),
            slot,
            columns: self.columns.clone(),
            pieces: None,
            ready: Vec::new().into_iter(),
            failed: false,
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(batches)))
    }
}

/// Opens block after block, piece after piece.
struct Batches {
    slot: Arc<Slot>,
    columns: Vec<usize>,
    blocks: std::vec::IntoIter<Block>,
    pieces: Option<crate::sources::block::Pieces>,
    ready: std::vec::IntoIter<RecordBatch>,
    failed: bool,
}

impl Batches {
    /// More batches, or `None` at the end.
    fn refill(&mut self) -> Option<Result<Vec<RecordBatch>>> {
        loop {
            if let Some(decoded) = self.pieces.as_mut().and_then(Iterator::next) {
                return Some(self.slot.accept(decoded));
            }
            let block = self.blocks.next()?;
            match block.content.open(&self.columns) {
                Ok(pieces) => self.pieces = Some(pieces),
                Err(error) => return Some(self.slot.accept(Err(error))),
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.ready.next() {
                return Some(Ok(batch));
            }
            if self.failed {
                return None;
            }
            let start = Instant::now();
            let refilled = self.refill();
            self.slot.decode_nanos.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
            match refilled? {
                Ok(batches) => self.ready = batches.into_iter(),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
