//! Reads a file, or a range of its lines, on a worker thread.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringViewArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use memchr::{memchr, memrchr};

use super::FILE_COLUMN;
use super::listing::Found;
use super::numbering::Numbering;
use crate::formats::{BATCH_ROWS, BadRows, Decode, Decoded, FormatError, InputFormat, parquet};
use crate::schema::Schema;
use crate::sources::block::{Pieces, project};
use crate::sources::{Block, ReadBlock, SourceError};

/// A longer file of lines is read by several workers.
const SPLIT_BYTES: u64 = 16 << 20;
/// How much of a file is decoded at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// How much is read at a time to find the end of a range's last line.
const LINE_END_BYTES: usize = 64 << 10;

/// How files become rows.
#[derive(Debug)]
pub(super) struct Decoding {
    way: Way,
    format: &'static str,
    decoder: Arc<dyn Decode>,
    /// The index of the column `file`, after those of the format.
    file_column: Option<usize>,
    pub split_bytes: u64,
    pub chunk_bytes: usize,
}

#[derive(Debug)]
enum Way {
    /// Piece by piece.
    Lines,
    /// All at once.
    Whole,
    /// By its own index.
    Parquet(Schema),
}

impl Decoding {
    pub(super) fn new(format: &InputFormat, decoder: Arc<dyn Decode>) -> Self {
        let schema = format.schema();
        let has_own = schema.column(FILE_COLUMN).is_some();
        let file_column = (!has_own).then_some(schema.columns.len());
        let way = match format {
            InputFormat::Parquet(_) => Way::Parquet(schema),
            _ if format.is_line_based() => Way::Lines,
            _ => Way::Whole,
        };
        let (split_bytes, chunk_bytes) = (SPLIT_BYTES, CHUNK_BYTES);
        Self { way, format: format.name(), decoder, file_column, split_bytes, chunk_bytes }
    }

    /// The blocks of a file, in order.
    pub(super) fn blocks(self: &Arc<Self>, file: &Found) -> Vec<Block> {
        let step = if matches!(self.way, Way::Lines) { self.split_bytes.max(1) } else { u64::MAX };
        let numbering = Arc::new(Numbering::new(&file.path));
        let mut blocks = Vec::new();
        let mut start = 0;
        while start < file.length {
            let end = start.saturating_add(step).min(file.length);
            let (decoding, numbering) = (Arc::clone(self), Arc::clone(&numbering));
            let range = FileRange { decoding, numbering, path: file.path.clone(), start, end, length: file.length };
            blocks.push(Block { weight: end - start, content: Arc::new(range) });
            start = end;
        }
        blocks
    }
}

/// The lines of a file that start in a range, or the whole file.
struct FileRange {
    decoding: Arc<Decoding>,
    numbering: Arc<Numbering>,
    path: PathBuf,
    start: u64,
    end: u64,
    /// The file's length when it was found; what was added later is not read.
    length: u64,
}

impl ReadBlock for FileRange {
    fn open(&self, columns: &[usize]) -> Result<Pieces, SourceError> {
        let file = File::open(&self.path).map_err(|error| cannot_read(&self.path, error))?;
        let mut columns = Columns::new(self, columns);
        let pieces: Pieces = match &self.decoding.way {
            Way::Lines => Box::new(Lines::new(file, self)?),
            Way::Whole => Box::new(std::iter::once(self.decode_whole(file))),
            Way::Parquet(schema) => {
                let (path, format) = (self.path.clone(), self.decoding.format);
                let wrong = move |error: FormatError| not_of_format(&path, format, error);
                let batches = parquet::read_file(file, schema).map_err(&wrong)?;
                Box::new(batches.map(move |batch| -> Result<Decoded, SourceError> {
                    let batches = vec![batch.map_err(&wrong)?];
                    Ok(Decoded { batches, bad_rows: BadRows::default() })
                }))
            }
        };
        Ok(Box::new(pieces.map(move |piece| piece.and_then(|decoded| columns.apply(decoded)))))
    }
}

impl FileRange {
    fn decode_whole(&self, mut file: File) -> Result<Decoded, SourceError> {
        let mut data = Vec::new();
        read_exactly(&mut file, self.length, &mut data, &self.path)?;
        let decoded = self.decoding.decoder.decode(Bytes::from(data));
        let mut decoded = decoded.map_err(|error| not_of_format(&self.path, self.decoding.format, error))?;
        self.numbering.locate(&mut decoded.bad_rows, 0);
        Ok(decoded)
    }
}

/// The pieces of a range of lines.
struct Lines {
    file: File,
    path: PathBuf,
    numbering: Arc<Numbering>,
    decoder: Arc<dyn Decode>,
    format: &'static str,
    chunk_bytes: usize,
    /// Read and not handed out.
    rest: Bytes,
    /// Where in the file `rest` starts.
    next: u64,
    /// Lines that start here or later belong to the next range.
    end: u64,
    length: u64,
    /// The end of a line that belongs to the range before is still to be found.
    skipping: bool,
    failed: bool,
}

impl Lines {
    fn new(mut file: File, range: &FileRange) -> Result<Self, SourceError> {
        // A line starts at `start` if the byte before it is a line feed.
        let next = range.start.saturating_sub(1);
        file.seek(SeekFrom::Start(next)).map_err(|error| cannot_read(&range.path, error))?;
        Ok(Self {
            file,
            path: range.path.clone(),
            numbering: Arc::clone(&range.numbering),
            decoder: Arc::clone(&range.decoding.decoder),
            format: range.decoding.format,
            chunk_bytes: range.decoding.chunk_bytes.max(1),
            rest: Bytes::new(),
            next,
            end: range.end,
            length: range.length,
            skipping: range.start > 0,
            failed: false,
        })
    }

    /// The next whole lines.
    fn piece(&mut self) -> Result<Option<Bytes>, SourceError> {
        while self.next < self.end {
            if let Some(cut) = self.cut() {
                let piece = self.rest.split_to(cut);
                self.next += cut as u64;
                if !std::mem::replace(&mut self.skipping, false) {
                    return Ok(Some(piece));
                }
            } else {
                if self.skipping {
                    self.next += self.rest.len() as u64;
                    self.rest.clear();
                }
                if self.next < self.end {
                    self.read_more()?;
                }
            }
        }
        Ok(None)
    }

    /// Where the lines end that can be handed out; `None` where more has to be read.
    fn cut(&self) -> Option<usize> {
        let after = |at: usize| at + 1;
        if self.skipping {
            return memchr(b'\n', &self.rest).map(after);
        }
        let filled = self.next + self.rest.len() as u64;
        if filled >= self.end {
            // The line that holds the range's last byte is the last one.
            let last = usize::try_from(self.end - 1 - self.next).ok()?;
            if let Some(at) = memchr(b'\n', self.rest.get(last..)?) {
                return Some(last + at + 1);
            }
            if filled == self.length {
                return Some(self.rest.len());
            }
        }
        memrchr(b'\n', &self.rest).map(after)
    }

    /// Decodes the piece that `next` stands behind.
    fn decode(&self, piece: Bytes) -> Result<Decoded, SourceError> {
        let start = self.next - piece.len() as u64;
        let decoded = self.decoder.decode(piece);
        let mut decoded = decoded.map_err(|error| not_of_format(&self.path, self.format, error))?;
        self.numbering.locate(&mut decoded.bad_rows, start);
        Ok(decoded)
    }

    fn read_more(&mut self) -> Result<(), SourceError> {
        let filled = self.next + self.rest.len() as u64;
        // As much as there is of a very long line, so that copying it stays linear.
        let wanted = if filled < self.end {
            (self.chunk_bytes.max(self.rest.len()) as u64).min(self.end - filled)
        } else {
            LINE_END_BYTES.min(self.chunk_bytes).max(self.rest.len()) as u64
        };
        let wanted = wanted.min(self.length - filled);
        let mut data = Vec::with_capacity(self.rest.len() + usize::try_from(wanted).unwrap_or(0));
        data.extend_from_slice(&self.rest);
        read_exactly(&mut self.file, wanted, &mut data, &self.path)?;
        self.rest = Bytes::from(data);
        Ok(())
    }
}

impl Iterator for Lines {
    type Item = Result<Decoded, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let piece = self.piece().transpose()?;
        let decoded = piece.and_then(|piece| self.decode(piece));
        self.failed = decoded.is_err();
        Some(decoded)
    }
}

/// Brings decoded rows to the columns that are asked for.
struct Columns {
    /// Indices of the format's columns.
    of_format: Vec<usize>,
    file: Option<FileColumn>,
}

impl Columns {
    fn new(range: &FileRange, wanted: &[usize]) -> Self {
        let file_column = range.decoding.file_column;
        let of_format = wanted.iter().copied().filter(|index| Some(*index) != file_column).collect();
        let is_wanted = file_column.is_some_and(|index| wanted.contains(&index));
        let file = is_wanted.then(|| FileColumn::new(&range.path));
        Self { of_format, file }
    }

    fn apply(&mut self, decoded: Decoded) -> Result<Decoded, SourceError> {
        let mut decoded = project(decoded, &self.of_format)?;
        if let Some(file) = &mut self.file {
            for batch in &mut decoded.batches {
                *batch = file
                    .add_to(batch)
                    .map_err(|error| SourceError::Lost(format!("internal error, please report it: {error}")))?;
            }
        }
        Ok(decoded)
    }
}

/// The column `file`: the same text in every row, which is there once.
struct FileColumn {
    path: StringViewArray,
    /// As long as the longest batch so far.
    repeated: ArrayRef,
}

impl FileColumn {
    fn new(path: &Path) -> Self {
        let path = StringViewArray::from_iter_values([path.to_string_lossy()]);
        Self { repeated: Arc::new(path.clone()), path }
    }

    fn add_to(&mut self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let rows = batch.num_rows();
        if self.repeated.len() < rows {
            let first = UInt32Array::from(vec![0; rows.max(BATCH_ROWS)]);
            self.repeated = take(&self.path, &first, None)?;
        }
        let mut fields: Vec<FieldRef> = batch.schema_ref().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(FILE_COLUMN, DataType::Utf8View, true)));
        let mut columns = batch.columns().to_vec();
        columns.push(self.repeated.slice(0, rows));
        RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)
    }
}

/// Appends `length` bytes of the file to `data`.
fn read_exactly(file: &mut File, length: u64, data: &mut Vec<u8>, path: &Path) -> Result<(), SourceError> {
    data.reserve_exact(usize::try_from(length).unwrap_or(0));
    let read = file.take(length).read_to_end(data).map_err(|error| cannot_read(path, error))?;
    if read as u64 == length {
        return Ok(());
    }
    let path = path.display();
    Err(SourceError::Lost(format!(
        "the file `{path}` became shorter while it was read: write files under a name that starts with `.`, \
         and rename them when they are complete"
    )))
}

fn cannot_read(path: &Path, error: io::Error) -> SourceError {
    let path = path.display();
    if error.kind() == io::ErrorKind::NotFound {
        return SourceError::Lost(format!(
            "the file `{path}` was there and is gone before it was read: let `clean` move or delete files, \
             which waits until they are processed"
        ));
    }
    SourceError::io(format!("cannot read the file `{path}`"), error)
}

fn not_of_format(path: &Path, format: &str, error: FormatError) -> SourceError {
    SourceError::io(format!("cannot read the file `{}` as {format}", path.display()), io::Error::other(error))
}
