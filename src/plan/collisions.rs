//! Ports and paths that two components want.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Component as Part, Path, PathBuf};

use super::Plan;
use crate::diagnostic::{Code, Diagnostic, Span, codes};
use crate::sources::Resource;
use crate::spec::{Component, Pipeline};

/// Who wants something, e.g. "source `a`", and where it says so.
struct Claim {
    owner: String,
    span: Span,
}

/// The first who wants each port and path.
struct Claims<'a> {
    pipeline: &'a Pipeline,
    findings: &'a mut Vec<Diagnostic>,
    ports: HashMap<u16, Claim>,
    read: HashMap<PathBuf, Claim>,
    /// The folders that are read with all folders below them.
    read_below: HashMap<PathBuf, Claim>,
    written: HashMap<PathBuf, Claim>,
}

/// Reports ports and output folders that are claimed twice, and sinks that write where a source
/// reads.
pub(super) fn check(pipeline: &Pipeline, plan: &Plan, findings: &mut Vec<Diagnostic>) {
    let sources = plan.sources.iter().map(|it| ("source", &it.name, &it.checked.resources));
    let sinks = plan.sinks.iter().map(|it| ("sink", &it.name, &it.checked.resources));
    let (of_sources, of_sinks) = (by_name(&pipeline.sources), by_name(&pipeline.sinks));
    let mut claims = Claims {
        pipeline,
        findings,
        ports: HashMap::new(),
        read: HashMap::new(),
        read_below: HashMap::new(),
        written: HashMap::new(),
    };
    // Sources first: a sink that writes where one reads must find it.
    for (what, name, resources) in sources.chain(sinks) {
        let components = if what == "source" { &of_sources } else { &of_sinks };
        let Some(component) = components.get(name.as_str()) else { continue };
        for resource in resources {
            claims.add(format!("{what} `{name}`"), component, resource);
        }
    }
}

fn by_name(components: &[Component]) -> HashMap<&str, &Component> {
    components.iter().map(|component| (component.name.text.as_str(), component)).collect()
}

impl Claims<'_> {
    fn add(&mut self, owner: String, component: &Component, resource: &Resource) {
        let (Resource::Port(_, key) | Resource::ReadPath(_, key) | Resource::WritePath(_, key)) = resource;
        let claim = Claim { owner, span: component.settings.nearest(&[*key]).span };
        match resource {
            Resource::Port(port, _) => self.listen(*port, claim),
            Resource::ReadPath(path, _) => {
                let read = if path.contains("**") { &mut self.read_below } else { &mut self.read };
                read.entry(parts(fixed(path))).or_insert(claim);
            }
            Resource::WritePath(path, _) => self.write(path, claim),
        }
    }

    fn listen(&mut self, port: u16, claim: Claim) {
        match self.ports.entry(port) {
            Entry::Vacant(free) => {
                free.insert(claim);
            }
            Entry::Occupied(first) => {
                let message = format!("the {} and the {} both listen on port {port}", first.get().owner, claim.owner);
                let help = "give one of them another port";
                self.findings.push(collision(self.pipeline, codes::COLLISION, message, help, &claim, first.get()));
            }
        }
    }

    fn write(&mut self, path: &str, claim: Claim) {
        let parts = parts(path);
        let mut above = parts.ancestors().filter(|folder| !is_outside(&parts, folder));
        if let Some(reader) = self.read.get(&parts).or_else(|| above.find_map(|folder| self.read_below.get(folder))) {
            let message = format!("the {} writes where the {} reads", claim.owner, reader.owner);
            let help = "its output would become input again; write to another folder";
            self.findings.push(collision(self.pipeline, codes::FEEDBACK_LOOP, message, help, &claim, reader));
        }
        match self.written.entry(parts) {
            Entry::Vacant(free) => {
                free.insert(claim);
            }
            Entry::Occupied(first) => {
                let message = format!("the {} and the {} both write to {path}", first.get().owner, claim.owner);
                let help = "give one of them another path";
                self.findings.push(collision(self.pipeline, codes::COLLISION, message, help, &claim, first.get()));
            }
        }
    }
}

fn collision(pipeline: &Pipeline, code: Code, message: String, help: &str, claim: &Claim, first: &Claim) -> Diagnostic {
    Diagnostic::new(code, &pipeline.file, claim.span, message)
        .help(help)
        .related(first.span, format!("the {}", first.owner))
}

/// A path without `.` and `a/..`, so that two ways to write it are equal. Links are not looked at.
fn parts(path: &str) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in Path::new(path).components() {
        match (part, parts.components().next_back()) {
            (Part::CurDir, _) | (Part::ParentDir, Some(Part::RootDir)) => {}
            (Part::ParentDir, Some(Part::Normal(_))) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts
}

/// Whether a path leaves the working folder, which the empty one stands for.
fn is_outside(path: &Path, folder: &Path) -> bool {
    folder.as_os_str().is_empty() && path.starts_with("..")
}

/// The folder that all files of a pattern are in or below.
fn fixed(pattern: &str) -> &str {
    pattern.find(['*', '?', '[']).map_or(pattern, |at| {
        pattern.get(..at).and_then(|before| before.rfind('/')).and_then(|slash| pattern.get(..slash)).unwrap_or("")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_write_a_path_are_equal() {
        for (path, expected) in [
            ("./out/", "out"),
            ("./outm/../outm", "outm"),
            ("a/./b/..", "a"),
            ("../../x", "../../x"),
            ("a/../../x", "../x"),
            ("/../x", "/x"),
            ("a/..", ""),
        ] {
            assert_eq!(parts(path), PathBuf::from(expected), "{path}");
        }
    }

    #[test]
    fn the_fixed_folder_of_a_pattern() {
        for (pattern, folder) in [("./fb/**/*", "./fb"), ("logs/a-*.txt", "logs"), ("**/*", ""), ("in", "in")] {
            assert_eq!(fixed(pattern), folder);
        }
    }
}
