//! One micro-batch, in order:
//!
//! 1. the batch's time is given (nothing below reads a clock for it)
//! 2. each source says how far the batch goes, within its rate limit
//! 3. offset log: the ranges are written to the checkpoint
//! 4. the sources' blocks of that range are put into the slots
//! 5. the stages run: blocks are decoded and steps executed while the sinks read
//! 6. every sink has written the batch
//! 7. commit log: the batch and what it changed in the states are written to the checkpoint
//! 8. the sources may forget the range; the rate estimators learn; progress is published

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use futures::StreamExt;

use super::failpoint::{Failpoint, Moment};
use super::memory::StateLimit;
use super::place::{Place, stage_error};
use super::progress::{Parts, Progress, SourceProgress};
use super::rate::{Observation, RateEstimator};
use super::retry::Retries;
use super::{Ledger, Operators, RunError, Runtime, ledger};
use crate::checkpoint::Planned;
use crate::logical::{Output, Stage, Stages};
use crate::plan::Plan;
use crate::sinks::{Batch, Partition, RowsError, Sink, SinkError, each_partition};
use crate::sources::{Block, Limit, Offset, Source};
use crate::state::BatchTime;

/// A running source with its place and its rate.
pub struct RunningSource {
    /// The source itself.
    pub source: Box<dyn Source>,
    /// Up to here everything is processed.
    pub offset: Offset,
    /// How fast it may go.
    pub rate: RateEstimator,
    /// Its kind.
    pub kind: String,
}

/// How far a batch reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What was there at this time, milliseconds since the epoch.
    Until(i64),
    /// Whatever is there now.
    Everything,
    /// What receivers hold; other sources can give the rest to a later run.
    Received,
}

/// The parts of a running pipeline.
pub struct Engine {
    /// The pipeline.
    pub plan: Arc<Plan>,
    /// Its executable form.
    pub stages: Stages,
    /// By name.
    pub sources: BTreeMap<String, RunningSource>,
    /// By name.
    pub sinks: BTreeMap<String, Box<dyn Sink>>,
    /// The steps with state.
    pub operators: Operators,
    /// The batch interval before the first batch (`DStream.zeroTime`).
    pub zero: Option<i64>,
    /// The checkpoint, if there is one.
    pub ledger: Option<Ledger>,
    /// How much memory states may take.
    pub state_limit: StateLimit,
    /// Where tests end a batch early.
    pub failpoint: Option<Failpoint>,
}

impl Engine {
    /// Puts the parts together, with empty state.
    ///
    /// # Errors
    /// A bug.
    pub fn new(
        plan: Arc<Plan>,
        stages: Stages,
        sources: BTreeMap<String, RunningSource>,
        sinks: BTreeMap<String, Box<dyn Sink>>,
    ) -> Result<Self, RunError> {
        let operators = Operators::build(&plan, &stages)?;
        let state_limit = StateLimit::new(&plan);
        Ok(Self {
            plan,
            stages,
            sources,
            sinks,
            operators,
            state_limit,
            zero: None,
            ledger: None,
            failpoint: Failpoint::from_environment(),
        })
    }

    /// Runs one batch. `None` if no source had anything new and `skip_empty` is set.
    ///
    /// # Errors
    /// When a source or sink cannot go on, or rows cannot be computed.
    pub async fn run(
        &mut self,
        batch: Batch,
        reach: Reach,
        skip_empty: bool,
        runtime: &Runtime,
    ) -> Result<Option<Progress>, RunError> {
        let begin = Begin::now(batch, runtime);
        let ends = self.plan_ranges(reach, runtime.clock.now()).await?;
        if skip_empty && ends.iter().all(|(name, end)| self.sources.get(name).is_some_and(|it| it.offset == *end)) {
            return Ok(None);
        }
        self.reach(Moment::Ranges, batch)?;
        if let Some(ledger) = &mut self.ledger {
            let planned = ledger::planned(batch, &self.sources, &ends);
            ledger.plan(&planned).await?;
        }
        self.reach(Moment::Planned, batch)?;
        self.process(batch, &ends, begin, runtime).await.map(Some)
    }

    /// Runs a batch again that an earlier run has planned and not committed.
    ///
    /// # Errors
    /// As for [`Engine::run`], and when what was planned cannot be read any more.
    pub async fn run_again(&mut self, planned: &Planned, runtime: &Runtime) -> Result<Progress, RunError> {
        let batch = Batch { id: planned.batch, time: planned.time };
        let begin = Begin::now(batch, runtime);
        let mut ends = BTreeMap::new();
        for (name, running) in &mut self.sources {
            let end = match planned.sources.get(name) {
                Some(planned) => running.source.replan(planned).await.map_err(|error| source_error(name, error))?,
                None => running.offset.clone(),
            };
            ends.insert(name.clone(), end);
        }
        self.process(batch, &ends, begin, runtime).await
    }

    /// Runs a planned batch.
    async fn process(
        &mut self,
        batch: Batch,
        ends: &BTreeMap<String, Offset>,
        begin: Begin,
        runtime: &Runtime,
    ) -> Result<Progress, RunError> {
        let Begin { begin, scheduling_delay } = begin;
        self.fill_slots(ends).await?;
        self.reach(Moment::Read, batch)?;
        let reading = begin.elapsed();

        let interval = self.plan.batch_interval.as_signed_millis();
        let zero = *self.zero.get_or_insert(batch.time.saturating_sub(interval));
        self.stages.run.batch_time.store(batch.time, Ordering::Relaxed);
        let counters = Arc::new(Counters::default());
        let mut sink_time = Duration::ZERO;
        for index in 0..self.stages.stages.len() {
            sink_time += self.run_stage(index, batch, zero, &counters).await?;
            if index == 0 {
                self.reach(Moment::Computed, batch)?;
            }
        }
        self.reach(Moment::Written, batch)?;
        let mut checkpoint_bytes = 0;
        if let Some(ledger) = &mut self.ledger {
            let sections = ledger.sections(batch, zero, &self.sources, ends, &mut self.operators)?;
            checkpoint_bytes = ledger.commit(batch, sections).await?;
        }
        self.reach(Moment::Committed, batch)?;
        self.commit(ends).await?;
        self.reach(Moment::Forgotten, batch)?;
        let states = self.operators.sizes();
        self.state_limit.check(&states)?;

        let processing_time = begin.elapsed();
        let mut parts = Parts { sources: reading, ..Parts::default() };
        let decoding: u64 = self.stages.inputs.values().map(|slot| slot.decode_nanos()).sum();
        let computing = Duration::from_nanos(counters.computing_nanos.load(Ordering::Relaxed));
        parts.sources += Duration::from_nanos(decoding);
        parts.steps = computing.saturating_sub(Duration::from_nanos(decoding));
        parts.sinks = sink_time.saturating_sub(computing);
        let sources = self.observe(runtime.clock.now(), processing_time, scheduling_delay);
        Ok(Progress {
            batch,
            sources,
            rows_out: counters.rows_out.load(Ordering::Relaxed),
            skipped: self.stages.run.take_skipped(),
            states,
            checkpoint_bytes,
            scheduling_delay,
            processing_time,
            parts,
        })
    }

    fn reach(&self, moment: Moment, batch: Batch) -> Result<(), RunError> {
        Failpoint::reach(self.failpoint.as_ref(), moment, batch.id)
    }

    /// Windows that count from the start end with batches, also after a change of the batch interval.
    pub fn settle_zero(&mut self) {
        let interval = self.plan.batch_interval.as_signed_millis().max(1);
        self.zero = self.zero.map(|zero| zero.div_euclid(interval) * interval);
    }

    /// When the windows that are open after a batch of this time end, in order.
    #[must_use]
    pub fn ends_after(&self, time: i64) -> BTreeSet<i64> {
        let zero = self.zero.unwrap_or(time);
        let schedules = self.stages.stages.iter().filter_map(|stage| stage.schedule);
        schedules.map(|schedule| schedule.next(time, zero)).filter(|end| *end > time).collect()
    }

    /// Whether no source will ever have more rows.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.sources.values().all(|running| running.source.is_finished())
    }

    async fn plan_ranges(&mut self, reach: Reach, now: i64) -> Result<BTreeMap<String, Offset>, RunError> {
        let until = match reach {
            Reach::Until(time) => time,
            Reach::Everything => now,
            Reach::Received => i64::MAX,
        };
        let interval = self.plan.batch_interval.to_std().as_secs_f64();
        let mut ends = BTreeMap::new();
        for (name, running) in &mut self.sources {
            if reach == Reach::Received && !running.source.is_receiver() {
                ends.insert(name.clone(), running.offset.clone());
                continue;
            }
            // At the end there is no next batch that could take the rest.
            let rate = if reach == Reach::Received { None } else { rate_limit(running) };
            let limit = Limit { until, rows: rate.map(|rate| (rate * interval).ceil().max(1.0) as u64) };
            let mut retries = Retries::new();
            let end = loop {
                match running.source.latest(limit).await {
                    Err(error) if retries.wait(&format!("source `{name}`"), &error).await => {}
                    answer => break answer.map_err(|error| source_error(name, error))?,
                }
            };
            ends.insert(name.clone(), end);
        }
        Ok(ends)
    }

    async fn fill_slots(&mut self, ends: &BTreeMap<String, Offset>) -> Result<(), RunError> {
        for (name, running) in &mut self.sources {
            let (Some(end), Some(slot)) = (ends.get(name), self.stages.inputs.get(name)) else { continue };
            let blocks = if *end == running.offset {
                Vec::new()
            } else {
                let mut retries = Retries::new();
                loop {
                    match running.source.read(&running.offset, end).await {
                        Err(error) if retries.wait(&format!("source `{name}`"), &error).await => {}
                        answer => break answer.map_err(|error| source_error(name, error))?,
                    }
                }
            };
            slot.fill(blocks);
        }
        Ok(())
    }

    /// Executes a stage that is due into its sink, slot or operator; how long the sink took.
    async fn run_stage(
        &mut self,
        index: usize,
        batch: Batch,
        zero: i64,
        counters: &Arc<Counters>,
    ) -> Result<Duration, RunError> {
        let stage = self.stages.stages.get_mut(index);
        let due = |stage: &&mut Stage| stage.schedule.is_none_or(|schedule| schedule.is_due(batch.time, zero));
        let Some(stage) = stage.filter(due) else { return Ok(Duration::ZERO) };
        let begin = Instant::now();
        let is_sink = matches!(stage.output, Output::Sink(_));
        let place = Arc::new(Place::of(stage, &self.plan));
        let context = &self.stages.context;
        let partitions = start(stage, context, &place, is_sink.then_some(counters))?;
        match &stage.output {
            Output::Slot(slot) => {
                let rows = collect(partitions).await.map_err(|error| stage_error(stage, &place, error))?;
                slot.fill(rows.into_iter().map(Block::decoded).collect());
            }
            Output::State(state) => {
                let rows = collect(partitions).await.map_err(|error| stage_error(stage, &place, error))?;
                let operator = &mut self.operators.get(&state.step)?.operator;
                let rows = operator.apply(BatchTime { time: batch.time, zero }, rows.into_iter().flatten().collect());
                let rows = rows.map_err(|error| RunError::state(&state.step, error))?;
                state.slot.fill(rows.into_iter().map(|rows| Block::decoded(vec![rows])).collect());
            }
            Output::Sink(_) => {
                let sink = self
                    .sinks
                    .get_mut(&stage.name)
                    .ok_or_else(|| RunError::Internal(format!("the sink `{}` does not run", stage.name)))?;
                let (mut retries, before) = (Retries::new(), counters.rows_out.load(Ordering::Relaxed));
                let mut written = sink.write(batch, partitions).await;
                while let Err(error) = &written {
                    if !retries.wait(&format!("sink `{}`", stage.name), error).await {
                        break;
                    }
                    counters.rows_out.store(before, Ordering::Relaxed);
                    let partitions = start(stage, context, &place, Some(counters))?;
                    written = sink.write(batch, partitions).await;
                }
                written.map_err(|error| stage_error(stage, &place, error))?;
            }
        }
        Ok(if is_sink { begin.elapsed() } else { Duration::ZERO })
    }

    async fn commit(&mut self, ends: &BTreeMap<String, Offset>) -> Result<(), RunError> {
        for slot in self.stages.inputs.values() {
            slot.clear();
        }
        for stage in &self.stages.stages {
            match &stage.output {
                Output::Slot(slot) => slot.clear(),
                Output::State(state) => state.slot.clear(),
                Output::Sink(_) => {}
            }
        }
        for (name, running) in &mut self.sources {
            let Some(end) = ends.get(name) else { continue };
            running.source.commit(end).await.map_err(|error| source_error(name, error))?;
            running.offset = end.clone();
        }
        Ok(())
    }

    fn observe(&mut self, now: i64, processing: Duration, scheduling: Duration) -> Vec<SourceProgress> {
        let inputs = &self.stages.inputs;
        let plan = Arc::clone(&self.plan);
        let names = plan.sources.iter().map(|source| &source.name);
        let mut progress = Vec::new();
        for name in names {
            let (Some(running), Some(slot)) = (self.sources.get_mut(name), inputs.get(name)) else { continue };
            let rows = slot.rows_read();
            let limit = rate_limit(running);
            if running.source.is_receiver() {
                running.rate.observe(Observation { time: now, rows, processing, scheduling });
            }
            let rows_per_second = rows as f64 / processing.as_secs_f64().max(1e-6);
            progress.push(SourceProgress { name: name.clone(), rows, rows_per_second, limit });
        }
        progress
    }
}

/// When a batch's work began, and how long after its time.
struct Begin {
    begin: Instant,
    scheduling_delay: Duration,
}

impl Begin {
    fn now(batch: Batch, runtime: &Runtime) -> Self {
        let late = u64::try_from(runtime.clock.now().saturating_sub(batch.time)).unwrap_or(0);
        Self { begin: Instant::now(), scheduling_delay: Duration::from_millis(late) }
    }
}

/// The lower of `max_rate` and what back-pressure allows.
fn rate_limit(running: &RunningSource) -> Option<f64> {
    let estimate = running.rate.limit().filter(|_| running.source.is_receiver());
    match (running.source.max_rate(), estimate) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn source_error(name: &str, error: crate::sources::SourceError) -> RunError {
    RunError::Source { name: name.to_owned(), error }
}

#[derive(Debug, Default)]
struct Counters {
    rows_out: AtomicU64,
    computing_nanos: AtomicU64,
}

/// [`execute`], with an error in the user's words.
fn start(
    stage: &mut Stage,
    context: &Arc<datafusion::execution::TaskContext>,
    place: &Arc<Place>,
    counters: Option<&Arc<Counters>>,
) -> Result<Vec<Partition>, RunError> {
    execute(stage, context, place, counters).map_err(|error| RunError::Rows(RowsError(place.describe(&error))))
}

/// Starts a stage: a stream for each of its partitions.
fn execute(
    stage: &mut Stage,
    context: &Arc<datafusion::execution::TaskContext>,
    place: &Arc<Place>,
    counters: Option<&Arc<Counters>>,
) -> Result<Vec<Partition>, DataFusionError> {
    // Repartitioning and joins keep state in the plan; a fresh one costs microseconds.
    stage.plan = reset_plan_states(Arc::clone(&stage.plan))?;
    let count = stage.plan.output_partitioning().partition_count();
    let mut partitions = Vec::with_capacity(count);
    for index in 0..count {
        let place = Arc::clone(place);
        let stream = stage.plan.execute(index, Arc::clone(context))?;
        let stream = stream.map(move |batch| batch.map_err(|error| RowsError(place.describe(&error))));
        partitions.push(match counters {
            Some(counters) => Counted { stream: stream.boxed(), counters: Arc::clone(counters) }.boxed(),
            None => stream.boxed(),
        });
    }
    Ok(partitions)
}

/// Reads all partitions; the rows of each that has any, in order.
async fn collect(partitions: Vec<Partition>) -> Result<Vec<Vec<RecordBatch>>, SinkError> {
    let collected = each_partition(partitions, |_, mut partition| async move {
        let mut batches = Vec::new();
        while let Some(batch) = partition.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        Ok(batches)
    })
    .await?;
    Ok(collected.into_iter().filter(|batches| !batches.is_empty()).collect())
}

/// Counts rows, and the time that computing them takes.
struct Counted {
    stream: Partition,
    counters: Arc<Counters>,
}

impl futures::Stream for Counted {
    type Item = Result<RecordBatch, RowsError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let begin = Instant::now();
        let polled = self.stream.poll_next_unpin(context);
        self.counters.computing_nanos.fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        if let std::task::Poll::Ready(Some(Ok(batch))) = &polled {
            self.counters.rows_out.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        }
        polled
    }
}
