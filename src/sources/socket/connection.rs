//! Reads whole lines from one connection.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::{memchr, memrchr};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use crate::formats::text::count_lines;
use crate::sources::SourceError;
use crate::sources::receiver::BlockSender;
use crate::spec::{OnError, Size};

/// A fresh buffer has this much room.
const READ_BYTES: usize = 64 << 10;
/// And this much at most, if the buffers before were full soon.
const MOST_READ_BYTES: usize = 1 << 20;
/// A buffer that is full in less time than this is too small.
const SOON: Duration = Duration::from_millis(50);
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
    /// The size of the buffer, and since when it is in use.
    buffer_bytes: usize,
    since: Instant,
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
            buffer_bytes: READ_BYTES / 2,
            since: Instant::now(),
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
                    if !self.buffer.is_empty() {
                        // Half a row is none; what the sender meant comes after the stop.
                        tracing::warn!(bytes = self.buffer.len(), "stopped in the middle of a line, which is dropped");
                    }
                    return End::Stopped;
                }
                read = reader.read_buf(&mut self.buffer) => read,
            };
            match read {
                Ok(0) => {
                    self.finish(sender).await;
                    return End::Closed;
                }
                Ok(_) if !self.received && is_tls(&self.buffer) => return End::Tls,
                Ok(_) => {
                    self.received = true;
                    if let Err(error) = self.look(sender).await {
                        return End::LongLine(error);
                    }
                    self.cut(sender).await;
                }
                // Many TLS peers close without saying goodbye.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.finish(sender).await;
                    return End::Closed;
                }
                Err(error) => return End::Broken(error),
            }
        }
    }

    /// A fast connection gets larger buffers, since a block lies in one of them.
    fn make_room(&mut self) {
        if self.buffer.capacity() - self.buffer.len() < LEAST_ROOM {
            let soon = self.since.elapsed() < SOON;
            self.buffer_bytes = if soon { (self.buffer_bytes * 2).min(MOST_READ_BYTES) } else { READ_BYTES };
            self.buffer.reserve(self.buffer_bytes);
            self.since = Instant::now();
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

    /// Sends the complete lines.
    async fn cut(&mut self, sender: &BlockSender) {
        let lines = self.buffer.split_to(self.complete);
        self.scanned = self.scanned.saturating_sub(self.complete);
        self.complete = 0;
        let rows = count_lines(&lines) as u64;
        sender.send(lines, rows).await;
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
        Rules { name: "lines".to_owned(), max_line: Size::from_bytes(16), on_error: OnError::Skip }
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

    #[test]
    fn finds_long_lines() {
        assert_eq!(long_line(b"abc\nabcd\n", 3), Some(4));
        assert_eq!(long_line(b"abc\nabc\nabc", 3), None);
        assert_eq!(long_line(b"\n\n\n\n\nabcd", 3), Some(5));
        assert_eq!(long_line(b"", 0), None);
    }
}
