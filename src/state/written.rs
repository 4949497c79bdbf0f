//! State as bytes: rows in Arrow's IPC stream format.

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::StateError;

/// Rows of a schema as bytes.
///
/// # Errors
/// When rows are of another schema; a bug.
pub fn encode(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<Bytes, StateError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in rows.iter().filter(|batch| batch.num_rows() > 0) {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?.into())
}

/// Rows from bytes: of one [`encode`], or of several one after the other.
///
/// # Errors
/// When the bytes are not what [`encode`] writes.
pub fn decode(bytes: &Bytes) -> Result<Vec<RecordBatch>, StateError> {
    let mut rest = bytes.as_ref();
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let mut reader = StreamReader::try_new(&mut rest, None)?;
        for batch in &mut reader {
            rows.push(batch?);
        }
    }
    Ok(rows)
}
