//! `text`: one row per line.
//!
//! Decoding copies no line: the column's views point into the block that was read, so a block
//! stays in memory as long as one of its rows does. Lines of up to 12 bytes stand in the views.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{AsArray, ByteView, MAX_INLINE_VIEW_LEN, RecordBatch, StringViewArray};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use memchr::{memchr, memchr_iter, memrchr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::records::lines;
use super::{Decode, Decoded, FormatError, WriteRows};
use crate::schema::{Column, ColumnType, Schema};

/// Longest block that is decoded at once. Replacing invalid bytes makes a text up to three times as
/// long, and a view's offset and length must still fit 31 bits then.
const MAX_BLOCK: usize = 512 << 20;

/// So many lines are a batch: what steps make of them, such as their words, still fits a core's cache.
const BATCH_LINES: usize = 1024;

/// Text is handed to the output in pieces of about this size.
const WRITE_BYTES: usize = 64 << 10;

/// Lines of text. Each line is a row with the one column `value`; a line ends with a line feed, and
/// a carriage return before it is dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextInput {
    /// What becomes of a line that is not valid UTF-8.
    pub invalid_utf8: InvalidUtf8,
}

/// What becomes of a line that is not valid UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvalidUtf8 {
    /// Each invalid part becomes U+FFFD, the replacement character.
    #[default]
    Replace,
    /// The line is a bad row, treated as `on_error` says.
    Reject,
}

/// Lines of text. A single column is written as its text; several columns as `(a,1)`. NULL is
/// `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextOutput {}

/// How many lines a text has. A last line without a line feed counts.
#[must_use]
pub fn count_lines(bytes: &[u8]) -> usize {
    let open = bytes.last().is_some_and(|last| *last != b'\n');
    memchr_iter(b'\n', bytes).count() + usize::from(open)
}

/// `value: string`.
pub(super) fn schema() -> Schema {
    Schema::new(vec![Column::new("value", ColumnType::String)])
}

/// Decodes lines.
#[derive(Debug)]
pub struct TextDecoder {
    schema: SchemaRef,
    invalid_utf8: InvalidUtf8,
}

impl TextDecoder {
    /// A decoder with these settings.
    #[must_use]
    pub fn new(settings: &TextInput) -> Self {
        Self { schema: schema().to_arrow(), invalid_utf8: settings.invalid_utf8 }
    }

    /// Decodes blocks of at most `limit` bytes, cut after lines. A longer line is a bad row.
    pub(super) fn decode_blocks(&self, mut rest: Bytes, limit: usize) -> Result<Decoded, FormatError> {
        let mut decoded = Decoded::default();
        let whole = rest.clone();
        while !rest.is_empty() {
            if rest.len() <= limit {
                self.decode_block(&whole, &std::mem::take(&mut rest), &mut decoded)?;
            } else if let Some(end) = rest.get(..limit).and_then(|head| memrchr(b'\n', head)) {
                self.decode_block(&whole, &rest.split_to(end + 1), &mut decoded)?;
            } else {
                let end = memchr(b'\n', &rest).unwrap_or(rest.len());
                let line = rest.split_to(end);
                let _line_feed = rest.split_to(rest.len().min(1));
                decoded.bad_rows.add_part(&whole, &line, || format!("the line is longer than {limit} bytes"));
            }
        }
        Ok(decoded)
    }

    /// `block` is a part of `whole`.
    fn decode_block(&self, whole: &[u8], block: &Bytes, decoded: &mut Decoded) -> Result<(), FormatError> {
        if std::str::from_utf8(block).is_ok() {
            self.decode_valid(block, &mut decoded.batches)
        } else {
            self.decode_mixed(whole, block, decoded)
        }
    }

    /// The block is valid UTF-8, so each of its lines is.
    fn decode_valid(&self, block: &Bytes, batches: &mut Vec<RecordBatch>) -> Result<(), FormatError> {
        let buffers: Arc<[Buffer]> = Arc::from(vec![Buffer::from(Bytes::clone(block))]);
        // A line has at least one byte, its end, so a small block does not need the full room.
        let mut views = Vec::with_capacity(BATCH_LINES.min(block.len()));
        for line in lines(block) {
            let left = block.len() - line.end;
            views.push(view(block, line.start, line.end, 0));
            if views.len() == BATCH_LINES {
                let full = std::mem::replace(&mut views, Vec::with_capacity(BATCH_LINES.min(left)));
                // SAFETY: every view is a line of `block`, which is valid UTF-8 and buffer 0. Line
                // ends are ASCII, so a line neither begins nor ends inside a character.
                batches.push(unsafe { self.batch(full, &buffers) }?);
            }
        }
        if !views.is_empty() {
            // SAFETY: as above.
            batches.push(unsafe { self.batch(views, &buffers) }?);
        }
        Ok(())
    }

    /// The block has invalid bytes somewhere, so each line is looked at.
    fn decode_mixed(&self, whole: &[u8], block: &Bytes, decoded: &mut Decoded) -> Result<(), FormatError> {
        let mut replaced: Vec<u8> = Vec::new();
        let mut views = Vec::new();
        for place in lines(block) {
            let line = block.get(place.clone()).unwrap_or_default();
            match (std::str::from_utf8(line), self.invalid_utf8) {
                (Ok(_), _) => views.push(view(block, place.start, place.end, 0)),
                (Err(_), InvalidUtf8::Replace) => {
                    let start = replaced.len();
                    replaced.extend_from_slice(String::from_utf8_lossy(line).as_bytes());
                    views.push(view(&replaced, start, replaced.len(), 1));
                }
                (Err(error), InvalidUtf8::Reject) => {
                    let reason = || format!("the line is not valid UTF-8 from byte {} on", error.valid_up_to() + 1);
                    decoded.bad_rows.add_part(whole, line, reason);
                }
            }
        }
        let buffers: Arc<[Buffer]> = Arc::from(vec![Buffer::from(Bytes::clone(block)), Buffer::from_vec(replaced)]);
        for rows in views.chunks(BATCH_LINES) {
            // SAFETY: every view is a line that was found or made valid UTF-8: one of `block`, which is
            // buffer 0, or one of `replaced`, which is buffer 1 and only grew since.
            decoded.batches.push(unsafe { self.batch(rows.to_vec(), &buffers) }?);
        }
        Ok(())
    }

    /// # Safety
    /// Each view must stand for valid UTF-8 and lie within the buffer that it names.
    unsafe fn batch(&self, views: Vec<u128>, buffers: &Arc<[Buffer]>) -> Result<RecordBatch, FormatError> {
        // SAFETY: what the array needs is what the caller promises.
        let values = unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(views), Arc::clone(buffers), None) };
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(values)])?)
    }
}

impl Decode for TextDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&self, bytes: Bytes) -> Result<Decoded, FormatError> {
        self.decode_blocks(bytes, MAX_BLOCK)
    }
}

/// Arrow's view of `buffer[start..end]`: the length and, of a short text, the text itself, else its
/// first four bytes and its place. Offsets fit because blocks are at most [`MAX_BLOCK`] long.
#[inline]
fn view(buffer: &[u8], start: usize, end: usize, buffer_index: u32) -> u128 {
    let length = end - start;
    let rest = buffer.get(start..).unwrap_or_default();
    // One load of 16 bytes that may reach beyond the text, except near the buffer's end.
    let head = match rest.first_chunk::<16>() {
        Some(head) => u128::from_le_bytes(*head),
        None => {
            let mut head = [0; 16];
            head.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            u128::from_le_bytes(head)
        }
    };
    if length <= MAX_INLINE_VIEW_LEN as usize {
        let text = head & ((1_u128 << (8 * length)) - 1);
        return (text << 32) | length as u128;
    }
    ByteView { length: length as u32, prefix: head as u32, buffer_index, offset: start as u32 }.as_u128()
}

/// Writes lines.
pub struct TextWriter {
    out: Box<dyn Write + Send>,
    text: String,
}

impl TextWriter {
    /// A writer to `out`.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, text: String::new() }
    }

    fn flush_text(&mut self) -> Result<(), FormatError> {
        self.out.write_all(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }

    fn write_single(&mut self, column: &StringViewArray) -> Result<(), FormatError> {
        for value in column {
            self.text.push_str(value.unwrap_or("null"));
            self.text.push('\n');
            if self.text.len() >= WRITE_BYTES {
                self.flush_text()?;
            }
        }
        self.flush_text()
    }
}

impl WriteRows for TextWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), FormatError> {
        if let [column] = batch.columns()
            && let Some(column) = column.as_string_view_opt()
        {
            return self.write_single(column);
        }
        let options = FormatOptions::new().with_null("null").with_display_error(false);
        let columns = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        let tuple = columns.len() != 1;
        for row in 0..batch.num_rows() {
            if tuple {
                self.text.push('(');
            }
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    self.text.push(',');
                }
                column.value(row).write(&mut self.text)?;
            }
            self.text.push_str(if tuple { ")\n" } else { "\n" });
            if self.text.len() >= WRITE_BYTES {
                self.flush_text()?;
            }
        }
        self.flush_text()
    }

    fn finish(mut self: Box<Self>) -> Result<(), FormatError> {
        self.flush_text()?;
        Ok(self.out.flush()?)
    }
}
