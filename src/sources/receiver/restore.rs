//! Reads what an earlier run has received and not processed.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::group::{Entry, Group};
use super::log::file_name;
use super::queue::Received;
use crate::checkpoint::{CheckpointError, Damage, Store};
use crate::sources::SourceError;

/// What an earlier run has left.
#[derive(Default)]
pub(super) struct Restored {
    /// Up to here it is processed.
    pub start: u64,
    /// Where the stream goes on.
    pub end: u64,
    /// What is in between.
    pub blocks: VecDeque<Received>,
    /// Which parts of the stream the files hold, in order; also those that are processed.
    pub files: VecDeque<Range<u64>>,
}

impl Restored {
    /// Nothing that has to be processed.
    pub fn nothing(start: u64) -> Self {
        Self { start, end: start, ..Self::default() }
    }

    /// Takes up a file, without what is processed.
    fn take_up(&mut self, group: Group, now: i64) {
        let (start, end) = (group.start, group.end());
        let mut begin = start;
        for Entry { time, rows } in group.entries {
            let mut block = Received::earlier(time.min(now), begin, rows);
            begin = block.end();
            if begin <= self.start {
                continue;
            }
            if block.start < self.start {
                drop(block.take_bytes(self.start - block.start));
            }
            self.blocks.push_back(block);
        }
        self.files.push_back(start..end);
        self.end = self.end.max(end);
    }
}

/// Reads the log of a source, which has been processed up to `resume`. What was received when the clock was
/// ahead counts as received `now`.
///
/// # Errors
/// When the log cannot be read, or when it lacks what it must have.
pub(super) async fn restore(
    store: &Store,
    source: &str,
    resume: Option<u64>,
    now: i64,
) -> Result<Restored, SourceError> {
    let starts = list(store).await?;
    let start = resume.or(starts.first().copied()).unwrap_or(0);
    if resume.is_none() && start > 0 {
        tracing::warn!(source, "it is not known how far `{store}` is processed: all that it holds is taken up");
    }
    let mut restored = Restored::nothing(start);
    // The last file that begins there or before may reach beyond it; those before that one do not.
    let processed = starts.partition_point(|begin| *begin <= start).saturating_sub(1);
    let following = starts.iter().skip(1);
    restored.files = starts.iter().zip(following).take(processed).map(|(begin, end)| *begin..*end).collect();
    let mut read_to: Option<u64> = None;
    for begin in starts.iter().copied().skip(processed) {
        let place = store.place(&file_name(begin));
        if read_to.map_or(begin > start, |end| begin != end) {
            let last = read_to.unwrap_or(start);
            let what = format!("`{place}` should begin at {last} of the stream, so a file before it is missing");
            return Err(refuse(store, &what));
        }
        let Some(file) = store.read(&file_name(begin)).await.map_err(unreadable)? else {
            if read_to.is_none() && begin < start {
                // An earlier version of the source is still deleting what is processed.
                continue;
            }
            return Err(refuse(store, &format!("`{place}` {}", Damage::Missing)));
        };
        match Group::open(begin, &file) {
            Ok(group) => {
                read_to = Some(group.end());
                restored.take_up(group, now);
            }
            // Nothing of it was part of a batch: for that, the file must have been written as a whole.
            Err(Damage::Torn(bytes)) if starts.last() == Some(&begin) && begin >= start => {
                tracing::warn!(
                    source,
                    "`{place}` was being written when the earlier run ended: its {bytes} bytes are dropped"
                );
            }
            Err(damage @ Damage::Format(_)) => {
                return Err(SourceError::Lost(format!("`{place}` {damage}; run the streamrun that wrote it")));
            }
            Err(damage) => return Err(refuse(store, &format!("`{place}` {damage}"))),
        }
    }
    Ok(restored)
}

/// Where the files begin, in order. Files of other names are somebody else's.
async fn list(store: &Store) -> Result<Vec<u64>, SourceError> {
    let names = store.list("").await.map_err(unreadable)?;
    let start = |name: &String| name.parse::<u64>().ok().filter(|start| file_name(*start) == *name);
    Ok(names.iter().filter_map(start).collect())
}

fn unreadable(error: CheckpointError) -> SourceError {
    SourceError::io("cannot read what an earlier run has received", io::Error::other(error))
}

fn refuse(store: &Store, what: &str) -> SourceError {
    SourceError::Lost(format!(
        "what an earlier run has received cannot be read: {what}; restore the file, or move `{store}` away to go on \
         without it: what was received and not processed is lost then"
    ))
}
