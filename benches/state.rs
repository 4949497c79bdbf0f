//! Keyed state: what a batch costs as the number of keys grows, how many updates there are a second next to
//! a bare hash map, what a batch writes, and how long a restart takes.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "support/engine.rs"]
mod engine;
#[path = "support/measure.rs"]
mod measure;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, Int64Array, StringViewArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use hashbrown::HashMap;
use streamrun::checkpoint::{Checkpoint, Store};
use streamrun::engine::clock::ManualClock;
use streamrun::engine::{Engine, Ledger, Reach, Runtime};
use streamrun::schema::{Column, ColumnType, Schema};
use streamrun::sinks::Batch;
use streamrun::sources::{Block, Limit, Offset, Source, SourceError};

use crate::engine::Threads;
use crate::measure::{Result, median, millis, small};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PIPELINE: &str = r"
name: state
engine: { parallelism: 2 }
sources:
  rows:
    rows: { schema: { key: string, amount: long }, values: [] }
transforms:
  - map_with_state: { key: key, state: { n: count(), total: sum(amount) } }
sinks:
  out:
    discard: {}
";
/// Keys that a batch touches whose cost is compared, and rows of one whose throughput is.
const TOUCHED: usize = 5_000;
const UPDATES: usize = 200_000;
const WARM_UP: usize = 5;

fn main() -> Result<()> {
    let (sizes, rounds) = if small() { ([5_000, 20_000, 50_000], 10) } else { ([10_000, 100_000, 1_000_000], 40) };
    let threads = Threads::start(2)?;
    let mut first = None;
    for keys in sizes {
        let measured = threads.workers.block_on(threads.workers.spawn({
            let clock = Arc::new(ManualClock::new(0));
            let runtime = threads.runtime(Arc::<ManualClock>::clone(&clock), false);
            async move { measure(keys, rounds, &clock, &runtime).await }
        }))??;
        let first = *first.get_or_insert(measured.batch);
        println!(
            "{keys} keys, {TOUCHED} touched: {:.2} ms a batch, {:.2} times the first (aim 1.3); {} KiB written a batch; \
             restart {:.0} ms (aim 3000)",
            millis(measured.batch),
            measured.batch.as_secs_f64() / first.as_secs_f64(),
            measured.written / 1024,
            millis(measured.restart),
        );
        if Some(&keys) == sizes.last() {
            let bare = bare(keys, rounds);
            println!(
                "{keys} keys: streamrun {:.2} M updates/s, hash map {:.2}, ratio {:.2} (aim 0.25)",
                measured.updates / 1e6,
                bare / 1e6,
                measured.updates / bare
            );
        }
    }
    Ok(())
}

struct Measured {
    batch: Duration,
    updates: f64,
    written: u64,
    restart: Duration,
}

async fn measure(keys: usize, rounds: usize, clock: &ManualClock, runtime: &Runtime) -> Result<Measured> {
    let folder = tempfile::tempdir()?;
    let next = Arc::new(Mutex::new(None));
    let mut running = open(folder.path(), &next, runtime).await?;
    let mut id = 0;
    let all = rows(&(0..keys).collect::<Vec<_>>());
    run(&mut running, &next, all, &mut id, clock, runtime).await?;
    let mut random = Random(42);
    let (mut batches, mut written) = (Vec::new(), Vec::new());
    for round in 0..rounds + WARM_UP {
        let batch = rows(&random.different_keys(TOUCHED, keys));
        let (took, bytes) = run(&mut running, &next, batch, &mut id, clock, runtime).await?;
        if round >= WARM_UP {
            batches.push(took);
            written.push(bytes);
        }
    }
    written.sort_unstable();
    let mut updates = Vec::new();
    for _ in 0..rounds {
        let batch = rows(&random.keys(UPDATES, keys));
        updates.push(run(&mut running, &next, batch, &mut id, clock, runtime).await?.0);
    }
    drop(running);
    let begin = Instant::now();
    open(folder.path(), &next, runtime).await?;
    Ok(Measured {
        batch: median(batches),
        updates: UPDATES as f64 / median(updates).as_secs_f64(),
        written: written.get(written.len() / 2).copied().unwrap_or(0),
        restart: begin.elapsed(),
    })
}

/// The engine with its checkpoint in that folder.
async fn open(folder: &Path, next: &Next, runtime: &Runtime) -> Result<Engine> {
    let source = || Ok(Box::new(Memory { next: Arc::clone(next), done: 0 }) as Box<dyn Source>);
    let mut engine = engine::start(engine::plan(PIPELINE)?, source, runtime).await?;
    let (checkpoint, recovered) = Checkpoint::open(Store::local(folder)?, "state", 10).await?;
    let (ledger, left) = Ledger::new(checkpoint, recovered, i64::MAX)?;
    left.restore(&mut engine.operators, |_| false)?;
    engine.ledger = Some(ledger);
    Ok(engine)
}

/// How long a batch with these rows takes, and what it writes into the checkpoint.
async fn run(
    engine: &mut Engine,
    next: &Next,
    batch: RecordBatch,
    id: &mut u64,
    clock: &ManualClock,
    runtime: &Runtime,
) -> Result<(Duration, u64)> {
    *next.lock().unwrap_or_else(PoisonError::into_inner) = Some(batch);
    let time = i64::try_from(*id)? * 1_000 + 1_000;
    clock.turn_to(time);
    let begin = Instant::now();
    let progress = engine.run(Batch { id: *id, time }, Reach::Until(time), false, runtime).await?;
    *id += 1;
    Ok((begin.elapsed(), progress.map_or(0, |progress| progress.checkpoint_bytes)))
}

/// The same updates in a hash map that holds the same keys, on one thread.
fn bare(keys: usize, rounds: usize) -> f64 {
    let mut state: HashMap<Box<str>, (i64, i64)> = HashMap::new();
    for key in 0..keys {
        state.insert(name(key).into(), (0, 0));
    }
    let mut random = Random(42);
    let mut took = Vec::new();
    for _ in 0..rounds {
        let batch = rows(&random.keys(UPDATES, keys));
        let (names, amounts) = (batch.column(0).as_string_view(), batch.column(1).as_primitive::<Int64Type>());
        let begin = Instant::now();
        for row in 0..batch.num_rows() {
            let entry = state.entry_ref(names.value(row)).or_insert((0, 0));
            entry.0 += 1;
            entry.1 += amounts.value(row);
        }
        took.push(begin.elapsed());
    }
    assert_eq!(state.len(), keys);
    UPDATES as f64 / median(took).as_secs_f64()
}

fn name(key: usize) -> String {
    format!("customer-{key:09}")
}

fn rows(keys: &[usize]) -> RecordBatch {
    let columns = vec![Column::new("key", ColumnType::String), Column::new("amount", ColumnType::Long)];
    let names = StringViewArray::from_iter_values(keys.iter().map(|key| name(*key)));
    let amounts = Int64Array::from_iter_values(keys.iter().map(|key| *key as i64 % 100));
    let columns_of = Schema::new(columns).to_arrow();
    // Both columns have as many rows as there are keys.
    RecordBatch::try_new(columns_of, vec![Arc::new(names), Arc::new(amounts)]).unwrap_or_else(|error| {
        println!("{error}");
        RecordBatch::new_empty(Arc::new(arrow::datatypes::Schema::empty()))
    })
}

/// Numbers that look random and are the same in every run (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    /// As many different ones in every table, spread over all of it.
    fn different_keys(&mut self, count: usize, keys: usize) -> Vec<usize> {
        let start = self.keys(1, keys).first().copied().unwrap_or(0);
        // A prime that divides no number of keys.
        (0..count).map(|index| (start + index * 7_919) % keys).collect()
    }

    fn keys(&mut self, count: usize, keys: usize) -> Vec<usize> {
        let next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 as usize % keys
        };
        std::iter::repeat_with(next).take(count).collect()
    }
}

type Next = Arc<Mutex<Option<RecordBatch>>>;

/// Gives what stands ready. An offset is how many batches it has handed out.
struct Memory {
    next: Next,
    done: u64,
}

#[async_trait]
impl Source for Memory {
    fn start(&self) -> Offset {
        Offset::from(0)
    }

    async fn latest(&mut self, _: Limit) -> std::result::Result<Offset, SourceError> {
        Ok(Offset::from(self.done + 1))
    }

    async fn read(&mut self, _: &Offset, _: &Offset) -> std::result::Result<Vec<Block>, SourceError> {
        let batch = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(batch.map(|batch| Block::decoded(split(&batch))).into_iter().collect())
    }

    async fn commit(&mut self, end: &Offset) -> std::result::Result<(), SourceError> {
        self.done = end.as_u64().unwrap_or(self.done);
        Ok(())
    }
}

/// Batches of the engine's usual size.
fn split(batch: &RecordBatch) -> Vec<RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(8_192);
    starts.map(|start| batch.slice(start, 8_192.min(batch.num_rows() - start))).collect()
}
