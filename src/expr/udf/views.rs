//! Pieces of a text column that share its bytes.
//!
//! A `Utf8View` value is 16 bytes: up to 12 bytes of text in place, else a reference into a buffer.
//! A piece of a value is thus written without copying the text and without an allocation.

use arrow::array::{Array, ByteView, MAX_INLINE_VIEW_LEN, StringViewArray, make_view};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use datafusion::common::Result;

use super::internal;

/// One value of the column that is cut.
pub(super) struct Row<'a> {
    view: u128,
    text: &'a str,
}

impl<'a> Row<'a> {
    pub(super) fn text(&self) -> &'a str {
        self.text
    }
}

/// The pieces that were cut from one column so far.
pub(super) struct Pieces<'a> {
    source: &'a StringViewArray,
    views: Vec<u128>,
}

impl<'a> Pieces<'a> {
    /// No pieces yet, with room for `capacity`.
    pub(super) fn new(source: &'a StringViewArray, capacity: usize) -> Self {
        Self { source, views: Vec::with_capacity(capacity) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    /// A value of the column, `None` for NULL. It may be given to no other `Pieces`.
    #[inline]
    pub(super) fn row(&self, index: usize) -> Option<Row<'a>> {
        let source = self.source;
        let view = *source.views().get(index)?;
        source.is_valid(index).then(|| Row { view, text: source.value(index) })
    }

    /// Adds the bytes `start..end` of the value; nothing but a whole number of characters fits.
    #[inline]
    pub(super) fn push(&mut self, row: &Row<'_>, start: usize, end: usize) {
        let piece = row.text.get(start..end).unwrap_or_default();
        self.views.push(view(row, piece, start));
    }

    /// Adds a value that the caller marks as NULL.
    pub(super) fn push_null(&mut self) {
        self.views.push(0);
    }

    /// The column of the pieces.
    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> Result<StringViewArray> {
        if nulls.as_ref().is_some_and(|nulls| nulls.len() != self.views.len()) {
            return Err(internal("as many NULL marks as pieces expected"));
        }
        let buffers = self.source.data_buffers().to_vec();
        // SAFETY: every view was made by `view` from a `&str`, so its bytes are UTF-8. Short ones
        // hold their bytes, padded with zeros. Long ones lie within a value of `source` and name
        // that value's buffer, and the buffers are those of `source`, in order. The number of NULL
        // marks was checked above.
        Ok(unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(self.views), buffers, nulls) })
    }
}

/// The view of `piece`, which begins at byte `start` of the row's text.
#[inline]
fn view(row: &Row<'_>, piece: &str, start: usize) -> u128 {
    let length = piece.len();
    if length > MAX_INLINE_VIEW_LEN as usize {
        // The row is longer still, so it is no inline view either. Arrow keeps offsets below 2^31,
        // so their sum never overflows.
        let source = ByteView::from(row.view);
        let offset = u32::try_from(start).ok().and_then(|start| source.offset.checked_add(start));
        return offset.map_or(0, |offset| make_view(piece.as_bytes(), source.buffer_index, offset));
    }
    // Twelve bytes at once and a mask are much faster than a copy of `length` bytes. Near the end of
    // the text they are its last twelve, shifted.
    let text = row.text.as_bytes();
    let window = match text.get(start..).and_then(|rest| rest.first_chunk::<12>()) {
        Some(window) => number(window),
        None => match text.last_chunk::<12>() {
            Some(window) => number(window) >> (8 * (start + 12 - text.len())),
            None => return make_view(piece.as_bytes(), 0, 0),
        },
    };
    let mask = (1_u128 << (8 * length)) - 1;
    ((window & mask) << 32) | length as u128
}

#[inline]
fn number([a, b, c, d, e, f, g, h, i, j, k, l]: &[u8; 12]) -> u128 {
    u128::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h, *i, *j, *k, *l, 0, 0, 0, 0])
}
