//! Random sends, batches and crashes: what was promised or acknowledged comes exactly once, in order.

use std::collections::BTreeSet;

use super::super::testing::ManualClock;
use super::harness::{all_rows, memory, start, with_log};
use super::*;
use crate::sources::Block;

/// Numbers that look like chance.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }
}

/// A source and its driver. Each row is a number; they count up.
struct World {
    random: Random,
    context: SourceContext,
    clock: Arc<ManualClock>,
    /// None while nothing runs.
    run: Option<(BlockSender, ReceiverSource)>,
    /// The next row.
    next: u64,
    /// Rows that were sent in this run and may get lost.
    unsure: Vec<u64>,
    /// Rows that must not get lost.
    sure: BTreeSet<u64>,
    /// Up to here the checkpoint says that the source was processed.
    committed: Offset,
    processed: Vec<u64>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(1_000));
        let context = SourceContext { clock: Arc::<ManualClock>::clone(&clock), ..with_log(&memory()) };
        Self {
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            run: Some(start(&context, None).await),
            context,
            clock,
            next: 0,
            unsure: Vec::new(),
            sure: BTreeSet::new(),
            committed: Offset::from(0),
            processed: Vec::new(),
        }
    }

    fn sender(&self) -> BlockSender {
        self.run.as_ref().unwrap().0.clone()
    }

    fn source(&mut self) -> &mut ReceiverSource {
        &mut self.run.as_mut().unwrap().1
    }

    async fn step(&mut self) {
        match self.random.below(12) {
            0..=3 => self.send().await,
            4 => self.send_bad().await,
            5 => {
                self.sender().durable().await.unwrap();
                self.sure.extend(self.unsure.drain(..));
            }
            6 => self.clock.turn_to(self.context.clock.now() + 1),
            7..=9 => self.batch().await,
            10 => tokio::task::yield_now().await,
            _ => self.crash().await,
        }
    }

    fn number(&mut self) -> u64 {
        self.unsure.push(self.next);
        self.next += 1;
        self.next - 1
    }

    async fn send(&mut self) {
        let mut text = String::new();
        let rows = 1 + self.random.below(4);
        for _ in 0..rows {
            let padding = ".".repeat(self.random.below(30) as usize);
            let number = self.number();
            text.push_str(&format!("{number}{padding}\n"));
        }
        if self.random.below(5) == 0 {
            text.pop();
        }
        self.sender().send(lines(text.as_bytes()), rows).await;
    }

    async fn send_bad(&mut self) {
        let raw = self.number().to_string();
        self.sender().send_bad(raw.as_bytes(), "too long".to_owned()).await;
    }

    /// A batch. The crash may come before it is committed, or before the source hears of that.
    async fn batch(&mut self) {
        let mut limit = ALL;
        if self.random.below(3) == 0 {
            limit.until = self.context.clock.now() - 1;
        }
        if self.random.below(2) == 0 {
            limit.rows = Some(self.random.below(7));
        }
        let end = self.source().latest(limit).await.unwrap();
        if limit == ALL {
            self.sure.extend(self.unsure.drain(..));
        }
        let rows = self.rows(&end).await;
        assert!(limit.rows.is_none_or(|most| rows.len() as u64 <= most));
        self.sure.extend(&rows);
        let plan = self.source().plan(&end);
        while self.random.below(6) == 0 {
            self.crash().await;
            assert_eq!(self.source().replan(&plan).await.unwrap(), end);
            assert_eq!(self.rows(&end).await, rows);
        }
        self.processed.extend(&rows);
        self.committed = self.source().position(&end);
        if self.random.below(6) == 0 {
            self.crash().await;
        } else {
            self.source().commit(&end).await.unwrap();
        }
    }

    /// The rows of a batch.
    async fn rows(&mut self, end: &Offset) -> Vec<u64> {
        let start = self.committed.clone();
        let blocks: Vec<Block> = self.source().read(&start, end).await.unwrap();
        all_rows(&blocks).iter().map(|row| row.trim_end_matches('.').parse().unwrap()).collect()
    }

    async fn crash(&mut self) {
        self.run = None;
        self.unsure.clear();
        self.run = Some(start(&self.context, Some(&self.committed)).await);
    }

    /// Another run that processes everything.
    async fn finish(mut self) -> (BTreeSet<u64>, Vec<u64>) {
        self.crash().await;
        let end = self.source().latest(ALL).await.unwrap();
        let rows = self.rows(&end).await;
        self.processed.extend(rows);
        (self.sure, self.processed)
    }
}

#[tokio::test]
async fn every_row_that_is_kept_is_processed_once_and_in_order() {
    for seed in 0..60 {
        let mut world = World::new(seed).await;
        for _ in 0..150 {
            world.step().await;
        }
        let (sure, processed) = world.finish().await;
        assert!(processed.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {processed:?}");
        let lost: Vec<&u64> = sure.iter().filter(|row| processed.binary_search(row).is_err()).collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?}");
    }
}
