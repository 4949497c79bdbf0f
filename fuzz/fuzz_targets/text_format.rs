//! Any bytes through the decoders of text, JSON and CSV. None may panic; batches have the format's
//! columns and a size that the rest of the program counts on.

#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use streamrun::formats::csv::{Ascii, CsvInput};
use streamrun::formats::json::JsonInput;
use streamrun::formats::text::{InvalidUtf8, TextInput, count_lines};
use streamrun::formats::{BATCH_ROWS, Decode, InputFormat};
use streamrun::schema::{Column, Schema, SchemaDeclaration, parse_type};

const COLUMNS: [(&str, &str); 9] = [
    ("id", "long"),
    ("small", "int"),
    ("name", "string"),
    ("amount", "double"),
    ("price", "decimal(10,2)"),
    ("ok", "boolean"),
    ("day", "date"),
    ("at", "timestamp"),
    ("ratio", "float"),
];
const NESTED: [(&str, &str); 4] = [
    ("raw", "binary"),
    ("tags", "list<string>"),
    ("customer", "struct<name: string, ids: list<long>>"),
    ("labels", "map<string, double>"),
];

fn schema(columns: &[(&str, &str)]) -> SchemaDeclaration {
    let column = |(name, text): &(&str, &str)| Column::new(*name, parse_type(text).expect("a type"));
    SchemaDeclaration(Schema::new(columns.iter().map(column).collect()))
}

fn decoder(format: &InputFormat) -> Arc<dyn Decode> {
    format.decoder().expect("settings that go together")
}

fn csv(header: bool, columns: &[(&str, &str)], escape: Option<char>, null_value: Option<&str>) -> Arc<dyn Decode> {
    let ascii = |character| Ascii::new(character).expect("a delimiter");
    decoder(&InputFormat::Csv(CsvInput {
        schema: schema(columns),
        header,
        delimiter: ascii(','),
        quote: ascii('"'),
        escape: escape.map(ascii),
        null_value: null_value.map(str::to_owned),
    }))
}

fn text(invalid_utf8: InvalidUtf8) -> Arc<dyn Decode> {
    decoder(&InputFormat::Text(TextInput { invalid_utf8 }))
}

static TEXT: LazyLock<[Arc<dyn Decode>; 2]> = LazyLock::new(|| [text(InvalidUtf8::Replace), text(InvalidUtf8::Reject)]);

static OTHERS: LazyLock<[Arc<dyn Decode>; 5]> = LazyLock::new(|| {
    let all: Vec<(&str, &str)> = COLUMNS.iter().chain(&NESTED).copied().collect();
    [
        decoder(&InputFormat::Json(JsonInput { schema: schema(&all) })),
        csv(true, &COLUMNS, None, None),
        csv(false, &COLUMNS, Some('\\'), None),
        csv(false, &COLUMNS[2..3], None, Some("NA")),
        csv(true, &COLUMNS[..3], Some('\\'), Some("")),
    ]
});

/// How many rows there are, good and bad ones.
fn decode(decoder: &Arc<dyn Decode>, bytes: &Bytes) -> Option<u64> {
    let decoded = decoder.decode(bytes.clone()).ok()?;
    for batch in &decoded.batches {
        assert!((1..=BATCH_ROWS).contains(&batch.num_rows()));
        assert_eq!(batch.schema_ref(), decoder.schema());
    }
    Some(decoded.rows() as u64 + decoded.bad_rows.count)
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    for decoder in TEXT.iter() {
        assert_eq!(decode(decoder, &bytes), Some(count_lines(&bytes) as u64));
    }
    for decoder in OTHERS.iter() {
        decode(decoder, &bytes);
    }
});
