//! Findings: what is wrong in a file, where, and what to do about it.
//!
//! Everything that looks at a pipeline file reports [`Diagnostic`]s and goes on, so that one run
//! shows all of them. A diagnostic points into a [`SourceFile`] by a byte [`Span`]; lines, columns
//! and excerpts are worked out when it is printed. One renderer per output format stands in
//! [`render`]; the codes and their pages stand in [`codes`].

pub mod codes;
pub mod render;
mod source_file;
pub mod suggest;

use std::sync::Arc;

pub use codes::Code;
pub use source_file::{Position, SourceFile};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The pipeline runs, but probably not as meant. `--strict` turns it into an error.
    Warning,
    /// The pipeline cannot run.
    Error,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A range of bytes in a source file, end excluded. Never compared for equality of findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// From `start` up to, not including, `end`.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// The stable code, e.g. `SR0101`; the severity follows from it unless `--strict` raised it.
    pub code: Code,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one line, without a full stop.
    pub message: String,
    /// The file it is about.
    pub file: Arc<SourceFile>,
    /// Where in the file; `None` where no place in it is to blame (it cannot be read).
    pub span: Option<Span>,
    /// A second place that explains the first, with a word on it ("first defined here").
    pub related: Option<(Span, String)>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding at a place, with the severity its code has by default.
    pub fn new(code: Code, file: &Arc<SourceFile>, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            file: Arc::clone(file),
            span: Some(span),
            related: None,
            help: None,
        }
    }

    /// A finding about a file as a whole.
    pub fn about_file(code: Code, file: &Arc<SourceFile>, message: impl Into<String>) -> Self {
        Self { span: None, ..Self::new(code, file, Span::default(), message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds what to do about it where there is something to say.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related = Some((span, label.into()));
        self
    }

    /// Line and column of the finding, where it has a place.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.span.map(|span| self.file.position(span.start))
    }
}

/// Whether any finding keeps a pipeline from running.
#[must_use]
pub fn has_errors(findings: &[Diagnostic]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// Sorts findings by file, then place, so that output does not depend on the order of checks.
pub fn sort(findings: &mut [Diagnostic]) {
    findings.sort_by(|a, b| {
        let place = |finding: &Diagnostic| finding.span.map_or(0, |span| span.start);
        (a.file.name(), place(a), a.code.name()).cmp(&(b.file.name(), place(b), b.code.name()))
    });
}
