//! From the document to the plan: every component checked in the order of the data.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::wiring::{Order, Wiring, order};
use super::{CHAIN, Plan, PlannedSink, PlannedSource, PlannedStep, PlannedStream, collisions, delivery};
use crate::diagnostic::{Diagnostic, Span, codes};
use crate::schema::Schema;
use crate::sinks::SinkSettings;
use crate::sources::SourceSettings;
use crate::spec::document::Value;
use crate::spec::kind::Kind;
use crate::spec::{Check, Component, Duration, Node, OnError, Pipeline};
use crate::state::{Align, Schedule};
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
    let mut checker = Checker {
        pipeline,
        wiring: Wiring::new(pipeline, findings),
        known_wrong: places(pipeline, findings),
        findings,
        schemas: HashMap::new(),
        schedules: HashMap::new(),
        used: HashSet::new(),
    };
    let planned_sources = checker.sources();
    let planned_streams = checker.streams();
    let planned_sinks = checker.sinks();
    checker.unused();
    let plan = Plan {
        name: name(pipeline),
        file: Arc::clone(&pipeline.file),
        batch_interval: pipeline.head.batch_interval,
        block_interval,
        engine: pipeline.head.engine.clone(),
        checkpoint: pipeline.head.checkpoint.clone(),
        sources: planned_sources,
        streams: planned_streams?,
        sinks: planned_sinks,
        document: pipeline.document.clone(),
        includes: Vec::new(),
    };
    collisions::check(pipeline, &plan, findings);
    delivery::check(pipeline, &plan, findings);
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

/// Whether it can be part of a path and stands on one line.
fn is_plain_name(name: &str) -> bool {
    !name.trim().is_empty()
        && !name.contains("..")
        && !name.contains(|c: char| matches!(c, '/' | '\\') || c.is_control())
}

/// The places in the pipeline's file that have findings.
fn places(pipeline: &Pipeline, findings: &[Diagnostic]) -> BTreeSet<Span> {
    let own = findings.iter().filter(|finding| Arc::ptr_eq(&finding.file, &pipeline.file));
    own.filter_map(|finding| finding.span).collect()
}

fn check_head(pipeline: &Pipeline, findings: &mut Vec<Diagnostic>) -> Duration {
    let head = &pipeline.head;
    let mut report = |path: &[&str], message: String, help: String| {
        let span = pipeline.document.nearest(path).span;
        findings.push(Diagnostic::new(codes::INVALID_VALUE, &pipeline.file, span, message).help(help));
    };
    if head.name.as_deref().is_some_and(|name| !is_plain_name(name)) {
        let message = "this cannot be the name of a pipeline".to_owned();
        report(&["name"], message, "a name is not empty and holds no `/`, `\\` or `..`".to_owned());
    }
    if head.batch_interval.as_millis() == 0 {
        let help = "write e.g. `batch_interval: 1s`; the shortest is `1ms`".to_owned();
        report(&["batch_interval"], "the batch interval must be positive".to_owned(), help);
    }
    if head.engine.parallelism.is_some_and(|threads| !(1..=1024).contains(&threads)) {
        report(
            &["engine", "parallelism"],
            "the parallelism is from 1 to 1024".to_owned(),
            "leave it out to use every core".to_owned(),
        );
    }
    if let Some((scheme, _)) = head.checkpoint.as_ref().and_then(|checkpoint| checkpoint.path.split_once("://")) {
        let help = "write the path of a folder, e.g. `./checkpoints`".to_owned();
        report(&["checkpoint", "path"], format!("`{scheme}://` cannot hold a checkpoint yet"), help);
    }
    if head.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.path.is_empty()) {
        let help = "write e.g. `./checkpoints`".to_owned();
        report(&["checkpoint", "path"], "the path of the checkpoint is empty".to_owned(), help);
    }
    if head.batch_interval > LONGEST_BATCH {
        let message = format!("the batch interval {} is longer than {LONGEST_BATCH}", head.batch_interval);
        report(&["batch_interval"], message, "a batch holds its rows until it is cut".to_owned());
    }
    let block = head.block_interval.unwrap_or_else(|| DEFAULT_BLOCK.min(head.batch_interval));
    if head.batch_interval.as_millis() == 0 {
        return block;
    }
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
    /// The places that had findings when the document was read.
    known_wrong: BTreeSet<Span>,
    findings: &'f mut Vec<Diagnostic>,
    /// The columns of what has been checked so far and is sound.
    schemas: HashMap<String, Schema>,
    /// In which batches those streams have rows that do not have them in all.
    schedules: HashMap<String, Schedule>,
    /// The sources and streams that something reads.
    used: HashSet<String>,
}

impl<'a> Checker<'a, '_> {
    fn sources(&mut self) -> Vec<PlannedSource> {
        let mut planned = Vec::new();
        for component in &self.pipeline.sources {
            let on_error: OnError = component.on_error.unwrap_or(self.pipeline.head.on_error);
            let settings = self.read::<dyn SourceSettings>(sources::KINDS, component);
            let declared = settings.as_ref().and_then(|(settings, _)| settings.schema());
            self.schemas.extend(declared.map(|schema| (component.name.text.clone(), schema)));
            let checked = settings.and_then(|(settings, whole)| {
                following_up(self.findings, whole, |findings| {
                    settings.check(&mut check_of(self.pipeline, component, findings))
                })
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
        if settings.is_null() && self.known_wrong.contains(&settings.span) {
            return None;
        }
        let known_wrong = self.is_known_wrong(&settings);
        if settings.is_null() {
            // `console:` with nothing behind it is `console: {}`; what is missing is said at the kind.
            settings = Node::empty(component.kind.span);
        }
        let before = self.findings.len();
        let read = (kind.read)(&settings, &self.pipeline.file, self.findings);
        if settings.span == component.kind.span {
            name_missing_value(self.findings.get_mut(before..).unwrap_or_default(), component);
        }
        let whole = self.findings.len() == before && !known_wrong;
        read.map(|read| (read, whole))
    }

    /// Whether something in these settings had a finding before they were read as what they are.
    fn is_known_wrong(&self, settings: &Node) -> bool {
        let own = settings.span;
        let mut inside = self.known_wrong.range(Span::new(own.start, own.start)..).take_while(|at| at.start <= own.end);
        // Values from the command line and behind an alias have their places elsewhere.
        let mut below = settings.entries().iter().map(|entry| &entry.value).chain(settings.items());
        inside.any(|at| at.end <= own.end) || (!self.known_wrong.is_empty() && below.any(|it| self.is_known_wrong(it)))
    }

    /// `None` where streams read each other in a circle; the others are checked nevertheless.
    fn streams(&mut self) -> Option<Vec<PlannedStream>> {
        let sources: HashSet<&str> = self.pipeline.sources.iter().map(|source| source.name.text.as_str()).collect();
        let mut read: BTreeMap<String, ReadStream<'a>> = BTreeMap::new();
        let mut reads: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for stream in &self.pipeline.streams {
            let from = self.wiring.stream_input(stream.from.as_ref(), stream.span, self.findings);
            let steps: Vec<ReadStep<'a>> = stream.steps.iter().map(|step| self.read_step(step)).collect();
            let name = stream.name.as_ref().map_or(CHAIN, |name| name.text.as_str()).to_owned();
            let of_steps = || steps.iter().flat_map(|step| step.streams.iter().cloned());
            self.used.extend(of_steps().chain(stream.from.as_ref().map(|from| from.text.clone())));
            let inputs = of_steps().chain(from.clone()).filter(|name| !sources.contains(name.as_str()));
            reads.insert(name.clone(), inputs.collect());
            read.insert(name, ReadStream { from, steps });
        }
        let Order { sound, circles } = order(&reads);
        circles.iter().for_each(|circle| self.report_circle(circle));
        let streams = sound.into_iter().filter_map(|name| Some((read.remove(&name)?, name)));
        let planned = streams.filter_map(|(stream, name)| self.stream(name, stream)).collect();
        circles.is_empty().then_some(planned)
    }

    fn report_circle(&mut self, circle: &[String]) {
        let span = circle.first().and_then(|name| self.wiring.place(name)).unwrap_or_default();
        let shown = circle.iter().chain(circle.first()).map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let message = format!("streams read each other in a circle: {}", shown.join(" reads "));
        self.findings.push(
            Diagnostic::new(codes::CYCLE, &self.pipeline.file, span, message)
                .help("a stream can only read what is there before it: take one `from`, `with` or `union` away"),
        );
    }

    fn read_step(&mut self, component: &'a Component) -> ReadStep<'a> {
        let settings = self.read::<dyn StepSettings>(transforms::KINDS, component);
        let streams = settings.as_ref().map_or_else(Vec::new, |(settings, _)| settings.streams(self.wiring.known()));
        let mut sound = settings.is_some();
        if component.settings.value == Value::Sequence(Vec::new()) && settings.is_some() {
            let message = format!("the list of `{}` is empty", component.kind.text);
            let finding = Diagnostic::new(codes::INVALID_VALUE, &self.pipeline.file, component.settings.span, message)
                .help("name at least one, or remove the step");
            self.findings.push(finding);
            sound = false;
        }
        for name in streams.iter().filter(|name| !self.wiring.knows(name)) {
            self.findings.push(self.wiring.unknown(name, word_in(component, name)));
            sound = false;
        }
        ReadStep { component, settings: settings.filter(|_| sound), streams }
    }

    /// Checks a stream's steps one after the other; the first one with findings ends the chain, since
    /// nothing is known about the columns after it.
    fn stream(&mut self, name: String, read: ReadStream<'a>) -> Option<PlannedStream> {
        let from = read.from?;
        let mut schema = self.schemas.get(&from)?.clone();
        let mut schedule = self.schedules.get(&from).copied();
        let mut steps = Vec::new();
        for step in read.steps {
            let meets = step.settings.is_none() || self.meets(schedule, &step);
            let (settings, whole) = step.settings?;
            // A stream that is there and has no columns is wrong itself.
            if step.streams.iter().any(|name| !self.schemas.contains_key(name)) {
                return None;
            }
            if !meets {
                return None;
            }
            let own = step.component.name.text.as_str();
            let full = if name == CHAIN { own.to_owned() } else { format!("{name}/{own}") };
            let stream = |name: &str| self.schemas.get(name).cloned();
            let checked = following_up(self.findings, whole, |findings| {
                let mut check = check_of(self.pipeline, step.component, findings);
                settings.check(&mut StepCheck {
                    check: &mut check,
                    name: &full,
                    input: &schema,
                    schedule,
                    batch_interval: self.pipeline.head.batch_interval,
                    stream: &stream,
                })
            })?;
            schema = checked.schema.clone();
            schedule = checked.schedule(schedule);
            steps.push(PlannedStep {
                name: step.component.name.text.clone(),
                full_name: full,
                span: step.component.kind.span,
                on_state_change: step.component.reload.on_state_change,
                kind: step.component.kind.text.clone(),
                node: step.component.node.clone(),
                streams: step.streams,
                checked,
            });
        }
        self.schemas.insert(name.clone(), schema.clone());
        self.schedules.extend(schedule.map(|schedule| (name.clone(), schedule)));
        Some(PlannedStream { name, from, steps, schema, schedule })
    }

    /// Whether the other streams that a step reads have rows in the same batches as its own.
    fn meets(&mut self, schedule: Option<Schedule>, step: &ReadStep<'_>) -> bool {
        let rows = |schedule: Option<Schedule>| match schedule {
            None => "in every batch".to_owned(),
            Some(schedule) => {
                let from = if schedule.align == Align::Start { ", counted from the start" } else { "" };
                format!("every {}{from}", Duration::from_millis(schedule.every.unsigned_abs()))
            }
        };
        // What leaves a window with every batch is there in every batch.
        let interval = self.pipeline.head.batch_interval.as_millis();
        let slower = |schedule: &Schedule| schedule.every.unsigned_abs() != interval;
        let schedule = schedule.filter(slower);
        let other = |name: &&String| self.schedules.get(*name).copied().filter(slower) != schedule;
        let Some(name) = step.streams.iter().find(other) else { return true };
        let theirs = self.schedules.get(name).copied().filter(slower);
        let message = format!("`{name}` has rows {}, and this stream {}", rows(theirs), rows(schedule));
        let finding =
            Diagnostic::new(codes::DIFFERENT_SLIDES, &self.pipeline.file, word_in(step.component, name), message).help(
                "give their windows the same `slide` and `align`; without a `slide` a window ends with every batch",
            );
        self.findings.push(finding);
        false
    }

    fn sinks(&mut self) -> Vec<PlannedSink> {
        let mut planned = Vec::new();
        for component in &self.pipeline.sinks {
            let settings = self.read::<dyn SinkSettings>(sinks::KINDS, component);
            let from = self.wiring.sink_input(component.from.as_ref(), component.name.span, self.findings);
            let Some((from, (settings, whole))) = from.zip(settings) else { continue };
            let Some(schema) = self.schemas.get(&from).cloned() else { continue };
            let checked = following_up(self.findings, whole, |findings| {
                settings.check(&mut check_of(self.pipeline, component, findings), &schema)
            });
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
        let sinks = self.pipeline.sinks.iter().filter_map(|sink| sink.from.as_ref());
        self.used.extend(sinks.map(|from| from.text.clone()));
        let implicit_source = self.pipeline.sources.len() + self.pipeline.unusable_sources.len() == 1;
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
        for (name, what) in sources.chain(streams) {
            if self.used.contains(&name.text) || chain && what == "source" {
                continue;
            }
            let message = format!("the {what} `{}` is not used", name.text);
            self.findings.push(
                Diagnostic::new(codes::UNUSED_STREAM, &self.pipeline.file, name.span, message)
                    .help("read it with `from:`, `join`, `union` or `sql`, or remove it"),
            );
        }
    }
}

fn check_of<'c>(pipeline: &'c Pipeline, component: &'c Component, findings: &'c mut Vec<Diagnostic>) -> Check<'c> {
    let on_error = component.on_error.unwrap_or(pipeline.head.on_error);
    Check { file: &pipeline.file, component, on_error, findings }
}

/// `filter:` with nothing behind it was read as an empty mapping, which no user has written.
fn name_missing_value(findings: &mut [Diagnostic], component: &Component) {
    let own = |it: &&mut Diagnostic| it.code == codes::WRONG_TYPE && it.span == Some(component.kind.span);
    for finding in findings.iter_mut().filter(own) {
        let expected = finding.message.strip_prefix("expected ").and_then(|rest| rest.split_once(", found "));
        let expected = expected.map_or("a value", |(expected, _)| expected);
        finding.help = Some(format!("put {expected} behind it: `{}: ...`", component.kind.text));
        finding.message = format!("the value of `{}` is missing", component.kind.text);
    }
}

/// Runs a check. After settings that were wrong, what it says about missing and conflicting keys only
/// repeats that.
fn following_up<T>(findings: &mut Vec<Diagnostic>, whole: bool, check: impl FnOnce(&mut Vec<Diagnostic>) -> T) -> T {
    let before = findings.len();
    let result = check(findings);
    if !whole {
        let repeats = |it: &Diagnostic| it.code == codes::MISSING_KEY || it.code == codes::CONFLICTING_KEYS;
        let new = findings.split_off(before);
        findings.extend(new.into_iter().filter(|finding| !repeats(finding)));
    }
    result
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
fn word_in(component: &Component, name: &str) -> Span {
    fn find(node: &Node, name: &str) -> Option<Span> {
        if node.text() == Some(name) {
            return Some(node.span);
        }
        let entries = node.entries().iter().map(|entry| &entry.value);
        entries.chain(node.items()).find_map(|below| find(below, name))
    }
    find(&component.settings, name).unwrap_or(component.kind.span)
}
