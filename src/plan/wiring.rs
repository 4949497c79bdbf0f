//! Who reads whom: names resolved, circles found.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::CHAIN;
use crate::diagnostic::suggest::{self, Budget};
use crate::diagnostic::{Diagnostic, SourceFile, Span, codes};
use crate::spec::{Name, Pipeline};

/// The names of a pipeline.
pub(super) struct Wiring<'a> {
    pipeline: &'a Pipeline,
    file: &'a Arc<SourceFile>,
    /// Sources and streams with their places.
    places: HashMap<&'a str, Span>,
    /// The same names, sorted.
    known: Vec<&'a str>,
    /// For messages.
    sources: String,
    streams: String,
    suggestions: Budget,
}

impl<'a> Wiring<'a> {
    /// Collects the names; two with the same one are findings.
    pub(super) fn new(pipeline: &'a Pipeline, findings: &mut Vec<Diagnostic>) -> Self {
        let file = &pipeline.file;
        let mut places: HashMap<&str, Span> = HashMap::new();
        let sources = pipeline.sources.iter().map(|source| &source.name);
        let streams = pipeline.streams.iter().filter_map(|stream| stream.name.as_ref());
        for name in sources.chain(streams) {
            if let Some(first) = places.insert(&name.text, name.span) {
                let message = format!("a source and a stream are both named `{}`", name.text);
                findings.push(
                    Diagnostic::new(codes::DUPLICATE_NAME, file, name.span, message)
                        .related(first, "first here")
                        .help("sources and streams share one set of names, since `from` may name either"),
                );
            }
        }
        let mut known: Vec<&str> = places.keys().copied().collect();
        known.sort_unstable();
        let sources: Vec<&str> = pipeline.sources.iter().map(|source| source.name.text.as_str()).collect();
        let streams: Vec<&str> =
            pipeline.streams.iter().filter_map(|stream| Some(stream.name.as_ref()?.text.as_str())).collect();
        let (sources, streams) = (suggest::list(&sources), suggest::list(&streams));
        Self { pipeline, file, places, known, sources, streams, suggestions: Budget::default() }
    }

    /// All names that can be read.
    pub(super) fn known(&self) -> &[&'a str] {
        &self.known
    }

    /// Whether a source or stream has that name.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Where a name is defined.
    pub(super) fn place(&self, name: &str) -> Option<Span> {
        self.places.get(name).copied()
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
                let graph = "name the chains under `streams:` and say what each reads: `from: ...`";
                let chain = self.pipeline.streams.first().is_some_and(|stream| stream.name.is_none());
                let help = if chain { graph.to_owned() } else { format!("add `from:` with one of {}", self.sources) };
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
                let message = format!("there are {} streams, and it is not said which one is written", several.len());
                findings.push(
                    Diagnostic::new(codes::MISSING_FROM, self.file, at, message)
                        .help(format!("add `from:` with one of {}", self.streams)),
                );
                None
            }
        }
    }

    fn resolve(&self, from: &Name, findings: &mut Vec<Diagnostic>) -> Option<String> {
        if self.knows(&from.text) {
            return Some(from.text.clone());
        }
        findings.push(self.unknown(&from.text, from.span));
        None
    }

    /// The finding for a name that is no source and no stream.
    pub(super) fn unknown(&self, name: &str, span: Span) -> Diagnostic {
        Diagnostic::new(codes::UNKNOWN_STREAM, self.file, span, format!("there is no source or stream `{name}`"))
            .maybe_help(self.suggestions.help(name, &self.known))
    }
}

/// An order in which every item stands after those it reads; the items of a circle otherwise.
pub(super) fn order(reads: &BTreeMap<String, Vec<String>>) -> Result<Vec<String>, Vec<String>> {
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    let mut readers: HashMap<&str, Vec<&str>> = HashMap::new();
    for (name, inputs) in reads {
        let inputs: HashSet<&str> =
            inputs.iter().map(String::as_str).filter(|input| reads.contains_key(*input)).collect();
        missing.insert(name, inputs.len());
        inputs.into_iter().for_each(|input| readers.entry(input).or_default().push(name));
    }
    let mut done: Vec<String> = Vec::with_capacity(reads.len());
    let mut ready: Vec<&str> = missing.iter().filter(|(_, left)| **left == 0).map(|(name, _)| *name).collect();
    while !ready.is_empty() {
        let mut next = Vec::new();
        for name in ready {
            done.push(name.to_owned());
            for reader in readers.get(name).into_iter().flatten() {
                let Some(left) = missing.get_mut(reader) else { continue };
                *left -= 1;
                if *left == 0 {
                    next.push(*reader);
                }
            }
        }
        // Else it would depend on a hash.
        next.sort_unstable();
        ready = next;
    }
    if done.len() == reads.len() {
        return Ok(done);
    }
    let waiting = missing.into_iter().filter(|(_, left)| *left > 0).map(|(name, _)| name).collect();
    Err(circle(reads, &waiting))
}

/// Follows the inputs of items that wait for each other until one comes again.
fn circle(reads: &BTreeMap<String, Vec<String>>, waiting: &BTreeSet<&str>) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    let mut positions: HashMap<&str, usize> = HashMap::new();
    let mut next = waiting.first().copied();
    while let Some(name) = next {
        if let Some(start) = positions.insert(name, path.len()) {
            return path.split_off(start);
        }
        path.push(name.to_owned());
        next = reads.get(name).into_iter().flatten().map(String::as_str).find(|input| waiting.contains(input));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(items: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        items.iter().map(|(name, inputs)| ((*name).to_owned(), owned(inputs))).collect()
    }

    #[test]
    fn every_item_stands_after_those_it_reads() {
        let items = reads(&[("a", &["c", "source"]), ("b", &[]), ("c", &["b", "b"]), ("d", &["b"])]);
        assert_eq!(order(&items).unwrap(), ["b", "c", "d", "a"]);
    }

    #[test]
    fn a_circle_is_shown_without_what_leads_to_it() {
        let items = reads(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])]);
        assert_eq!(order(&items).unwrap_err(), ["b", "c"]);
        assert_eq!(order(&reads(&[("a", &["a"])])).unwrap_err(), ["a"]);
    }
}
