use proptest::prelude::*;

use super::*;

#[test]
fn reads_every_type() {
    for text in [
        "string",
        "boolean",
        "int",
        "long",
        "float",
        "double",
        "decimal(10,2)",
        "date",
        "timestamp",
        "binary",
        "list<string>",
        "struct<id: long, tags: list<string>>",
        "map<string, list<decimal(38,0)>>",
    ] {
        let column_type = parse_type(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(column_type.to_string(), text);
        assert_eq!(ColumnType::from_arrow(&column_type.to_arrow()), Some(column_type));
    }
}

#[test]
fn white_space_does_not_matter() {
    assert_eq!(parse_type(" map < string , int > "), parse_type("map<string,int>"));
}

#[test]
fn says_what_is_wrong() {
    for (text, message) in [
        ("strin", "`strin` is no type"),
        ("", "a type is missing"),
        ("list<int", "expected `>`, found the end"),
        ("list", "expected `<`, found the end"),
        ("int x", "unexpected `x` after the type"),
        ("decimal", "a decimal is written `decimal(precision, scale)`, e.g. `decimal(10,2)`"),
        ("decimal(2,10)", "a decimal has 1 to 38 digits, and not more of them after the point"),
        ("struct<>", "a struct needs fields: `struct<name: type, ...>`"),
        ("struct<a: int, a: int>", "the field `a` is there twice"),
    ] {
        assert_eq!(parse_type(text).map_err(|error| error.message), Err(message.to_owned()), "{text}");
    }
    assert!(parse_type(&"list<".repeat(100_000)).is_err());
}

proptest! {
    #[test]
    fn never_panics(text in "[a-z<>(),: 0-9]{0,60}") {
        let _ = parse_type(&text);
    }
}
