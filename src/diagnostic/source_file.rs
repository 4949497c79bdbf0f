//! A file's text with its line starts.
//!
//! A line may be as long as the file, so characters are counted once, not anew for every finding.

use std::ops::Range;

/// Characters are counted up to every multiple of so many bytes.
const STEP: usize = 1024;

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
    /// How many characters start before byte 0, [`STEP`], twice that, ...
    characters: Vec<usize>,
    secrets: std::sync::OnceLock<Vec<Range<usize>>>,
}

impl SourceFile {
    /// A file under the name it is shown by (its path as the user gave it).
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let line_starts =
            std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        let mut before = 0;
        let characters = text.as_bytes().chunks(STEP).map(|chunk| {
            let here = before;
            before += count_characters(chunk);
            here
        });
        let characters = characters.collect();
        Self { name: name.into(), text, line_starts, characters, secrets: std::sync::OnceLock::new() }
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
        Position { line, column: self.characters_before(byte).saturating_sub(self.characters_before(start)) + 1 }
    }

    /// How many characters start before a byte.
    fn characters_before(&self, byte: usize) -> usize {
        let step = (byte / STEP).min(self.characters.len().saturating_sub(1));
        let counted = self.characters.get(step).copied().unwrap_or(0);
        counted + self.text.as_bytes().get(step * STEP..byte).map_or(0, count_characters)
    }

    /// The bytes of a line, counted from 1, without its line break.
    #[must_use]
    pub fn line_range(&self, line: usize) -> Range<usize> {
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let end = self.line_starts.get(line).map_or(self.text.len(), |next| next - 1);
        start..end.max(start)
    }
}

/// The characters that start in these bytes of a UTF-8 text.
fn count_characters(bytes: &[u8]) -> usize {
    // All bytes of a character but the first are 0b10......
    bytes.iter().filter(|byte| (**byte & 0xc0) != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_also_far_into_a_line() {
        let text = format!("ä: 1\n{}x\n", "é漢a".repeat(1000));
        let file = SourceFile::new("a.yaml", text.as_str());
        for (byte, _) in text.char_indices().chain([(text.len(), ' ')]) {
            let before = &text[..byte];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            assert_eq!(file.position(byte), Position { line, column }, "byte {byte}");
        }
        assert_eq!(SourceFile::new("", "").position(7), Position { line: 1, column: 1 });
    }
}
