//! What a component's check gets: its place in the file, and where findings go.

use std::sync::Arc;

use super::document::{Node, Value};
use super::pipeline::{Component, OnError};
use crate::diagnostic::{Code, Diagnostic, SourceFile, Span};

/// A component under check. Findings point into its settings by path, e.g. `&["format", "json"]`;
/// the nearest place above is taken where the path ends early (a default).
pub struct Check<'a> {
    /// The pipeline file.
    pub file: &'a Arc<SourceFile>,
    /// The component as written.
    pub component: &'a Component,
    /// What the component does with bad rows: its own `on_error`, or the pipeline's.
    pub on_error: OnError,
    /// Where findings go.
    pub findings: &'a mut Vec<Diagnostic>,
}

impl Check<'_> {
    /// The place of a setting.
    #[must_use]
    pub fn span(&self, path: &[&str]) -> Span {
        let node = self.component.settings.nearest(path);
        let whole_mapping = std::ptr::eq(node, &self.component.settings) && matches!(node.value, Value::Mapping(_));
        if whole_mapping || node.span.start == node.span.end { self.component.kind.span } else { node.span }
    }

    /// The setting at a path, or the nearest one above it.
    #[must_use]
    pub fn node(&self, path: &[&str]) -> &Node {
        self.component.settings.nearest(path)
    }

    /// Whether something inside the settings has a finding already.
    #[must_use]
    pub fn is_known_wrong(&self) -> bool {
        let own = self.component.settings.span;
        let of_file = self.findings.iter().filter(|finding| Arc::ptr_eq(&finding.file, self.file));
        of_file.filter_map(|finding| finding.span).any(|at| own.start <= at.start && at.end <= own.end)
    }

    /// Reports a finding at a setting.
    pub fn report(&mut self, code: Code, path: &[&str], message: impl Into<String>, help: Option<String>) {
        let span = self.span(path);
        self.findings.push(Diagnostic::new(code, self.file, span, message).maybe_help(help));
    }

    /// The place of a word inside the scalar at a path; the whole scalar if it is not found there.
    #[must_use]
    pub fn word_span(&self, path: &[&str], word: &str) -> Span {
        let span = self.span(path);
        let in_scalar = matches!(self.component.settings.nearest(path).value, Value::Scalar(_));
        let text = self.file.text().get(span.start..span.end).unwrap_or("");
        match find_word(text, word) {
            Some(at) if in_scalar && !word.is_empty() => Span::new(span.start + at, span.start + at + word.len()),
            _ => span,
        }
    }
}

/// Where `word` stands in `text` as a word of its own, else anywhere.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let whole = |at: &usize| {
        let before = text.get(..*at).and_then(|it| it.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|it| it.chars().next());
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    };
    text.match_indices(word).map(|(at, _)| at).find(whole).or_else(|| text.find(word))
}
