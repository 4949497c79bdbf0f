//! What each batch did and how long it took.

use std::collections::VecDeque;
use std::time::Duration;

use crate::sinks::Batch;
use crate::state::Size;

/// One batch.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Which one.
    pub batch: Batch,
    /// By source, in the order of the file.
    pub sources: Vec<SourceProgress>,
    /// Rows written, added up over the sinks.
    pub rows_out: u64,
    /// Rows left out because they could not be decoded: component, count, one reason.
    pub skipped: Vec<(String, u64, String)>,
    /// How much state each step has that keeps some.
    pub states: Vec<(String, Size)>,
    /// Bytes written into the checkpoint after the batch.
    pub checkpoint_bytes: u64,
    /// From the batch's time to the beginning of its work.
    pub scheduling_delay: Duration,
    /// From the beginning of its work to its end.
    pub processing_time: Duration,
    /// How the processing time divides, added up over the threads.
    pub parts: Parts,
}

/// One source in one batch.
#[derive(Clone, Debug)]
pub struct SourceProgress {
    /// Its name.
    pub name: String,
    /// Rows read.
    pub rows: u64,
    /// Rows per second of processing time.
    pub rows_per_second: f64,
    /// The rate it is held to, if it is.
    pub limit: Option<f64>,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// Reading and decoding.
    pub sources: Duration,
    /// Steps.
    pub steps: Duration,
    /// Writing.
    pub sinks: Duration,
}

impl Progress {
    /// Rows read, added up over the sources.
    #[must_use]
    pub fn rows_in(&self) -> u64 {
        self.sources.iter().map(|source| source.rows).sum()
    }

    /// From the batch's time to the end of its work.
    #[must_use]
    pub fn total_delay(&self) -> Duration {
        self.scheduling_delay + self.processing_time
    }

    /// Writes the batch to the log.
    pub fn log(&self, pipeline: &str) {
        let sources: Vec<String> = self
            .sources
            .iter()
            .map(|source| {
                let limit = source.limit.map_or_else(String::new, |limit| format!(", limit {limit:.0}"));
                format!("{}: {} rows ({:.0}/s{limit})", source.name, source.rows, source.rows_per_second)
            })
            .collect();
        let states = self.states.iter().map(|(step, size)| {
            format!("{step}: {} in {}", size.entries, bytesize::ByteSize(size.bytes as u64).display().iec())
        });
        let states = Some(states.collect::<Vec<_>>().join("; ")).filter(|it| !it.is_empty());
        tracing::info!(
            pipeline,
            batch = self.batch.id,
            time = self.batch.time,
            rows_in = self.rows_in(),
            rows_out = self.rows_out,
            scheduling_delay_ms = millis(self.scheduling_delay),
            processing_time_ms = millis(self.processing_time),
            total_delay_ms = millis(self.total_delay()),
            sources = sources.join("; "),
            states,
            checkpoint_bytes = self.checkpoint_bytes,
            "batch done"
        );
        self.log_skipped(pipeline);
    }

    /// Warns of the rows that were left out.
    pub fn log_skipped(&self, pipeline: &str) {
        for (component, rows, reason) in &self.skipped {
            tracing::warn!(pipeline, component, rows, "rows left out that cannot be decoded, the first: {reason}");
        }
    }

    /// One line for a terminal.
    #[must_use]
    pub fn line(&self) -> String {
        let rate: f64 = self.sources.iter().map(|source| source.rows_per_second).sum();
        let bytes: usize = self.states.iter().map(|(_, size)| size.bytes).sum();
        let state = match self.states.is_empty() {
            true => String::new(),
            false => format!(" · state {}", bytesize::ByteSize(bytes as u64).display().iec()),
        };
        format!(
            "batch {} · {} rows in, {} out · {:.1} ms (delay {:.1} ms) · {rate:.0} rows/s{state}",
            self.batch.id,
            self.rows_in(),
            self.rows_out,
            millis(self.processing_time),
            millis(self.scheduling_delay),
        )
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

/// Notices when batches take longer than they may, again and again.
#[derive(Debug)]
pub struct DelayWatch {
    interval: Duration,
    delays: VecDeque<Duration>,
    quiet_until: u64,
}

impl DelayWatch {
    /// So many batches in a row have to be later and later.
    const BATCHES: usize = 5;
    /// So many batches pass before the next warning.
    const QUIET: u64 = 60;

    /// For batches of `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, delays: VecDeque::new(), quiet_until: 0 }
    }

    /// Takes in a batch; a text for the user when the pipeline falls behind.
    pub fn observe(&mut self, progress: &Progress) -> Option<String> {
        self.delays.push_back(progress.total_delay());
        if self.delays.len() > Self::BATCHES {
            self.delays.pop_front();
        }
        let growing = self.delays.iter().zip(self.delays.iter().skip(1)).all(|(earlier, later)| earlier < later);
        let late = progress.total_delay() > self.interval * 2;
        if !growing || !late || self.delays.len() < Self::BATCHES || progress.batch.id < self.quiet_until {
            return None;
        }
        self.quiet_until = progress.batch.id + Self::QUIET;
        let parts = progress.parts;
        let (slowest, advice) = [
            (
                parts.sources,
                "reading and decoding the sources",
                "set `max_rate` on the source, or use a cheaper format",
            ),
            (parts.steps, "the steps", "filter earlier, or raise `engine.parallelism` if cores are idle"),
            (parts.sinks, "the sinks", "write less, or to something faster"),
        ]
        .into_iter()
        .max_by_key(|(time, ..)| *time)
        .map_or(("the steps", ""), |(_, slowest, advice)| (slowest, advice));
        Some(format!(
            "falling behind: a batch takes {:.0} ms, the batch interval is {} ms, and the delay has grown to {:.1} s; \
             most of the time goes to {slowest}: {advice}, or lengthen `batch_interval`",
            millis(progress.processing_time),
            self.interval.as_millis(),
            progress.total_delay().as_secs_f64(),
        ))
    }
}
