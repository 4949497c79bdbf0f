//! The one adapter that turns pushed bytes into the shape of a [`Source`].
//!
//! A receiving task sends whole lines as they come through a [`BlockSender`]; the driver asks the
//! [`ReceiverSource`] at the other end. In between, lines are gathered into blocks, the partitions of
//! a batch: a block ends with its block interval (Spark's `BlockGenerator`), but a batch that comes
//! first takes what is there. What is received but not committed never exceeds the receive buffer: a
//! sender waits for room, and while it waits its connection is not read.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use memchr::memchr_iter;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::{Block, Clock, Limit, Offset, Source, SourceContext, SourceError};
use crate::formats::{BadRows, Decode};

/// A block ends at this size even if the block interval has not passed.
const BLOCK_BYTES: usize = 1 << 20;
/// Lines that do not lie behind the block in memory are copied to it up to this size of the block, so
/// that many small sends do not become as many blocks.
const COPY_BYTES: usize = 64 << 10;

/// Both ends for a source that is pushed to. Clones of the sender share the receive buffer.
#[must_use]
pub fn channel(context: &SourceContext) -> (BlockSender, Receiver) {
    let capacity = u32::try_from(context.receive_buffer).unwrap_or(u32::MAX).max(1);
    let room = Semaphore::new(usize::try_from(capacity).unwrap_or(Semaphore::MAX_PERMITS));
    let shared = Arc::new(Shared {
        pending: Mutex::default(),
        block_interval: i64::try_from(context.block_interval.as_millis()).unwrap_or(i64::MAX).max(1),
        // Small enough that receiving goes on while blocks wait for their batch.
        block_bytes: (context.receive_buffer / 4).clamp(1, BLOCK_BYTES),
        room,
        capacity,
        clients: AtomicUsize::new(0),
    });
    let (stop, stopped) = watch::channel(false);
    let sender = BlockSender { shared: Arc::clone(&shared), clock: Arc::clone(&context.clock), stop: stopped };
    (sender, Receiver { shared, stop, promised: VecDeque::new(), last: 0 })
}

struct Shared {
    /// Received, and not yet part of a batch.
    pending: Mutex<VecDeque<Received>>,
    /// Milliseconds; blocks end at its multiples.
    block_interval: i64,
    block_bytes: usize,
    /// One permit per byte that may still be received; first come, first served. Closed once the
    /// source is stopped.
    room: Semaphore,
    /// How many permits there are in all.
    capacity: u32,
    /// How many clients are connected, where clients connect.
    clients: AtomicUsize,
}

impl Shared {
    /// Nothing that holds the lock can leave the queue half changed, so a poisoned lock is as good.
    fn pending(&self) -> MutexGuard<'_, VecDeque<Received>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what was received into the last block or into one of its own.
    fn push(&self, clock: &dyn Clock, rows: u64, gathered: Gathered, permits: u32) {
        let mut pending = self.pending();
        // Stamped under the lock, so that the times in the queue never go back.
        let received = Received { time: clock.now(), rows, gathered, permits };
        let interval = |time: i64| time.div_euclid(self.block_interval);
        let joined = match pending.back_mut() {
            Some(last) if interval(last.time) == interval(received.time) => last.join(received, self.block_bytes),
            _ => Err(received),
        };
        pending.extend(joined.err());
    }
}

/// A block as it was received.
struct Received {
    /// When its first line was, in the engine's time.
    time: i64,
    rows: u64,
    gathered: Gathered,
    /// What goes back to the room when the block is committed.
    permits: u32,
}

/// What was received; more may come.
enum Gathered {
    /// Whole lines.
    Lines(BytesMut),
    /// What no decoder shall see.
    Bad(BadRows),
}

impl Gathered {
    fn freeze(self) -> Content {
        match self {
            Self::Lines(bytes) => Content::Lines(bytes.freeze()),
            Self::Bad(bad_rows) => Content::Bad(bad_rows),
        }
    }
}

/// What was received and is part of a batch.
enum Content {
    Lines(Bytes),
    Bad(BadRows),
}

impl Content {
    fn block(&self, decoder: &Arc<dyn Decode>) -> Block {
        match self {
            Self::Lines(bytes) => Block::encoded(bytes.clone(), decoder),
            Self::Bad(bad_rows) => Block::bad(bad_rows.clone()),
        }
    }
}

impl Received {
    /// Takes up what came next, if it can become one block with this at little cost.
    fn join(&mut self, next: Self, block_bytes: usize) -> Result<(), Self> {
        let (Gathered::Lines(lines), Gathered::Lines(more)) = (&mut self.gathered, &next.gathered) else {
            return Err(next);
        };
        let size = lines.len() + more.len();
        let is_behind = lines.as_ptr_range().end == more.as_ptr();
        // The last line of a connection may have no end.
        let is_whole = lines.last() == Some(&b'\n');
        if size > block_bytes || !is_whole || !(is_behind || size <= COPY_BYTES) {
            return Err(next);
        }
        self.rows += next.rows;
        self.permits += next.permits;
        if let Gathered::Lines(more) = next.gathered {
            lines.unsplit(more);
        }
        Ok(())
    }

    /// Takes the first `rows` lines out; `None` where that would be the whole block.
    fn take_rows(&mut self, rows: u64) -> Option<Self> {
        let Gathered::Lines(bytes) = &mut self.gathered else { return None };
        let last = usize::try_from(rows).ok()?.checked_sub(1)?;
        let end = memchr_iter(b'\n', bytes).nth(last)? + 1;
        if end == bytes.len() {
            return None;
        }
        let permits = self.permits.min(u32::try_from(end).unwrap_or(u32::MAX));
        self.permits -= permits;
        self.rows = self.rows.saturating_sub(rows);
        Some(Self { time: self.time, rows, gathered: Gathered::Lines(bytes.split_to(end)), permits })
    }
}

/// The receiving task's end.
#[derive(Clone)]
pub struct BlockSender {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    stop: watch::Receiver<bool>,
}

impl BlockSender {
    /// Hands over `rows` whole lines. Waits until there is room for them; what is larger than the
    /// whole receive buffer waits until nothing else is held. Once the source is stopped
    /// there is always room, so that nothing that was received gets lost.
    pub async fn send(&self, bytes: BytesMut, rows: u64) {
        if !bytes.is_empty() {
            self.push(bytes.len(), rows, Gathered::Lines(bytes)).await;
        }
    }

    /// Hands over a row that is left out, so that its batch counts it. Of its bytes only the first
    /// ones are needed. Waits as [`BlockSender::send`] does: also what is left out can be too much.
    pub async fn send_bad(&self, raw: &[u8], reason: String) {
        let mut bad_rows = BadRows::default();
        bad_rows.add(raw, || reason);
        self.push(raw.len().max(1), 1, Gathered::Bad(bad_rows)).await;
    }

    async fn push(&self, size: usize, rows: u64, gathered: Gathered) {
        let wanted = u32::try_from(size).unwrap_or(u32::MAX).min(self.shared.capacity);
        let permits = match self.shared.room.acquire_many(wanted).await {
            Ok(permits) => {
                permits.forget();
                wanted
            }
            Err(_closed) => 0,
        };
        self.shared.push(&*self.clock, rows, gathered, permits);
    }

    /// Counts a client as long as the answer is kept.
    pub fn client(&self) -> Connected {
        self.shared.clients.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(&self.shared))
    }

    /// Returns once the source is stopped or gone: end receiving, send what was received, return.
    pub async fn stopped(&mut self) {
        drop(self.stop.wait_for(|stop| *stop).await);
    }
}

/// A client that is connected.
pub struct Connected(Arc<Shared>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The driver's end, before its task runs.
pub struct Receiver {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    /// Part of a batch, and not yet committed.
    promised: VecDeque<Promised>,
    /// The number of the block that was promised last.
    last: u64,
}

struct Promised {
    number: u64,
    content: Content,
    permits: u32,
}

impl Receiver {
    /// Starts the receiving task. It ends by itself where nothing more will come (then the source
    /// is finished), with an error that ends the run, or soon after [`BlockSender::stopped`].
    pub fn run<F>(self, decoder: Arc<dyn Decode>, max_rate: Option<f64>, task: F) -> ReceiverSource
    where
        F: Future<Output = Result<(), SourceError>> + Send + 'static,
    {
        ReceiverSource { receiver: self, decoder, max_rate, task: Task::Running(tokio::spawn(task)) }
    }

    /// Promises what was received within the limit.
    fn promise(&mut self, limit: Limit) {
        let mut left = limit.rows.unwrap_or(u64::MAX);
        let mut pending = self.shared.pending();
        while left > 0 {
            let Some(first) = pending.front_mut().filter(|first| first.time <= limit.until) else { return };
            let part = if first.rows > left { first.take_rows(left) } else { None };
            let Some(block) = part.or_else(|| pending.pop_front()) else { return };
            left = left.saturating_sub(block.rows);
            self.last += 1;
            let (content, permits) = (block.gathered.freeze(), block.permits);
            self.promised.push_back(Promised { number: self.last, content, permits });
        }
    }

    fn forget(&mut self, end: u64) {
        while let Some(block) = self.promised.front().filter(|block| block.number <= end) {
            self.shared.room.add_permits(usize::try_from(block.permits).unwrap_or(0));
            self.promised.pop_front();
        }
    }
}

/// A source that is pushed to. Its blocks are numbered from 1 as they become part of a batch; an
/// offset is such a number.
pub struct ReceiverSource {
    receiver: Receiver,
    decoder: Arc<dyn Decode>,
    max_rate: Option<f64>,
    task: Task,
}

enum Task {
    Running(JoinHandle<Result<(), SourceError>>),
    /// With an error that no one has been told yet.
    Ended(Option<SourceError>),
}

impl ReceiverSource {
    /// Waits for the end of the task.
    async fn join(&mut self) {
        if let Task::Running(handle) = &mut self.task {
            let error = match handle.await {
                Ok(result) => result.err(),
                Err(error) => Some(SourceError::Lost(format!("internal error, please report it: {error}"))),
            };
            self.task = Task::Ended(error);
        }
    }
}

#[async_trait]
impl Source for ReceiverSource {
    fn start(&self) -> Offset {
        Offset::from(0)
    }

    async fn latest(&mut self, limit: Limit) -> Result<Offset, SourceError> {
        if matches!(&self.task, Task::Running(handle) if handle.is_finished()) {
            self.join().await;
        }
        if let Task::Ended(error) = &mut self.task
            && let Some(error) = error.take()
        {
            return Err(error);
        }
        self.receiver.promise(limit);
        Ok(Offset::from(self.receiver.last))
    }

    async fn read(&mut self, start: &Offset, end: &Offset) -> Result<Vec<Block>, SourceError> {
        let (start, end) = (number(start)?, number(end)?);
        let range = start.saturating_add(1)..=end;
        let promised = self.receiver.promised.iter().filter(|block| range.contains(&block.number));
        let blocks: Vec<Block> = promised.map(|block| block.content.block(&self.decoder)).collect();
        if blocks.len() as u64 != end.saturating_sub(start) {
            return Err(SourceError::Lost(format!("the received blocks {start} to {end} are not there any more")));
        }
        Ok(blocks)
    }

    async fn commit(&mut self, end: &Offset) -> Result<(), SourceError> {
        self.receiver.forget(number(end)?);
        Ok(())
    }

    fn is_finished(&self) -> bool {
        // The task's end is noticed before the queue is looked at, so nothing can follow.
        matches!(self.task, Task::Ended(None)) && self.receiver.shared.pending().is_empty()
    }

    async fn stop(&mut self) {
        self.receiver.stop.send_replace(true);
        self.receiver.shared.room.close();
        self.join().await;
    }

    fn max_rate(&self) -> Option<f64> {
        self.max_rate
    }

    fn is_receiver(&self) -> bool {
        true
    }

    fn clients(&self) -> usize {
        self.receiver.shared.clients.load(Ordering::Relaxed)
    }
}

impl Drop for ReceiverSource {
    fn drop(&mut self) {
        if let Task::Running(handle) = &self.task {
            handle.abort();
        }
    }
}

/// An offset that is a plain number.
pub(super) fn number(offset: &Offset) -> Result<u64, SourceError> {
    offset.as_u64().ok_or_else(|| {
        SourceError::Lost(format!("internal error, please report it: `{offset}` is no offset of this source"))
    })
}

/// What the tests of sources share.
#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow::array::RecordBatch;

    pub use super::super::clock::ManualClock;
    use super::super::{Block, CheckedSource, Limit, SourceContext, SourceSettings};
    use crate::diagnostic::{Diagnostic, SourceFile, Span};
    use crate::spec::kind::Settings;
    use crate::spec::{Check, Component, Name, OnError, document, typed};

    /// A context with its clock at 0.
    pub fn context() -> (SourceContext, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(0));
        let context = SourceContext {
            name: "lines".to_owned(),
            clock: Arc::<ManualClock>::clone(&clock),
            block_interval: Duration::from_millis(1),
            receive_buffer: 1 << 20,
            available_now: false,
        };
        (context, clock)
    }

    /// Everything there is.
    pub const ALL: Limit = Limit { until: i64::MAX, rows: None };

    /// Reads and checks settings written in YAML.
    pub fn check<S: Settings + SourceSettings>(yaml: &str) -> (Option<CheckedSource>, Vec<Diagnostic>) {
        let file = Arc::new(SourceFile::new("test.yaml", yaml));
        let mut findings = Vec::new();
        let Some(settings) = document::read(&file, &mut findings) else { return (None, findings) };
        let Some(read) = typed::read::<S>(&settings, &file, &mut findings) else { return (None, findings) };
        let name = Name { text: "lines".to_owned(), span: Span::default() };
        let component = Component::new(name.clone(), name, settings);
        let mut check = Check { file: &file, component: &component, on_error: OnError::Fail, findings: &mut findings };
        let checked = Box::new(read).check(&mut check);
        (checked, findings)
    }

    /// All rows of blocks, with the columns at these indices.
    pub fn rows(blocks: &[Block], columns: &[usize]) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        for block in blocks {
            for piece in block.content.open(columns).unwrap() {
                batches.extend(piece.unwrap().batches);
            }
        }
        batches
    }

    /// The texts of the only column.
    pub fn texts(blocks: &[Block]) -> Vec<String> {
        use arrow::array::AsArray;
        let batches = rows(blocks, &[0]);
        let columns = batches.iter().map(|batch| batch.column(0).as_string_view());
        columns
            .flat_map(|column| column.iter().map(|text| text.unwrap_or("NULL").to_owned()).collect::<Vec<_>>())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::testing::{ALL, context, texts};
    use super::*;
    use crate::formats::InputFormat;

    fn decoder() -> Arc<dyn Decode> {
        InputFormat::default().decoder().unwrap()
    }

    fn lines(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    fn source(receiver: Receiver) -> ReceiverSource {
        receiver.run(decoder(), None, std::future::pending())
    }

    #[tokio::test]
    async fn limits_are_exact_and_ranges_can_be_read_again() {
        let (context, clock) = context();
        let (sender, receiver) = channel(&context);
        let mut source = source(receiver);
        sender.send(lines(b"a\nb\nc\n"), 3).await;
        clock.turn_to(10);
        sender.send(lines(b"d\n"), 1).await;

        let start = source.start();
        let first = source.latest(Limit { until: 9, rows: Some(2) }).await.unwrap();
        assert_eq!(texts(&source.read(&start, &first).await.unwrap()), ["a", "b"]);
        assert_eq!(source.latest(Limit { until: 9, rows: Some(0) }).await.unwrap(), first);
        let second = source.latest(Limit { until: 9, rows: None }).await.unwrap();
        assert_eq!(texts(&source.read(&first, &second).await.unwrap()), ["c"]);
        let third = source.latest(Limit { until: 10, rows: None }).await.unwrap();
        assert_eq!(texts(&source.read(&second, &third).await.unwrap()), ["d"]);
        assert_eq!(texts(&source.read(&start, &third).await.unwrap()), ["a", "b", "c", "d"]);

        source.commit(&second).await.unwrap();
        assert!(source.read(&start, &third).await.is_err());
        assert_eq!(texts(&source.read(&second, &third).await.unwrap()), ["d"]);
    }

    /// How many blocks a batch gets that takes everything.
    async fn blocks(source: &mut ReceiverSource) -> u64 {
        let before = source.receiver.last;
        number(&source.latest(ALL).await.unwrap()).unwrap() - before
    }

    #[tokio::test]
    async fn a_batch_takes_the_block_that_has_not_ended() {
        let (mut context, clock) = context();
        context.block_interval = Duration::from_millis(200);
        let (sender, receiver) = channel(&context);
        let mut source = source(receiver);
        clock.turn_to(1_000);
        for _ in 0..3 {
            sender.send(lines(b"a\nb\n"), 2).await;
        }
        clock.turn_to(1_199);
        sender.send(lines(b"c\n"), 1).await;
        clock.turn_to(1_200);
        sender.send(lines(b"d\n"), 1).await;
        let start = source.start();
        let first = source.latest(Limit { until: 1_199, rows: None }).await.unwrap();
        let read = source.read(&start, &first).await.unwrap();
        assert_eq!((read.len(), texts(&read).concat()), (1, "abababc".to_owned()));
        let second = source.latest(Limit { until: 1_200, rows: None }).await.unwrap();
        sender.send(lines(b"e\n"), 1).await;
        assert_eq!(texts(&source.read(&first, &second).await.unwrap()), ["d"]);
        let third = source.latest(Limit { until: 1_200, rows: None }).await.unwrap();
        assert_eq!(texts(&source.read(&second, &third).await.unwrap()), ["e"]);
    }

    #[tokio::test]
    async fn blocks_grow_in_place_and_end_at_their_size() {
        let (mut context, _) = context();
        context.receive_buffer = 1 << 20;
        let (sender, receiver) = channel(&context);
        let mut source = source(receiver);
        let mut buffer = lines(&b"0123456789abcde\n".repeat(16_384));
        for _ in 0..16_384 {
            sender.send(buffer.split_to(16), 1).await;
        }
        // 256 KiB in one piece of memory are one block; its size is a quarter of the receive buffer.
        assert_eq!(blocks(&mut source).await, 1);
        let half = || lines(&b"0123456789abcde\n".repeat(8_192));
        sender.send(half(), 8_192).await;
        sender.send(half(), 8_192).await;
        assert_eq!(blocks(&mut source).await, 2);
    }

    #[tokio::test]
    async fn a_sender_waits_for_commits() {
        let (mut context, _) = context();
        context.receive_buffer = 4;
        let (sender, receiver) = channel(&context);
        let mut source = source(receiver);
        sender.send(lines(b"a\nb\n"), 2).await;
        let mut second = Box::pin(sender.send(lines(b"longer than all\n"), 1));
        assert!(second.as_mut().now_or_never().is_none());
        let end = source.latest(Limit { until: 0, rows: Some(1) }).await.unwrap();
        source.commit(&end).await.unwrap();
        assert!(second.as_mut().now_or_never().is_none());
        let end = source.latest(ALL).await.unwrap();
        source.commit(&end).await.unwrap();
        second.await;
        let later = source.latest(ALL).await.unwrap();
        assert_eq!(texts(&source.read(&end, &later).await.unwrap()), ["longer than all"]);
    }

    #[tokio::test]
    async fn stopping_keeps_what_was_received() {
        let (mut context, _) = context();
        context.receive_buffer = 2;
        let (sender, receiver) = channel(&context);
        let mut stop = sender.clone();
        let mut source = receiver.run(decoder(), None, async move {
            sender.send(lines(b"a\n"), 1).await;
            stop.stopped().await;
            sender.send(lines(b"b"), 1).await;
            Ok(())
        });
        source.stop().await;
        assert!(!source.is_finished());
        let end = source.latest(ALL).await.unwrap();
        assert!(source.is_finished());
        assert_eq!(texts(&source.read(&Offset::from(0), &end).await.unwrap()), ["a", "b"]);
    }

    #[tokio::test]
    async fn clients_count_as_long_as_they_are_connected() {
        let (context, _) = context();
        let (sender, receiver) = channel(&context);
        let source = source(receiver);
        let first = sender.client();
        let second = sender.client();
        assert_eq!(source.clients(), 2);
        drop(first);
        assert_eq!(source.clients(), 1);
        drop(second);
        assert_eq!(source.clients(), 0);
    }

    #[tokio::test]
    async fn an_error_of_the_task_is_told_once() {
        let (context, _) = context();
        let (_sender, receiver) = channel(&context);
        let mut source = receiver.run(decoder(), None, async { Err(SourceError::BadRow("too long".to_owned())) });
        source.join().await;
        assert!(!source.is_finished());
        assert_eq!(source.latest(ALL).await.unwrap_err().to_string(), "too long");
        assert!(source.latest(ALL).await.is_ok());
    }
}
