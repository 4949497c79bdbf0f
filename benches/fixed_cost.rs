//! What a batch costs apart from its rows: an empty one, and one of 100 rows, through the word count.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "support/engine.rs"]
mod engine;
#[path = "support/measure.rs"]
mod measure;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use streamrun::engine::clock::ManualClock;
use streamrun::engine::{Reach, Runtime};
use streamrun::formats::InputFormat;
use streamrun::plan::Plan;
use streamrun::sinks::Batch;
use streamrun::sources::{Block, Limit, Offset, Source, SourceError};

use crate::engine::Threads;
use crate::measure::{Result, median, millis, small};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Batches that run before the measurement begins.
const WARM_UP: u64 = 100;
const INTERVAL: i64 = 1_000;

const PIPELINE: &str = r#"
name: wordcount
engine: { parallelism: 2 }
sources:
  lines:
    rows: { schema: { value: string }, values: [] }
transforms:
  - flat_map:
      word: split(value, " ")
  - filter: word != ""
  - reduce_by_key: { key: word, values: { count: count() } }
sinks:
  out:
    discard: {}
"#;

fn main() -> Result<()> {
    let batches = if small() { 200 } else { 2_000 };
    let threads = Threads::start(2)?;
    for (name, rows) in [("an empty batch", 0), ("a batch of 100 rows", 100)] {
        let clock = Arc::new(ManualClock::new(0));
        let runtime = threads.runtime(Arc::<ManualClock>::clone(&clock), false);
        let plan = engine::plan(PIPELINE)?;
        let task = threads.workers.spawn(async move { measure(plan, rows, batches, &clock, &runtime).await });
        let took = threads.workers.block_on(task)??;
        println!("{name}: {:.3} ms (aim 0.5)", millis(median(took)));
    }
    Ok(())
}

async fn measure(
    plan: Plan,
    rows: usize,
    batches: u64,
    clock: &ManualClock,
    runtime: &Runtime,
) -> Result<Vec<Duration>> {
    let mut engine = engine::start(plan, || Ok(Box::new(Memory::new(rows)?)), runtime).await?;
    let mut took = Vec::new();
    let mut time = 0;
    for id in 0..WARM_UP + batches {
        time += INTERVAL;
        clock.turn_to(time);
        let begin = Instant::now();
        engine.run(Batch { id, time }, Reach::Until(time), false, runtime).await?;
        if id >= WARM_UP {
            took.push(begin.elapsed());
        }
    }
    Ok(took)
}

/// The same block of lines in every batch, or none. An offset is how many it has handed out.
struct Memory {
    block: Option<Block>,
    done: u64,
}

impl Memory {
    fn new(rows: usize) -> Result<Self> {
        let text: String = (0..rows).map(|row| format!("to be or not to be {}\n", row % 7)).collect();
        let decoder = InputFormat::default().decoder()?;
        let block = (rows > 0).then(|| Block::encoded(Bytes::from(text), &decoder));
        Ok(Self { block, done: 0 })
    }
}

#[async_trait]
impl Source for Memory {
    fn start(&self) -> Offset {
        Offset::from(0)
    }

    async fn latest(&mut self, _: Limit) -> std::result::Result<Offset, SourceError> {
        Ok(Offset::from(self.done + u64::from(self.block.is_some())))
    }

    async fn read(&mut self, _: &Offset, _: &Offset) -> std::result::Result<Vec<Block>, SourceError> {
        Ok(self.block.iter().cloned().collect())
    }

    async fn commit(&mut self, end: &Offset) -> std::result::Result<(), SourceError> {
        self.done = end.as_u64().unwrap_or(self.done);
        Ok(())
    }
}
