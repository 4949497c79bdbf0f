//! One JSON object, for scripts.

use serde::Serialize;

use super::{Report, pretty};
use crate::diagnostic::{Diagnostic, Severity};

#[derive(Serialize)]
struct Output<'a> {
    findings: Vec<Finding<'a>>,
    files: usize,
    errors: usize,
    warnings: usize,
    /// How many more findings there are than the ones above.
    left_out: usize,
}

#[derive(Serialize)]
struct Finding<'a> {
    code: &'a str,
    severity: &'a str,
    message: &'a str,
    file: &'a str,
    line: Option<usize>,
    column: Option<usize>,
    end_line: Option<usize>,
    end_column: Option<usize>,
    help: Option<&'a str>,
    related: Option<Related<'a>>,
}

#[derive(Serialize)]
struct Related<'a> {
    line: usize,
    column: usize,
    message: &'a str,
}

/// The findings with lines and columns from 1, columns in characters, the end excluded; all four
/// are `null` for a finding about a file as a whole.
pub fn render(report: &Report<'_>) -> String {
    let shown = report.shown();
    pretty(&Output {
        findings: shown.findings.iter().map(|it| finding(it)).collect(),
        files: report.files.len(),
        errors: report.count(Severity::Error),
        warnings: report.count(Severity::Warning),
        left_out: shown.left_out.values().sum(),
    })
}

fn finding(finding: &Diagnostic) -> Finding<'_> {
    let start = finding.position();
    let end = finding.span.map(|span| finding.file.position(span.end));
    Finding {
        code: finding.code.name(),
        severity: finding.severity.name(),
        message: &finding.message,
        file: finding.file.name(),
        line: start.map(|position| position.line),
        column: start.map(|position| position.column),
        end_line: end.map(|position| position.line),
        end_column: end.map(|position| position.column),
        help: finding.help.as_deref(),
        related: finding.related.as_ref().map(|(span, message)| {
            let position = finding.file.position(span.start);
            Related { line: position.line, column: position.column, message }
        }),
    }
}
