//! Which parts of a file must not be shown: passwords, tokens and keys written out in it.

use std::ops::Range;

use super::document::{Node, Value};
use crate::diagnostic::SourceFile;

/// A key with one of these parts in its name holds a secret.
const SECRET_WORDS: &[&str] =
    &["password", "passwd", "secret", "token", "api_key", "access_key", "private_key", "credential"];

/// Whether the value of that key is a secret.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
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
