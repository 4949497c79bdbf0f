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
    if let Some(finding) = unclosed(file, error.info(), at) {
        return finding;
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
        .maybe_help(advice(error.info()).map(str::to_owned))
}

/// The finding for a quote or brace that is open where the file ends: the parser points at the end.
fn unclosed(file: &Arc<SourceFile>, info: &str, at: usize) -> Option<Diagnostic> {
    let text = file.text();
    let unended = ["found unexpected end of stream", "found unexpected document indicator", "invalid indentation in"];
    if info.contains("quoted scalar") && unended.iter().any(|words| info.contains(words)) {
        let finding = Diagnostic::new(codes::NOT_YAML, file, Span::new(at, at + 1), "a quote is opened and not closed");
        return Some(finding.help("close it; a quoted value that goes on in the next line is indented there"));
    }
    // Below an open brace, a line that starts as far left as the brace's is where the parser notices.
    let open = last_open(text.get(..at)?)?;
    let begin = |at: usize| text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    let indent = |at: usize| text.get(begin(at)..).map_or(0, |line| line.len() - line.trim_start_matches(' ').len());
    let is_outdented = begin(open) < begin(at) && indent(at) <= indent(open);
    if !is_outdented && !text.get(at..)?.trim().is_empty() && !info.contains("indentation in flow construct") {
        return None;
    }
    let sign = text.get(open..=open)?;
    let closing = if sign == "{" { "}" } else { "]" };
    Some(
        Diagnostic::new(codes::NOT_YAML, file, Span::new(open, open + 1), format!("`{sign}` is not closed"))
            .help(format!("add the `{closing}` that ends it")),
    )
}

/// The last `{` or `[` without its counterpart, quotes and comments left out as far as lines tell.
fn last_open(text: &str) -> Option<usize> {
    let mut open: Vec<usize> = Vec::new();
    let mut quote: Option<char> = None;
    let mut comment = false;
    let mut before = '\n';
    for (at, c) in text.char_indices() {
        match (c, quote) {
            ('\n', _) => (comment, quote) = (false, None),
            _ if comment => {}
            (_, Some(own)) if c == own => quote = None,
            (_, Some(_)) => {}
            ('#', None) if before.is_whitespace() => comment = true,
            // An apostrophe inside a word quotes nothing.
            ('"' | '\'', None) if !before.is_alphanumeric() => quote = Some(c),
            ('{' | '[', None) => open.push(at),
            ('}' | ']', None) => {
                open.pop();
            }
            _ => {}
        }
        before = c;
    }
    open.pop()
}

/// A ` #` inside quotes that stand in a longer value starts a comment: `value == "a #b"` ends at `a`. What is
/// wrong with such an expression gets that for its help.
pub fn explain_comments(findings: &mut [Diagnostic]) {
    for finding in findings.iter_mut().filter(|it| it.code == codes::BAD_EXPRESSION || it.code == codes::BAD_SQL) {
        let Some(span) = finding.span.filter(|span| span.end <= finding.file.text().len()) else { continue };
        let line = finding.file.line_range(finding.file.position(span.end).line);
        let part = |range: std::ops::Range<usize>| finding.file.text().get(range).unwrap_or("");
        let (before, after) = (part(line.start..span.end), part(span.end..line.end));
        let open = ['"', '\''].iter().any(|quote| before.matches(*quote).count() % 2 == 1);
        if open && after.trim_start().starts_with('#') {
            finding.help = Some(format!("` #` starts a comment, also inside these quotes; {QUOTE_WHOLE}"));
        }
    }
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

/// What nearly always mends what the parser calls by that name.
fn advice(info: &str) -> Option<&'static str> {
    let misplaced = ["indent", "simple key", "not allowed in this context", "did not find expected", "block"];
    if info.contains("bracket") {
        Some("a `]` or `}` has no counterpart, or is one of the other kind")
    } else if misplaced.iter().any(|word| info.contains(word)) {
        Some("check the indentation here and above: what belongs together starts in the same column")
    } else {
        None
    }
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
