//! What the line and record formats share: lines, bad rows, and decoding around them.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use bytes::Bytes;
use memchr::memchr_iter;

use super::FormatError;

/// Bad rows whose bytes and reason are kept; the rest is only counted.
pub const MAX_SAMPLES: usize = 10;

/// Bytes that are kept of one bad row.
pub const MAX_SAMPLE_BYTES: usize = 1 << 20;

/// Rows that could not be decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadRows {
    /// How many there are.
    pub count: u64,
    /// The first few of them, in order of their finding.
    pub samples: Vec<BadRow>,
}

/// One row that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The row as it came, without its line end; cut if it is very long. A copy, so that it does
    /// not keep the block it came from.
    pub raw: Bytes,
    /// What is wrong with it.
    pub reason: String,
    /// The line that it starts on, counted from 1, where it came out of a block of lines.
    pub line: Option<u64>,
}

impl BadRows {
    /// Whether every row was good.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Counts a bad row; the reason is asked for only if the row is kept as a sample.
    pub fn add(&mut self, raw: &[u8], reason: impl FnOnce() -> String) {
        self.count += 1;
        if self.samples.len() < MAX_SAMPLES {
            let kept = raw.get(..MAX_SAMPLE_BYTES).unwrap_or(raw);
            self.samples.push(BadRow { raw: Bytes::copy_from_slice(kept), reason: reason(), line: None });
        }
    }

    /// Counts a bad row that is a part of `block`, so that a sample knows its line.
    pub(super) fn add_part(&mut self, block: &[u8], raw: &[u8], reason: impl FnOnce() -> String) {
        let known = self.samples.len();
        self.add(raw, reason);
        if let Some(sample) = self.samples.get_mut(known) {
            sample.line = Some(line_of(block, raw));
        }
    }

    /// Adds the bad rows of a later block.
    pub fn merge(&mut self, later: Self) {
        self.count += later.count;
        let room = MAX_SAMPLES.saturating_sub(self.samples.len());
        self.samples.extend(later.samples.into_iter().take(room));
    }
}

/// The places of a block's lines, without their ends: `\n`, and a `\r` before it. A last line
/// needs no end, and nothing after the last end is no line.
pub(super) fn lines(block: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut ends = memchr_iter(b'\n', block);
    let mut start = 0;
    std::iter::from_fn(move || {
        let line_start = start;
        if let Some(end) = ends.next() {
            start = end + 1;
            let returned = end > line_start && block.get(end - 1) == Some(&b'\r');
            return Some(line_start..end - usize::from(returned));
        }
        start = block.len();
        (line_start < block.len()).then_some(line_start..block.len())
    })
}

/// The line of a block that a part of it starts on, counted from 1.
fn line_of(block: &[u8], part: &[u8]) -> u64 {
    let start = part.as_ptr().addr().saturating_sub(block.as_ptr().addr());
    memchr_iter(b'\n', block.get(..start).unwrap_or(block)).count() as u64 + 1
}

/// A block without the byte order mark that some editors put in front.
pub(super) fn without_byte_order_mark(block: &[u8]) -> &[u8] {
    block.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(block)
}

/// Decodes records together; fails if any of them is bad.
type DecodeRecords<'a> = &'a dyn Fn(&[&[u8]]) -> Result<RecordBatch, ArrowError>;

/// Takes in a bad record, with the error that decoding it alone gives.
type BadRecord<'a> = &'a mut dyn FnMut(&[u8], &ArrowError);

/// Decodes many records at once; where that fails, finds the bad ones by halving, hands them to
/// `bad` and decodes the rest. `decode` must succeed for any part of good records.
pub(super) fn decode_good(
    records: &[&[u8]],
    decode: DecodeRecords<'_>,
    bad: BadRecord<'_>,
) -> Result<Option<RecordBatch>, FormatError> {
    if records.is_empty() {
        return Ok(None);
    }
    let error = match decode(records) {
        Ok(batch) => return Ok(Some(batch)),
        Err(error) => error,
    };
    let mut good = Vec::with_capacity(records.len());
    separate(records, &error, decode, bad, &mut good);
    if good.is_empty() {
        return Ok(None);
    }
    Ok(Some(decode(&good)?))
}

/// Sorts records that failed together into good and bad ones. As deep as the number of halvings.
fn separate<'a>(
    records: &[&'a [u8]],
    error: &ArrowError,
    decode: DecodeRecords<'_>,
    bad: BadRecord<'_>,
    good: &mut Vec<&'a [u8]>,
) {
    if let [record] = records {
        bad(record, error);
        return;
    }
    let (first, second) = records.split_at(records.len() / 2);
    for half in [first, second] {
        if half.is_empty() {
            continue;
        }
        match decode(half) {
            Ok(_) => good.extend_from_slice(half),
            Err(error) => separate(half, &error, decode, bad, good),
        }
    }
}
