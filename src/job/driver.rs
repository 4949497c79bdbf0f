//! The loop of a job: wait for the batch's time, run the batch, take in what was asked meanwhile.

use std::sync::Arc;
use std::time::Duration;

use super::control::{Asked, Wish};
use super::{Prepared, reload};
use crate::checkpoint::Planned;
use crate::engine::generator::BatchTimes;
use crate::engine::progress::DelayWatch;
use crate::engine::{Engine, Progress, Reach, RunError, Runtime};
use crate::sinks::Batch;
use crate::spec::CatchUp;

/// Hears of every batch: the pipeline's name and what the batch did.
pub type OnProgress = Arc<dyn Fn(&str, &Progress) + Send + Sync>;

/// When a run ends by itself, and who hears about its batches.
#[derive(Clone, Default)]
pub struct Options {
    /// End after so many batches.
    pub batches: Option<u64>,
    /// End after so long.
    pub run_for: Option<Duration>,
    /// Gets every batch's progress.
    pub on_progress: Option<OnProgress>,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Batches run.
    pub batches: u64,
    /// Rows read.
    pub rows_in: u64,
    /// Rows written.
    pub rows_out: u64,
}

/// A pipeline whose sources and sinks have started.
pub struct Job {
    engine: Engine,
    /// The number of the next batch.
    next: u64,
    /// The time of the last batch, of this run or an earlier one.
    last: Option<i64>,
    /// Batches that an earlier run has begun.
    planned: Vec<Planned>,
    times: BatchTimes,
    delays: DelayWatch,
    deadline: Option<i64>,
    summary: Summary,
    options: Options,
    runtime: Runtime,
}

/// The last batch that an earlier run has left at any sink.
fn last_time(engine: &Engine) -> i64 {
    engine.sinks.values().filter_map(|sink| sink.last_time()).max().unwrap_or(i64::MIN)
}

/// What ended the wait for a batch's time.
enum Wake {
    Due,
    Asked(Wish),
    Deadline,
}

impl Job {
    /// Starts the sources and sinks.
    ///
    /// # Errors
    /// The first one that cannot start.
    pub async fn start(prepared: Prepared, options: Options, runtime: Runtime) -> Result<Self, RunError> {
        let (engine, left) = reload::start(prepared, &runtime).await?;
        let (planned, last) = left.map_or_else(Default::default, |left| (left.planned, left.last));
        let now = runtime.clock.now();
        let until = |span: Duration| now.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        let mut times = BatchTimes::new(engine.plan.batch_interval.as_millis(), now);
        let last_known = planned.last().map(|planned| planned.time).or(last.map(|last| last.time));
        match (last_known, engine.plan.engine.catch_up) {
            // Batches that an earlier run has left at a sink are known to the checkpoint, too.
            (Some(last), CatchUp::Merge) => times.skip_past(last),
            (Some(last), CatchUp::Each) => times = BatchTimes::new(engine.plan.batch_interval.as_millis(), last),
            (None, _) => times.skip_past(last_time(&engine)),
        }
        let job = Self {
            times,
            delays: DelayWatch::new(engine.plan.batch_interval.to_std()),
            deadline: options.run_for.map(until),
            engine,
            next: last.map_or(0, |last| last.id + 1),
            planned,
            last: last.map(|last| last.time),
            summary: Summary::default(),
            options,
            runtime,
        };
        job.warn_if_ahead();
        Ok(job)
    }

    /// Runs batches until the job is stopped, its sources are finished, or the options end it.
    ///
    /// # Errors
    /// When a batch fails.
    pub async fn run(mut self, mut asked: Asked) -> Result<Summary, RunError> {
        let result = self.batches(&mut asked).await;
        // Also after a failure: connections are closed and threads end.
        for running in self.engine.sources.values_mut() {
            running.source.stop().await;
        }
        result?;
        Ok(self.summary)
    }

    async fn batches(&mut self, asked: &mut Asked) -> Result<(), RunError> {
        for planned in std::mem::take(&mut self.planned) {
            tracing::info!(
                pipeline = self.engine.plan.name,
                batch = planned.batch,
                "finishing a batch of the earlier run"
            );
            let progress = self.engine.run_again(&planned, &self.runtime).await?;
            self.next = planned.batch + 1;
            self.finished(&progress);
        }
        // Not before: what was planned runs again as it was.
        self.engine.settle_zero();
        // A reload may run batches, too.
        while !self.has_run_all_batches() {
            match self.wait(asked).await {
                Wake::Asked(Wish::Reload(prepared)) => {
                    self.reload(*prepared).await?;
                    continue;
                }
                Wake::Asked(Wish::Stop) | Wake::Deadline => return self.drain().await,
                Wake::Due => {}
            }
            let reach = if self.runtime.available_now { Reach::Everything } else { Reach::Until(self.times.next()) };
            let ran = self.batch(reach, self.runtime.available_now).await?;
            if self.engine.is_finished() && !self.has_run_all_batches() {
                self.drain().await?;
                return if self.runtime.available_now { self.end_windows().await } else { Ok(()) };
            }
            if !ran {
                // A receiver that has not got everything yet: wait a moment for more.
                self.runtime.clock.sleep_until(self.runtime.clock.now() + 5).await;
            }
        }
        Ok(())
    }

    fn has_run_all_batches(&self) -> bool {
        self.options.batches.is_some_and(|batches| self.summary.batches >= batches)
    }

    async fn wait(&mut self, asked: &mut Asked) -> Wake {
        let deadline = self.deadline;
        let due = if self.runtime.available_now { i64::MIN } else { self.times.next() };
        let clock = &self.runtime.clock;
        if deadline.is_some_and(|deadline| clock.now() >= deadline) {
            return Wake::Deadline;
        }
        tokio::select! {
            biased;
            wish = asked.next() => Wake::Asked(wish),
            () = clock.sleep_until(due) => Wake::Due,
            () = clock.sleep_until(deadline.unwrap_or(i64::MAX)), if deadline.is_some() => Wake::Deadline,
        }
    }

    /// Says when the next batch is far away.
    fn warn_if_ahead(&self) {
        let now = self.runtime.clock.now();
        if self.times.is_ahead_of(now) && !self.runtime.available_now {
            tracing::warn!(
                pipeline = self.engine.plan.name,
                "the next batch is due in {} s: batches with times still to come are there already, left by an earlier \
                 run or from before the clock was set back; to begin at once, write to another place",
                self.times.next().saturating_sub(now) / 1_000
            );
        }
    }

    /// Runs one batch; false if there was nothing to do and empty batches are passed over.
    async fn batch(&mut self, reach: Reach, skip_empty: bool) -> Result<bool, RunError> {
        let batch = Batch { id: self.next, time: self.times.next() };
        let Some(progress) = self.engine.run(batch, reach, skip_empty, &self.runtime).await? else {
            return Ok(false);
        };
        self.times.advance();
        self.next += 1;
        self.finished(&progress);
        Ok(true)
    }

    /// Counts a batch and tells of it.
    fn finished(&mut self, progress: &Progress) {
        self.last = Some(progress.batch.time);
        self.summary.batches += 1;
        self.summary.rows_in += progress.rows_in();
        self.summary.rows_out += progress.rows_out;
        let name = &self.engine.plan.name;
        if let Some(on_progress) = &self.options.on_progress {
            on_progress(name, progress);
        }
        // Without waiting for batch times there is no delay to speak of.
        if let Some(warning) = self.delays.observe(progress).filter(|_| !self.runtime.available_now) {
            tracing::warn!(pipeline = name, "{warning}");
        }
    }

    /// Stops receiving and processes everything that was received.
    async fn drain(&mut self) -> Result<(), RunError> {
        for running in self.engine.sources.values_mut() {
            running.source.stop().await;
        }
        while self.batch(Reach::Received, true).await? {}
        Ok(())
    }

    /// Goes on to where the windows end that hold the last rows: nothing will come in between.
    async fn end_windows(&mut self) -> Result<(), RunError> {
        let Some(last) = self.last else { return Ok(()) };
        for end in self.engine.ends_after(last) {
            self.times.go_to(end);
            self.batch(Reach::Received, false).await?;
        }
        Ok(())
    }

    /// Swaps a new version in. If that fails, the old one goes on.
    async fn reload(&mut self, prepared: Prepared) -> Result<(), RunError> {
        let (old_interval, interval) = (self.engine.plan.batch_interval, prepared.plan.batch_interval);
        let changes = reload::Changes::between(&self.engine.plan, &prepared.plan);
        let built = match reload::build_ahead(&mut self.engine, &prepared, &changes, &self.runtime).await {
            Ok(built) => built,
            Err(error) => {
                self.not_reloaded(&error);
                return Ok(());
            }
        };
        // What the leaving sources received belongs to the old version.
        changes.stop_sources(&mut self.engine).await;
        while changes.holds_rows(&self.engine) {
            self.batch(Reach::Received, false).await?;
        }
        match reload::swap(&mut self.engine, prepared, built, &changes, &self.runtime).await {
            Ok(()) => {
                if interval != old_interval {
                    self.times.change_interval(interval.as_millis());
                }
                self.delays = DelayWatch::new(interval.to_std());
                self.times.skip_past(last_time(&self.engine));
                self.warn_if_ahead();
                tracing::info!(pipeline = self.engine.plan.name, "reloaded: {changes}");
            }
            Err(reload::SwapError::Kept(error)) => self.not_reloaded(&error),
            Err(reload::SwapError::Lost(error)) => return Err(error),
        }
        Ok(())
    }

    fn not_reloaded(&self, error: &RunError) {
        tracing::error!(pipeline = self.engine.plan.name, "not reloaded, the old version runs on: {error}");
    }
}
