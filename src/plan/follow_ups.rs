//! Findings that only repeat another one in other words.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span, codes};

/// Drops, from `before` on, what was found in values whose `${...}` could not be filled in: they were checked
/// as they stand in the file.
pub(super) fn drop_after_interpolation(findings: &mut Vec<Diagnostic>, before: usize, file: &Arc<SourceFile>) {
    let own = |finding: &Diagnostic| Arc::ptr_eq(&finding.file, file);
    let failed = |finding: &Diagnostic| [codes::UNKNOWN_VARIABLE, codes::BAD_INTERPOLATION].contains(&finding.code);
    let new = findings.get(before..).unwrap_or_default();
    let unfilled: BTreeSet<Span> =
        new.iter().filter(|it| own(it) && failed(it)).filter_map(|finding| finding.span).collect();
    if unfilled.is_empty() {
        return;
    }
    let length = file.text().len();
    let repeats = |at: Span| {
        // Values do not lie in each other, so only the last one that starts before can hold it. The places of
        // `--set`, behind the file's end, overlap and count only as a whole.
        let last = unfilled.range(..=Span::new(at.start, usize::MAX)).next_back();
        unfilled.contains(&at) || last.is_some_and(|value| at.end <= value.end && value.end <= length)
    };
    let rest = findings.split_off(before);
    findings.extend(rest.into_iter().filter(|it| failed(it) || !own(it) || !it.span.is_some_and(repeats)));
}
