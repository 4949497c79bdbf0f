//! Excerpts with carets, for people.

use std::borrow::Cow;

use annotate_snippets::renderer::{DEFAULT_LINE_NUM_STYLE, Style};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::excerpt::Excerpt;
use super::{Report, Shown, clean, clean_line, counted};
use crate::diagnostic::{Diagnostic, Severity, SourceFile};

/// The findings with their excerpts, then a line that sums them up.
pub fn render(report: &Report<'_>) -> String {
    let mut text = findings(report.findings, report.color);
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&summary(report));
    text.push('\n');
    text
}

/// The findings without the summary, a blank line between them; of very many in a file only the first ones.
pub(super) fn findings<'a>(findings: impl IntoIterator<Item = &'a Diagnostic>, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let arrow = if color { DEFAULT_LINE_NUM_STYLE } else { Style::new() };
    let mut text = String::new();
    let all = Shown::new(findings);
    // Hiding copies the file, so the text is kept from one finding to the next.
    let mut shown: Option<(&SourceFile, Cow<'_, str>)> = None;
    for finding in &all.findings {
        let file: &SourceFile = &finding.file;
        if !shown.as_ref().is_some_and(|(of, _)| std::ptr::eq(*of, file)) {
            shown = Some((file, file.shown_text()));
        }
        let source = shown.as_ref().map_or("", |(_, text)| text.as_ref());
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&render_finding(finding, source, &renderer, arrow));
        text.push('\n');
    }
    for note in all.notes() {
        text.push_str(&format!("\n{}\n", clean_line(&note)));
    }
    text
}

fn render_finding(finding: &Diagnostic, source: &str, renderer: &Renderer, arrow: Style) -> String {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.clone().primary_title(clean(&finding.message)).id(finding.code.name());
    let heading = renderer.render(&[Group::with_title(title)]);

    let related_span = finding.related.as_ref().map(|(span, _)| *span);
    let excerpt = finding.span.map(|span| Excerpt::new(source, &finding.file, span, related_span));
    // The origin is written here since the renderer would count columns in the excerpt, where a
    // long line is cut.
    let indent = excerpt.as_ref().map_or(0, |excerpt| excerpt.last_line.to_string().len());
    let origin = format!("{:indent$}{arrow}-->{arrow:#} {}", "", place(finding));

    let mut body = Group::with_level(level);
    let mut related_shown = false;
    if let Some(excerpt) = excerpt {
        let mut snippet = Snippet::source(excerpt.text)
            .line_start(excerpt.first_line)
            .annotation(AnnotationKind::Primary.span(excerpt.primary));
        if let (Some(range), Some((_, label))) = (excerpt.related, &finding.related) {
            related_shown = true;
            snippet = snippet.annotation(AnnotationKind::Context.span(range).label(clean_line(label)));
        }
        body = body.element(snippet);
    }
    if let Some((span, label)) = finding.related.as_ref().filter(|_| !related_shown) {
        let position = finding.file.position(span.start);
        let note = format!("{} (line {}, column {})", clean_line(label), position.line, position.column);
        body = body.element(Level::NOTE.message(note));
    }
    if let Some(help) = &finding.help {
        body = body.element(Level::HELP.message(clean(help)));
    }
    if body.is_empty() {
        return format!("{heading}\n{origin}");
    }
    format!("{heading}\n{origin}\n{}", renderer.render(&[body]))
}

/// `file:line:column`, or the file alone.
fn place(finding: &Diagnostic) -> String {
    let file = clean_line(finding.file.name());
    match finding.position() {
        Some(position) => format!("{file}:{}:{}", position.line, position.column),
        None => file,
    }
}

fn summary(report: &Report<'_>) -> String {
    let errors = report.count(Severity::Error);
    let warnings = report.count(Severity::Warning);
    let files = counted(report.files.len(), "file");
    let found = match (errors, warnings) {
        (0, 0) if report.files.len() == 1 => return format!("{files} is valid"),
        (0, 0) => return format!("{files} are valid"),
        (_, 0) => counted(errors, "error"),
        (0, _) => counted(warnings, "warning"),
        _ => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    format!("{found} in {files}")
}
