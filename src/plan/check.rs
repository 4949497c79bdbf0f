//! From the document to the plan: every component checked in the order of the data.

use std::collections::BTreeMap;

use super::wiring::{Wiring, order};
use super::{CHAIN, Plan, PlannedSink, PlannedSource, PlannedStep, PlannedStream, collisions};
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::schema::Schema;
use crate::sinks::SinkSettings;
use crate::sources::SourceSettings;
use crate::spec::kind::Kind;
use crate::spec::{Check, Component, Duration, OnError, Pipeline};
use crate::transforms::{StepCheck, StepSettings};
use crate::{sinks, sources, transforms};

/// Blocks shorter than this cost more than they bring, unless batches are as short.
const SHORTEST_BLOCK: Duration = Duration::from_millis(50);
const LONGEST_BATCH: Duration = Duration::from_millis(366 * 24 * 3_600_000);
const DEFAULT_BLOCK: Duration = Duration::from_millis(200);

/// Checks a pipeline. `None` where something is missing to run it; then there are errors in
/// `findings`.
pub fn check(pipeline: &Pipeline, findings: &mut Vec<Diagnostic>) -> Option<Plan> {
    let block_interval = check_head(pipeline, findings);
    let mut checker = Checker { pipeline, wiring: Wiring::new(pipeline, findings), findings, schemas: BTreeMap::new() };
    let planned_sources = checker.sources();
    let planned_streams = checker.streams();
    let planned_sinks = checker.sinks();
    checker.unused();
    let plan = Plan {
        name: name(pipeline),
        file: std::sync::Arc::clone(&pipeline.file),
        batch_interval: pipeline.head.batch_interval,
        block_interval,
        engine: pipeline.head.engine.clone(),
        sources: planned_sources,
        streams: planned_streams?,
        sinks: planned_sinks,
        document: pipeline.document.clone(),
        includes: Vec::new(),
    };
    collisions::check(pipeline, &plan, findings);
    Some(plan)
}

/// `name:`, or the file's name without its ending.
fn name(pipeline: &Pipeline) -> String {
    let stem = || {
        let path = std::path::Path::new(pipeline.file.name());
        path.file_stem().map_or_else(|| "pipeline".to_owned(), |stem| stem.to_string_lossy().into_owned())
    };
    pipeline.head.name.clone().unwrap_or_else(stem)
}

fn check_head(pipeline: &Pipeline, findings: &mut Vec<Diagnostic>) -> Duration {
    let head = &pipeline.head;
    let mut report = |path: &[&str], message: String, help: String| {
        let span = pipeline.document.nearest(path).span;
        findings.push(Diagnostic::new(codes::INVALID_VALUE, &pipeline.file, span, message).help(help));
    };
    if head.batch_interval.as_millis() == 0 {
        report(&["batch_interval"], "the batch interval is zero".to_owned(), "the shortest is `1ms`".to_owned());
    }
    if head.engine.parallelism.is_some_and(|threads| !(1..=1024).contains(&threads)) {
        report(
            &["engine", "parallelism"],
            "the parallelism is from 1 to 1024".to_owned(),
            "leave it out to use every core".to_owned(),
        );
    }
    if head.batch_interval > LONGEST_BATCH {
        let message = format!("the batch interval {} is longer than {LONGEST_BATCH}", head.batch_interval);
        report(&["batch_interval"], message, "a batch holds its rows until it is cut".to_owned());
    }
    let block = head.block_interval.unwrap_or_else(|| DEFAULT_BLOCK.min(head.batch_interval));
    if head.block_interval.is_some() && (block.as_millis() == 0 || block > head.batch_interval) {
        let message =
            format!("the block interval {block} does not fit into the batch interval {}", head.batch_interval);
        report(&["block_interval"], message, "it is at most the batch interval".to_owned());
    } else if block < SHORTEST_BLOCK && block < head.batch_interval && head.batch_interval >= SHORTEST_BLOCK {
        let message = format!("a block interval of {block} is shorter than {SHORTEST_BLOCK}");
        report(
            &["block_interval"],
            message,
            "blocks that short only pay off with a batch interval as short".to_owned(),
        );
    }
    block
}

struct Checker<'a, 'f> {
    pipeline: &'a Pipeline,
    wiring: Wiring<'a>,
    findings: &'f mut Vec<Diagnostic>,
    /// The columns of what has been checked so far and is sound.
    schemas: BTreeMap<String, Schema>,
}

impl<'a> Checker<'a, '_> {
    fn check<'c>(&'c mut self, component: &'c Component) -> Check<'c> {
        Check {
            file: &self.pipeline.file,
            component,
            on_error: component.on_error.unwrap_or(self.pipeline.head.on_error),
            findings: self.findings,
        }
    }

    fn sources(&mut self) -> Vec<PlannedSource> {
        let mut planned = Vec::new();
        for component in &self.pipeline.sources {
            let on_error: OnError = component.on_error.unwrap_or(self.pipeline.head.on_error);
            let settings = self.read::<dyn SourceSettings>(sources::KINDS, component);
            let declared = settings.as_ref().and_then(|(settings, _)| settings.schema());
            self.schemas.extend(declared.map(|schema| (component.name.text.clone(), schema)));
            let checked = settings.and_then(|(settings, whole)| {
                self.following_up(whole, |checker| settings.check(&mut checker.check(component)))
            });
            let Some(checked) = checked else { continue };
            self.schemas.insert(component.name.text.clone(), checked.schema.clone());
            planned.push(PlannedSource {
                name: component.name.text.clone(),
                kind: component.kind.text.clone(),
                checked,
                on_error,
                node: component.node.clone(),
            });
        }
        planned
    }

    /// The component's settings, and whether nothing was wrong with them.
    fn read<T: ?Sized>(&mut self, kinds: &[Kind<T>], component: &Component) -> Option<(Box<T>, bool)> {
        let kind = kinds.iter().find(|kind| kind.name == component.kind.text)?;
        let mut settings = component.settings.clone();
        let known_wrong = self.findings.iter().any(|finding| finding.span == Some(settings.span));
        if settings.is_null() && known_wrong {
            return None;
        }
        if settings.is_null() {
            // `console:` with nothing behind it is `console: {}`; what is missing is said at the kind.
            settings = crate::spec::Node::empty(component.kind.span);
        }
        let before = self.findings.len();
        let read = (kind.read)(&settings, &self.pipeline.file, self.findings);
        let whole = self.findings.len() == before;
        read.map(|read| (read, whole))
    }

    /// Runs a check. After settings that were wrong, what it says about missing and conflicting
    /// keys only repeats that.
    fn following_up<T>(&mut self, whole: bool, check: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.findings.len();
        let result = check(self);
        if !whole {
            let repeats = |it: &Diagnostic| it.code == codes::MISSING_KEY || it.code == codes::CONFLICTING_KEYS;
            let new = self.findings.split_off(before);
            self.findings.extend(new.into_iter().filter(|finding| !repeats(finding)));
        }
        result
    }

    /// `None` where streams read each other in a circle.
    fn streams(&mut self) -> Option<Vec<PlannedStream>> {
        let known = self.wiring.known();
        let mut read: BTreeMap<String, ReadStream<'a>> = BTreeMap::new();
        let mut reads: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for stream in &self.pipeline.streams {
            let from = self.wiring.stream_input(stream.from.as_ref(), stream.span, self.findings);
            let steps: Vec<ReadStep<'a>> = stream.steps.iter().map(|step| self.read_step(step, &known)).collect();
            let name = stream.name.as_ref().map_or(CHAIN, |name| name.text.as_str()).to_owned();
            let is_source = |name: &String| self.pipeline.sources.iter().any(|source| source.name.text == *name);
            let inputs = steps.iter().flat_map(|step| step.streams.iter().cloned()).chain(from.clone());
            let inputs = inputs.filter(|name| !is_source(name)).collect();
            reads.insert(name.clone(), inputs);
            read.insert(name, ReadStream { from, steps });
        }
        match order(&reads) {
            Ok(order) => {
                let streams = order.into_iter().filter_map(|name| Some((read.remove(&name)?, name)));
                Some(streams.filter_map(|(stream, name)| self.stream(name, stream)).collect())
            }
            Err(circle) => {
                let span = circle.first().and_then(|name| self.wiring.place(name)).unwrap_or_default();
                let shown = circle.iter().chain(circle.first()).map(|name| format!("`{name}`")).collect::<Vec<_>>();
                let message = format!("streams read each other in a circle: {}", shown.join(" reads "));
                self.findings.push(
                    Diagnostic::new(codes::CYCLE, &self.pipeline.file, span, message).help(
                        "a stream can only read what is there before it: take one `from`, `with` or `union` away",
                    ),
                );
                None
            }
        }
    }

    fn read_step(&mut self, component: &'a Component, known: &[&str]) -> ReadStep<'a> {
        let settings = self.read::<dyn StepSettings>(transforms::KINDS, component);
        let streams = settings.as_ref().map_or_else(Vec::new, |(settings, _)| settings.streams(known));
        let mut sound = settings.is_some();
        for name in streams.iter().filter(|name| !known.contains(&name.as_str())) {
            let check = self.check(component);
            let span = word_in(&check, name);
            let finding = self.wiring.unknown(name, span);
            self.findings.push(finding);
            sound = false;
        }
        ReadStep { component, settings: settings.filter(|_| sound), streams }
    }

    /// Checks a stream's steps one after the other; the first one with findings ends the chain, since
    /// nothing is known about the columns after it.
    fn stream(&mut self, name: String, read: ReadStream<'a>) -> Option<PlannedStream> {
        let from = read.from?;
        let mut schema = self.schemas.get(&from)?.clone();
        let mut steps = Vec::new();
        for step in read.steps {
            let (settings, whole) = step.settings?;
            let schemas = self.schemas.clone();
            let stream = |name: &str| schemas.get(name).cloned();
            let checked = self.following_up(whole, |checker| {
                let mut check = checker.check(step.component);
                settings.check(&mut StepCheck { check: &mut check, input: &schema, stream: &stream })
            })?;
            schema = checked.schema.clone();
            steps.push(PlannedStep {
                name: step.component.name.text.clone(),
                kind: step.component.kind.text.clone(),
                streams: step.streams,
                checked,
            });
        }
        self.schemas.insert(name.clone(), schema.clone());
        Some(PlannedStream { name, from, steps, schema })
    }

    fn sinks(&mut self) -> Vec<PlannedSink> {
        let mut planned = Vec::new();
        for component in &self.pipeline.sinks {
            let settings = self.read::<dyn SinkSettings>(sinks::KINDS, component);
            let from = self.wiring.sink_input(component.from.as_ref(), component.name.span, self.findings);
            let Some((from, (settings, whole))) = from.zip(settings) else { continue };
            let Some(schema) = self.schemas.get(&from).cloned() else { continue };
            let checked = self.following_up(whole, |checker| settings.check(&mut checker.check(component), &schema));
            let Some(checked) = checked else { continue };
            planned.push(PlannedSink {
                name: component.name.text.clone(),
                kind: component.kind.text.clone(),
                from,
                schema,
                checked,
                node: component.node.clone(),
            });
        }
        planned
    }

    /// Warns about sources and streams that nothing reads.
    fn unused(&mut self) {
        let sinks = self.pipeline.sinks.iter().filter_map(|sink| sink.from.as_ref().map(|from| from.text.clone()));
        let mut used: Vec<String> = sinks.collect();
        for stream in &self.pipeline.streams {
            used.extend(stream.from.as_ref().map(|from| from.text.clone()));
            for step in &stream.steps {
                let known = self.wiring.known();
                let mut ignored = Vec::new();
                let kind = transforms::KINDS.iter().find(|kind| kind.name == step.kind.text);
                let settings = kind.and_then(|kind| (kind.read)(&step.settings, &self.pipeline.file, &mut ignored));
                used.extend(settings.map_or_else(Vec::new, |settings| settings.streams(&known)));
            }
        }
        let implicit_source = self.pipeline.sources.len() == 1;
        let implicit_stream = self.pipeline.streams.len() == 1;
        let sources = self.pipeline.sources.iter().filter(|_| !implicit_source).map(|source| (&source.name, "source"));
        let streams = self
            .pipeline
            .streams
            .iter()
            .filter(|_| !implicit_stream)
            .filter_map(|stream| Some((stream.name.as_ref()?, "stream")));
        // With one chain and several sources, the missing wiring is an error already.
        let chain = self.pipeline.streams.iter().any(|stream| stream.name.is_none());
        let unused: Vec<(String, Span, &str)> = sources
            .chain(streams)
            .filter(|(name, what)| !(used.contains(&name.text) || chain && *what == "source"))
            .map(|(name, what)| (name.text.clone(), name.span, what))
            .collect();
        for (name, span, what) in unused {
            let message = format!("the {what} `{name}` is not used");
            self.findings.push(
                Diagnostic::new(codes::UNUSED_STREAM, &self.pipeline.file, span, message)
                    .help("read it with `from:`, `join`, `union` or `sql`, or remove it"),
            );
        }
    }
}

struct ReadStream<'a> {
    from: Option<String>,
    steps: Vec<ReadStep<'a>>,
}

struct ReadStep<'a> {
    component: &'a Component,
    /// `None` where reading had findings.
    settings: Option<(Box<dyn StepSettings>, bool)>,
    streams: Vec<String>,
}

/// The place of a stream's name in a step's settings.
fn word_in(check: &Check<'_>, name: &str) -> Span {
    fn find(node: &crate::spec::Node, name: &str) -> Option<Span> {
        if node.text() == Some(name) {
            return Some(node.span);
        }
        let entries = node.entries().iter().map(|entry| &entry.value);
        entries.chain(node.items()).find_map(|below| find(below, name))
    }
    find(&check.component.settings, name).unwrap_or(check.component.kind.span)
}
