use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::{Column, SchemaDeclaration, parse_type};

/// An output that the test can look into.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn columns(columns: &[(&str, &str)]) -> Schema {
    Schema::new(columns.iter().map(|(name, text)| Column::new(*name, parse_type(text).unwrap())).collect())
}

fn input(format: serde_json::Value) -> InputFormat {
    serde_json::from_value(format).unwrap()
}

fn output(format: serde_json::Value) -> OutputFormat {
    serde_json::from_value(format).unwrap()
}

fn decode(format: &InputFormat, bytes: impl Into<Bytes>) -> Decoded {
    let decoded = format.decoder().unwrap().decode(bytes.into()).unwrap();
    for batch in &decoded.batches {
        assert_eq!(batch.schema(), format.schema().to_arrow());
        assert!((1..=BATCH_ROWS).contains(&batch.num_rows()));
    }
    decoded
}

fn encode(format: &OutputFormat, schema: SchemaRef, batches: &[RecordBatch]) -> Vec<u8> {
    let out = Output::default();
    let mut writer = format.writer(schema, Box::new(out.clone())).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    out.0.lock().unwrap().clone()
}

/// The rows as lines of JSON.
fn rows(decoded: &Decoded) -> Vec<String> {
    let Some(first) = decoded.batches.first() else { return Vec::new() };
    let written = encode(&OutputFormat::default(), first.schema(), &decoded.batches);
    String::from_utf8(written).unwrap().lines().map(str::to_owned).collect()
}

fn bad(decoded: &Decoded) -> Vec<(String, String)> {
    let text = |row: &BadRow| (String::from_utf8_lossy(&row.raw).into_owned(), row.reason.clone());
    assert_eq!(decoded.bad_rows.count as usize, decoded.bad_rows.samples.len());
    decoded.bad_rows.samples.iter().map(text).collect()
}

fn all_good(decoded: &Decoded) {
    assert!(decoded.bad_rows.is_empty(), "{:?}", decoded.bad_rows);
}

fn values(decoded: &Decoded) -> Vec<String> {
    let column = |batch: &RecordBatch| -> Vec<String> {
        batch.column(0).as_string_view().iter().map(|value| value.unwrap().to_owned()).collect()
    };
    decoded.batches.iter().flat_map(column).collect()
}

// ---- text

#[test]
fn text_lines() {
    let text = InputFormat::default();
    assert!(decode(&text, "").batches.is_empty());
    assert_eq!(values(&decode(&text, "\n")), [""]);
    assert_eq!(values(&decode(&text, "a\n\nb")), ["a", "", "b"]);
    assert_eq!(values(&decode(&text, "a\r\n\r\nb\rc\n")), ["a", "", "b\rc"]);
    let edges = ["exactly12byt", "exactly 13byt", "grüße, länger als zwölf", "kurz", "x"];
    assert_eq!(values(&decode(&text, edges.join("\n"))), edges);
}

#[test]
fn text_shares_one_buffer() {
    let line = "a line of more than twelve bytes\n";
    let block = Bytes::from(line.repeat(2_500));
    let decoded = decode(&InputFormat::default(), block.clone());
    let counts: Vec<usize> = decoded.batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(counts, [1024, 1024, 452]);
    assert_eq!(decoded.rows(), text::count_lines(&block));
    for batch in &decoded.batches {
        let buffers = batch.column(0).as_string_view().data_buffers();
        assert_eq!(buffers.len(), 1);
        assert_eq!(buffers[0].as_ptr(), block.as_ptr());
        batch.column(0).to_data().validate_full().unwrap();
    }
}

#[test]
fn text_invalid_utf8() {
    let block = b"good one\nbad \xFF one that is long\n\xFF\nlast one, long enough".as_slice();
    let replaced = decode(&InputFormat::default(), block);
    let expected = ["good one", "bad \u{FFFD} one that is long", "\u{FFFD}", "last one, long enough"];
    assert_eq!(values(&replaced), expected);
    assert!(replaced.bad_rows.is_empty());
    replaced.batches[0].column(0).to_data().validate_full().unwrap();

    let rejected = decode(&input(json!({ "text": { "invalid_utf8": "reject" } })), block);
    assert_eq!(values(&rejected), ["good one", "last one, long enough"]);
    assert_eq!(rejected.bad_rows.count, 2);
    assert_eq!(rejected.bad_rows.samples.iter().map(|row| row.line).collect::<Vec<_>>(), [Some(2), Some(3)]);
    assert_eq!(rejected.bad_rows.samples[0].raw, b"bad \xFF one that is long".as_slice());
    assert_eq!(rejected.bad_rows.samples[0].reason, "the line is not valid UTF-8 from byte 5 on");
}

#[test]
fn text_is_cut_into_blocks_after_lines() {
    let decoder = text::TextDecoder::new(&text::TextInput::default());
    let decoded = decoder.decode_blocks(Bytes::from("aa\nbb\nmuch too long\ncc\nd"), 6).unwrap();
    assert_eq!(values(&decoded), ["aa", "bb", "cc", "d"]);
    assert_eq!(bad(&decoded), [("much too long".to_owned(), "the line is longer than 6 bytes".to_owned())]);
    assert_eq!(decoded.bad_rows.samples[0].line, Some(3));
}

#[test]
fn text_output() {
    let text = output(json!({ "text": {} }));
    let words: ArrayRef = Arc::new(StringViewArray::from(vec![Some("spark"), None]));
    let counts: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let one = RecordBatch::try_from_iter_with_nullable([("word", Arc::clone(&words), true)]).unwrap();
    assert_eq!(encode(&text, one.schema(), &[one]), b"spark\nnull\n");
    let number = RecordBatch::try_from_iter_with_nullable([("count", Arc::clone(&counts), true)]).unwrap();
    assert_eq!(encode(&text, number.schema(), &[number]), b"1\nnull\n");
    let two = RecordBatch::try_from_iter_with_nullable([("word", words, true), ("count", counts, true)]).unwrap();
    assert_eq!(encode(&text, two.schema(), &[two]), b"(spark,1)\n(null,null)\n");
}

proptest! {
    #[test]
    fn text_finds_the_lines_of_any_input(bytes in prop::collection::vec(any::<u8>(), 0..200), limit in 1_usize..300) {
        let decoder = text::TextDecoder::new(&text::TextInput::default());
        let decoded = decoder.decode_blocks(Bytes::from(bytes.clone()), limit).unwrap();
        prop_assert_eq!(decoded.rows() as u64 + decoded.bad_rows.count, text::count_lines(&bytes) as u64);
        for batch in &decoded.batches {
            prop_assert!(batch.column(0).to_data().validate_full().is_ok());
        }
    }
}

// ---- json

#[expect(clippy::needless_pass_by_value, reason = "it is called with `json!`")]
fn json_format(schema: serde_json::Value) -> InputFormat {
    input(json!({ "json": { "schema": schema } }))
}

#[test]
fn json_round_trip() {
    let format = json_format(json!({
        "s": "string", "b": "boolean", "i": "int", "l": "long", "d": "double", "m": "decimal(10,2)", "day": "date",
        "at": "timestamp", "raw": "binary", "list": "list<long>", "inner": "struct<a: long, b: list<string>>",
        "map": "map<string, double>",
    }));
    let lines = [
        concat!(
            r#"{"s":"grüße an alle","b":true,"i":1,"l":-2,"d":0.5,"m":12.30,"day":"2024-05-17","#,
            r#""at":"2024-05-17T10:00:00.000001Z","raw":"00ff","list":[1,null],"#,
            r#""inner":{"a":1,"b":["x"]},"map":{"k":1.5}}"#
        ),
        concat!(
            r#"{"s":null,"b":null,"i":null,"l":null,"d":null,"m":null,"day":null,"at":null,"raw":null,"#,
            r#""list":null,"inner":null,"map":null}"#
        ),
    ];
    let decoded = decode(&format, lines.join("\n"));
    all_good(&decoded);
    assert_eq!(rows(&decoded), lines);
}

#[test]
fn json_missing_unknown_and_blank() {
    let format = json_format(json!({ "a": "long", "b": "string" }));
    let decoded = decode(&format, "\u{FEFF}{\"a\":\"12\",\"z\":[{}]}\r\n\n  \r\n{\"b\":\"x\"}");
    all_good(&decoded);
    assert_eq!(rows(&decoded), [r#"{"a":12,"b":null}"#, r#"{"a":null,"b":"x"}"#]);
}

#[test]
fn json_timestamps_are_utc_unless_they_say_otherwise() {
    let format = json_format(json!({ "at": "timestamp" }));
    let text = r#"{"at":"2024-05-17 12:00:00"}
{"at":"2024-05-17T12:00:00+02:00"}
{"at":1000000}"#;
    let expected = ["2024-05-17T12:00:00Z", "2024-05-17T10:00:00Z", "1970-01-01T00:00:01Z"];
    assert_eq!(rows(&decode(&format, text)), expected.map(|at| format!(r#"{{"at":"{at}"}}"#)));
}

#[test]
fn json_bad_lines_do_not_harm_the_others() {
    let format = json_format(json!({ "a": "int", "s": "string" }));
    let text = [
        r#"{"a":1}"#,
        r#"{"a":"one"}"#,
        r#"{"a":2"#,
        r#","s":"x"}"#,
        r#"{"a":3}{"a":4}"#,
        r#"{"s":5}"#,
        "[1]",
        "null",
        "no json",
        r#"{"a":6}"#,
    ]
    .join("\n");
    let decoded = decode(&format, text);
    assert_eq!(rows(&decoded), [r#"{"a":1,"s":null}"#, r#"{"a":6,"s":null}"#]);
    let bad = bad(&decoded);
    let lines: Vec<&str> = bad.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(
        lines,
        [r#"{"a":"one"}"#, r#"{"a":2"#, r#","s":"x"}"#, r#"{"a":3}{"a":4}"#, r#"{"s":5}"#, "[1]", "null", "no json"]
    );
    let numbers: Vec<Option<u64>> = decoded.bad_rows.samples.iter().map(|row| row.line).collect();
    assert_eq!(numbers, [2, 3, 4, 5, 6, 7, 8, 9].map(Some));
    assert_eq!(bad[0].1, r#"whilst decoding field 'a': failed to parse "one" as Int32"#);
    assert_eq!(bad[1].1, "the line ends before the JSON object does");
    assert_eq!(bad[3].1, "the line has more than one JSON object");
}

#[test]
fn json_numbers_are_not_cut_off() {
    let format = json_format(json!({
        "i": "int", "l": "long", "m": "decimal(10,2)", "d": "double", "list": "list<int>",
        "inner": "struct<d: double, m: decimal(38,10)>", "map": "map<string, struct<l: long>>",
    }));
    let good = [
        r#"{"i":1.0,"l":1e3,"m":12.340,"d":1.005}"#,
        r#"{"i":-0,"l":"12","m":"1.5e1","d":1.5,"list":[1,2.0,null],"map":{"1.5":{"l":-2.0}}}"#,
        r#"{"l":9223372036854775807,"inner":{"d":0.5,"m":1e-10},"z":[1.5],"text":"1.5"}"#,
    ];
    let bad = [
        (r#"{"i":1.5}"#, "column `i`: no int: `1.5`"),
        (r#"{"d":2.5,"l":-0.5}"#, "column `l`: no long: `-0.5`"),
        (r#"{"m":12.345}"#, "column `m`: no decimal(10,2): `12.345`"),
        (r#"{"m":"12.345"}"#, "column `m`: no decimal(10,2): `12.345`"),
        (r#"{"m":1e65536}"#, "column `m`: no decimal(10,2): `1e65536`"),
        (r#"{"list":[1,[],2.5]}"#, "whilst decoding field 'list': expected primitive got []"),
        (r#"{"list":[1,null,2.5]}"#, "column `list`: no int: `2.5`"),
        (r#"{"inner":{"d":1.5,"m":0.12345678901}}"#, "column `inner`: no decimal(38,10): `0.12345678901`"),
        (r#"{"map":{"a":{"l":1},"b":{"l":1e-1}}}"#, "column `map`: no long: `1e-1`"),
        (r#"{"i":2147483648}"#, "whilst decoding field 'i': failed to parse 2147483648 as Int32"),
        (r#"{"l":1e19}"#, "whilst decoding field 'l': failed to parse 1e19 as Int64"),
    ];
    for (line, reason) in bad {
        let text = format!("{}\n{line}\n{}", good[0], good[1..].join("\n"));
        let decoded = decode(&format, text);
        assert_eq!(self::bad(&decoded), [(line.to_owned(), reason.to_owned())]);
        assert_eq!(decoded.rows(), good.len());
    }
    let decoded = decode(&json_format(json!({ "i": "int", "l": "long", "m": "decimal(10,2)" })), good.join("\n"));
    all_good(&decoded);
    let expected = [
        r#"{"i":1,"l":1000,"m":12.34}"#,
        r#"{"i":0,"l":12,"m":15.00}"#,
        r#"{"i":null,"l":9223372036854775807,"m":null}"#,
    ];
    assert_eq!(rows(&decoded), expected);
}

#[test]
fn json_many_rows_some_bad() {
    let format = json_format(json!({ "a": "long" }));
    let line = |i: usize| if i % 1000 == 7 { "{\"a\":[]}\n".to_owned() } else { format!("{{\"a\":{i}}}\n") };
    let decoded = decode(&format, (0..20_000).map(line).collect::<String>());
    assert_eq!((decoded.rows(), decoded.bad_rows.count), (19_980, 20));
    assert_eq!(decoded.bad_rows.samples.len(), records::MAX_SAMPLES);
    let rows = rows(&decoded);
    let expected = (0..20_000).filter(|i| i % 1000 != 7).map(|i| format!("{{\"a\":{i}}}"));
    assert!(rows.into_iter().eq(expected));
}

#[test]
fn json_survives_deep_nesting() {
    let format = json_format(json!({ "a": "long" }));
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));
    let flat = format!("{{\"a\":1,\"z\":[{}[]]}}", "[],".repeat(1000));
    let decoded = decode(&format, format!("{deep}\n{flat}\n{{\"a\":2,\"z\":\"{}\"}}", "[".repeat(1000)));
    assert_eq!(decoded.bad_rows.count, 1);
    assert_eq!(rows(&decoded), [r#"{"a":1}"#, r#"{"a":2}"#]);
}

#[test]
fn json_output_cannot_hold_maps_without_text_keys() {
    let json = OutputFormat::default();
    assert_eq!(json.check(&columns(&[("m", "map<string, long>")])), Ok(()));
    let message = json.check(&columns(&[("m", "list<map<long, long>>")])).unwrap_err();
    assert!(message.starts_with("column `m` is list<map<long, long>>"), "{message}");
}

// ---- csv

#[test]
fn csv_round_trip() {
    let format = input(json!({ "csv": { "schema": { "s": "string", "n": "double", "at": "timestamp" } } }));
    let text = "s,n,at\n\"a \"\"b\"\", with\nbreak\",0.5,2024-05-17T10:00:00Z\nplain,,\n";
    let decoded = decode(&format, text);
    all_good(&decoded);
    assert_eq!(
        rows(&decoded),
        [r#"{"s":"a \"b\", with\nbreak","n":0.5,"at":"2024-05-17T10:00:00Z"}"#, r#"{"s":"plain","n":null,"at":null}"#]
    );
    let csv = output(json!({ "csv": {} }));
    let schema = format.schema().to_arrow();
    assert_eq!(String::from_utf8(encode(&csv, Arc::clone(&schema), &decoded.batches)).unwrap(), text);
    assert_eq!(encode(&csv, schema, &[]), b"s,n,at\n");
}

#[test]
fn csv_finds_columns_by_name() {
    let format = input(json!({ "csv": { "schema": { "b": "int", "a": "string" } } }));
    let decoded = decode(&format, "\u{FEFF}a, other ,b\r\nx,y,1\r\n");
    assert_eq!(rows(&decoded), [r#"{"b":1,"a":"x"}"#]);
    assert!(decode(&format, "").batches.is_empty());
    let error = format.decoder().unwrap().decode(Bytes::from("a,c\n1,2\n")).unwrap_err();
    assert_eq!(error.to_string(), "there is no column `b`; the columns are `a`, `c`");
}

#[test]
fn csv_settings() {
    let format = input(json!({ "csv": {
        "schema": { "a": "string", "b": "int" }, "header": false, "delimiter": ";", "quote": "'",
        "escape": "\\", "null_value": "NA",
    } }));
    let decoded = decode(&format, "'it\\'s; fine';1\nNA;NA\n;2");
    all_good(&decoded);
    let expected = [r#"{"a":"it's; fine","b":1}"#, r#"{"a":null,"b":null}"#, r#"{"a":"","b":2}"#];
    assert_eq!(rows(&decoded), expected);

    let same = input(json!({ "csv": { "schema": { "a": "string" }, "delimiter": "\"" } }));
    assert_eq!(same.decoder().unwrap_err().to_string(), "`delimiter` and `quote` must differ");
    for delimiter in ["é", "\n", "ab", ""] {
        let wrong = json!({ "csv": { "schema": { "a": "string" }, "delimiter": delimiter } });
        assert!(serde_json::from_value::<InputFormat>(wrong).is_err(), "{delimiter}");
    }
    assert!(output(json!({ "csv": {} })).check(&columns(&[("l", "list<int>")])).is_err());
}

#[test]
fn csv_bad_rows() {
    let format = input(json!({ "csv": { "schema": { "a": "int", "b": "string" } } }));
    let text = "a,b\n1,x\nno,x\n2\n3,x,y\n\n4,\"two\nlines\"\n5,\"open\n6,x\n";
    let decoded = decode(&format, text);
    assert_eq!(rows(&decoded), [r#"{"a":1,"b":"x"}"#, r#"{"a":4,"b":"two\nlines"}"#]);
    let mut bad = bad(&decoded);
    bad.sort();
    let expected = [
        ("2", "the record has 1 fields, there should be 2"),
        ("3,x,y", "the record has 3 fields, there should be 2"),
        ("5,\"open\n6,x\n", "a quote is opened and not closed"),
        ("no,x", "column `a`: no int: `no`"),
    ];
    assert_eq!(bad, expected.map(|(raw, reason)| (raw.to_owned(), reason.to_owned())));
    let decoded = decode(&format, b"a,b\n1,\xFF\n2,y\n".as_slice());
    assert_eq!(rows(&decoded), [r#"{"a":2,"b":"y"}"#]);
    assert_eq!(decoded.bad_rows.samples[0].reason, "the record is not valid UTF-8 from byte 3 on");
}

proptest! {
    #[test]
    fn csv_reads_what_it_wrote(fields in prop::collection::vec(("[a-z,;\"\\r\\n ]{1,8}", any::<i32>()), 1..20)) {
        let format = input(json!({ "csv": { "schema": { "s": "string", "n": "int" } } }));
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(fields.iter().map(|(text, _)| text)));
        let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(fields.iter().map(|(_, number)| *number)));
        let batch = RecordBatch::try_new(format.schema().to_arrow(), vec![texts, numbers]).unwrap();
        let written = encode(&output(json!({ "csv": {} })), batch.schema(), std::slice::from_ref(&batch));
        let decoded = decode(&format, written);
        prop_assert!(decoded.bad_rows.is_empty());
        prop_assert_eq!(decoded.batches, vec![batch]);
    }

    #[test]
    fn csv_never_panics(text in "[a1,\"\\r\\n\\\\]{0,60}") {
        let schema = json!({ "a": "int", "b": "string" });
        let format = input(json!({ "csv": { "schema": schema, "header": false, "escape": "\\" } }));
        decode(&format, text);
    }
}

// ---- parquet

#[test]
fn parquet_round_trip() {
    let schema = json!({
        "s": "string", "n": "decimal(10,2)", "at": "timestamp", "raw": "binary", "l": "list<struct<a: long>>",
    });
    let lines = r#"{"s":"a text that is long enough","n":1.25,"at":"2024-05-17T10:00:00Z","raw":"00ff","l":[{"a":1}]}
{"s":null,"n":null,"at":null,"raw":null,"l":null}"#;
    let rows = decode(&json_format(schema.clone()), lines);
    let format = input(json!({ "parquet": { "schema": schema } }));
    for compression in ["none", "snappy", "zstd"] {
        let parquet = output(json!({ "parquet": { "compression": compression } }));
        let written = encode(&parquet, format.schema().to_arrow(), &rows.batches);
        assert_eq!(decode(&format, written.clone()).batches, rows.batches);

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&written).unwrap();
        let read: Result<Vec<RecordBatch>, FormatError> =
            super::parquet::read_file(file, &format.schema()).unwrap().collect();
        assert_eq!(read.unwrap(), rows.batches);
    }
}

#[test]
fn parquet_columns_by_name_and_type() {
    let written = {
        let a: ArrayRef = Arc::new(StringArray::from(vec!["1", "x"]));
        let b: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("a", a), ("b", b)]).unwrap();
        Bytes::from(encode(&output(json!({ "parquet": {} })), batch.schema(), &[batch]))
    };
    let format = |schema: serde_json::Value| input(json!({ "parquet": { "schema": schema } }));
    let decoded = decode(&format(json!({ "b": "long", "a": "string" })), written.clone());
    assert_eq!(rows(&decoded), [r#"{"b":1,"a":"1"}"#, r#"{"b":2,"a":"x"}"#]);

    let error = |format: InputFormat| format.decoder().unwrap().decode(written.clone()).unwrap_err().to_string();
    assert_eq!(error(format(json!({ "c": "long" }))), "there is no column `c`; the columns are `a`, `b`");
    assert!(error(format(json!({ "a": "long" }))).starts_with("row 2: column `a` does not fit long: "));
    let of_no_row = error(format(json!({ "a": "struct<x: long>" })));
    assert!(of_no_row.starts_with("column `a` does not fit struct<x: long>: "), "{of_no_row}");
    assert!(format(json!({ "a": "long" })).decoder().unwrap().decode(Bytes::from("no parquet")).is_err());
}

// ---- all

#[test]
fn cast_brings_columns_to_their_types() {
    let narrow = ArrowSchema::new(vec![Field::new("n", DataType::Int32, true), Field::new("s", DataType::Utf8, true)]);
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some("x")]));
    let batch = RecordBatch::try_new(Arc::new(narrow), vec![numbers, texts]).unwrap();
    let wanted = columns(&[("s", "string"), ("n", "double")]).to_arrow();
    let cast = cast_batch(&batch, &wanted).unwrap();
    assert_eq!(cast.schema(), wanted);
    assert_eq!(cast.column(0).as_string_view().value(1), "x");
    assert!(cast.column(1).is_null(1));
}

#[test]
fn names_and_properties() {
    let schema = SchemaDeclaration(columns(&[("a", "long")]));
    let json = json_format(json!({ "a": "long" }));
    assert_eq!(json, InputFormat::Json(super::json::JsonInput { schema }));
    assert_eq!((json.name(), json.is_line_based()), ("json", true));
    assert!(!input(json!({ "csv": { "schema": { "a": "long" } } })).is_line_based());
    assert_eq!(InputFormat::default().schema(), columns(&[("value", "string")]));
    assert_eq!(output(json!({ "text": {} })).extension(), "txt");
    assert!(OutputFormat::default().check(&Schema::default()).is_err());
    assert!(serde_json::from_value::<InputFormat>(json!({ "json": { "schema": {} } })).is_err());
    assert!(serde_json::from_value::<InputFormat>(json!({ "text": { "utf8": "replace" } })).is_err());
}

#[test]
fn json_schema_allows_a_bare_name() {
    let schema = serde_json::to_value(schemars::schema_for!(InputFormat)).unwrap();
    assert_eq!(schema["oneOf"][0], json!({ "type": "string", "enum": ["text"] }));
    assert_eq!(schema["$defs"]["CsvInput"]["properties"]["delimiter"]["default"], json!(","));
    assert_eq!(schema["$defs"]["TextInput"]["properties"]["invalid_utf8"]["default"], json!("replace"));
}
