//! Workflow commands, which GitHub Actions shows as annotations of the changed files.

use super::Report;
use crate::diagnostic::Diagnostic;

/// One command a line; nothing at all when nothing was found.
pub fn render(report: &Report<'_>) -> String {
    let shown = report.shown();
    let commands = shown.findings.iter().map(|finding| command(finding));
    commands.chain(shown.notes().map(|note| format!("::notice::{}\n", escape_data(&note)))).collect()
}

fn command(finding: &Diagnostic) -> String {
    let mut properties = format!("file={}", escape_property(finding.file.name()));
    if let (Some(start), Some(span)) = (finding.position(), finding.span) {
        let end = finding.file.position(span.end);
        // Columns are allowed only where an annotation stays on one line.
        let place = if start.line == end.line {
            format!(",line={},col={},endLine={},endColumn={}", start.line, start.column, end.line, end.column)
        } else {
            format!(",line={},endLine={}", start.line, end.line)
        };
        properties.push_str(&place);
    }
    let help = finding.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
    format!(
        "::{} {properties},title={}::{}\n",
        finding.severity.name(),
        escape_property(finding.code.name()),
        escape_data(&format!("{}{help}", finding.message)),
    )
}

/// As the toolkit of GitHub Actions escapes a message.
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As the toolkit of GitHub Actions escapes a property.
fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}
