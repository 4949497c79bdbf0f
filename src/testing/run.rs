//! Runs tests: a fresh engine for each one, in memory, on a clock turned by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::compare::{self, Difference};
use super::input::{Collected, Collecting, Scripted};
use super::script::{Batch, Case, Expected, Script};
use super::{CaseResult, Failure};
use crate::diagnostic::Span;
use crate::engine::batch::{Reach, RunningSource};
use crate::engine::clock::ManualClock;
use crate::engine::generator::BatchTimes;
use crate::engine::rate::RateEstimator;
use crate::engine::{Engine, Progress, RunError, Runtime};
use crate::job;
use crate::sinks::{self, Sink};
use crate::sources::{Clock, Source};

/// Runs the tests one after the other.
pub(super) async fn run(script: &Script, runtime: &Runtime) -> Vec<CaseResult> {
    let mut results = Vec::with_capacity(script.cases.len());
    for case in &script.cases {
        let begin = Instant::now();
        let failures = match Run::start(script, case, runtime).await {
            Ok(mut run) => run.batches(case).await,
            Err(error) => vec![failure(script, 0, case.span, format!("the pipeline cannot start: {error}"))],
        };
        results.push(CaseResult { name: case.name.clone(), duration: begin.elapsed(), failures });
    }
    results
}

/// A test that runs.
struct Run<'a> {
    script: &'a Script,
    engine: Engine,
    /// What arrives, by sink.
    collected: BTreeMap<String, Collected>,
    clock: Arc<ManualClock>,
    runtime: Runtime,
}

impl<'a> Run<'a> {
    /// Plans the pipeline anew and puts sources and sinks in memory in the place of its own.
    async fn start(script: &'a Script, case: &Case, runtime: &Runtime) -> Result<Self, RunError> {
        let prepared = job::prepare(script.plan.clone()).await?;
        let plan = prepared.plan;
        let mut sources = BTreeMap::new();
        for source in &plan.sources {
            let blocks = |batch: &Batch| batch.input.get(&source.name).cloned().unwrap_or_default();
            let scripted = Scripted::new(case.batches.iter().map(blocks).collect());
            let rate = RateEstimator::new(plan.engine.backpressure.clone(), plan.batch_interval.to_std());
            let kind = source.kind.clone();
            let running = RunningSource { offset: scripted.start(), source: Box::new(scripted), rate, kind };
            sources.insert(source.name.clone(), running);
        }
        let collected: BTreeMap<String, Collected> =
            plan.sinks.iter().map(|sink| (sink.name.clone(), Collected::default())).collect();
        let sinks = collected.iter().map(|(name, rows)| {
            let sink: Box<dyn Sink> = Box::new(Collecting(rows.clone()));
            (name.clone(), sink)
        });
        let sinks = sinks.collect();
        let clock = Arc::new(ManualClock::new(script.start));
        let runtime = Runtime { clock: Arc::clone(&clock) as Arc<dyn Clock>, available_now: false, ..runtime.clone() };
        let engine = Engine::new(plan, prepared.stages, sources, sinks)?;
        Ok(Self { script, engine, collected, clock, runtime })
    }

    /// Runs the batches up to the first one that fails.
    async fn batches(&mut self, case: &Case) -> Vec<Failure> {
        let mut times = BatchTimes::new(self.engine.plan.batch_interval.as_millis(), self.script.start);
        let mut failures = Vec::new();
        for (index, batch) in case.batches.iter().enumerate() {
            let id = sinks::Batch { id: index as u64, time: times.next() };
            self.clock.turn_to(id.time);
            times.advance();
            let outcome = self.engine.run(id, Reach::Until(id.time), false, &self.runtime).await;
            match outcome {
                Ok(progress) => failures.extend(self.check(index, batch, progress.as_ref())),
                Err(error) => {
                    failures.extend(self.check_error(index, batch, &error));
                    break;
                }
            }
        }
        failures
    }

    fn check(&self, index: usize, batch: &Batch, progress: Option<&Progress>) -> Vec<Failure> {
        let mut failures = Vec::new();
        if let Some((text, span)) = &batch.error {
            let failure = self.failure(index, *span, "the batch must fail, and it did not");
            failures.push(Failure { expected: vec![text.clone()], ..failure });
        }
        if let Some((wanted, span)) = batch.skipped {
            failures.extend(self.check_skipped(index, wanted, span, progress));
        }
        for expected in &batch.expected {
            let rows = self.collected.get(&expected.sink).map_or_else(Vec::new, Collected::take);
            failures.extend(match compare::to_rows(&rows) {
                Ok(got) => compare::compare(&expected.rows, &got, expected.ordered)
                    .map(|difference| self.difference(index, expected, &got, &difference)),
                Err(message) => Some(self.failure(index, expected.span, message)),
            });
        }
        // Of the sinks that are not looked at.
        self.collected.values().for_each(|rows| drop(rows.take()));
        failures
    }

    fn check_skipped(&self, index: usize, wanted: u64, span: Span, progress: Option<&Progress>) -> Option<Failure> {
        let skipped = progress.map_or(&[][..], |progress| progress.skipped.as_slice());
        let count: u64 = skipped.iter().map(|(_, count, _)| count).sum();
        (count != wanted).then(|| {
            let failure = self.failure(index, span, "another number of rows is left out");
            let got = skipped.iter().map(|(component, count, reason)| format!("{count} by `{component}`: {reason}"));
            let got = if skipped.is_empty() { vec!["0".to_owned()] } else { got.collect() };
            Failure { expected: vec![wanted.to_string()], got, pairs: 1, ..failure }
        })
    }

    fn check_error(&self, index: usize, batch: &Batch, error: &RunError) -> Option<Failure> {
        let text = error.to_string();
        match &batch.error {
            Some((wanted, _)) if text.contains(wanted.as_str()) => None,
            Some((wanted, span)) => {
                let failure = self.failure(index, *span, "the batch fails with another message");
                Some(Failure { expected: vec![wanted.clone()], got: vec![text], pairs: 1, ..failure })
            }
            None => Some(self.failure(index, batch.span, format!("the batch fails: {text}"))),
        }
    }

    fn difference(
        &self,
        index: usize,
        expected: &Expected,
        got: &[serde_json::Value],
        difference: &Difference,
    ) -> Failure {
        let show = |rows: &[serde_json::Value], index: usize| rows.get(index).map_or_else(String::new, compare::show);
        let (mut wanted, mut came): (Vec<usize>, Vec<usize>) = difference.pairs.iter().copied().unzip();
        wanted.extend(&difference.missing);
        came.extend(&difference.extra);
        let span = wanted.first().and_then(|first| expected.spans.get(*first)).copied().unwrap_or(expected.span);
        Failure {
            sink: Some(expected.sink.clone()),
            expected: wanted.iter().map(|index| show(&expected.rows, *index)).collect(),
            got: came.iter().map(|index| show(got, *index)).collect(),
            pairs: difference.pairs.len(),
            ..self.failure(index, span, difference.message())
        }
    }

    fn failure(&self, index: usize, span: Span, message: impl Into<String>) -> Failure {
        failure(self.script, index, span, message)
    }
}

/// A failure of the batch of that index as a whole.
fn failure(script: &Script, index: usize, span: Span, message: impl Into<String>) -> Failure {
    Failure {
        batch: index + 1,
        sink: None,
        position: script.file.position(span.start),
        message: message.into(),
        expected: Vec::new(),
        got: Vec::new(),
        pairs: 0,
    }
}
