use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::document::{self, Node};
use super::interpolate::{Environment, fill_in};
use super::{Duration, typed};
use crate::diagnostic::{Diagnostic, SourceFile, codes};

fn read(text: &str) -> (Option<Node>, Vec<Diagnostic>, Arc<SourceFile>) {
    let file = Arc::new(SourceFile::new("test.yaml", text));
    let mut findings = Vec::new();
    (document::read(&file, &mut findings), findings, file)
}

fn codes_of(findings: &[Diagnostic]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.code.name()).collect()
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Example {
    name: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    every: Option<Duration>,
    #[serde(default)]
    fraction: f64,
    #[serde(default)]
    on: bool,
    #[serde(default)]
    kind: Option<Kind>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Plain(Empty),
    Fancy(Fancy),
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Fancy {
    depth: u8,
}

fn typed_example(text: &str) -> (Option<Example>, Vec<Diagnostic>) {
    let (node, mut findings, file) = read(text);
    let value = node.and_then(|node| typed::read(&node, &file, &mut findings));
    (value, findings)
}

#[test]
fn a_scalar_is_what_is_asked_for() {
    for name in ["no", "on", "1e3", "007", "0x1F", "1.10", "null-ish", "2020-01-01"] {
        let (value, findings) = typed_example(&format!("name: {name}"));
        assert_eq!(codes_of(&findings), Vec::<&str>::new(), "{name}");
        assert_eq!(value.map(|it| it.name).as_deref(), Some(name));
    }
    let (value, _) =
        typed_example("{ name: a, port: 9999, every: 1h30m, fraction: .5, on: true, kind: { fancy: { depth: 3 } } }");
    let value = value.unwrap();
    assert_eq!(
        (value.port, value.every.map(Duration::as_millis), value.fraction, value.on),
        (9999, Some(5_400_000), 0.5, true)
    );
    assert_eq!(value.kind, Some(Kind::Fancy(Fancy { depth: 3 })));
    let (value, _) = typed_example("{ name: a, kind: plain }");
    assert_eq!(value.unwrap().kind, Some(Kind::Plain(Empty {})));
}

#[test]
fn everything_wrong_is_found_at_once() {
    let (value, findings) = typed_example("nme: a\nport: many\nevery: 5\nfraction: []\nkind: { fncy: {} }\nextra: 1\n");
    let mut found = codes_of(&findings);
    found.sort_unstable();
    assert_eq!(found, ["SR0201", "SR0201", "SR0202", "SR0203", "SR0203", "SR0205", "SR0207"]);
    // What is left is still good for finding more.
    assert_eq!(value.map(|it| it.name).as_deref(), Some("a"));
    let place = |code: &str| findings.iter().find(|it| it.code.name() == code).and_then(Diagnostic::position).unwrap();
    assert_eq!((place("SR0207").line, place("SR0207").column), (3, 8));
    assert_eq!((place("SR0205").line, place("SR0205").column), (5, 9));
}

#[test]
fn a_number_that_does_not_fit_is_told_the_range() {
    for number in ["70000", "-1", "99999999999999999999999"] {
        let (_, findings) = typed_example(&format!("name: a\nport: {number}"));
        assert_eq!(codes_of(&findings), ["SR0204"]);
        assert_eq!(findings[0].message, format!("this must be a whole number from 0 to 65535, not `{number}`"));
    }
    assert_eq!(codes_of(&typed_example("name: a\nport: 1.5").1), ["SR0203"]);
    assert_eq!(codes_of(&typed_example("name: a\nport: '5'").1), ["SR0203"]);
}

#[test]
fn places_on_a_line_with_letters_of_several_bytes() {
    let (node, _, file) = read("{ a: 'ü', ö: [ß, b], c: x } # ä");
    let node = node.unwrap();
    for (path, text) in [(["a"].as_slice(), "'ü'"), (["ö", "1"].as_slice(), "b"), (["c"].as_slice(), "x")] {
        let span = node.nearest(path).span;
        assert_eq!(file.text().get(span.start..span.end), Some(text));
    }
}

#[test]
fn values_of_the_command_line_have_places_of_their_own() {
    let (node, mut findings, file) = read("a: 1\nb: { c: 2 }");
    let mut node = node.unwrap();
    let set = [("b.c", "3"), ("d.e", "4"), ("a.b", "5"), ("token", "6")];
    let set = set.map(|(path, value)| (path.to_owned(), value.to_owned()));
    super::overrides::apply(&mut node, &file, &set, &mut findings);
    assert_eq!((node.nearest(&["b", "c"]).text(), node.nearest(&["d", "e"]).text()), (Some("3"), Some("4")));
    for path in [["b", "c"].as_slice(), ["d", "e"].as_slice(), ["token"].as_slice()] {
        findings.push(Diagnostic::new(codes::INVALID_VALUE, &file, node.nearest(path).span, "bad"));
    }
    super::name_overrides(&mut findings, &file, &set);
    assert!(findings.iter().all(|finding| finding.span.is_none()));
    let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        ["`--set a.b=5`: there is no `b`", "`--set b.c=3`: bad", "`--set d.e=4`: bad", "`--set token=...`: bad"]
    );
}

#[test]
fn missing_keys_are_found_and_not_twice() {
    assert_eq!(codes_of(&typed_example("port: 1").1), ["SR0202"]);
    assert_eq!(codes_of(&typed_example("name: [a]").1), ["SR0203"]);
}

#[test]
fn traps_are_explained() {
    for (text, code) in [
        ("a: { word: split(value, \" \") }", "SR0109"),
        ("a: { word: concat(x, y) }", "SR0109"),
        ("a: !is_null(x)", "SR0108"),
        ("a: *x", "SR0108"),
        ("a:\n\t- b", "SR0102"),
        ("a: \"x\" == y", "SR0102"),
        ("a: b: c", "SR0102"),
        ("a: 1\na: 2", "SR0104"),
        ("a: 1\n---\nb: 2", "SR0105"),
        ("", "SR0105"),
        ("a: [1, 2", "SR0102"),
    ] {
        let (_, findings, _) = read(text);
        assert_eq!(codes_of(&findings).first(), Some(&code), "{text}: {findings:?}");
        assert!(findings.iter().all(|finding| finding.position().is_some() || text.is_empty()), "{text}");
    }
}

#[test]
fn aliases_and_merge_keys() {
    let (node, findings, _) = read("base: &base { host: a, port: 1 }\nmine: { <<: *base, port: 2 }");
    assert!(findings.is_empty());
    let node = node.unwrap();
    assert_eq!(node.nearest(&["mine", "host"]).text(), Some("a"));
    assert_eq!(node.nearest(&["mine", "port"]).text(), Some("2"));
}

#[test]
fn hostile_documents_are_findings() {
    let deep = "[".repeat(100_000);
    let deep_keys: String = (0..100_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 500))).collect();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    for text in
        [deep, deep_keys, bomb, "{".repeat(10_000), "- ".repeat(10_000), "a: ".repeat(10_000), "? ".repeat(10_000)]
    {
        let (_, findings, _) = read(&text);
        assert!(!findings.is_empty(), "{}", text.chars().take(40).collect::<String>());
    }
}

struct Fixed(BTreeMap<&'static str, &'static str>);

impl Environment for Fixed {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }

    fn read_file(&self, path: &str) -> Result<String, String> {
        if path == "/run/secrets/x" { Ok("s3cret\n".to_owned()) } else { Err("no such file".to_owned()) }
    }
}

fn filled(text: &str) -> (Node, Vec<Diagnostic>) {
    let (node, mut findings, file) = read(text);
    let mut node = node.unwrap();
    fill_in(&mut node, &Fixed(BTreeMap::from([("HOST", "db"), ("EMPTY", ""), ("PORT", "9999")])), &file, &mut findings);
    (node, findings)
}

#[test]
fn interpolation() {
    for (text, expected) in [
        ("a: ${env:HOST}", "db"),
        ("a: x-${env:HOST}-y", "x-db-y"),
        ("a: ${env:NOPE:-fallback}", "fallback"),
        ("a: ${env:EMPTY:-fallback}", "fallback"),
        ("a: ${env:EMPTY}", ""),
        ("a: ${file:/run/secrets/x}", "s3cret"),
        ("vars: { v: ${env:HOST} }\na: \"${var:v}!\"", "db!"),
        ("a: $${env:HOST}", "${env:HOST}"),
        ("vars:\n  v: \"${env:HOST}\"\na: \"${var:v}!\"", "db!"),
    ] {
        let (node, _, _) = read(text);
        if node.is_none() {
            // `{ v: ${...} }` is one of YAML's traps: braces end the value.
            continue;
        }
        let (node, findings) = filled(text);
        if findings.is_empty() {
            assert_eq!(node.get("a").and_then(Node::text), Some(expected), "{text}");
        }
    }
    for (text, code) in [
        ("a: ${env:NOPE}", codes::UNKNOWN_VARIABLE),
        ("a: ${env:NOPE:?say why}", codes::UNKNOWN_VARIABLE),
        ("a: ${file:/nope}", codes::UNKNOWN_VARIABLE),
        ("a: ${var:nope}", codes::UNKNOWN_VARIABLE),
        ("a: ${HOST}", codes::BAD_INTERPOLATION),
        ("a: ${env:HOST", codes::BAD_INTERPOLATION),
    ] {
        assert_eq!(codes_of(&filled(text).1), [code.name()], "{text}");
    }
}

#[test]
fn what_was_filled_in_may_be_a_number() {
    let (node, mut findings) = filled("name: a\nport: \"${env:PORT}\"");
    let file = Arc::new(SourceFile::new("test.yaml", ""));
    let value: Option<Example> = typed::read(&node, &file, &mut findings);
    assert_eq!(value.map(|it| it.port), Some(9999));
}

#[test]
fn literal_passwords_are_not_shown() {
    let text = "sinks:\n  a: { password: hunter2, url: mysql://user:hunter3@db/x }\n  b: { password: ${env:P} }\n";
    let (node, _, file) = read(text);
    if let Some(node) = node {
        file.hide(super::secrets::find(&file, &node));
    }
    let text = "a:\n  password: hunter2\n  url: mysql://user:hunter3@db/x\n  token: ${env:T}\n";
    let (node, _, file) = read(text);
    file.hide(super::secrets::find(&file, &node.unwrap()));
    let shown = file.shown_text();
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("${env:T}") && shown.len() == text.len());
}

#[test]
fn findings_do_not_show_the_words_that_were_filled_in() {
    let text = "a: x ${env:HOST} 7\nb: db";
    let (node, _) = filled(text);
    let file = Arc::new(SourceFile::new("test.yaml", text));
    let finding = |path: &[&str], message: &str| {
        Diagnostic::new(codes::INVALID_VALUE, &file, node.nearest(path).span, message).help("no `db_x`, but `db`")
    };
    let mut findings = [finding(&["a"], "`x db 7` is (db), 'db.7'"), finding(&["b"], "`db`")];
    super::mask(&mut findings, &file, &node);
    let shown = findings.each_ref().map(|it| (it.message.as_str(), it.help.as_deref().unwrap()));
    assert_eq!(shown, [("`x ... 7` is (...), '....7'", "no `db_x`, but `...`"), ("`db`", "no `db_x`, but `db`")]);
}

#[test]
fn what_was_filled_in_is_not_shown() {
    for text in [
        "name: a\nport: ${env:HOST}",
        "name: a\nevery: ${env:HOST}",
        "name: a\nkind: ${env:HOST}",
        "name: a\non: ${env:HOST}",
    ] {
        let (node, mut findings) = filled(text);
        let file = Arc::new(SourceFile::new("test.yaml", text));
        typed::read::<Example>(&node, &file, &mut findings);
        assert_eq!(findings.len(), 1, "{text}");
        assert!(!format!("{:?}", findings[0]).replace("HOST", "").contains("db"), "{text}: {}", findings[0].message);
    }
}
