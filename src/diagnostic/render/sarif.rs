//! SARIF 2.1.0, for code scanning.

use serde_json::{Map, Value};

use super::{Report, pretty};
use crate::diagnostic::{Code, Diagnostic, SourceFile, Span, codes};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// One run with the findings as results and the codes that occur as rules.
pub fn render(report: &Report<'_>) -> String {
    let shown = report.shown();
    let rules: Vec<Code> =
        codes::ALL.iter().copied().filter(|code| shown.findings.iter().any(|finding| finding.code == *code)).collect();
    let notes: Vec<Value> =
        shown.notes().map(|note| object([("level", "note".into()), ("message", text(&note))])).collect();
    let invocation =
        object([("executionSuccessful", true.into()), ("toolExecutionNotifications", Value::Array(notes))]);
    let driver = object([
        ("name", "streamrun".into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("rules", rules.iter().map(|code| rule(*code)).collect()),
    ]);
    let run = object([
        ("tool", object([("driver", driver)])),
        ("columnKind", "unicodeCodePoints".into()),
        ("invocations", Value::Array(vec![invocation])),
        ("results", shown.findings.iter().map(|finding| result(finding, &rules)).collect()),
    ]);
    pretty(&object([("$schema", SCHEMA.into()), ("version", "2.1.0".into()), ("runs", Value::Array(vec![run]))]))
}

fn rule(code: Code) -> Value {
    let page = code.page();
    object([
        ("id", code.name().into()),
        ("shortDescription", text(code.title())),
        ("help", object([("text", page.as_str().into()), ("markdown", page.as_str().into())])),
        ("defaultConfiguration", object([("level", code.severity().name().into())])),
    ])
}

fn result(finding: &Diagnostic, rules: &[Code]) -> Value {
    let message = match &finding.help {
        Some(help) => format!("{}\nHelp: {help}", finding.message),
        None => finding.message.clone(),
    };
    let location = object([("physicalLocation", physical_location(&finding.file, finding.span))]);
    let mut result = Map::new();
    result.insert("ruleId".to_owned(), finding.code.name().into());
    if let Some(index) = rules.iter().position(|code| *code == finding.code) {
        result.insert("ruleIndex".to_owned(), index.into());
    }
    result.insert("level".to_owned(), finding.severity.name().into());
    result.insert("message".to_owned(), text(&message));
    result.insert("locations".to_owned(), Value::Array(vec![location]));
    if let Some((span, label)) = &finding.related {
        let related =
            object([("physicalLocation", physical_location(&finding.file, Some(*span))), ("message", text(label))]);
        result.insert("relatedLocations".to_owned(), Value::Array(vec![related]));
    }
    Value::Object(result)
}

fn physical_location(file: &SourceFile, span: Option<Span>) -> Value {
    let artifact = object([("uri", uri(file.name()).into())]);
    let Some(span) = span else { return object([("artifactLocation", artifact)]) };
    let start = file.position(span.start);
    let end = file.position(span.end);
    let region = object([
        ("startLine", start.line.into()),
        ("startColumn", start.column.into()),
        ("endLine", end.line.into()),
        ("endColumn", end.column.into()),
    ]);
    object([("artifactLocation", artifact), ("region", region)])
}

/// A path as a URI reference: a relative path stays relative, to the root of the checkout.
pub(super) fn uri(path: &str) -> String {
    let path = if cfg!(windows) { path.replace('\\', "/") } else { path.to_owned() };
    let path = path.strip_prefix("./").unwrap_or(&path);
    let drive = cfg!(windows) && path.as_bytes().get(1) == Some(&b':');
    let prefix = if drive {
        "file:///"
    } else if path.starts_with('/') {
        "file://"
    } else {
        ""
    };
    let mut uri = prefix.to_owned();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            b':' if drive => uri.push(':'),
            _ => {
                let escape = format!("%{byte:02X}");
                uri.push_str(&escape);
            }
        }
    }
    uri
}

fn text(text: &str) -> Value {
    object([("text", text.into())])
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
