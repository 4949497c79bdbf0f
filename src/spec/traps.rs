//! YAML's own traps, explained: what the parser stumbles over is rarely what is wrong.

use std::sync::Arc;

use saphyr_parser::ScanError;

use super::document::{Cursor, Node, Scalar, Value};
use crate::diagnostic::{Diagnostic, SourceFile, Span, codes};

const QUOTE_WHOLE: &str = "quote the whole value: `'...'` (inside, `''` is one quote)";

/// The finding for a text that is no YAML.
pub(super) fn explain_scan_error(file: &Arc<SourceFile>, error: &ScanError) -> Diagnostic {
    let at = Cursor::default().byte_of(file, error.marker());
    let position = file.position(at);
    let range = file.line_range(position.line);
    let line = file.text().get(range.clone()).unwrap_or("");
    let span = Span::new(at, at + 1);
    let indent = line.len() - line.trim_start_matches([' ', '\t']).len();

    if let Some(tab) = line.get(..indent).and_then(|space| space.find('\t')) {
        let span = Span::new(range.start + tab, range.start + tab + 1);
        return Diagnostic::new(codes::NOT_YAML, file, span, "a tab indents this line")
            .help("YAML indents with spaces only");
    }
    if error.info().contains("anchor") || error.info().contains("alias") {
        return alias(file, span);
    }
    if let Some((start, value)) = line_value(line) {
        let span = Span::new(range.start + start, range.start + start + value.len());
        let flow = line.find('{').is_some_and(|brace| brace <= start);
        if flow && value.matches('(').count() != value.matches(')').count() || cut_in_flow(line) {
            return cut(file, span);
        }
        if value.starts_with(['"', '\'']) {
            return Diagnostic::new(codes::NOT_YAML, file, span, "text follows the closing quote")
                .help(format!("a value that starts with a quote must be quoted whole; {QUOTE_WHOLE}"));
        }
        if value.starts_with(['%', '@', '`', '|', '>']) {
            return Diagnostic::new(codes::NOT_YAML, file, span, "a value cannot start with this character")
                .help(QUOTE_WHOLE);
        }
        if value.contains(": ") {
            return Diagnostic::new(codes::NOT_YAML, file, span, "`: ` inside a value starts a new key")
                .help(QUOTE_WHOLE);
        }
    }
    Diagnostic::new(codes::NOT_YAML, file, span, format!("not valid YAML: {}", error.info()))
        .maybe_help(error.info().contains("indent").then(|| "check the indentation here and above".to_owned()))
}

/// The finding for a `!tag`, which is nearly always an expression that starts with `!`.
pub(super) fn tag(file: &Arc<SourceFile>, span: Span, tag: &str) -> Diagnostic {
    Diagnostic::new(codes::UNRESOLVED_ALIAS, file, span, format!("`{tag}` is read as a YAML tag"))
        .help(format!("a value that starts with `!` must be quoted; {QUOTE_WHOLE}"))
}

/// The finding for a `*name` that refers to nothing.
pub(super) fn alias(file: &Arc<SourceFile>, span: Span) -> Diagnostic {
    Diagnostic::new(
        codes::UNRESOLVED_ALIAS,
        file,
        span,
        "`*` and `&` start a YAML alias or anchor, and none of that name is known",
    )
    .help(format!("a value that starts with `*` or `&` must be quoted; {QUOTE_WHOLE}"))
}

/// Reports values of a `{...}` that a comma has cut (`{ w: concat(a, b) }`), and drops the pieces.
pub(super) fn cut_values(file: &Arc<SourceFile>, node: &mut Node, findings: &mut Vec<Diagnostic>) {
    let Value::Mapping(entries) = &mut node.value else { return };
    let mut cut_open = false;
    entries.retain_mut(|entry| {
        if cut_open && entry.value.is_null() {
            return false;
        }
        cut_open = false;
        if let Value::Scalar(Scalar { text, plain: true, .. }) = &entry.value.value
            && text.matches('(').count() > text.matches(')').count()
        {
            findings.push(cut(file, entry.value.span));
            cut_open = true;
            return false;
        }
        true
    });
}

fn cut(file: &Arc<SourceFile>, span: Span) -> Diagnostic {
    Diagnostic::new(codes::CUT_VALUE, file, span, "inside `{...}` a comma, `}` or `\"` ends the value")
        .help(format!("write the mapping as a block, one `key: value` a line, or {QUOTE_WHOLE}"))
}

/// The last `key: value` of a line: where the value starts, and its text.
fn line_value(line: &str) -> Option<(usize, &str)> {
    let start = line.find(": ").map(|at| at + 2)?;
    let value = line.get(start..)?;
    let skipped = value.len() - value.trim_start().len();
    Some((start + skipped, value.trim()))
}

/// An unquoted call with a comma or a quote inside braces.
fn cut_in_flow(line: &str) -> bool {
    let Some(open) = line.find('{') else { return false };
    let inside = &line[open..];
    inside.split(": ").skip(1).any(|value| {
        !value.trim_start().starts_with(['"', '\'', '{', '[']) && value.contains('(') && value.contains([',', '"'])
    })
}
