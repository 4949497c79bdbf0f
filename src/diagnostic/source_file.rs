//! A file's text with its line starts.

use std::ops::Range;

/// A place in a file, both numbers counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

/// The text that findings point into.
#[derive(Debug)]
pub struct SourceFile {
    name: String,
    text: String,
    line_starts: Vec<usize>,
    secrets: std::sync::OnceLock<Vec<Range<usize>>>,
}

impl SourceFile {
    /// A file under the name it is shown by (its path as the user gave it).
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let line_starts =
            std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        Self { name: name.into(), text, line_starts, secrets: std::sync::OnceLock::new() }
    }

    /// The name it is shown by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Marks what excerpts must not show (literal passwords). Counts once per file.
    pub fn hide(&self, secrets: Vec<Range<usize>>) {
        // A second call would come from loading the same text again, with the same secrets.
        let _ = self.secrets.set(secrets);
    }

    /// The text with every hidden byte replaced by `*`, of the same length, for excerpts.
    #[must_use]
    pub fn shown_text(&self) -> std::borrow::Cow<'_, str> {
        match self.secrets.get() {
            Some(secrets) if !secrets.is_empty() => {
                let mut shown = self.text.clone();
                for range in secrets {
                    if shown.get(range.clone()).is_some() {
                        shown.replace_range(range.clone(), &"*".repeat(range.len()));
                    }
                }
                shown.into()
            }
            _ => (&self.text).into(),
        }
    }

    /// Line and column of a byte; a byte past the end counts as the end.
    #[must_use]
    pub fn position(&self, byte: usize) -> Position {
        let byte = byte.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= byte);
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..byte).map_or(0, |before| before.chars().count()) + 1;
        Position { line, column }
    }

    /// The bytes of a line, counted from 1, without its line break.
    #[must_use]
    pub fn line_range(&self, line: usize) -> Range<usize> {
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let end = self.line_starts.get(line).map_or(self.text.len(), |next| next - 1);
        start..end.max(start)
    }
}
