//! Says in which line of which file a bad row is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use memchr::memchr_iter;

use crate::formats::BadRows;

/// How much of a file is read at a time to count its lines.
const COUNT_BYTES: usize = 256 << 10;

/// The lines of one file, which are counted only if a row of it is bad: the blocks of a large file
/// are decoded side by side, none of them knows how many lines are before it.
#[derive(Debug)]
pub(super) struct Numbering {
    path: PathBuf,
    /// How many lines end before a byte of the file, for the bytes that were asked for. Shared by
    /// the blocks of the file, so that even many bad rows do not make each of them count from the start.
    known: Mutex<BTreeMap<u64, u64>>,
}

impl Numbering {
    /// No line is counted yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), known: Mutex::default() }
    }

    /// Tells in the reasons of bad rows where they are. Their lines are those of a piece of the file
    /// that starts at byte `start`, and become those of the file.
    pub(super) fn locate(&self, bad_rows: &mut BadRows, start: u64) {
        if bad_rows.is_empty() {
            return;
        }
        // A file that is gone meanwhile still has its name.
        let before = self.lines_before(start).ok();
        let path = self.path.display();
        for row in &mut bad_rows.samples {
            row.line = row.line.zip(before).map(|(line, before)| line + before);
            let line = row.line.map_or_else(String::new, |line| format!("line {line} of "));
            row.reason = format!("{line}`{path}`: {}", row.reason);
        }
    }

    fn lines_before(&self, byte: u64) -> io::Result<u64> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, mut lines) = known.range(..=byte).next_back().map_or((0, 0), |(at, lines)| (*at, *lines));
        if start == byte {
            return Ok(lines);
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(start))?;
        let mut rest = file.take(byte - start);
        let mut buffer = vec![0; COUNT_BYTES];
        loop {
            let read = rest.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            lines += memchr_iter(b'\n', buffer.get(..read).unwrap_or_default()).count() as u64;
        }
        known.insert(byte, lines);
        Ok(lines)
    }
}
