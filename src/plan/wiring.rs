//! Who reads whom: names resolved, circles found.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::CHAIN;
use crate::diagnostic::{Diagnostic, SourceFile, Span, codes, suggest};
use crate::spec::{Name, Pipeline};

/// The names of a pipeline.
pub(super) struct Wiring<'a> {
    pipeline: &'a Pipeline,
    file: &'a Arc<SourceFile>,
    /// Sources and streams with their places.
    names: BTreeMap<&'a str, Span>,
}

impl<'a> Wiring<'a> {
    /// Collects the names; two with the same one are findings.
    pub(super) fn new(pipeline: &'a Pipeline, findings: &mut Vec<Diagnostic>) -> Self {
        let mut wiring = Self { pipeline, file: &pipeline.file, names: BTreeMap::new() };
        let sources = pipeline.sources.iter().map(|source| &source.name);
        let streams = pipeline.streams.iter().filter_map(|stream| stream.name.as_ref());
        for name in sources.chain(streams) {
            if let Some(first) = wiring.names.insert(&name.text, name.span) {
                let message = format!("a source and a stream are both named `{}`", name.text);
                findings.push(
                    Diagnostic::new(codes::DUPLICATE_NAME, wiring.file, name.span, message)
                        .related(first, "first here")
                        .help("sources and streams share one set of names, since `from` may name either"),
                );
            }
        }
        wiring
    }

    /// All names that can be read.
    pub(super) fn known(&self) -> Vec<&'a str> {
        self.names.keys().copied().collect()
    }

    /// Where a name is defined.
    pub(super) fn place(&self, name: &str) -> Option<Span> {
        self.names.get(name).copied()
    }

    /// What a stream reads: its `from`, or the only source there is.
    pub(super) fn stream_input(&self, from: Option<&Name>, at: Span, findings: &mut Vec<Diagnostic>) -> Option<String> {
        if let Some(from) = from {
            return self.resolve(from, findings);
        }
        match self.pipeline.sources.as_slice() {
            [only] => Some(only.name.text.clone()),
            [] => None,
            several => {
                let names: Vec<&str> = several.iter().map(|source| source.name.text.as_str()).collect();
                let graph = "name the chains under `streams:` and say what each reads: `from: ...`";
                let chain = self.pipeline.streams.iter().any(|stream| stream.name.is_none());
                let help =
                    if chain { graph.to_owned() } else { format!("add `from:` with one of {}", names.join(", ")) };
                let message = format!("there are {} sources, and it is not said which one is read", several.len());
                findings.push(Diagnostic::new(codes::MISSING_FROM, self.file, at, message).help(help));
                None
            }
        }
    }

    /// What a sink reads: its `from`, or the only stream there is.
    pub(super) fn sink_input(&self, from: Option<&Name>, at: Span, findings: &mut Vec<Diagnostic>) -> Option<String> {
        if let Some(from) = from {
            return self.resolve(from, findings);
        }
        match self.pipeline.streams.as_slice() {
            [only] => Some(only.name.as_ref().map_or_else(|| CHAIN.to_owned(), |name| name.text.clone())),
            [] => None,
            several => {
                let names: Vec<&str> = several.iter().filter_map(|it| Some(it.name.as_ref()?.text.as_str())).collect();
                let message = format!("there are {} streams, and it is not said which one is written", several.len());
                findings.push(
                    Diagnostic::new(codes::MISSING_FROM, self.file, at, message)
                        .help(format!("add `from:` with one of {}", names.join(", "))),
                );
                None
            }
        }
    }

    fn resolve(&self, from: &Name, findings: &mut Vec<Diagnostic>) -> Option<String> {
        if self.names.contains_key(from.text.as_str()) {
            return Some(from.text.clone());
        }
        findings.push(self.unknown(&from.text, from.span));
        None
    }

    /// The finding for a name that is no source and no stream.
    pub(super) fn unknown(&self, name: &str, span: Span) -> Diagnostic {
        Diagnostic::new(codes::UNKNOWN_STREAM, self.file, span, format!("there is no source or stream `{name}`"))
            .maybe_help(suggest::help(name, self.known()))
    }
}

/// An order in which every item stands after those it reads; the items of a circle otherwise.
pub(super) fn order(reads: &BTreeMap<String, Vec<String>>) -> Result<Vec<String>, Vec<String>> {
    let mut done: Vec<String> = Vec::new();
    let mut left: Vec<&String> = reads.keys().collect();
    while !left.is_empty() {
        let waiting = |name: &String| {
            let inputs = reads.get(name).map_or(&[][..], Vec::as_slice);
            inputs.iter().any(|input| reads.contains_key(input) && !done.contains(input))
        };
        let (still, ready): (Vec<&String>, Vec<&String>) = left.iter().partition(|name| waiting(name));
        if ready.is_empty() {
            return Err(circle(reads, &still));
        }
        done.extend(ready.into_iter().cloned());
        left = still;
    }
    Ok(done)
}

/// Follows the inputs of items that wait for each other until one comes again.
fn circle(reads: &BTreeMap<String, Vec<String>>, waiting: &[&String]) -> Vec<String> {
    let mut path: Vec<String> = waiting.first().map(|name| (*name).clone()).into_iter().collect();
    while let Some(last) = path.last() {
        let next = reads.get(last).into_iter().flatten().find(|input| waiting.contains(input));
        let Some(next) = next.cloned() else { break };
        if let Some(start) = path.iter().position(|name| *name == next) {
            return path.split_off(start);
        }
        path.push(next);
    }
    path
}
