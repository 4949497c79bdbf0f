//! Findings as text: one renderer per output format.
//!
//! A renderer is pure: it returns the whole output, line break at the end included, and the caller
//! prints it. Text that comes from a file shows nothing that the file has hidden.

mod excerpt;
mod github;
mod human;
mod json;
mod junit;
mod sarif;
#[cfg(test)]
mod tests;

use super::{Diagnostic, Severity};

/// An output format for findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Excerpts with carets, for a terminal.
    Human,
    /// One JSON object, for scripts.
    Json,
    /// Workflow commands that GitHub Actions shows as annotations.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit XML, one test case per file, for CI servers.
    Junit,
}

/// What a check found.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The findings, in the order they are shown in.
    pub findings: &'a [Diagnostic],
    /// Every file that was checked, in order, under the name its findings have.
    pub files: &'a [String],
    /// Whether the output may hold terminal colors; only [`Format::Human`] has any.
    pub color: bool,
}

impl Report<'_> {
    /// How many findings have that severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// The report in a format; ends with a line break unless it is empty.
#[must_use]
pub fn render(report: &Report<'_>, format: Format) -> String {
    match format {
        Format::Human => human::render(report),
        Format::Json => json::render(report),
        Format::Github => github::render(report),
        Format::Sarif => sarif::render(report),
        Format::Junit => junit::render(report),
    }
}

/// A value as indented JSON.
fn pretty(value: &impl serde::Serialize) -> String {
    // What is rendered here has text keys only and never refuses: it cannot fail.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// `1 error`, `2 errors`.
fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Replaces what terminals and XML take for more than text and the excerpt renderer lets through,
/// by characters of the same length, so that spans keep their place.
fn tame(text: &str) -> String {
    let tame_char = |c: char| match c {
        '\u{80}'..='\u{9f}' | '\u{61c}' => '\u{b7}',
        '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        _ => c,
    };
    text.chars().map(tame_char).collect()
}

/// Text that is safe to print; line breaks stay.
fn clean(text: &str) -> String {
    annotate_snippets::normalize_untrusted_str(&tame(text))
}

/// Text that is safe to print, on one line.
fn clean_line(text: &str) -> String {
    clean(text).replace('\n', " ")
}
