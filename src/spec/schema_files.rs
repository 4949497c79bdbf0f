//! `schema: path.yaml`: the mapping in that file takes the path's place.

use std::sync::Arc;

use super::document::{self, Node, Value};
use super::interpolate::Environment;
use super::typed;
use crate::diagnostic::{Diagnostic, SourceFile, Span, codes};
use crate::schema::SchemaDeclaration;

/// Replaces every `schema:` that is a path. Findings about the schema file name that file.
pub(super) fn fill_in(
    node: &mut Node,
    environment: &dyn Environment,
    file: &Arc<SourceFile>,
    findings: &mut Vec<Diagnostic>,
) {
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => {
            items.iter_mut().for_each(|item| fill_in(item, environment, file, findings));
        }
        Value::Mapping(entries) => {
            for entry in entries {
                let path = entry.value.text().filter(|path| !path.is_empty()).map(str::to_owned);
                match path {
                    Some(path) if entry.key == "schema" => {
                        if let Some(mut read) = read(&path, &entry.value, environment, file, findings) {
                            move_to(&mut read, entry.value.span);
                            entry.value = read;
                        }
                    }
                    _ => fill_in(&mut entry.value, environment, file, findings),
                }
            }
        }
    }
}

/// What stands in another file has its place where that file is named.
fn move_to(node: &mut Node, span: Span) {
    node.span = span;
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter_mut().for_each(|item| move_to(item, span)),
        Value::Mapping(entries) => {
            for entry in entries {
                entry.key_span = span;
                move_to(&mut entry.value, span);
            }
        }
    }
}

fn read(
    path: &str,
    at: &Node,
    environment: &dyn Environment,
    file: &Arc<SourceFile>,
    findings: &mut Vec<Diagnostic>,
) -> Option<Node> {
    let text = match environment.read_file(path) {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("the schema file `{path}` cannot be read: {reason}");
            findings.push(Diagnostic::new(codes::BAD_SCHEMA_FILE, file, at.span, message).help(
                "a path is relative to the pipeline file; a schema can also stand inline: `schema: { name: type }`",
            ));
            return None;
        }
    };
    let schema_file = Arc::new(SourceFile::new(path, text));
    let before = findings.len();
    let node = document::read(&schema_file, findings)?;
    typed::read::<SchemaDeclaration>(&node, &schema_file, findings);
    (findings.len() == before).then_some(node)
}
