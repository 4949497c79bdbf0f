//! Reads blocks of whole lines from one connection.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memrchr};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use crate::formats::text::count_lines;
use crate::sources::SourceError;
use crate::sources::receiver::BlockSender;
use crate::spec::{OnError, Size};

/// A block is cut at this size even if the block interval has not passed.
pub(super) const BLOCK_BYTES: usize = 1 << 20;
/// A fresh buffer has at least this much room.
const READ_BYTES: usize = 64 << 10;
/// Below this much room, reading goes on in a fresh buffer.
const LEAST_ROOM: usize = 4 << 10;
/// This much of a line that is too long is shown.
const SHOWN_BYTES: usize = 200;

/// How lines are received, the same for all connections of a source.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The source's name, for messages.
    pub name: String,
    /// The longest line that is taken.
    pub max_line: Size,
    /// What becomes of a longer one.
    pub on_error: OnError,
    /// A block is cut this long after its first line.
    pub block_interval: Duration,
    /// A block is cut at this size.
    pub block_bytes: usize,
}

/// Why receiving ended.
#[derive(Debug)]
pub(super) enum End {
    /// The peer closed the connection.
    Closed,
    /// The connection broke. A line that was cut off by that is dropped.
    Broken(io::Error),
    /// What came is no text but the beginning of TLS; nothing of it is taken.
    Tls,
    /// The source was stopped.
    Stopped,
    /// A line is too long, and that is an error.
    LongLine(SourceError),
}

/// What became of a connection.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Why it ended.
    pub end: End,
    /// Whether anything was received.
    pub received: bool,
}

/// Receives until the connection or the source ends. Everything that was received is sent then,
/// with a last line that has no end; only what [`End`] says is dropped.
pub(super) async fn receive<R>(reader: &mut R, sender: &BlockSender, rules: &Rules) -> Outcome
where
    R: AsyncRead + Unpin,
{
    let mut lines = Lines::new(rules);
    let end = lines.receive(reader, sender).await;
    Outcome { end, received: lines.received }
}

/// The bytes of a connection that were not sent yet.
struct Lines<'a> {
    rules: &'a Rules,
    buffer: BytesMut,
    /// Where the last complete line ends; what follows is the start of a line.
    complete: usize,
    /// Up to here the line feeds are known.
    scanned: usize,
    /// In the middle of a line that is dropped.
    skipping: bool,
    /// When a block is cut at the latest; only if there is a complete line.
    deadline: Option<Instant>,
    /// The size of the last block: what the next one will need.
    last_block: usize,
    received: bool,
}

impl<'a> Lines<'a> {
    fn new(rules: &'a Rules) -> Self {
        Self {
            rules,
            buffer: BytesMut::new(),
            complete: 0,
            scanned: 0,
            skipping: false,
            deadline: None,
            last_block: 0,
            received: false,
        }
    }

    async fn receive<R>(&mut self, reader: &mut R, sender: &BlockSender) -> End
    where
        R: AsyncRead + Unpin,
    {
        let mut stop = sender.clone();
        loop {
            self.make_room();
            let read = tokio::select! {
                biased;
                () = stop.stopped() => {
                    self.cut(sender).await;
                    if !self.buffer.is_empty() {
                        // Half a row is none; what the sender meant comes after the stop.
                        tracing::warn!(bytes = self.buffer.len(), "stopped in the middle of a line, which is dropped");
                    }
                    return End::Stopped;
                }
                read = read_until(reader, &mut self.buffer, self.deadline) => read,
            };
            match read {
                None => self.cut(sender).await,
                Some(Ok(0)) => {
                    self.finish(sender).await;
                    return End::Closed;
                }
                Some(Ok(_)) if !self.received && is_tls(&self.buffer) => return End::Tls,
                Some(Ok(_)) => {
                    self.received = true;
                    if let Err(error) = self.look(sender).await {
                        return End::LongLine(error);
                    }
                    if self.is_due() {
                        self.cut(sender).await;
                    }
                }
                // Many TLS peers close without saying goodbye.
                Some(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.finish(sender).await;
                    return End::Closed;
                }
                Some(Err(error)) => {
                    self.cut(sender).await;
                    return End::Broken(error);
                }
            }
        }
    }

    /// A fast connection gets a buffer of a block's size at once, so that growing copies nothing.
    fn make_room(&mut self) {
        if self.buffer.capacity() - self.buffer.len() < LEAST_ROOM {
            self.buffer.reserve(self.last_block.max(READ_BYTES));
        }
    }

    /// Looks at what was read last: drops lines that are too long, finds where lines end.
    async fn look(&mut self, sender: &BlockSender) -> Result<(), SourceError> {
        if self.skipping && !self.skip_line() {
            return Ok(());
        }
        while let Some(start) = long_line(from(&self.buffer, self.complete), self.rules.max_line.as_usize()) {
            self.complete += start;
            self.cut(sender).await;
            if self.rules.on_error == OnError::Fail {
                return Err(SourceError::BadRow(format!(
                    "a line is longer than {}: raise `max_line`, or write `on_error: skip` to drop such lines",
                    self.rules.max_line
                )));
            }
            let end = memchr(b'\n', &self.buffer).unwrap_or(self.buffer.len()).min(SHOWN_BYTES);
            let reason = format!("the line is longer than {} (`max_line`)", self.rules.max_line);
            sender.send_bad(self.buffer.get(..end).unwrap_or_default(), reason).await;
            if !self.skip_line() {
                return Ok(());
            }
        }
        if let Some(at) = memrchr(b'\n', from(&self.buffer, self.scanned)) {
            self.complete = self.scanned + at + 1;
        }
        self.scanned = self.buffer.len();
        if self.complete > 0 && self.deadline.is_none() {
            self.deadline = Instant::now().checked_add(self.rules.block_interval);
        }
        Ok(())
    }

    /// Drops bytes up to the end of the line at the buffer's start; false if it is not there yet.
    fn skip_line(&mut self) -> bool {
        let end = memchr(b'\n', &self.buffer);
        match end {
            Some(at) => self.buffer.advance(at + 1),
            None => self.buffer.clear(),
        }
        self.skipping = end.is_none();
        (self.complete, self.scanned) = (0, 0);
        end.is_some()
    }

    fn is_due(&self) -> bool {
        self.complete > 0
            && (self.buffer.len() >= self.rules.block_bytes
                || self.deadline.is_some_and(|deadline| deadline <= Instant::now()))
    }

    /// Sends the complete lines.
    async fn cut(&mut self, sender: &BlockSender) {
        let block = self.buffer.split_to(self.complete).freeze();
        self.scanned = self.scanned.saturating_sub(self.complete);
        self.complete = 0;
        self.deadline = None;
        if !block.is_empty() {
            self.last_block = block.len();
            send(block, sender).await;
        }
    }

    /// Sends everything, with the line that has no end.
    async fn finish(&mut self, sender: &BlockSender) {
        self.complete = self.buffer.len();
        self.cut(sender).await;
    }
}

/// Whether bytes start as a TLS connection does: with a greeting, or with an alert from a server that
/// waited for one.
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, 0..=4, ..])
}

async fn send(block: Bytes, sender: &BlockSender) {
    let rows = count_lines(&block) as u64;
    sender.send(block, rows).await;
}

/// Reads some bytes; `None` where the deadline came first.
async fn read_until<R>(reader: &mut R, buffer: &mut BytesMut, deadline: Option<Instant>) -> Option<io::Result<usize>>
where
    R: AsyncRead + Unpin,
{
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, reader.read_buf(buffer)).await.ok(),
        None => Some(reader.read_buf(buffer).await),
    }
}

/// Where the first line of more than `max` bytes starts; its end need not be there. Looks back from
/// where a line must have ended, so lines shorter than `max` cost nearly nothing.
fn long_line(bytes: &[u8], max: usize) -> Option<usize> {
    let mut start = 0_usize;
    while let Some(line) = bytes.get(start..start.saturating_add(max).saturating_add(1)) {
        match memrchr(b'\n', line) {
            Some(end) => start += end + 1,
            None => return Some(start),
        }
    }
    None
}

fn from(buffer: &[u8], start: usize) -> &[u8] {
    buffer.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::formats::{BadRows, InputFormat};
    use crate::sources::receiver::{self, ReceiverSource, testing};
    use crate::sources::{Offset, Source};

    fn rules() -> Rules {
        Rules {
            name: "lines".to_owned(),
            max_line: Size::from_bytes(16),
            on_error: OnError::Skip,
            block_interval: Duration::ZERO,
            block_bytes: BLOCK_BYTES,
        }
    }

    /// What arrives of these writes, each of which is read by itself, and how it ended.
    async fn receive_all(writes: &[&[u8]], rules: &Rules) -> (Vec<String>, Outcome) {
        let (context, _) = testing::context();
        let (sender, receiver) = receiver::channel(&context);
        let decoder = InputFormat::default().decoder().unwrap();
        let mut source = receiver.run(decoder, None, std::future::pending());
        // The pipe holds one write at a time.
        let (mut writer, mut reader) = tokio::io::duplex(64);
        let write = async {
            for bytes in writes {
                writer.write_all(bytes).await.unwrap();
            }
            drop(writer);
        };
        let (outcome, ()) = tokio::join!(receive(&mut reader, &sender, rules), write);
        (received(&mut source).await, outcome)
    }

    async fn received(source: &mut ReceiverSource) -> Vec<String> {
        let end = source.latest(testing::ALL).await.unwrap();
        testing::texts(&source.read(&Offset::from(0), &end).await.unwrap())
    }

    #[tokio::test]
    async fn lines_do_not_depend_on_how_they_arrive() {
        let text = b"one\r\ntwo\n\nthree and\nlast";
        for size in 1..=text.len() {
            let writes: Vec<&[u8]> = text.chunks(size).collect();
            let (lines, outcome) = receive_all(&writes, &rules()).await;
            assert_eq!(lines, ["one", "two", "", "three and", "last"], "{size}");
            assert!(matches!(outcome, Outcome { end: End::Closed, received: true }));
        }
    }

    #[tokio::test]
    async fn long_lines_are_dropped_up_to_their_end() {
        let text = b"0123456789abcdef\n0123456789abcdefg\nok\n0123456789abcdef0123456789abcdef0123456789abcdef\nend\n";
        for size in 1..=text.len() {
            let writes: Vec<&[u8]> = text.chunks(size).collect();
            let (lines, _) = receive_all(&writes, &rules()).await;
            assert_eq!(lines, ["0123456789abcdef", "ok", "end"], "{size}");
        }
    }

    #[tokio::test]
    async fn long_lines_are_counted_in_their_batch() {
        let (context, _) = testing::context();
        let (sender, receiver) = receiver::channel(&context);
        let mut source = receiver.run(InputFormat::default().decoder().unwrap(), None, std::future::pending());
        let mut bytes = b"ok\n0123456789abcdefg\n0123456789abcdefghi\nend\n".as_slice();
        receive(&mut bytes, &sender, &rules()).await;
        let end = source.latest(testing::ALL).await.unwrap();
        let mut bad_rows = BadRows::default();
        for block in source.read(&Offset::from(0), &end).await.unwrap() {
            for piece in block.content.open(&[0]).unwrap() {
                bad_rows.merge(piece.unwrap().bad_rows);
            }
        }
        assert_eq!(bad_rows.count, 2);
        assert_eq!(bad_rows.samples[0].raw, b"0123456789abcdefg".as_slice());
        assert_eq!(bad_rows.samples[0].reason, "the line is longer than 16B (`max_line`)");
        assert_eq!(received(&mut source).await, ["ok", "end"]);
    }

    #[tokio::test]
    async fn tls_is_no_text() {
        for bytes in [b"\x16\x03\x01\x02\x00\n".as_slice(), b"\x15\x03\x03\x00\x02\x02\x0a"] {
            let (lines, outcome) = receive_all(&[bytes], &rules()).await;
            assert!(lines.is_empty());
            assert!(matches!(outcome, Outcome { end: End::Tls, received: false }));
        }
        let (lines, _) = receive_all(&[b"ok\n", b"\x16\x03\x01\n"], &rules()).await;
        assert_eq!(lines, ["ok", "\x16\x03\x01"]);
    }

    #[tokio::test]
    async fn a_long_line_is_an_error_after_the_lines_before_it() {
        let rules = Rules { on_error: OnError::Fail, ..rules() };
        let (lines, outcome) = receive_all(&[b"ok\n0123456789abcdefg"], &rules).await;
        assert_eq!(lines, ["ok"]);
        let End::LongLine(error) = outcome.end else { panic!("no error") };
        assert!(error.to_string().contains("16B") && error.to_string().contains("max_line"), "{error}");
    }

    #[tokio::test]
    async fn an_empty_connection_received_nothing() {
        let (lines, outcome) = receive_all(&[], &rules()).await;
        assert!(lines.is_empty());
        assert!(matches!(outcome, Outcome { end: End::Closed, received: false }));
    }

    #[tokio::test]
    async fn small_blocks_are_cut_by_size() {
        let rules = Rules { block_interval: Duration::from_secs(3600), block_bytes: 4, ..rules() };
        let (lines, _) = receive_all(&[b"a\nb\nc\nd", b"\ne\n"], &rules).await;
        assert_eq!(lines, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn finds_long_lines() {
        assert_eq!(long_line(b"abc\nabcd\n", 3), Some(4));
        assert_eq!(long_line(b"abc\nabc\nabc", 3), None);
        assert_eq!(long_line(b"\n\n\n\n\nabcd", 3), Some(5));
        assert_eq!(long_line(b"", 0), None);
    }
}
