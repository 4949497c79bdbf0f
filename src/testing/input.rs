//! The sources and sinks of a test: in memory.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;

use crate::formats::{Decode, Decoded};
use crate::sinks::{self, Partition, Sink, SinkError, each_partition};
use crate::sources::block::Pieces;
use crate::sources::{Block, Limit, Offset, ReadBlock, Source, SourceError};

/// A source that has one batch after the other ready. An offset is how many it has handed out.
pub(super) struct Scripted {
    batches: Vec<Vec<Block>>,
    done: u64,
}

impl Scripted {
    /// With the blocks of every batch, in order, of which so many are done.
    pub(super) fn new(batches: Vec<Vec<Block>>, done: u64) -> Self {
        Self { batches, done }
    }
}

#[async_trait]
impl Source for Scripted {
    fn start(&self) -> Offset {
        Offset::from(self.done)
    }

    async fn latest(&mut self, _: Limit) -> Result<Offset, SourceError> {
        Ok(Offset::from(self.done + 1))
    }

    async fn read(&mut self, start: &Offset, end: &Offset) -> Result<Vec<Block>, SourceError> {
        let index = |offset: &Offset| offset.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0);
        let range = index(start)..index(end).min(self.batches.len());
        Ok(self.batches.get(range).unwrap_or_default().concat())
    }

    async fn commit(&mut self, end: &Offset) -> Result<(), SourceError> {
        self.done = end.as_u64().unwrap_or(self.done);
        Ok(())
    }
}

/// Raw lines as a block: what the source's format makes of them, with NULL in the columns that the
/// source itself adds.
pub(super) fn lines(text: String, decoder: &Arc<dyn Decode>, schema: &SchemaRef) -> Block {
    let bytes = Bytes::from(text);
    let weight = bytes.len() as u64;
    Block { weight, content: Arc::new(Lines { bytes, decoder: Arc::clone(decoder), schema: Arc::clone(schema) }) }
}

struct Lines {
    bytes: Bytes,
    decoder: Arc<dyn Decode>,
    schema: SchemaRef,
}

impl ReadBlock for Lines {
    fn open(&self, columns: &[usize]) -> Result<Pieces, SourceError> {
        let internal = |error: ArrowError| SourceError::Lost(format!("internal error, please report it: {error}"));
        let Decoded { batches, bad_rows } = self.decoder.decode(self.bytes.clone())?;
        let schema = Arc::new(self.schema.project(columns).map_err(internal)?);
        let batches =
            batches.iter().map(|batch| fill_up(batch, &schema)).collect::<Result<_, _>>().map_err(internal)?;
        Ok(Box::new(std::iter::once(Ok(Decoded { batches, bad_rows }))))
    }
}

/// The columns of `schema` by name, NULL where the batch has none of that name.
fn fill_up(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let column = |field: &arrow::datatypes::FieldRef| -> ArrayRef {
        batch.column_by_name(field.name()).map_or_else(|| new_null_array(field.data_type(), rows), Arc::clone)
    };
    let columns = schema.fields().iter().map(column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// The rows that arrived at a sink in the batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Collected(Arc<Mutex<Vec<RecordBatch>>>);

impl Collected {
    /// Takes the rows out.
    pub(super) fn take(&self) -> Vec<RecordBatch> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A sink that keeps rows until they are taken, a batch's in the order of the partitions.
pub(super) struct Collecting(pub Collected);

#[async_trait]
impl Sink for Collecting {
    async fn write(&mut self, _: sinks::Batch, partitions: Vec<Partition>) -> Result<(), SinkError> {
        let collected = each_partition(partitions, |_, mut partition| async move {
            let mut batches = Vec::new();
            while let Some(batch) = partition.next().await {
                batches.push(batch?);
            }
            Ok(batches)
        })
        .await?;
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).extend(collected.concat());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;
    use crate::formats::InputFormat;
    use crate::schema::{Column, ColumnType};

    fn pieces(block: &Block, columns: &[usize]) -> Vec<RecordBatch> {
        block.content.open(columns).unwrap().flat_map(|piece| piece.unwrap().batches).collect()
    }

    #[test]
    fn columns_that_the_format_does_not_have_are_null() {
        let format = InputFormat::default();
        let mut schema = format.schema();
        schema.columns.push(Column::new("file", ColumnType::String));
        let block = lines("a\nb".to_owned(), &format.decoder().unwrap(), &schema.to_arrow());
        let batches = pieces(&block, &[0, 1]);
        assert_eq!(batches[0].num_rows(), 2);
        assert_eq!((batches[0].column(0).null_count(), batches[0].column(1).null_count()), (0, 2));
        assert_eq!(pieces(&block, &[1])[0].schema().field(0).name(), "file");
        let none = pieces(&block, &[]);
        assert_eq!((none[0].num_columns(), none[0].num_rows()), (0, 2));
    }

    #[tokio::test]
    async fn a_batch_is_handed_out_once() {
        let block = |weight| Block { weight, ..Block::decoded(Vec::new()) };
        let mut source = Scripted::new(vec![vec![block(1)], vec![], vec![block(2), block(3)]], 0);
        let mut offset = source.start();
        let mut weights = Vec::new();
        for _ in 0..4 {
            let end = source.latest(Limit { until: 0, rows: None }).await.unwrap();
            let blocks = source.read(&offset, &end).await.unwrap();
            weights.push(blocks.iter().map(|block| block.weight).collect::<Vec<_>>());
            source.commit(&end).await.unwrap();
            offset = end;
        }
        assert_eq!(weights, [vec![1], vec![], vec![2, 3], vec![]]);
    }
}
