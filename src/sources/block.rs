//! Blocks: the partitions of a batch before they are decoded.

use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::SourceError;
use crate::formats::{BadRows, Decode, Decoded};

/// An iterator over a block's decoded pieces.
pub type Pieces = Box<dyn Iterator<Item = Result<Decoded, SourceError>> + Send>;

/// A part of a batch that one worker decodes. It can be opened more than once.
#[derive(Clone)]
pub struct Block {
    /// How much there is to do, in bytes, for sharing blocks out evenly.
    pub weight: u64,
    /// The rows.
    pub content: Arc<dyn ReadBlock>,
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("weight", &self.weight).finish_non_exhaustive()
    }
}

/// The rows of a block.
pub trait ReadBlock: Send + Sync {
    /// Decodes the block piece by piece, on the calling thread. `columns` are the indices of the
    /// source's columns that are needed, in ascending order: each batch has just these.
    ///
    /// # Errors
    /// When the block cannot be opened.
    fn open(&self, columns: &[usize]) -> Result<Pieces, SourceError>;
}

impl Block {
    /// Raw bytes, whole records, that a decoder turns into rows.
    pub fn encoded(bytes: Bytes, decoder: &Arc<dyn Decode>) -> Self {
        let weight = bytes.len() as u64;
        Self { weight, content: Arc::new(Encoded { bytes, decoder: Arc::clone(decoder) }) }
    }

    /// Rows that are decoded already.
    #[must_use]
    pub fn decoded(batches: Vec<RecordBatch>) -> Self {
        let weight = batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum();
        Self { weight, content: Arc::new(Ready(Decoded { batches, bad_rows: BadRows::default() })) }
    }

    /// Rows of which it is known already that they cannot be decoded.
    #[must_use]
    pub fn bad(bad_rows: BadRows) -> Self {
        Self { weight: 0, content: Arc::new(Ready(Decoded { batches: Vec::new(), bad_rows })) }
    }
}

struct Encoded {
    bytes: Bytes,
    decoder: Arc<dyn Decode>,
}

impl ReadBlock for Encoded {
    fn open(&self, columns: &[usize]) -> Result<Pieces, SourceError> {
        let decoded = self.decoder.decode(self.bytes.clone())?;
        Ok(Box::new(std::iter::once(project(decoded, columns))))
    }
}

struct Ready(Decoded);

impl ReadBlock for Ready {
    fn open(&self, columns: &[usize]) -> Result<Pieces, SourceError> {
        Ok(Box::new(std::iter::once(project(self.0.clone(), columns))))
    }
}

/// Keeps just the needed columns of every batch.
pub fn project(decoded: Decoded, columns: &[usize]) -> Result<Decoded, SourceError> {
    let Decoded { batches, bad_rows } = decoded;
    let batches = batches
        .into_iter()
        .map(|batch| if columns.len() == batch.num_columns() { Ok(batch) } else { batch.project(columns) })
        .collect::<Result<_, _>>()
        .map_err(|error| SourceError::Lost(format!("internal error, please report it: {error}")))?;
    Ok(Decoded { batches, bad_rows })
}
