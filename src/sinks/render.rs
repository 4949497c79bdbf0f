//! Rows as text for people: tuples, tables, lines of JSON. No text that comes out of here moves the
//! cursor, whatever the rows hold.

use std::fmt::{self, Write};

use arrow::array::{Array, AsArray, StructArray};
use arrow::error::ArrowError;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, ArrayFormatterFactory, DisplayIndex, FormatOptions, FormatResult};

use crate::formats::FormatError;

/// Spark's tables have no narrower columns.
const NARROWEST: usize = 3;

/// Appends one line per row: the bare value of a single column, else `(a,b)`.
pub(super) fn tuples(batch: &RecordBatch, out: &mut String) -> Result<(), FormatError> {
    let options = options();
    let columns = formatters(batch, &options)?;
    let (open, close) = if columns.len() == 1 { ("", "\n") } else { ("(", ")\n") };
    for row in 0..batch.num_rows() {
        out.push_str(open);
        for (i, column) in columns.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            write_value(column, row, out);
        }
        out.push_str(close);
    }
    Ok(())
}

/// Appends the cells of each row.
pub fn cells(batch: &RecordBatch, out: &mut Vec<Vec<String>>) -> Result<(), FormatError> {
    let options = options();
    let columns = formatters(batch, &options)?;
    for row in 0..batch.num_rows() {
        let cell = |column: &ArrayFormatter<'_>| {
            let mut text = String::new();
            write_value(column, row, &mut text);
            text
        };
        out.push(columns.iter().map(cell).collect());
    }
    Ok(())
}

/// Appends one object per line, in the form that `format: json` of other sinks has.
pub fn json(batch: &RecordBatch, out: &mut String) -> Result<(), FormatError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let bytes = writer.into_inner();
    // JSON may hold these as they are, and a terminal may obey them. They only stand in strings.
    let unescaped = |c: char| matches!(c, '\u{7f}'..='\u{9f}');
    for piece in String::from_utf8_lossy(&bytes).split_inclusive(unescaped) {
        let text = piece.trim_end_matches(unescaped);
        out.push_str(text);
        for control in piece.get(text.len()..).unwrap_or_default().chars() {
            append(out, format_args!("\\u{:04x}", u32::from(control)));
        }
    }
    Ok(())
}

/// A table as Spark's `show()` prints it. Cells of more than `longest` characters are cut, and then
/// all stand to the right; without `longest` they stand to the left. Widths count characters, so
/// wide ones (CJK, emoji) push the frame.
pub fn table<'a>(
    names: impl Iterator<Item = &'a str>,
    rows: impl Iterator<Item = Vec<String>>,
    longest: Option<usize>,
) -> String {
    let header: Vec<String> = names.map(visible).collect();
    let lines: Vec<Vec<String>> = std::iter::once(header)
        .chain(rows)
        .map(|cells| cells.into_iter().map(|cell| cut(cell, longest)).collect())
        .collect();
    let widths = widths(&lines);
    let rule = widths.iter().fold("+".to_owned(), |rule, width| rule + &"-".repeat(*width) + "+") + "\n";
    let mut out = rule.clone();
    for (i, cells) in lines.iter().enumerate() {
        out.push('|');
        for (cell, &width) in cells.iter().zip(&widths) {
            match longest {
                Some(_) => append(&mut out, format_args!("{cell:>width$}|")),
                None => append(&mut out, format_args!("{cell:<width$}|")),
            }
        }
        out.push('\n');
        if i == 0 {
            out.push_str(&rule);
        }
    }
    out + &rule
}

fn widths(lines: &[Vec<String>]) -> Vec<usize> {
    let mut widths = vec![NARROWEST; lines.first().map_or(0, Vec::len)];
    for cells in lines {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.chars().count().max(*width);
        }
    }
    widths
}

/// Cut as Spark does: the dots count.
fn cut(cell: String, longest: Option<usize>) -> String {
    match longest {
        Some(longest) if cell.chars().nth(longest).is_some() => {
            cell.chars().take(longest.saturating_sub(3)).chain("...".chars()).collect()
        }
        _ => cell,
    }
}

/// A text with its control characters escaped.
fn visible(text: &str) -> String {
    let mut out = String::new();
    append(&mut Escaped(&mut out), format_args!("{text}"));
    out
}

/// Escapes control characters on their way.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            let harmless = piece.trim_end_matches(char::is_control);
            self.0.push_str(harmless);
            self.0.extend(piece.get(harmless.len()..).unwrap_or_default().chars().flat_map(char::escape_default));
        }
        Ok(())
    }
}

/// Writing into memory cannot fail, and a value that cannot be shown says so itself.
fn append(out: &mut impl Write, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn write_value(column: &ArrayFormatter<'_>, row: usize, out: &mut String) {
    append(&mut Escaped(out), format_args!("{}", column.value(row)));
}

fn options() -> FormatOptions<'static> {
    FormatOptions::new().with_null("null").with_formatter_factory(Some(&Structs))
}

fn formatters<'a>(batch: &'a RecordBatch, options: &FormatOptions<'a>) -> Result<Vec<ArrayFormatter<'a>>, FormatError> {
    Ok(batch.columns().iter().map(|column| formatter(column.as_ref(), options)).collect::<Result<_, _>>()?)
}

fn formatter<'a>(array: &'a dyn Array, options: &FormatOptions<'a>) -> Result<ArrayFormatter<'a>, ArrowError> {
    match Structs.create_array_formatter(array, options, None)? {
        Some(formatter) => Ok(formatter),
        None => ArrayFormatter::try_new(array, options),
    }
}

/// Shows structs as Spark does, `{a, b}`: without the names, which Arrow would repeat in every row.
#[derive(Debug)]
struct Structs;

impl ArrayFormatterFactory for Structs {
    fn create_array_formatter<'a>(
        &self,
        array: &'a dyn Array,
        options: &FormatOptions<'a>,
        _: Option<&'a arrow::datatypes::Field>,
    ) -> Result<Option<ArrayFormatter<'a>>, ArrowError> {
        let Some(array) = array.as_struct_opt() else { return Ok(None) };
        let fields =
            array.columns().iter().map(|column| formatter(column.as_ref(), options)).collect::<Result<Vec<_>, _>>()?;
        let shown = StructFormatter { array, fields, null: options.null() };
        Ok(Some(ArrayFormatter::new(Box::new(shown), options.safe())))
    }
}

struct StructFormatter<'a> {
    array: &'a StructArray,
    fields: Vec<ArrayFormatter<'a>>,
    null: &'a str,
}

impl DisplayIndex for StructFormatter<'_> {
    fn write(&self, row: usize, out: &mut dyn Write) -> FormatResult {
        if self.array.is_null(row) {
            return Ok(out.write_str(self.null)?);
        }
        for (i, field) in self.fields.iter().enumerate() {
            write!(out, "{}{}", if i == 0 { "{" } else { ", " }, field.value(row))?;
        }
        Ok(out.write_str(if self.fields.is_empty() { "{}" } else { "}" })?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;

    use super::super::testing::batch;
    use super::*;

    /// The one value of `column`, from JSON, as `tuples` prints it.
    fn shown(column_type: &str, json: &str) -> String {
        let mut out = String::new();
        tuples(&batch(&[("it", column_type)], &[&format!(r#"{{"it": {json}}}"#)]), &mut out).unwrap();
        out.strip_suffix('\n').unwrap().to_owned()
    }

    #[test]
    fn values() {
        for (column_type, json, expected) in [
            ("string", r#""raw \"text\"""#, r#"raw "text""#),
            ("string", "null", "null"),
            ("boolean", "true", "true"),
            ("long", "-12", "-12"),
            ("double", "1", "1.0"),
            ("double", "2.5", "2.5"),
            ("decimal(6,2)", "1.5", "1.50"),
            ("date", r#""2024-05-17""#, "2024-05-17"),
            ("timestamp", r#""2024-05-17T10:00:00Z""#, "2024-05-17T10:00:00Z"),
            ("timestamp", r#""2024-05-17T10:00:00.25Z""#, "2024-05-17T10:00:00.250Z"),
            ("list<long>", "[1, null, 3]", "[1, null, 3]"),
            ("struct<a: string, b: long>", r#"{"a": "x", "b": 1}"#, "{x, 1}"),
            ("struct<a: string>", "null", "null"),
            ("list<struct<a: long>>", r#"[{"a": 1}, {"a": null}]"#, "[{1}, {null}]"),
            ("map<string, long>", r#"{"a": 1, "b": 2}"#, "{a: 1, b: 2}"),
        ] {
            assert_eq!(shown(column_type, json), expected, "{column_type} {json}");
        }
    }

    #[test]
    fn control_characters_are_escaped_wherever_they_stand() {
        assert_eq!(shown("string", r#""a\nb\t\u001b[2Jc\r""#), r"a\nb\t\u{1b}[2Jc\r");
        assert_eq!(shown("string", r#""\u009b2J\u007f""#), r"\u{9b}2J\u{7f}");
        assert_eq!(shown("list<string>", r#"["\u0007"]"#), r"[\u{7}]");
        assert_eq!(shown("struct<a: string>", r#"{"a": "\n"}"#), r"{\n}");
        assert_eq!(shown("map<string, string>", r#"{"\n": "\r"}"#), r"{\n: \r}");
    }

    #[test]
    fn rows_of_several_columns() {
        let mut out = String::new();
        tuples(&batch(&[("a", "string"), ("b", "long")], &[r#"{"a": "x", "b": 1}"#, "{}"]), &mut out).unwrap();
        assert_eq!(out, "(x,1)\n(null,null)\n");
    }

    #[test]
    fn json_stays_json_and_is_safe_on_a_terminal() {
        let column: ArrayRef = Arc::new(arrow::array::StringViewArray::from(vec!["\u{1b}[2J\u{9b}\u{7f}é\n"]));
        let rows = RecordBatch::try_from_iter_with_nullable([("it", column, true)]).unwrap();
        let mut out = String::new();
        json(&rows, &mut out).unwrap();
        assert_eq!(out, "{\"it\":\"\\u001b[2J\\u009b\\u007fé\\n\"}\n");
        let read: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(read["it"], "\u{1b}[2J\u{9b}\u{7f}é\n");
    }

    #[test]
    fn tables() {
        let rows = || [vec!["spark".to_owned(), "1".to_owned()], vec!["x".repeat(12), "10".to_owned()]].into_iter();
        let cut = "\
+----------+-----+
|      word|count|
+----------+-----+
|     spark|    1|
|xxxxxxx...|   10|
+----------+-----+
";
        assert_eq!(table(["word", "count"].into_iter(), rows(), Some(10)), cut);
        let whole = "\
+------------+----+
|word        |n\\na|
+------------+----+
|spark       |1   |
|xxxxxxxxxxxx|10  |
+------------+----+
";
        assert_eq!(table(["word", "n\na"].into_iter(), rows(), None), whole);
    }
}
