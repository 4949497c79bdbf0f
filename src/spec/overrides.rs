//! `--set KEY=VALUE`: values of the command line take the place of those of the file.

use std::sync::Arc;

use super::document::Node;
use super::secrets;
use crate::diagnostic::{Diagnostic, SourceFile, Span, codes};

/// Puts every value into its place. Each gets a span of its own behind the end of the file, by which
/// [`name`] knows findings about it again.
pub(super) fn apply(
    root: &mut Node,
    file: &Arc<SourceFile>,
    overrides: &[(String, String)],
    findings: &mut Vec<Diagnostic>,
) {
    for (index, (path, value)) in overrides.iter().enumerate() {
        let start = behind(file) + index;
        let span = Span::new(start, start + 1);
        if let Err(key) = set(root, path, value, span) {
            findings.push(Diagnostic::new(codes::UNKNOWN_KEY, file, span, format!("there is no `{key}`")));
        }
    }
}

/// Findings about a value of the command line name it instead of a place in the file.
pub fn name(findings: &mut [Diagnostic], file: &Arc<SourceFile>, overrides: &[(String, String)]) {
    let written = |span: Span| {
        let (path, value) = overrides.get(span.start.checked_sub(behind(file))?)?;
        let value = if secrets::hides(path, value) { "..." } else { value.as_str() };
        Some(format!("`--set {path}={value}`"))
    };
    for finding in findings.iter_mut().filter(|finding| Arc::ptr_eq(&finding.file, file)) {
        if let Some((label, set)) = finding.related.as_ref().and_then(|(span, label)| Some((label, written(*span)?))) {
            finding.message.push_str(&format!(" ({label}: {set})"));
            finding.related = None;
        }
        if let Some(set) = finding.span.and_then(written) {
            finding.message = format!("{set}: {}", finding.message);
            finding.span = None;
        }
    }
}

/// Where no place in the file is any more.
fn behind(file: &SourceFile) -> usize {
    file.text().len() + 1
}

/// `sources.lines.socket.port`: replaces or adds one scalar; otherwise the key that is not there.
fn set<'p>(root: &mut Node, path: &'p str, value: &str, mut span: Span) -> Result<(), &'p str> {
    let mut node = root;
    for key in path.split('.') {
        if node.is_null() {
            *node = Node::empty(span);
        }
        // What is wrong is taken out by its place, so a mapping that is added has another one than what is in it.
        span.end += 1;
        node = node.below(key, span).ok_or(key)?;
    }
    *node = Node::plain(value, span);
    Ok(())
}
