//! `split`: text into a list of texts that share its bytes, the inner loop of every word count.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ListArray, StringViewArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF};
use memchr::memmem::{self, Finder};

use super::views::{Pieces, Row};
use super::{Kernel, call, column, columns, internal, list_of, null, offset, strings, udf};

static SPLIT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| udf(Split));

/// The pieces of a text between separators; its characters where the separator is empty.
#[must_use]
pub fn split(text: Expr, separator: Expr) -> Expr {
    call(&SPLIT, vec![text, separator])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Split;

impl Kernel for Split {
    fn name(&self) -> &'static str {
        "split"
    }

    fn returns(&self, _: &[DataType]) -> Result<DataType> {
        Ok(list_of(DataType::Utf8View))
    }

    fn evaluate(&self, arguments: &[ColumnarValue]) -> Result<ColumnarValue> {
        let [text, ColumnarValue::Scalar(separator)] = arguments else {
            let [texts, separators] = columns(arguments)?;
            return Ok(column(by_column(&strings(&texts)?, &strings(&separators)?)?));
        };
        let Some(separator) = separator.try_as_str().flatten() else {
            return null(&list_of(DataType::Utf8View));
        };
        let texts = match text {
            ColumnarValue::Array(array) => strings(array)?,
            ColumnarValue::Scalar(value) => strings(&value.to_array()?)?,
        };
        Ok(column(by_constant(&texts, separator)?))
    }
}

fn by_constant(texts: &StringViewArray, separator: &str) -> Result<ListArray> {
    match separator.as_bytes() {
        [] => cut(texts, characters),
        [byte] => cut(texts, |pieces, row| {
            let text = row.text();
            let mut start = 0;
            each_position(*byte, text.as_bytes(), |separator| {
                pieces.push(row, start, separator);
                start = separator + 1;
            });
            pieces.push(row, start, text.len());
        }),
        bytes => {
            let finder = Finder::new(bytes);
            cut(texts, |pieces, row| {
                between(pieces, row, bytes.len(), finder.find_iter(row.text().as_bytes()));
            })
        }
    }
}

/// Adds the pieces between the separators that begin at these bytes.
#[inline]
fn between(pieces: &mut Pieces<'_>, row: &Row<'_>, width: usize, separators: impl Iterator<Item = usize>) {
    let mut start = 0;
    for separator in separators {
        pieces.push(row, start, separator);
        start = separator + width;
    }
    pieces.push(row, start, row.text().len());
}

/// Calls `found` with every place of a byte in a text. Words are short, so a search for the next one
/// costs more than looking at 64 bytes at a time.
#[inline]
fn each_position(byte: u8, text: &[u8], mut found: impl FnMut(usize)) {
    for (index, block) in text.chunks(64).enumerate() {
        let mut bits = match block.first_chunk::<64>() {
            Some(block) => equal_bytes(byte, block),
            None => {
                let mut padded = [!byte; 64];
                padded.iter_mut().zip(block).for_each(|(to, from)| *to = *from);
                equal_bytes(byte, &padded)
            }
        };
        while bits != 0 {
            found(64 * index + bits.trailing_zeros() as usize);
            bits &= bits - 1;
        }
    }
}

/// A bit for each byte of the block: whether it is that byte.
#[inline]
fn equal_bytes(byte: u8, block: &[u8; 64]) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let (chunks, _) = block.as_chunks::<8>();
    chunks.iter().rev().fold(0, |bits, chunk| {
        let differs = u64::from_le_bytes(*chunk) ^ u64::from_ne_bytes([byte; 8]);
        // The high bit of each byte that does not differ, then those eight bits side by side.
        let equal = !(((differs & LOW) + LOW) | differs | LOW);
        (bits << 8) | ((equal >> 7).wrapping_mul(GATHER) >> 56)
    })
}

fn characters(pieces: &mut Pieces<'_>, row: &Row<'_>) {
    for (start, character) in row.text().char_indices() {
        pieces.push(row, start, start + character.len_utf8());
    }
}

fn cut(texts: &StringViewArray, add: impl Fn(&mut Pieces<'_>, &Row<'_>)) -> Result<ListArray> {
    // About one word per six bytes of text in long values, a few in short ones.
    let mut pieces = Pieces::new(texts, texts.total_buffer_bytes_used() / 6 + texts.len());
    let mut offsets = Vec::with_capacity(texts.len() + 1);
    offsets.push(0);
    for index in 0..texts.len() {
        if let Some(row) = pieces.row(index) {
            add(&mut pieces, &row);
        }
        offsets.push(offset(pieces.len())?);
    }
    list(texts, pieces, offsets)
}

fn by_column(texts: &StringViewArray, separators: &StringViewArray) -> Result<ListArray> {
    if texts.len() != separators.len() {
        return Err(internal("as many separators as texts expected"));
    }
    let mut pieces = Pieces::new(texts, texts.len());
    let mut offsets = Vec::with_capacity(texts.len() + 1);
    offsets.push(0);
    for (index, separator) in separators.iter().enumerate() {
        if let (Some(row), Some(separator)) = (pieces.row(index), separator) {
            if separator.is_empty() {
                characters(&mut pieces, &row);
            } else {
                let found = memmem::find_iter(row.text().as_bytes(), separator.as_bytes());
                between(&mut pieces, &row, separator.len(), found);
            }
        }
        offsets.push(offset(pieces.len())?);
    }
    let list = list(texts, pieces, offsets)?;
    let (field, offsets, values, nulls) = list.into_parts();
    let nulls = arrow::buffer::NullBuffer::union(nulls.as_ref(), separators.nulls());
    Ok(ListArray::try_new(field, offsets, values, nulls)?)
}

fn list(texts: &StringViewArray, pieces: Pieces<'_>, offsets: Vec<i32>) -> Result<ListArray> {
    Ok(ListArray::try_new(
        Arc::new(Field::new_list_field(DataType::Utf8View, true)),
        OffsetBuffer::new(offsets.into()),
        Arc::new(pieces.finish(None)?),
        texts.nulls().cloned(),
    )?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, StringArray};
    use datafusion::common::ScalarValue;

    use super::super::testing::{evaluate, text, texts};
    use super::*;

    fn rows(list: &ArrayRef) -> Vec<Option<Vec<String>>> {
        list.as_list::<i32>()
            .iter()
            .map(|row| row.map(|row| row.as_string_view().iter().map(|word| word.unwrap().to_owned()).collect()))
            .collect()
    }

    fn split_one(value: &str, separator: &str) -> Vec<String> {
        let column = rows(&evaluate(&Split, &[texts(&[Some(value)]), text(separator)]));
        let separators = rows(&evaluate(&Split, &[texts(&[Some(value)]), texts(&[Some(separator)])]));
        assert_eq!(column, separators, "a constant separator and a column of it differ");
        column.into_iter().next().unwrap().unwrap()
    }

    #[test]
    fn pieces_between_separators() {
        assert_eq!(split_one("a b", " "), ["a", "b"]);
        assert_eq!(split_one("a  b", " "), ["a", "", "b"]);
        assert_eq!(split_one(" a ", " "), ["", "a", ""]);
        assert_eq!(split_one("", " "), [""]);
        assert_eq!(split_one("abc", " "), ["abc"]);
        assert_eq!(split_one("a, b, c", ", "), ["a", "b", "c"]);
        assert_eq!(split_one("aaaa", "aa"), ["", "", ""]);
    }

    #[test]
    fn an_empty_separator_gives_characters() {
        assert_eq!(split_one("aßc", ""), ["a", "ß", "c"]);
        assert_eq!(split_one("", ""), [""; 0]);
    }

    #[test]
    fn every_length_of_word_and_rest() {
        for first in 0..40 {
            for last in 0..40 {
                let words = ["x".repeat(first), "y".repeat(last)];
                assert_eq!(split_one(&words.join(" "), " "), words);
            }
        }
    }

    #[test]
    fn unicode() {
        assert_eq!(
            split_one("grüße an alle aus Überlingen am schönen See", " "),
            ["grüße", "an", "alle", "aus", "Überlingen", "am", "schönen", "See"]
        );
        assert_eq!(split_one("日本語→とても長い文字列です→終", "→"), ["日本語", "とても長い文字列です", "終"]);
    }

    #[test]
    fn nulls_and_slices() {
        let values = [
            Some("skipped because it is before the slice"),
            None,
            Some("a rather_long_word_that_is_not_inline b"),
            Some("c"),
            Some("skipped because it is after the slice"),
        ];
        let column = values.iter().copied().collect::<StringViewArray>().slice(1, 3);
        let expected = vec![
            None,
            Some(vec!["a".to_owned(), "rather_long_word_that_is_not_inline".to_owned(), "b".to_owned()]),
            Some(vec!["c".to_owned()]),
        ];
        let column = ColumnarValue::Array(Arc::new(column));
        assert_eq!(rows(&evaluate(&Split, &[column.clone(), text(" ")])), expected);
        let separators = texts(&[Some(" "), Some(" "), None]);
        let by_column = rows(&evaluate(&Split, &[column, separators]));
        assert_eq!(by_column, [None, expected.get(1).cloned().unwrap(), None]);
    }

    #[test]
    fn long_pieces_share_the_bytes_of_the_text() {
        let source = [Some("one_long_word_here another_long_word_there")].iter().copied().collect::<StringViewArray>();
        let list = by_constant(&source, " ").unwrap();
        let pieces = list.values().as_string_view();
        assert_eq!(pieces.data_buffers().len(), 1);
        assert_eq!(pieces.data_buffers().first().unwrap().as_ptr(), source.data_buffers().first().unwrap().as_ptr());
    }

    #[test]
    fn other_encodings_and_constants() {
        let utf8 = ColumnarValue::Array(Arc::new(StringArray::from(vec!["a b"])));
        assert_eq!(rows(&evaluate(&Split, &[utf8, text(" ")])), [Some(vec!["a".to_owned(), "b".to_owned()])]);
        assert_eq!(rows(&evaluate(&Split, &[text("a"), text(" ")])), [Some(vec!["a".to_owned()])]);
        let none = ColumnarValue::Scalar(ScalarValue::Utf8View(None));
        assert_eq!(rows(&evaluate(&Split, &[texts(&[Some("a")]), none])), [None]);
    }
}
