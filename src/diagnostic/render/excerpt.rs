//! The lines around a finding, cut out of the file: a file may be large, and so may a line.

use std::ops::Range;

use super::tame;
use crate::diagnostic::{SourceFile, Span};

/// A related place further away than this many lines is named, not shown.
const MAX_LINES: usize = 1000;
/// A longer line, in bytes, is cut.
const MAX_LINE: usize = 300;
/// What is left of a cut line before the place it is shown for.
const BEFORE: usize = 100;
const CUT: &str = "...";

/// Some lines of a file, with the places to point at in them.
pub(super) struct Excerpt {
    /// The lines, each with its line break.
    pub text: String,
    /// The number of the first line.
    pub first_line: usize,
    /// The number of the last line.
    pub last_line: usize,
    /// The finding's place in `text`.
    pub primary: Range<usize>,
    /// The related place in `text`, if it is near enough to be shown.
    pub related: Option<Range<usize>>,
}

impl Excerpt {
    /// Cuts an excerpt out of `source`, the text of `file` as it may be shown. Any span will do:
    /// it is moved to what is there, and ends where its first line does.
    pub fn new(source: &str, file: &SourceFile, span: Span, related: Option<Span>) -> Self {
        let primary = Mark::new(source, file, span);
        let related = related
            .map(|span| Mark::new(source, file, span))
            .filter(|mark| mark.line.abs_diff(primary.line) <= MAX_LINES);
        let other_line = related.map_or(primary.line, |mark| mark.line);
        let mut excerpt = Self {
            text: String::new(),
            first_line: primary.line.min(other_line),
            last_line: primary.line.max(other_line),
            primary: 0..0,
            related: None,
        };
        for line in excerpt.first_line..=excerpt.last_line {
            let content = content(source, file, line);
            let primary = Some(primary).filter(|mark| mark.line == line);
            let related = related.filter(|mark| mark.line == line);
            let window = window(source, &content, primary.or(related).map_or(content.start, |mark| mark.start));
            if window.start > content.start {
                excerpt.text.push_str(CUT);
            }
            let base = excerpt.text.len();
            excerpt.text.push_str(&tame(source.get(window.clone()).unwrap_or_default()));
            if let Some(range) = primary.and_then(|mark| mark.within(&window, base)) {
                excerpt.primary = range;
            }
            if let Some(range) = related.and_then(|mark| mark.within(&window, base)) {
                excerpt.related = Some(range);
            }
            if window.end < content.end {
                excerpt.text.push_str(CUT);
            }
            excerpt.text.push('\n');
        }
        excerpt
    }
}

/// A span's part in its first line; both ends are character boundaries.
#[derive(Clone, Copy)]
struct Mark {
    line: usize,
    start: usize,
    end: usize,
}

impl Mark {
    fn new(source: &str, file: &SourceFile, span: Span) -> Self {
        let start = source.floor_char_boundary(span.start);
        let line = file.position(start).line;
        let content = content(source, file, line);
        let start = start.min(content.end);
        let end = source.ceil_char_boundary(span.end.min(source.len())).min(content.end).max(start);
        Self { line, start, end }
    }

    /// Where it is in a text that holds `window` from `base` on.
    fn within(self, window: &Range<usize>, base: usize) -> Option<Range<usize>> {
        let visible = window.start <= self.start && self.start <= window.end;
        visible.then(|| base + self.start - window.start..base + self.end.min(window.end) - window.start)
    }
}

/// The bytes of a line without its line break of either kind.
fn content(source: &str, file: &SourceFile, line: usize) -> Range<usize> {
    let mut range = file.line_range(line);
    if source.get(range.clone()).is_some_and(|text| text.ends_with('\r')) {
        range.end -= 1;
    }
    range
}

/// The part of a line that is shown, for a place in it.
fn window(source: &str, content: &Range<usize>, place: usize) -> Range<usize> {
    if content.len() <= MAX_LINE {
        return content.clone();
    }
    let start = place.saturating_sub(BEFORE).min(content.end - MAX_LINE).max(content.start);
    let start = source.floor_char_boundary(start);
    start..source.floor_char_boundary(start + MAX_LINE)
}
