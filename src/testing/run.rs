//! Runs tests: a fresh engine for each one, in memory, on a clock turned by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use object_store::memory::InMemory;

use super::compare::{self, Difference};
use super::file::Restart;
use super::input::{Collected, Collecting, Scripted};
use super::script::{Batch, Case, Event, Expected, Script};
use super::{CaseResult, Failure};
use crate::checkpoint::{Checkpoint, Store};
use crate::diagnostic::Span;
use crate::engine::batch::{Reach, RunningSource};
use crate::engine::clock::ManualClock;
use crate::engine::failpoint::{Failpoint, Moment};
use crate::engine::generator::BatchTimes;
use crate::engine::rate::RateEstimator;
use crate::engine::{Engine, Ledger, Progress, RunError, Runtime};
use crate::job;
use crate::plan::{Plan, PlannedSource};
use crate::sinks::{self, Sink};
use crate::sources::{Block, Clock, Source};

/// Runs the tests one after the other.
pub(super) async fn run(script: &Script, runtime: &Runtime) -> Vec<CaseResult> {
    let mut results = Vec::with_capacity(script.cases.len());
    for case in &script.cases {
        let begin = Instant::now();
        let failures = match Run::start(script, case, runtime).await {
            Ok(mut run) => run.events(case).await,
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
    /// What every batch gets, by source.
    inputs: BTreeMap<String, Vec<Vec<Block>>>,
    /// Where the checkpoint is, whatever the pipeline says of it.
    store: Store,
    times: BatchTimes,
    /// The number of the next batch.
    next: u64,
    /// The next batch is cut off once.
    crash: bool,
    clock: Arc<ManualClock>,
    runtime: Runtime,
}

impl<'a> Run<'a> {
    /// Plans the pipeline anew and puts sources and sinks in memory in the place of its own.
    async fn start(script: &'a Script, case: &Case, runtime: &Runtime) -> Result<Self, RunError> {
        let clock = Arc::new(ManualClock::new(script.start));
        let runtime = Runtime { clock: Arc::clone(&clock) as Arc<dyn Clock>, available_now: false, ..runtime.clone() };
        let prepared = job::prepare(script.plan.clone()).await?;
        let times = BatchTimes::new(prepared.plan.batch_interval.as_millis(), script.start);
        let engine = Engine::new(prepared.plan, prepared.stages, BTreeMap::new(), BTreeMap::new())?;
        let mut run = Self {
            script,
            engine,
            collected: BTreeMap::new(),
            inputs: inputs(case),
            store: Store::new(Arc::new(InMemory::new()), object_store::path::Path::default()),
            times,
            next: 0,
            crash: false,
            clock,
            runtime,
        };
        run.open().await?;
        Ok(run)
    }

    /// Takes up what the checkpoint knows, where the pipeline has one, and connects sources and sinks.
    async fn open(&mut self) -> Result<(), RunError> {
        self.engine.ledger = None;
        let plan = Arc::clone(&self.engine.plan);
        let Some(settings) = &plan.checkpoint else {
            self.connect();
            return Ok(());
        };
        let (checkpoint, recovered) = Checkpoint::open(self.store.clone(), &plan.name, settings.retain).await?;
        let (ledger, left) = Ledger::new(checkpoint, recovered, settings.interval.as_signed_millis())?;
        left.restore(&mut self.engine.operators, |_| false)?;
        self.engine.ledger = Some(ledger);
        self.engine.zero = left.zero;
        self.connect();
        for planned in &left.planned {
            self.engine.run_again(planned, &self.runtime).await?;
        }
        Ok(())
    }

    /// Makes the sources and sinks of the plan.
    fn connect(&mut self) {
        let plan = Arc::clone(&self.engine.plan);
        // Without a checkpoint, what a crash has cut off is lost.
        let done = self.next;
        self.engine.sources =
            plan.sources.iter().map(|source| (source.name.clone(), self.source(source, done))).collect();
        self.collected = plan.sinks.iter().map(|sink| (sink.name.clone(), Collected::default())).collect();
        let collecting = |(name, rows): (&String, &Collected)| -> (String, Box<dyn Sink>) {
            (name.clone(), Box::new(Collecting(rows.clone())))
        };
        self.engine.sinks = self.collected.iter().map(collecting).collect();
    }

    fn source(&self, source: &PlannedSource, done: u64) -> RunningSource {
        let plan = &self.engine.plan;
        let batches = self.inputs.get(&source.name).cloned().unwrap_or_default();
        let scripted = Scripted::new(batches, done);
        let rate = RateEstimator::new(plan.engine.backpressure.clone(), plan.batch_interval.to_std());
        RunningSource { offset: scripted.start(), source: Box::new(scripted), rate, kind: source.kind.clone() }
    }

    /// Runs what happens up to the first batch that fails.
    async fn events(&mut self, case: &Case) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (index, event) in case.events.iter().enumerate() {
            let outcome = match event {
                Event::Batch(batch) => self.batch(index, batch, 1).await,
                Event::Advance(batches, batch) => self.batch(index, batch, *batches).await,
                Event::Restart(Restart::Crash) => {
                    self.crash = true;
                    Ok(Vec::new())
                }
                Event::Restart(Restart::Graceful) => match self.restart().await {
                    Ok(()) => Ok(Vec::new()),
                    Err(error) => Err(vec![self.failure(index, case.span, format!("the restart fails: {error}"))]),
                },
                Event::Reload(plan, batch) => self.reload(index, plan, batch).await,
            };
            match outcome {
                Ok(found) => failures.extend(found),
                Err(last) => {
                    failures.extend(last);
                    break;
                }
            }
        }
        failures
    }

    /// Runs so many batches and looks at what came out of them; `Err` where the run ends.
    async fn batch(&mut self, index: usize, batch: &Batch, batches: u64) -> Result<Vec<Failure>, Vec<Failure>> {
        let mut progress = None;
        for _ in 0..batches {
            match self.run_batch().await {
                Ok(ran) => progress = ran,
                Err(error) => return Err(self.check_error(index, batch, &error).into_iter().collect()),
            }
        }
        Ok(self.check(index, batch, progress.as_ref()))
    }

    async fn run_batch(&mut self) -> Result<Option<Progress>, RunError> {
        let id = sinks::Batch { id: self.next, time: self.times.next() };
        self.clock.turn_to(id.time);
        self.times.advance();
        let crash = std::mem::take(&mut self.crash);
        self.engine.failpoint = crash.then_some(Failpoint { moment: Moment::Written, batch: None, abort: false });
        let outcome = self.engine.run(id, Reach::Until(id.time), false, &self.runtime).await;
        match outcome {
            Err(RunError::Crashed) => {
                // A checkpoint knows which batch runs again; without one, what was on its way is lost.
                self.next += u64::from(self.engine.ledger.is_none());
                self.restart().await?;
                self.next = id.id + 1;
                Ok(None)
            }
            outcome => {
                self.next += 1;
                outcome
            }
        }
    }

    /// Everything in memory is gone.
    async fn restart(&mut self) -> Result<(), RunError> {
        let prepared = job::prepare(Plan::clone(&self.engine.plan)).await?;
        self.engine = Engine::new(prepared.plan, prepared.stages, BTreeMap::new(), BTreeMap::new())?;
        self.open().await
    }

    async fn reload(&mut self, index: usize, plan: &Plan, batch: &Batch) -> Result<Vec<Failure>, Vec<Failure>> {
        let interval = plan.batch_interval;
        let changes_interval = interval != self.engine.plan.batch_interval;
        let taken_over = match job::prepare(plan.clone()).await {
            Ok(prepared) => job::take_over(&mut self.engine, prepared).await,
            Err(error) => Err(error),
        };
        match (taken_over, &batch.error) {
            (Ok(()), None) => {
                if changes_interval {
                    self.times.change_interval(interval.as_millis());
                }
                self.connect();
                Ok(Vec::new())
            }
            (Ok(()), Some((text, span))) => {
                let failure = self.failure(index, *span, "the reload must be refused, and it was not");
                Err(vec![Failure { expected: vec![text.clone()], ..failure }])
            }
            (Err(error), _) => Ok(self.check_error(index, batch, &error).into_iter().collect()),
        }
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

/// What every batch of a test gets, by source.
fn inputs(case: &Case) -> BTreeMap<String, Vec<Vec<Block>>> {
    let mut inputs: BTreeMap<String, Vec<Vec<Block>>> = BTreeMap::new();
    let mut batches = 0;
    for event in &case.events {
        match event {
            Event::Batch(batch) => {
                for (source, blocks) in &batch.input {
                    let of_source = inputs.entry(source.clone()).or_default();
                    of_source.resize(batches, Vec::new());
                    of_source.push(blocks.clone());
                }
                batches += 1;
            }
            Event::Advance(empty, _) => batches += usize::try_from(*empty).unwrap_or(usize::MAX),
            Event::Restart(_) | Event::Reload(..) => {}
        }
    }
    inputs
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
