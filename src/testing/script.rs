//! What a test file means for its pipeline: names looked up, rows in the types of the columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use indexmap::IndexMap;
use serde_json::Value;

use super::file::{self, Restart, TestFile};
use super::{compare, input, values};
use crate::diagnostic::{Code, Diagnostic, SourceFile, Span, codes, suggest};
use crate::formats::{Decode, InputFormat};
use crate::plan::{Plan, PlannedSource};
use crate::schema::Schema;
use crate::sources::{Block, rows};
use crate::spec::document::Entry;
use crate::spec::{Duration, Node};

/// A test file that can run.
pub(super) struct Script {
    /// The test file.
    pub file: Arc<SourceFile>,
    /// Its pipeline.
    pub plan: Plan,
    /// The time before the first batch, milliseconds since the epoch.
    pub start: i64,
    /// In order.
    pub cases: Vec<Case>,
}

/// One test.
pub(super) struct Case {
    pub name: String,
    pub span: Span,
    /// In order; at least one batch is among them.
    pub events: Vec<Event>,
}

/// What happens in a test.
pub(super) enum Event {
    Batch(Batch),
    /// So many batches without input, one after the other; what comes out is looked at together.
    Advance(u64, Batch),
    Restart(Restart),
    /// The pipeline goes on as this version; the place is for what is wrong with that.
    Reload(Box<Plan>, Batch),
}

/// Loads another version of the pipeline.
pub(super) type Load<'a> = &'a mut dyn FnMut(&str, Span, &mut Vec<Diagnostic>) -> Option<Plan>;

/// One batch of a test.
pub(super) struct Batch {
    pub span: Span,
    /// By source; none for a source that gets nothing.
    pub input: BTreeMap<String, Vec<Block>>,
    pub expected: Vec<Expected>,
    /// What the batch's failure must contain.
    pub error: Option<(String, Span)>,
    /// How many rows must be left out.
    pub skipped: Option<(u64, Span)>,
}

/// What must arrive at a sink.
pub(super) struct Expected {
    pub sink: String,
    pub span: Span,
    pub ordered: bool,
    /// As [`compare::to_rows`] gives them, each with its place.
    pub rows: Vec<Value>,
    pub spans: Vec<Span>,
}

/// The tests of a file, as far as they make sense; what does not goes to `findings`.
pub(super) fn cases(
    tests: &TestFile,
    root: &Node,
    plan: &Plan,
    file: &Arc<SourceFile>,
    load: Load<'_>,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Case> {
    let mut compiler = Compiler { first: plan, plan: plan.clone(), file, load, findings };
    let node = root.nearest(&["tests"]);
    if tests.tests.is_empty() {
        compiler.report(codes::INVALID_VALUE, node.span, "there are no tests", None);
    }
    let mut first_seen: BTreeMap<&str, Span> = BTreeMap::new();
    let mut cases = Vec::with_capacity(tests.tests.len());
    for (case, node) in tests.tests.iter().zip(node.items()) {
        let span = node.nearest(&["name"]).span;
        if let Some(first) = first_seen.insert(&case.name, span) {
            let message = format!("two tests are named `{}`", case.name);
            let finding = Diagnostic::new(codes::DUPLICATE_NAME, file, span, message);
            compiler.findings.push(finding.related(first, "first here"));
        }
        cases.push(compiler.case(case, node, span));
    }
    cases
}

/// Whether anything can go wrong in a batch besides the run itself.
fn expects(batch: &file::Batch) -> bool {
    let rows = !batch.expect.is_empty() || !batch.expect_ordered.is_empty();
    rows || batch.expect_error.is_some() || batch.expect_skipped.is_some()
}

struct Compiler<'a> {
    /// The version that every test begins with.
    first: &'a Plan,
    /// The version of the moment.
    plan: Plan,
    file: &'a Arc<SourceFile>,
    load: Load<'a>,
    findings: &'a mut Vec<Diagnostic>,
}

impl Compiler<'_> {
    fn report(&mut self, code: Code, span: Span, message: impl Into<String>, help: Option<String>) {
        self.findings.push(Diagnostic::new(code, self.file, span, message).maybe_help(help));
    }

    fn case(&mut self, case: &file::Case, node: &Node, span: Span) -> Case {
        let node = node.nearest(&["batches"]);
        if case.batches.is_empty() {
            self.report(codes::INVALID_VALUE, node.span, "a test without batches tests nothing", None);
        }
        if !case.batches.is_empty() && !case.batches.iter().any(expects) {
            let help = "say what arrives: `expect: { a_sink: [...] }`, or `[]` for nothing";
            self.report(codes::INVALID_VALUE, span, "a test that expects nothing tests nothing", Some(help.to_owned()));
        }
        self.plan = self.first.clone();
        let last = case.batches.len().saturating_sub(1);
        let batches = case.batches.iter().zip(node.items()).enumerate();
        let events = batches.filter_map(|(index, (batch, node))| self.event(batch, node, index == last)).collect();
        Case { name: case.name.clone(), span, events }
    }

    fn event(&mut self, batch: &file::Batch, node: &Node, last: bool) -> Option<Event> {
        let between: Vec<&str> = [
            ("advance", batch.advance.is_some()),
            ("restart", batch.restart.is_some()),
            ("reload", batch.reload.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, there)| there.then_some(key))
        .collect();
        let key = match between.as_slice() {
            [] => return Some(Event::Batch(self.batch(batch, node, last))),
            [key] => *key,
            [first, second, ..] => {
                let help = Some("write one after the other, each behind a `- ` of its own".to_owned());
                let message = format!("`{first}` and `{second}` stand together");
                self.report(codes::CONFLICTING_KEYS, node.nearest(&[second]).span, message, help);
                return None;
            }
        };
        let allowed: &[&str] = match key {
            "advance" => &["advance", "expect", "expect_ordered"],
            "reload" => &["reload", "expect_error"],
            _ => &["restart"],
        };
        if let Some(entry) = node.entries().iter().find(|entry| !allowed.contains(&entry.key.as_str())) {
            let message = format!("`{}` cannot stand beside `{key}`", entry.key);
            let help = Some("give the batch a `- ` of its own".to_owned());
            self.report(codes::CONFLICTING_KEYS, entry.key_span, message, help);
            return None;
        }
        if let Some(restart) = batch.restart {
            return Some(Event::Restart(restart));
        }
        if let Some(path) = &batch.reload {
            // One that is refused is not the last.
            let compiled = self.batch(batch, node, true);
            let plan = (self.load)(path, node.nearest(&["reload"]).span, self.findings)?;
            if compiled.error.is_none() {
                self.plan = plan.clone();
            }
            return Some(Event::Reload(Box::new(plan), compiled));
        }
        let compiled = self.batch(batch, node, last);
        let batches = self.batches_in(batch.advance?, node)?;
        Some(Event::Advance(batches, compiled))
    }

    fn batches_in(&mut self, time: Duration, node: &Node) -> Option<u64> {
        let interval = self.plan.batch_interval.as_millis().max(1);
        if time.as_millis() > 0 && time.as_millis().is_multiple_of(interval) {
            return Some(time.as_millis() / interval);
        }
        let message = format!("{time} is not a multiple of the batch interval {}", self.plan.batch_interval);
        self.report(codes::NOT_A_MULTIPLE, node.nearest(&["advance"]).span, message, None);
        None
    }

    fn batch(&mut self, batch: &file::Batch, node: &Node, last: bool) -> Batch {
        let mut expected = self.all_expected(node, "expect", false);
        expected.extend(self.all_expected(node, "expect_ordered", true));
        self.check_once(&batch.expect, &batch.expect_ordered, node);
        let place = |key: &str| node.nearest(&[key]).span;
        let error = batch.expect_error.clone().map(|text| (text, place("expect_error")));
        let skipped = batch.expect_skipped.map(|count| (count, place("expect_skipped")));
        if let Some((_, span)) = &error {
            if !expected.is_empty() || skipped.is_some() {
                let help = "a batch that fails writes nothing: keep `expect_error` alone";
                self.report(
                    codes::CONFLICTING_KEYS,
                    *span,
                    "a batch either fails or has rows to compare",
                    Some(help.to_owned()),
                );
            }
            if !last {
                let help = "a failed batch ends the run: move what follows to a test of its own";
                self.report(
                    codes::INVALID_VALUE,
                    *span,
                    "there are batches after one that must fail",
                    Some(help.to_owned()),
                );
            }
        }
        Batch { span: node.span, input: self.inputs(node), expected, error, skipped }
    }

    /// A sink is compared in order or in any order, not both.
    fn check_once(&mut self, any: &IndexMap<String, Vec<Value>>, ordered: &IndexMap<String, Vec<Value>>, node: &Node) {
        for sink in ordered.keys().filter(|sink| any.contains_key(*sink)) {
            let span = node.nearest(&["expect_ordered", sink]).span;
            let message = format!("the rows of `{sink}` are in `expect` and in `expect_ordered`");
            self.report(codes::CONFLICTING_KEYS, span, message, Some("keep one of the two".to_owned()));
        }
    }

    fn inputs(&mut self, node: &Node) -> BTreeMap<String, Vec<Block>> {
        let plan = self.plan.clone();
        let mut inputs = BTreeMap::new();
        for entry in node.get("input").map_or(&[][..], Node::entries) {
            match plan.sources.iter().find(|source| source.name == entry.key) {
                Some(source) => {
                    inputs.insert(entry.key.clone(), self.blocks(source, entry.value.items()));
                }
                None => self.unknown("source", entry, plan.sources.iter().map(|it| it.name.as_str())),
            }
        }
        inputs
    }

    fn unknown<'n>(&mut self, what: &str, entry: &Entry, known: impl Iterator<Item = &'n str> + Clone) {
        let help = suggest::help(&entry.key, known);
        self.report(codes::UNKNOWN_STREAM, entry.key_span, format!("there is no {what} `{}`", entry.key), help);
    }

    /// What arrives at a source, in order: each run of lines is one block, each run of rows is one.
    fn blocks(&mut self, source: &PlannedSource, items: &[Node]) -> Vec<Block> {
        let format = source.checked.format.as_ref();
        let is_line = |item: &Node| format.is_some() && item.text().is_some();
        let mut blocks = Vec::new();
        for run in items.chunk_by(|one, next| is_line(one) == is_line(next)) {
            let lines = format.filter(|_| run.first().is_some_and(is_line));
            blocks.extend(match lines {
                Some(format) => self.lines(format, &source.checked.schema, run),
                None => self.rows(&source.checked.schema, run).map(|batch| Block::decoded(vec![batch])),
            });
        }
        blocks
    }

    fn lines(&mut self, format: &InputFormat, schema: &Schema, items: &[Node]) -> Option<Block> {
        let first = items.first().map_or(Span::default(), |item| item.span);
        let decoder = self.decoder(format, first)?;
        let mut text = String::new();
        for item in items {
            if item.is_null() {
                let help = Some("an empty line is `\"\"`".to_owned());
                self.report(codes::BAD_TEST_ROW, item.span, "a line is text, this is nothing", help);
            }
            // A block scalar (`|`) ends with a line feed already.
            let line = item.text().unwrap_or_default();
            text.push_str(line.strip_suffix('\n').unwrap_or(line));
            text.push('\n');
        }
        Some(input::lines(text, &decoder, &schema.to_arrow()))
    }

    fn decoder(&mut self, format: &InputFormat, span: Span) -> Option<Arc<dyn Decode>> {
        let help = "write a row as a mapping from columns to values";
        if matches!(format, InputFormat::Parquet(_)) {
            let message = "a source that reads parquet has no lines of text";
            self.report(codes::BAD_TEST_ROW, span, message, Some(help.to_owned()));
            return None;
        }
        match format.decoder() {
            Ok(decoder) => Some(decoder),
            Err(error) => {
                self.report(codes::BAD_TEST_ROW, span, error.to_string(), Some(help.to_owned()));
                None
            }
        }
    }

    /// Rows of these columns; `None` where any does not fit.
    fn rows(&mut self, schema: &Schema, items: &[Node]) -> Option<RecordBatch> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match values::row(item, schema) {
                Ok(value) => values.push(value),
                Err(message) => self.report(codes::BAD_TEST_ROW, item.span, message, None),
            }
        }
        if values.len() < items.len() {
            return None;
        }
        let error = match rows::to_batch(&values, schema) {
            Ok(batch) => return Some(batch),
            Err(error) => error,
        };
        let before = self.findings.len();
        for (item, value) in items.iter().zip(&values) {
            if let Err(error) = rows::to_batch(std::slice::from_ref(value), schema) {
                self.report(codes::BAD_TEST_ROW, item.span, error.message, None);
            }
        }
        // Each one fits and all of them do not: that would be odd, but must not pass.
        if self.findings.len() == before {
            let span = items.get(error.index).map_or(Span::default(), |item| item.span);
            self.report(codes::BAD_TEST_ROW, span, error.message, None);
        }
        None
    }

    fn all_expected(&mut self, node: &Node, key: &str, ordered: bool) -> Vec<Expected> {
        let plan = self.plan.clone();
        let mut all = Vec::new();
        for entry in node.get(key).map_or(&[][..], Node::entries) {
            match plan.sinks.iter().find(|sink| sink.name == entry.key) {
                Some(sink) => all.extend(self.expected(entry, &sink.schema, ordered)),
                None => self.unknown("sink", entry, plan.sinks.iter().map(|it| it.name.as_str())),
            }
        }
        all
    }

    fn expected(&mut self, entry: &Entry, schema: &Schema, ordered: bool) -> Option<Expected> {
        let items = entry.value.items();
        let batch = self.rows(schema, items)?;
        match compare::to_rows(&[batch]) {
            Ok(rows) => {
                let spans = items.iter().map(|item| item.span).collect();
                Some(Expected { sink: entry.key.clone(), span: entry.value.span, ordered, rows, spans })
            }
            Err(message) => {
                self.report(codes::BAD_TEST_ROW, entry.value.span, message, None);
                None
            }
        }
    }
}
