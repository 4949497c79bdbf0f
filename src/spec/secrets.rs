//! What must not be shown: passwords, tokens and keys written out in a file, and what was filled in from
//! outside of it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::document::{Node, Value};
use crate::diagnostic::{Diagnostic, SourceFile, Span};

/// A key with one of these parts in its name holds a secret.
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "secret", "token", "api_key", "access_key", "private_key", "credential"];

/// Whether the value of that key is a secret.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// Whether a value of the command line is a secret.
pub(super) fn hides(path: &str, value: &str) -> bool {
    path.rsplit('.').next().is_some_and(is_secret_key) || url_password(value).is_some()
}

/// Whether something in a part of the document must not be shown: it came from outside the file, or it
/// is a secret.
#[must_use]
pub fn is_hidden(file: &SourceFile, node: &Node) -> bool {
    node.is_filled_in() || !find(file, node).is_empty()
}

/// Findings at a value that was filled in do not show the words that came with it.
pub fn mask(findings: &mut [Diagnostic], file: &Arc<SourceFile>, document: &Node) {
    let mut filled = BTreeMap::new();
    filled_in(document, &mut filled);
    for finding in findings.iter_mut().filter(|finding| Arc::ptr_eq(&finding.file, file)) {
        let Some(at) = finding.span else { continue };
        let before = filled.range(..=Span::new(at.start, usize::MAX)).next_back();
        let Some((place, text)) = before.filter(|(place, _)| at.end <= place.end) else { continue };
        let written: HashSet<&str> = words(file.text().get(place.start..place.end).unwrap_or("")).collect();
        let foreign: HashSet<&str> = words(text).filter(|word| !written.contains(word)).collect();
        finding.message = without(&finding.message, &foreign);
        finding.help = finding.help.take().map(|help| without(&help, &foreign));
    }
}

fn filled_in<'a>(node: &'a Node, found: &mut BTreeMap<Span, &'a str>) {
    match &node.value {
        Value::Scalar(scalar) if scalar.filled => {
            found.insert(node.span, &scalar.text);
        }
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter().for_each(|item| filled_in(item, found)),
        Value::Mapping(entries) => entries.iter().for_each(|entry| filled_in(&entry.value, found)),
    }
}

fn part_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !part_of_word(c)).filter(|word| !word.is_empty())
}

/// The text with `...` for each of those words.
fn without(text: &str, hidden: &HashSet<&str>) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.find(|c| !part_of_word(c)).unwrap_or(rest.len()));
        shown.push_str(if hidden.contains(word) { "..." } else { word });
        let (between, next) = after.split_at(after.find(part_of_word).unwrap_or(after.len()));
        shown.push_str(between);
        rest = next;
    }
    shown
}

/// The bytes of every secret in the file: values of secret keys, and passwords in URLs.
pub(super) fn find(file: &SourceFile, root: &Node) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    visit(file, root, false, &mut found);
    found
}

fn visit(file: &SourceFile, node: &Node, secret: bool, found: &mut Vec<Range<usize>>) {
    match &node.value {
        Value::Mapping(entries) => {
            for entry in entries {
                visit(file, &entry.value, is_secret_key(&entry.key), found);
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| visit(file, item, secret, found)),
        Value::Scalar(scalar) => {
            let range = node.span.start..node.span.end;
            if secret && !scalar.text.is_empty() && !scalar.text.starts_with("${") {
                found.push(range);
            } else if let Some(inside) = file.text().get(range).and_then(url_password) {
                found.push(node.span.start + inside.start..node.span.start + inside.end);
            }
        }
    }
}

/// The password of `scheme://user:password@host`.
fn url_password(text: &str) -> Option<Range<usize>> {
    let authority = text.find("://")? + 3;
    let end = authority + text.get(authority..)?.find('@')?;
    let colon = authority + text.get(authority..end)?.find(':')?;
    let password = colon + 1..end;
    let written_out = text.get(password.clone()).is_some_and(|text| !text.is_empty() && !text.starts_with("${"));
    written_out.then_some(password)
}
