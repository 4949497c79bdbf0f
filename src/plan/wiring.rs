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
        let sources = declared_sources(pipeline);
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
        let sources: Vec<&str> = declared_sources(pipeline).map(|name| name.text.as_str()).collect();
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
        let mut sources = declared_sources(self.pipeline);
        match (sources.next(), sources.count()) {
            (Some(only), 0) => Some(only.text.clone()),
            (None, _) => None,
            (Some(_), others) => {
                let graph = "name the chains under `streams:` and say what each reads: `from: ...`";
                let chain = self.pipeline.streams.first().is_some_and(|stream| stream.name.is_none());
                let help = if chain { graph.to_owned() } else { format!("add `from:` with one of {}", self.sources) };
                let message = format!("there are {} sources, and it is not said which one is read", others + 1);
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

/// The names of all sources, also of those that cannot be used.
fn declared_sources(pipeline: &Pipeline) -> impl Iterator<Item = &Name> {
    pipeline.sources.iter().map(|source| &source.name).chain(&pipeline.unusable_sources)
}

/// Items in the order in which they can be worked on.
pub(super) struct Order {
    /// Every one after those it reads.
    pub(super) sound: Vec<String>,
    /// Those that read each other. What only reads such an item is neither here nor there.
    pub(super) circles: Vec<Vec<String>>,
}

/// An order in which every item stands after those it reads, as far as there is one.
pub(super) fn order(reads: &BTreeMap<String, Vec<String>>) -> Order {
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
    let waiting = missing.into_iter().filter(|(_, left)| *left > 0).map(|(name, _)| name).collect();
    Order { sound: done, circles: circles(reads, &waiting) }
}

/// Follows the inputs of items that wait for each other until one comes again, from each of them.
fn circles(reads: &BTreeMap<String, Vec<String>>, waiting: &BTreeSet<&str>) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for first in waiting {
        let mut path: Vec<&str> = Vec::new();
        let mut positions: HashMap<&str, usize> = HashMap::new();
        let mut next = Some(*first);
        while let Some(name) = next {
            if let Some(start) = positions.insert(name, path.len()) {
                found.push(path.iter().skip(start).map(|name| (*name).to_owned()).collect());
                break;
            }
            // From there on the way has been gone before.
            if !seen.insert(name) {
                break;
            }
            path.push(name);
            let mut inputs = reads.get(name).into_iter().flatten();
            next = inputs.find_map(|input| waiting.get(input.as_str()).copied());
        }
    }
    found
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
        assert_eq!(order(&items).sound, ["b", "c", "d", "a"]);
    }

    #[test]
    fn circles_are_shown_without_what_leads_to_them() {
        let items = reads(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[]), ("e", &["f"]), ("f", &["e"])]);
        let order_of_items = order(&items);
        assert_eq!(order_of_items.circles, [["b", "c"], ["e", "f"]]);
        assert_eq!(order_of_items.sound, ["d"]);
        assert_eq!(order(&reads(&[("a", &["a"])])).circles, [["a"]]);
    }
}
