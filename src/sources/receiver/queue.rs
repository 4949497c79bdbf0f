//! What was received and is not part of a batch yet, in blocks.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memchr::memchr_iter;

use super::group::{Entry, Group};
use crate::formats::text::count_lines;
use crate::formats::{BadRows, Decode};
use crate::sources::{Block, Limit};

/// Lines that do not lie behind the block in memory are copied to it up to this size of the block, so
/// that many small sends do not become as many blocks.
const COPY_BYTES: usize = 64 << 10;
/// A file of the log holds about this much at most.
pub(super) const GROUP_BYTES: u64 = 4 << 20;

/// When a block ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutting {
    /// Milliseconds; blocks end at its multiples.
    pub interval: i64,
    /// A block ends at this size even if the interval has not passed.
    pub bytes: usize,
}

impl Cutting {
    /// Whether what was received at these times can be in one block.
    fn is_same_interval(self, one: i64, other: i64) -> bool {
        one.div_euclid(self.interval) == other.div_euclid(self.interval)
    }
}

/// Rows that stay as they are.
#[derive(Clone)]
pub(super) enum Rows {
    /// Whole lines, each with its end.
    Lines(Bytes),
    /// One row that no decoder shall see.
    Bad(BadRows),
}

impl Rows {
    /// How much of the stream they take up. Also a row that no decoder sees has its place in it.
    pub fn length(&self) -> u64 {
        match self {
            Self::Lines(bytes) => bytes.len() as u64,
            Self::Bad(_) => 1,
        }
    }

    /// How much of the receive buffer they take up.
    pub fn size(&self) -> usize {
        match self {
            Self::Lines(bytes) => bytes.len(),
            Self::Bad(bad_rows) => bad_rows.samples.iter().map(|row| row.raw.len()).sum::<usize>().max(1),
        }
    }

    /// For a batch.
    pub fn block(&self, decoder: &Arc<dyn Decode>) -> Block {
        match self {
            Self::Lines(bytes) => Block::encoded(bytes.clone(), decoder),
            Self::Bad(bad_rows) => Block::bad(bad_rows.clone()),
        }
    }
}

/// What a block holds.
pub(super) enum Content {
    /// Whole lines; more may come.
    Open(BytesMut),
    /// Nothing more will come.
    Closed(Rows),
}

impl Content {
    /// How much of the stream it takes up.
    fn length(&self) -> u64 {
        match self {
            Self::Open(bytes) => bytes.len() as u64,
            Self::Closed(rows) => rows.length(),
        }
    }

    fn lines(&self) -> Option<&[u8]> {
        match self {
            Self::Open(bytes) => Some(bytes),
            Self::Closed(Rows::Lines(bytes)) => Some(bytes),
            Self::Closed(Rows::Bad(_)) => None,
        }
    }

    /// Sees to it that nothing more comes.
    fn close(&mut self) -> Rows {
        let rows = match self {
            Self::Open(bytes) => Rows::Lines(mem::take(bytes).freeze()),
            Self::Closed(rows) => return rows.clone(),
        };
        *self = Self::Closed(rows.clone());
        rows
    }

    /// What it holds, without more.
    pub fn into_rows(self) -> Rows {
        match self {
            Self::Open(bytes) => Rows::Lines(bytes.freeze()),
            Self::Closed(rows) => rows,
        }
    }
}

/// A block as it was received.
pub(super) struct Received {
    /// When its first line was, in the engine's time.
    pub time: i64,
    /// Where in the stream it begins.
    pub start: u64,
    pub rows: u64,
    pub content: Content,
    /// What goes back to the room when the block is committed.
    pub permits: u32,
}

impl Received {
    /// A block of an earlier run. It has no room yet: see [`share_room`].
    pub fn earlier(time: i64, start: u64, rows: Rows) -> Self {
        let count = match &rows {
            Rows::Lines(bytes) => count_lines(bytes) as u64,
            Rows::Bad(bad_rows) => bad_rows.count,
        };
        Self { time, start, rows: count, content: Content::Closed(rows), permits: 0 }
    }

    /// Where in the stream it ends.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.content.length())
    }

    /// How much of the receive buffer it takes up.
    fn size(&self) -> u64 {
        match &self.content {
            Content::Open(bytes) => bytes.len() as u64,
            Content::Closed(rows) => rows.size() as u64,
        }
    }

    /// Takes up what came next, if it can become one block with this at little cost.
    fn join(&mut self, next: Self, most: usize) -> Result<(), Self> {
        let (Content::Open(lines), Content::Open(more)) = (&mut self.content, &next.content) else {
            return Err(next);
        };
        let size = lines.len() + more.len();
        let is_behind = lines.as_ptr_range().end == more.as_ptr();
        if size > most || !(is_behind || size <= COPY_BYTES) {
            return Err(next);
        }
        self.rows += next.rows;
        self.permits += next.permits;
        if let Content::Open(more) = next.content {
            lines.unsplit(more);
        }
        Ok(())
    }

    /// Copies the lines of the next block behind its own, if both are small.
    fn append(&mut self, next: Self) -> Result<(), Self> {
        let (Some(lines), Some(more)) = (self.content.lines(), next.content.lines()) else { return Err(next) };
        let size = lines.len() + more.len();
        if size > COPY_BYTES {
            return Err(next);
        }
        if let Content::Closed(Rows::Lines(lines)) = &self.content {
            let mut copy = BytesMut::with_capacity(size * 2);
            copy.extend_from_slice(lines);
            self.content = Content::Open(copy);
        }
        if let Content::Open(lines) = &mut self.content {
            lines.extend_from_slice(more);
        }
        self.rows += next.rows;
        self.permits += next.permits;
        Ok(())
    }

    /// Takes the first `rows` lines out; `None` where that would be the whole block.
    fn take_rows(&mut self, rows: u64) -> Option<Self> {
        let last = usize::try_from(rows).ok()?.checked_sub(1)?;
        let end = memchr_iter(b'\n', self.content.lines()?).nth(last)? + 1;
        self.split(end, rows)
    }

    /// Takes the lines of the first bytes out; `None` where that would be the whole block.
    pub fn take_bytes(&mut self, length: u64) -> Option<Self> {
        let end = usize::try_from(length).ok()?;
        let rows = count_lines(self.content.lines()?.get(..end)?) as u64;
        self.split(end, rows)
    }

    fn split(&mut self, end: usize, rows: u64) -> Option<Self> {
        let content = match &mut self.content {
            Content::Open(bytes) if end < bytes.len() => Content::Open(bytes.split_to(end)),
            Content::Closed(Rows::Lines(bytes)) if end < bytes.len() => {
                Content::Closed(Rows::Lines(bytes.split_to(end)))
            }
            _ => return None,
        };
        let permits = self.permits.min(u32::try_from(end).unwrap_or(u32::MAX));
        let start = self.start;
        self.permits -= permits;
        self.rows = self.rows.saturating_sub(rows);
        self.start += end as u64;
        Some(Self { time: self.time, start, rows, content, permits })
    }
}

/// Gives blocks of an earlier run their room, which is returned. Where they need more than there is, the
/// first ones do without: it is given back only by those that fit.
pub(super) fn share_room(blocks: &mut VecDeque<Received>, capacity: u32) -> u32 {
    let held: u64 = blocks.iter().map(Received::size).sum();
    let mut over = held.saturating_sub(u64::from(capacity));
    let mut shared = 0_u32;
    for block in blocks {
        let without = block.size().min(over);
        over -= without;
        block.permits = u32::try_from(block.size() - without).unwrap_or(u32::MAX).min(capacity - shared);
        shared += block.permits;
    }
    shared
}

/// Copies small neighbours together. The log closes a block with each of its files, so there can be many.
pub(super) fn gather(blocks: Vec<Received>, cutting: Cutting) -> Vec<Received> {
    let mut gathered: Vec<Received> = Vec::with_capacity(blocks.len());
    for block in blocks {
        let joined = match gathered.last_mut() {
            Some(last) if cutting.is_same_interval(last.time, block.time) => last.append(block),
            _ => Err(block),
        };
        gathered.extend(joined.err());
    }
    gathered
}

/// Blocks in the order of the stream.
pub(super) struct Queue {
    pending: VecDeque<Received>,
    /// Where the next block begins.
    end: u64,
    /// Where the next file of the log begins. Up to here the blocks are closed.
    cut: u64,
    /// Someone waits until the log has everything up to here.
    asked: u64,
}

impl Queue {
    /// Begins with blocks of an earlier run, which its log holds; what comes next begins at `end`.
    pub fn new(blocks: VecDeque<Received>, end: u64) -> Self {
        Self { pending: blocks, end, cut: end, asked: end }
    }

    /// Where the next block begins.
    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Puts what was received, which begins at [`Queue::end`], into the last block or into one of its own.
    /// Whether the log's task should know.
    pub fn push(&mut self, received: Received, cutting: Cutting) -> bool {
        let before = self.unwritten();
        self.end = received.end();
        let joined = match self.pending.back_mut() {
            Some(last) if cutting.is_same_interval(last.time, received.time) => last.join(received, cutting.bytes),
            _ => Err(received),
        };
        self.pending.extend(joined.err());
        before == 0 || (before < GROUP_BYTES && self.unwritten() >= GROUP_BYTES)
    }

    fn unwritten(&self) -> u64 {
        self.end.saturating_sub(self.cut)
    }

    /// Whether there is anything that no file of the log holds.
    pub fn has_unwritten(&self) -> bool {
        self.unwritten() > 0
    }

    /// Whether the next file of the log should be written now.
    pub fn is_due(&self) -> bool {
        self.asked > self.cut || self.unwritten() >= GROUP_BYTES
    }

    /// Someone waits until the log has everything up to here.
    pub fn ask(&mut self, end: u64) {
        self.asked = self.asked.max(end);
    }

    /// What the next file of the log holds: about `most` of the bytes that no file holds yet.
    pub fn cut(&mut self, most: u64) -> Option<Group> {
        let (start, mut size) = (self.cut, 0);
        let first = self.pending.partition_point(|block| block.start < start);
        let mut entries = Vec::new();
        for block in self.pending.iter_mut().skip(first) {
            let rows = block.content.close();
            size += rows.size() as u64;
            self.cut = block.end();
            entries.push(Entry { time: block.time, rows });
            if size >= most {
                break;
            }
        }
        (!entries.is_empty()).then_some(Group { start, entries })
    }

    /// Where that ends which the limit allows to take.
    pub fn reach(&self, limit: Limit) -> u64 {
        let mut left = limit.rows.unwrap_or(u64::MAX);
        let mut end = 0;
        for block in self.pending.iter().take_while(|block| block.time <= limit.until) {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(block.rows);
            end = block.end();
        }
        end
    }

    /// Takes out what the limit allows, of the blocks that end at `durable` or before.
    pub fn take(&mut self, limit: Limit, durable: u64) -> Vec<Received> {
        let mut left = limit.rows.unwrap_or(u64::MAX);
        let mut taken = Vec::new();
        while left > 0 {
            let Some(first) = self.pending.front_mut() else { break };
            if first.time > limit.until || first.end() > durable {
                break;
            }
            let part = if first.rows > left { first.take_rows(left) } else { None };
            let Some(block) = part.or_else(|| self.pending.pop_front()) else { break };
            left = left.saturating_sub(block.rows);
            taken.push(block);
        }
        taken
    }

    /// Takes out everything up to a place in the stream, which is the end of a line.
    pub fn take_until(&mut self, end: u64) -> Vec<Received> {
        let mut taken = Vec::new();
        while let Some(first) = self.pending.front_mut() {
            if first.start >= end {
                break;
            }
            let part = if first.end() > end { first.take_bytes(end - first.start) } else { None };
            let Some(block) = part.or_else(|| self.pending.pop_front()) else { break };
            taken.push(block);
        }
        taken
    }
}
