//! A file of the log: what was received while the file before it was written.
//!
//! ```text
//! streamrun received 1 90f6ab21 4711
//! {"start":4096,"entries":[{"time":1700000000000,"bytes":4000},{"time":1700000000007,"bytes":200,"bad":"..."}]}
//! ...4000 bytes of lines, and the first 200 of a row that was left out...
//! ```
//!
//! The file begins at `start` in the stream. Lines take up as many places as they have bytes; a row that
//! was left out, for the reason in `bad`, takes up one.

use bytes::Bytes;
use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::queue::Rows;
use crate::checkpoint::{self, Damage};
use crate::formats::BadRows;

/// What the first line of a file says that it is.
const KIND: &str = "received";

/// Blocks that follow one another in the stream.
pub(super) struct Group {
    /// Where the first one begins.
    pub start: u64,
    pub entries: Vec<Entry>,
}

/// A block.
pub(super) struct Entry {
    /// When its first line was received, in the engine's time.
    pub time: i64,
    pub rows: Rows,
}

/// The line of JSON.
#[derive(Deserialize, Serialize)]
struct Head {
    start: u64,
    entries: Vec<HeadEntry>,
}

#[derive(Deserialize, Serialize)]
struct HeadEntry {
    time: i64,
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bad: Option<String>,
}

impl Group {
    /// Where the last block ends.
    pub fn end(&self) -> u64 {
        self.entries.iter().fold(self.start, |end, entry| end.saturating_add(entry.rows.length()))
    }

    /// The file.
    ///
    /// # Errors
    /// A bug.
    pub fn seal(&self) -> Result<Bytes, serde_json::Error> {
        let (entries, bodies): (Vec<HeadEntry>, Vec<Bytes>) = self.entries.iter().map(Entry::written).unzip();
        let mut head = serde_json::to_vec(&Head { start: self.start, entries })?;
        head.push(b'\n');
        let parts: Vec<Bytes> = std::iter::once(Bytes::from(head)).chain(bodies).collect();
        Ok(checkpoint::sealed(KIND, &parts))
    }

    /// Reads the file that begins at `start`. The blocks share its memory.
    ///
    /// # Errors
    /// When the file is not what was written.
    pub fn open(start: u64, file: &Bytes) -> Result<Self, Damage> {
        let payload = checkpoint::opened(KIND, file)?;
        let line = memchr(b'\n', &payload).ok_or(Damage::Content)?;
        let head: Head = serde_json::from_slice(&payload.slice(..line)).map_err(|_| Damage::Content)?;
        let mut bodies = payload.slice(line + 1..);
        let entries = head.entries.into_iter().map(|entry| Entry::read(entry, &mut bodies)).collect::<Option<_>>();
        match entries {
            Some(entries) if head.start == start && bodies.is_empty() => Ok(Self { start, entries }),
            _ => Err(Damage::Content),
        }
    }
}

impl Entry {
    fn written(&self) -> (HeadEntry, Bytes) {
        let (body, bad) = match &self.rows {
            Rows::Lines(bytes) => (bytes.clone(), None),
            Rows::Bad(bad_rows) => {
                let row = bad_rows.samples.first();
                let reason = row.map(|row| row.reason.clone()).unwrap_or_default();
                (row.map(|row| row.raw.clone()).unwrap_or_default(), Some(reason))
            }
        };
        (HeadEntry { time: self.time, bytes: body.len() as u64, bad }, body)
    }

    /// Takes its bytes from the front; `None` if they cannot be its.
    fn read(head: HeadEntry, bodies: &mut Bytes) -> Option<Self> {
        let length = usize::try_from(head.bytes).ok().filter(|length| *length <= bodies.len())?;
        let body = bodies.split_to(length);
        let rows = match head.bad {
            None if body.last() != Some(&b'\n') => return None,
            None => Rows::Lines(body),
            Some(reason) => {
                let mut bad_rows = BadRows::default();
                bad_rows.add(&body, || reason);
                Rows::Bad(bad_rows)
            }
        };
        Some(Self { time: head.time, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        let mut bad_rows = BadRows::default();
        bad_rows.add(b"too\xFFlong", || "the line is \"long\"".to_owned());
        let rows = [Rows::Lines(Bytes::from_static(b"a\nbc\n")), Rows::Bad(bad_rows), Rows::Lines(Bytes::from("\n"))];
        let entries = rows.into_iter().zip([5, 5, -7]).map(|(rows, time)| Entry { time, rows }).collect();
        Group { start: 40, entries }
    }

    #[test]
    fn what_is_sealed_opens() {
        let group = group();
        assert_eq!(group.end(), 47);
        let file = group.seal().unwrap();
        let opened = Group::open(40, &file).unwrap();
        assert_eq!(opened.end(), 47);
        assert_eq!(opened.entries.iter().map(|entry| entry.time).collect::<Vec<_>>(), [5, 5, -7]);
        for (one, other) in group.entries.iter().zip(&opened.entries) {
            match (&one.rows, &other.rows) {
                (Rows::Lines(one), Rows::Lines(other)) => assert_eq!(one, other),
                (Rows::Bad(one), Rows::Bad(other)) => assert_eq!(one, other),
                _ => panic!("another kind of rows"),
            }
        }
    }

    #[test]
    fn damage_is_seen() {
        let file = group().seal().unwrap();
        assert!(matches!(Group::open(41, &file), Err(Damage::Content)));
        for end in 0..file.len() {
            assert!(matches!(Group::open(40, &file.slice(..end)), Err(Damage::Torn(_))), "{end}");
        }
        let mut flipped = file.to_vec();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(matches!(Group::open(40, &flipped.into()), Err(Damage::Checksum)));
    }

    #[test]
    fn a_file_that_does_not_add_up_is_none() {
        for (head, body) in [
            (r#"{"start":40,"entries":[{"time":0,"bytes":2}]}"#, "a\nb\n"),
            (r#"{"start":40,"entries":[{"time":0,"bytes":9}]}"#, "a\nb\n"),
            (r#"{"start":40,"entries":[{"time":0,"bytes":3}]}"#, "a\nb"),
            (r#"{"start":40,"entries":[{"time":0,"bytes":0}]}"#, ""),
            ("{}", ""),
        ] {
            let parts = [Bytes::from(format!("{head}\n")), Bytes::from(body)];
            assert!(matches!(Group::open(40, &checkpoint::sealed(KIND, &parts)), Err(Damage::Content)), "{head}");
        }
    }
}
