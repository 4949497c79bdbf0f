//! The one adapter that turns pushed bytes into the shape of a [`Source`](super::Source).
//!
//! A receiving task sends whole lines as they come through a [`BlockSender`]; the driver asks the
//! [`ReceiverSource`] at the other end. In between, lines are gathered into blocks, the partitions of
//! a batch: a block ends with its block interval (Spark's `BlockGenerator`), but a batch that comes
//! first takes what is there. What is received but not committed never exceeds the receive buffer: a
//! sender waits for room, and while it waits its connection is not read.
//!
//! All that was ever sent is one stream of bytes, and an offset is a place in it. With a log
//! ([`SourceContext::log`]), what was received is on disk before it becomes part of a batch, and a later
//! run begins with what this one has not processed.

mod group;
mod log;
mod queue;
mod restore;
mod source;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use self::log::{Log, Writer, Writing};
use self::queue::{Content, Cutting, Queue, Received, Rows};
use self::restore::{Restored, restore};
use super::{Clock, Limit, Offset, SourceContext, SourceError};
use crate::formats::BadRows;

pub use self::source::ReceiverSource;

/// A block ends at this size even if the block interval has not passed.
const BLOCK_BYTES: usize = 1 << 20;

/// Both ends for a source that is pushed to, without a log: it begins with nothing. Clones of the sender
/// share the receive buffer.
#[must_use]
pub fn channel(context: &SourceContext) -> (BlockSender, Receiver) {
    ends(context, Restored::nothing(0), None)
}

/// Both ends for a source that is pushed to, with a log if the context has one. `resume` is the position
/// up to which an earlier run has processed the stream.
///
/// # Errors
/// When the log cannot be read.
pub async fn open(context: &SourceContext, resume: Option<&Value>) -> Result<(BlockSender, Receiver), SourceError> {
    let resume = resume.map(number).transpose()?;
    let Some(store) = &context.log else {
        return Ok(ends(context, Restored::nothing(resume.unwrap_or(0)), None));
    };
    let mut restored = restore(store, &context.name, resume, context.clock.now()).await?;
    let bytes = restored.end - restored.start;
    if bytes > 0 {
        tracing::info!(source = %context.name, bytes, "going on with what an earlier run has received");
    }
    let (log, progress) = Log::new(store.clone(), std::mem::take(&mut restored.files), restored.end);
    let deleting = log.delete(restored.start, None);
    let (sender, mut receiver) = ends(context, restored, Some(Arc::clone(&log)));
    receiver.deleting = deleting;
    receiver._writing = Some(Writing::start(Writer::new(Arc::clone(&receiver.shared), log, progress)));
    Ok((sender, receiver))
}

fn ends(context: &SourceContext, restored: Restored, log: Option<Arc<Log>>) -> (BlockSender, Receiver) {
    let Restored { start, end, mut blocks, .. } = restored;
    let capacity = u32::try_from(context.receive_buffer).unwrap_or(u32::MAX).max(1);
    let free = capacity - queue::share_room(&mut blocks, capacity);
    let interval = i64::try_from(context.block_interval.as_millis()).unwrap_or(i64::MAX).max(1);
    // Small enough that receiving goes on while blocks wait for their batch.
    let bytes = (context.receive_buffer / 4).clamp(1, BLOCK_BYTES);
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue::new(blocks, end)),
        cutting: Cutting { interval, bytes },
        room: Semaphore::new(usize::try_from(free).unwrap_or(Semaphore::MAX_PERMITS)),
        capacity,
        clients: AtomicUsize::new(0),
        log,
    });
    let (stop, stopped) = watch::channel(false);
    let sender = BlockSender { shared: Arc::clone(&shared), clock: Arc::clone(&context.clock), stop: stopped };
    let promised = VecDeque::new();
    (sender, Receiver { shared, stop, promised, start, last: start, restored: end, _writing: None, deleting: None })
}

struct Shared {
    /// Received, and not yet part of a batch.
    queue: Mutex<Queue>,
    cutting: Cutting,
    /// One permit per byte that may still be received; first come, first served. Closed once the
    /// source is stopped.
    room: Semaphore,
    /// How many permits there are in all.
    capacity: u32,
    /// How many clients are connected, where clients connect.
    clients: AtomicUsize,
    log: Option<Arc<Log>>,
}

impl Shared {
    /// Nothing that holds the lock can leave the queue half changed, so a poisoned lock is as good.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what was received into the last block or into one of its own.
    fn push(&self, clock: &dyn Clock, rows: u64, content: Content, permits: u32) {
        let mut queue = self.queue();
        // Stamped under the lock, so that the times in the queue never go back.
        let received = Received { time: clock.now(), start: queue.end(), rows, content, permits };
        let is_news = queue.push(received, self.cutting);
        drop(queue);
        if let Some(log) = self.log.as_ref().filter(|_| is_news) {
            log.wake();
        }
    }

    /// Returns once everything before `end` is in the log, if there is one.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn keep(&self, end: u64) -> Result<(), SourceError> {
        let Some(log) = &self.log else { return Ok(()) };
        if log.durable() < end {
            self.queue().ask(end);
            log.wake();
        }
        log.reached(end).await
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
    /// Hands over `rows` whole lines; the last one gets an end if it has none. Waits until there is room
    /// for them; what is larger than the whole receive buffer waits until nothing else is held. Once the
    /// source is stopped there is always room, so that nothing that was received gets lost.
    pub async fn send(&self, mut bytes: BytesMut, rows: u64) {
        if bytes.last().is_some_and(|last| *last != b'\n') {
            bytes.extend_from_slice(b"\n");
        }
        if !bytes.is_empty() {
            self.push(bytes.len(), rows, Content::Open(bytes)).await;
        }
    }

    /// Hands over a row that is left out, so that its batch counts it. Of its bytes only the first
    /// ones are needed. Waits as [`BlockSender::send`] does: also what is left out can be too much.
    pub async fn send_bad(&self, raw: &[u8], reason: String) {
        let mut bad_rows = BadRows::default();
        bad_rows.add(raw, || reason);
        let rows = Rows::Bad(bad_rows);
        self.push(rows.size(), 1, Content::Closed(rows)).await;
    }

    async fn push(&self, size: usize, rows: u64, content: Content) {
        let wanted = u32::try_from(size).unwrap_or(u32::MAX).min(self.shared.capacity);
        let permits = match self.shared.room.acquire_many(wanted).await {
            Ok(permits) => {
                permits.forget();
                wanted
            }
            Err(_closed) => 0,
        };
        self.shared.push(&*self.clock, rows, content, permits);
    }

    /// Returns once everything that was sent before is in the log, if there is one: it outlasts a crash,
    /// and may be acknowledged.
    ///
    /// # Errors
    /// When the log cannot be written, or the source is gone: nothing must be acknowledged then.
    pub async fn durable(&self) -> Result<(), SourceError> {
        let end = self.shared.queue().end();
        self.shared.keep(end).await
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
    /// Up to here an earlier run has processed the stream.
    start: u64,
    /// Up to here it was promised.
    last: u64,
    /// Up to here the log had it from an earlier run.
    restored: u64,
    /// Writes the log as long as it is kept.
    _writing: Option<Writing>,
    /// Deletes what is processed from the log.
    deleting: Option<JoinHandle<()>>,
}

/// A part of the stream that is part of a batch.
struct Promised {
    start: u64,
    end: u64,
    rows: Rows,
    permits: u32,
}

impl Receiver {
    /// Promises what was received within the limit, once the log has it.
    async fn promise(&mut self, limit: Limit) -> Result<(), SourceError> {
        let mut durable = u64::MAX;
        if let Some(log) = &self.shared.log {
            let end = self.shared.queue().reach(limit);
            self.shared.keep(end).await?;
            durable = log.durable();
        }
        let taken = self.shared.queue().take(limit, durable);
        self.add(taken);
        Ok(())
    }

    /// Promises again what an earlier run has promised.
    fn promise_again(&mut self, end: u64) -> Result<(), SourceError> {
        if end <= self.restored {
            let taken = self.shared.queue().take_until(end);
            self.add(taken);
        }
        if self.last == end {
            return Ok(());
        }
        let message = match &self.shared.log {
            Some(_) => format!(
                "a batch was begun that reaches up to {end} of what was received, and the log has it from {} to {}; \
                 restore the log, or begin the checkpoint anew",
                self.start, self.restored
            ),
            None => "what the batch was to process was received by an earlier run, and is lost".to_owned(),
        };
        Err(SourceError::Lost(message))
    }

    fn add(&mut self, mut taken: Vec<Received>) {
        if self.shared.log.is_some() {
            taken = queue::gather(taken, self.shared.cutting);
        }
        for block in taken {
            let (start, end) = (block.start, block.end());
            self.promised.push_back(Promised { start, end, rows: block.content.into_rows(), permits: block.permits });
            self.last = end;
        }
    }

    fn forget(&mut self, end: u64) {
        while let Some(block) = self.promised.front().filter(|block| block.end <= end) {
            self.shared.room.add_permits(usize::try_from(block.permits).unwrap_or(0));
            self.promised.pop_front();
        }
        if let Some(log) = &self.shared.log {
            self.deleting = log.delete(end, self.deleting.take());
        }
    }

    /// Returns once the log has what was received, as far as it can be written, and nothing else.
    async fn settle(&mut self) {
        let end = self.shared.queue().end();
        // The next `latest` tells what is wrong.
        drop(self.shared.keep(end).await);
        if let Some(deleting) = self.deleting.take() {
            log::deleted(deleting).await;
        }
    }
}

/// An offset that is a plain number.
pub(super) fn number(offset: &Offset) -> Result<u64, SourceError> {
    offset.as_u64().ok_or_else(|| {
        SourceError::Lost(format!("internal error, please report it: `{offset}` is no offset of this source"))
    })
}
