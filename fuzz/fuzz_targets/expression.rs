//! Any text as an expression, over rows and over groups: parsing and typing must not panic.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use streamrun::expr::compile::{compile_grouped, compile_row};
use streamrun::expr::parse::parse;
use streamrun::schema::{Column, Schema, parse_type};

/// A column of every type; seeds and dictionaries use these names.
const COLUMNS: [(&str, &str); 16] = [
    ("value", "string"),
    ("word", "string"),
    ("flag", "boolean"),
    ("status", "int"),
    ("count", "long"),
    ("ratio", "float"),
    ("amount", "double"),
    ("price", "decimal(10,2)"),
    ("day", "date"),
    ("at", "timestamp"),
    ("raw", "binary"),
    ("items", "list<string>"),
    ("numbers", "list<long>"),
    ("order", "struct<id: long, customer: struct<name: string, tags: list<string>>>"),
    ("labels", "map<string, string>"),
    ("a column", "long"),
];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| schema(&COLUMNS));
static KEYS: LazyLock<Schema> = LazyLock::new(|| schema(&COLUMNS[..4]));

fn schema(columns: &[(&str, &str)]) -> Schema {
    let column = |(name, text): &(&str, &str)| Column::new(*name, parse_type(text).expect("a type"));
    Schema::new(columns.iter().map(column).collect())
}

fuzz_target!(|text: &str| {
    if let Ok(ast) = parse(text) {
        let _ = compile_row(&ast, &SCHEMA);
        let _ = compile_grouped(&ast, &SCHEMA, &KEYS, "value");
    }
});
