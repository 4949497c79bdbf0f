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

use std::collections::BTreeMap;

use super::{Diagnostic, Severity};

/// So many findings of a file are shown. Nobody reads more, and a file that is wrong a hundred thousand times
/// would drown a terminal or the log of a CI server.
const MAX_SHOWN: usize = 1000;

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

    /// The findings that are shown, and what is left out.
    fn shown(&self) -> Shown<'_> {
        Shown::new(self.findings)
    }
}

/// The first findings of every file.
struct Shown<'a> {
    findings: Vec<&'a Diagnostic>,
    /// By file, how many more it has.
    left_out: BTreeMap<&'a str, usize>,
}

impl<'a> Shown<'a> {
    fn new(findings: impl IntoIterator<Item = &'a Diagnostic>) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut shown = Self { findings: Vec::new(), left_out: BTreeMap::new() };
        for finding in findings {
            let count = counts.entry(finding.file.name()).or_default();
            *count += 1;
            if *count <= MAX_SHOWN {
                shown.findings.push(finding);
            } else {
                *shown.left_out.entry(finding.file.name()).or_default() += 1;
            }
        }
        shown
    }

    /// A line for each file of which something is left out.
    fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.left_out.iter().map(|(file, count)| format!("... and {} in {file}", counted(*count, "more finding")))
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
