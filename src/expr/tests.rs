//! What expressions mean: the examples of the function table, the semantics of
//! `docs/expressions.md`, and agreement with evalexpr where the two agree.

use std::sync::Arc;

use arrow::json::ArrayWriter;
use datafusion::execution::runtime_env::RuntimeEnv;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::compile::{compile_grouped, compile_row};
use super::parse::parse;
use super::{ExpressionError, aggregates, functions, session};
use crate::diagnostic::codes;
use crate::schema::{Column, ColumnType, Schema, parse_type};
use crate::sources::rows::to_batch;

/// The value of an expression over one row, as JSON.
fn evaluate(text: &str, schema: &Schema, row: Value) -> Result<Value, ExpressionError> {
    let typed = compile_row(&parse(text)?, schema)?;
    let batch = to_batch(&[row], schema).unwrap_or_else(|error| panic!("{error}"));
    let state = session::state(session::config(1), Arc::new(RuntimeEnv::default())).build();
    let context = datafusion::prelude::SessionContext::new_with_state(state);
    let table = context.read_batch(batch).and_then(|table| table.select(vec![typed.expr.alias("value")])).unwrap();
    let threads = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let result = threads.block_on(table.collect()).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(*result[0].column(0).data_type(), typed.column_type.to_arrow(), "{text}: the promised type");
    let mut writer = ArrayWriter::new(Vec::new());
    writer.write_batches(&result.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    let rows: Value = serde_json::from_slice(&writer.into_inner()).unwrap();
    Ok(rows[0].get("value").cloned().unwrap_or(Value::Null))
}

fn columns(columns: &[(&str, &str)]) -> Schema {
    Schema::new(columns.iter().map(|(name, text)| Column::new(*name, parse_type(text).unwrap())).collect())
}

/// One dummy column, since a row without columns is no row.
fn constant(text: &str) -> Value {
    evaluate(text, &columns(&[("x", "long")]), json!({ "x": 1 })).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

#[test]
fn the_example_of_every_function_is_true() {
    let mut wrong = Vec::new();
    for function in functions::all() {
        let (expression, expected) = function.example;
        let expected: Value =
            serde_json::from_str(expected).unwrap_or_else(|error| panic!("{}: {error}", function.name));
        let got = constant(expression);
        if !same(&got, &expected) {
            wrong.push(format!("{expression} is {got}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
        _ => a == b,
    }
}

#[test]
fn operators() {
    for (text, expected) in [
        ("1 + 2 * 3", json!(7)),
        ("7 / 2", json!(3)),
        ("-7 / 2", json!(-3)),
        ("7 % -3", json!(1)),
        ("-7 % 3", json!(-1)),
        ("7 / 2.0", json!(3.5)),
        ("1 / 0", json!(null)),
        ("1 % 0", json!(null)),
        ("1.0 / 0.0", json!(null)),
        ("9223372036854775807 + 1", json!(null)),
        ("-9223372036854775807 - 2", json!(null)),
        ("4611686018427387904 * 2", json!(null)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("- 9223372036854775808 + 1", json!(i64::MIN + 1)),
        ("-(-9223372036854775808)", json!(null)),
        ("-9223372036854775808.0 < -9e18", json!(true)),
        ("length(\"9223372036854775808\")", json!(19)),
        ("2 ^ 3", json!(8.0)),
        ("-2 ^ 2", json!(-4.0)),
        ("1 == 1.0", json!(true)),
        ("1 != 2", json!(true)),
        ("\"a\" + \"b\"", json!("ab")),
        ("\"a\" + null", json!(null)),
        ("\"a\" < \"b\"", json!(true)),
        ("true && null", json!(null)),
        ("false && null", json!(false)),
        ("true || null", json!(true)),
        ("!null", json!(null)),
        ("null == null", json!(null)),
        ("!(1 > 2)", json!(true)),
        ("length(\"aéö\")", json!(3)),
        ("if(null, 1, 2)", json!(2)),
    ] {
        assert_eq!(constant(text), expected, "{text}");
    }
}

#[test]
fn columns_and_fields() {
    let schema = columns(&[
        ("name", "string"),
        ("order", "struct<id: long, customer: struct<country: string>>"),
        ("at", "timestamp"),
        ("price", "decimal(10,2)"),
        ("count", "int"),
    ]);
    let row = json!({
        "name": "x", "order": { "id": 7, "customer": { "country": "DE" } },
        "at": "2020-01-13T07:10:00Z", "price": "12.50", "count": 3
    });
    for (text, expected) in [
        ("order.customer.country == \"DE\"", json!(true)),
        ("order.id + 1", json!(8)),
        ("at > \"2020-01-13\"", json!(true)),
        ("at == \"2020-01-13T07:10:00Z\"", json!(true)),
        ("price * 2.0", json!(25.0)),
        ("price > 12", json!(true)),
        ("count + 1", json!(4)),
        ("name + \"!\"", json!("x!")),
    ] {
        assert_eq!(
            evaluate(text, &schema, row.clone()).unwrap_or_else(|error| panic!("{text}: {error:?}")),
            expected,
            "{text}"
        );
    }
}

#[test]
fn decimals_that_do_not_exist_are_null() {
    let schema = columns(&[("d", "decimal(38,0)"), ("zero", "decimal(38,0)"), ("price", "decimal(38,10)")]);
    let max = "9".repeat(38);
    let row = json!({ "d": max, "zero": "0", "price": "1.5" });
    for (text, expected) in [
        ("d + d", json!(null)),
        ("-d - d", json!(null)),
        ("d * d", json!(null)),
        ("d / zero", json!(null)),
        ("d % zero", json!(null)),
        ("d + null", json!(null)),
        ("d - d", json!("0")),
        ("-d", json!(format!("-{max}"))),
        ("price + price", json!("3.0000000000")),
        ("price * price", json!("2.25000000000000000000")),
        ("price / price", json!("1.00000000000000")),
        ("price % price", json!("0.0000000000")),
    ] {
        let got = evaluate(&format!("to_string({text})"), &schema, row.clone());
        assert_eq!(got.unwrap_or_else(|error| panic!("{text}: {error:?}")), expected, "{text}");
    }
    assert_eq!(evaluate("d + d > 1.0", &schema, row).unwrap(), json!(null));
}

#[test]
fn findings_say_what_is_wrong() {
    let schema = columns(&[("value", "string"), ("n", "long"), ("s", "struct<a: int>"), ("tiny", "decimal(38,20)")]);
    for (text, code, message) in [
        ("valu", codes::UNKNOWN_COLUMN, "there is no column `valu`"),
        ("s.b", codes::UNKNOWN_COLUMN, "there is no field `b`"),
        ("splt(value, \" \")", codes::UNKNOWN_FUNCTION, "there is no function `splt`"),
        ("split(value)", codes::WRONG_ARGUMENTS, "`split` is called with 1 argument"),
        ("lower(n)", codes::WRONG_ARGUMENTS, "`lower` takes a string as its `text`, not long"),
        ("value > 1", codes::TYPE_MISMATCH, "`>` does not fit string and long"),
        ("value + 1", codes::TYPE_MISMATCH, "`+` does not fit string and long"),
        ("n && true", codes::TYPE_MISMATCH, "`&&` does not fit long and boolean"),
        ("count()", codes::MISPLACED_AGGREGATE, "`count()` is an aggregate, and rows are not grouped here"),
        ("n = 3", codes::BAD_EXPRESSION, "an expression cannot assign"),
        ("1; 2", codes::BAD_EXPRESSION, "`;` is not allowed: an expression has one value"),
        ("(1, 2)", codes::BAD_EXPRESSION, "a comma stands only between the arguments of a function"),
        ("value n", codes::BAD_EXPRESSION, "an operator is missing after `value`"),
        ("(n", codes::BAD_EXPRESSION, "a `(` is not closed"),
        ("n)", codes::BAD_EXPRESSION, "a `)` closes nothing"),
        ("\"abc", codes::BAD_EXPRESSION, "a `\"` is not closed"),
        ("", codes::BAD_EXPRESSION, "an expression is missing"),
        ("n +", codes::BAD_EXPRESSION, "an operator lacks an operand, or two values lack an operator"),
        ("5x", codes::BAD_EXPRESSION, "`5x` is no number and no column"),
        ("9223372036854775808", codes::BAD_EXPRESSION, "`9223372036854775808` is too large for a long"),
        ("n > -9223372036854775809", codes::BAD_EXPRESSION, "`9223372036854775809` is too large for a long"),
        ("n - 9223372036854775808", codes::BAD_EXPRESSION, "`9223372036854775808` is too large for a long"),
        ("99999999999999999999 n", codes::BAD_EXPRESSION, "`99999999999999999999` is too large for a long"),
        ("n > 1e999", codes::BAD_EXPRESSION, "a number is too large for a double"),
        ("tiny * tiny", codes::TYPE_MISMATCH, "`*` of two decimal(38,20) has more than 38 digits after the point"),
        ("value == 'a'", codes::BAD_EXPRESSION, "text stands in double quotes"),
        ("regex_match(value, \"(\")", codes::WRONG_ARGUMENTS, ""),
        ("regex_match(value, value)", codes::WRONG_ARGUMENTS, "the `pattern` of `regex_match` must be a literal text"),
    ] {
        let error = parse(text).and_then(|ast| compile_row(&ast, &schema)).map(|_| ());
        let error = error.expect_err(text);
        assert_eq!(error.code, code, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
}

#[test]
fn what_other_languages_write_is_answered_with_what_is_written_here() {
    let schema = columns(&[("value", "string"), ("n", "long"), ("flag", "boolean")]);
    for (text, help) in [
        ("n > 1 and n < 3", "`&&`"),
        ("flag or n > 1", "`||`"),
        ("not flag", "`!`"),
        ("n <> 1", "`!=`"),
        ("n === 1", "`==`"),
        ("n = 1", "`==`"),
        ("n is null", "`is_null(x)`"),
        ("n IS NOT NULL", "`!is_null(x)`"),
        ("n in (1, 2)", "`x == 1 || x == 2`"),
        ("n > 1 ? 1 : 2", "`if(condition, a, b)`"),
        ("flag ? 1 : 2", "`if(condition, a, b)`"),
        ("case when n > 1 then 1 else 2 end", "`if(condition, a, b)`"),
        ("flag == True", "`true`"),
        ("flag == FALSE", "`false`"),
        ("value == 'a and b'", "\""),
        ("value \"x and y\"", "text stands in double quotes"),
    ] {
        let error = parse(text).and_then(|ast| compile_row(&ast, &schema)).map(|_| ()).expect_err(text);
        assert!(error.help.as_deref().is_some_and(|it| it.contains(help)), "{text}: {error} {:?}", error.help);
    }
}

#[test]
fn groups_know_keys_and_aggregates_only() {
    let schema = columns(&[("word", "string"), ("n", "long"), ("price", "decimal(10,2)")]);
    let keys = columns(&[("word", "string")]);
    let compile = |text: &str| compile_grouped(&parse(text).unwrap(), &schema, &keys, "v");
    assert_eq!(compile("sum(n) / count() + 1").unwrap().aggregates.len(), 2);
    assert_eq!(compile("sum(n) + sum(n)").unwrap().aggregates.len(), 1);
    assert_eq!(compile("concat(word, count())").unwrap().aggregates.len(), 1);
    assert_eq!(compile("sum(price) / sum(price)").unwrap().value.column_type, ColumnType::Decimal(26, 6));
    assert_eq!(compile("n + 1").unwrap_err().code, codes::MISPLACED_AGGREGATE);
    assert_eq!(compile("sum(count())").unwrap_err().code, codes::MISPLACED_AGGREGATE);
    for aggregate in aggregates::all() {
        assert!(functions::find(aggregate.name).is_none(), "{} is a function and an aggregate", aggregate.name);
    }
}

#[test]
fn too_large_is_refused_not_a_crash() {
    for text in
        ["(".repeat(100_000), "!".repeat(100_000), "-".repeat(5_000), "1+".repeat(5_000) + "1", "a ".repeat(50_000)]
    {
        assert_eq!(parse(&text).unwrap_err().code, codes::EXPRESSION_TOO_LARGE);
    }
    // On a thread with the stack of a worker.
    let fits = || assert_eq!(constant(&("1+".repeat(300) + "1")), json!(301));
    std::thread::Builder::new().stack_size(8 << 20).spawn(fits).unwrap().join().unwrap();
}

/// Integer expressions: both languages have the same arithmetic.
fn integers() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![(-20_i64..20).prop_map(|n| format!("({n})")), Just("4611686018427387904".to_owned())];
    leaf.prop_recursive(4, 24, 2, |inner| {
        (inner.clone(), prop_oneof![Just("+"), Just("-"), Just("*"), Just("/"), Just("%")], inner)
            .prop_map(|(left, operator, right)| format!("({left} {operator} {right})"))
    })
}

fn booleans() -> impl Strategy<Value = String> {
    let compared =
        (integers(), prop_oneof![Just("=="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")], integers());
    let leaf = compared.prop_map(|(left, operator, right)| format!("({left} {operator} {right})"));
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), prop_oneof![Just("&&"), Just("||")], inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            inner.prop_map(|operand| format!("!{operand}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Where evalexpr has a value, it is ours; where it fails (overflow, division by zero), ours
    /// is NULL.
    #[test]
    fn integer_arithmetic_agrees_with_evalexpr(text in integers()) {
        let expected = evalexpr::eval(&text).ok().and_then(|value| value.as_int().ok()).map_or(Value::Null, |n| json!(n));
        prop_assert_eq!(constant(&text), expected, "{}", text);
    }

    #[test]
    fn conditions_agree_with_evalexpr(text in booleans()) {
        // evalexpr evaluates both sides always, so one NULL part makes the whole an error there.
        if let Ok(value) = evalexpr::eval(&text) {
            prop_assert_eq!(constant(&text), json!(value.as_boolean().unwrap()), "{}", text);
        }
    }

    #[test]
    fn doubles_agree_with_evalexpr(a in -1e6_f64..1e6, b in -1e6_f64..1e6, operator in "[-+*/<>]") {
        let text = format!("({a:?}) {operator} ({b:?})");
        if b == 0.0 && operator == "/" { return Ok(()); }
        let expected = match evalexpr::eval(&text).unwrap() {
            evalexpr::Value::Boolean(value) => json!(value),
            value => json!(value.as_float().unwrap()),
        };
        prop_assert!(same(&constant(&text), &expected), "{}", text);
    }

    #[test]
    fn parsing_never_panics(text in ".{0,80}") {
        let _ = parse(&text).and_then(|ast| compile_row(&ast, &columns(&[("a", "string"), ("b", "long")])));
    }
}
