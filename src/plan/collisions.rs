//! Ports and paths that two components want.

use std::path::{Component, Path};

use super::Plan;
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::sources::Resource;
use crate::spec::{self, Pipeline};

struct Claim<'a> {
    owner: String,
    resource: &'a Resource,
    span: Span,
}

/// Reports ports and output folders that are claimed twice, and sinks that write where a source
/// reads.
pub(super) fn check(pipeline: &Pipeline, plan: &Plan, findings: &mut Vec<Diagnostic>) {
    let sources = plan.sources.iter().map(|it| (&it.name, &pipeline.sources, &it.checked.resources, "source"));
    let sinks = plan.sinks.iter().map(|it| (&it.name, &pipeline.sinks, &it.checked.resources, "sink"));
    let mut claims: Vec<Claim<'_>> = Vec::new();
    for (name, components, resources, what) in sources.chain(sinks) {
        let Some(component) = components.iter().find(|component| component.name.text == *name) else { continue };
        for resource in resources {
            claims.push(Claim { owner: format!("{what} `{name}`"), resource, span: place(component, resource) });
        }
    }
    for (index, claim) in claims.iter().enumerate() {
        for other in claims.iter().take(index) {
            let file = &pipeline.file;
            let finding = match (other.resource, claim.resource) {
                (Resource::Port(a, _), Resource::Port(b, _)) if a == b => {
                    let message = format!("the {} and the {} both listen on port {a}", other.owner, claim.owner);
                    Diagnostic::new(codes::COLLISION, file, claim.span, message).help("give one of them another port")
                }
                (Resource::WritePath(a, _), Resource::WritePath(b, _)) if same(a, b) => {
                    let message = format!("the {} and the {} both write to {b}", other.owner, claim.owner);
                    Diagnostic::new(codes::COLLISION, file, claim.span, message).help("give one of them another path")
                }
                (Resource::ReadPath(read, _), Resource::WritePath(written, _)) if inside(written, read) => {
                    let message = format!("the {} writes where the {} reads", claim.owner, other.owner);
                    Diagnostic::new(codes::FEEDBACK_LOOP, file, claim.span, message)
                        .help("its output would become input again; write to another folder")
                }
                _ => continue,
            };
            findings.push(finding.related(other.span, format!("the {}", other.owner)));
        }
    }
}

fn place(component: &spec::Component, resource: &Resource) -> Span {
    let key = match resource {
        Resource::Port(_, key) | Resource::ReadPath(_, key) | Resource::WritePath(_, key) => *key,
    };
    component.settings.nearest(&[key]).span
}

fn same(a: &str, b: &str) -> bool {
    fn parts(path: &str) -> impl Iterator<Item = Component<'_>> {
        Path::new(path).components().filter(|part| *part != Component::CurDir)
    }
    parts(a).eq(parts(b))
}

/// Whether files written below `written` can match what is read at `read` (a folder or a pattern).
fn inside(written: &str, read: &str) -> bool {
    let fixed = read.find(['*', '?', '[']).map_or(read, |at| {
        read.get(..at).and_then(|before| before.rfind('/')).and_then(|slash| read.get(..slash)).unwrap_or("")
    });
    same(written, fixed)
}
