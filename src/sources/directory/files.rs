//! The running source: which files there are, and how far they are processed.

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Start;
use super::clean::After;
use super::listing::{Found, Place};
use super::range::Decoding;
use crate::sources::{Block, Clock, Limit, Offset, Source, SourceContext, SourceError};

/// What is read, and how.
#[derive(Debug)]
pub(super) struct Reading {
    pub place: Place,
    /// As the user wrote it.
    pub path: String,
    pub max_files: u64,
    pub max_bytes: u64,
    /// In milliseconds.
    pub min_age: i64,
    pub after: After,
    pub decoding: Arc<Decoding>,
}

/// Files are numbered from 1 in the order in which they were found; an offset is `{"files": n}`.
pub(super) struct DirectorySource {
    reading: Arc<Reading>,
    name: String,
    clock: Arc<dyn Clock>,
    available_now: bool,
    /// Found and not committed, in order.
    files: VecDeque<Found>,
    /// How many files were committed.
    committed: u64,
    /// How many files were handed out.
    handed: u64,
    /// The paths of all files that need not be found any more.
    seen: Arc<HashSet<PathBuf>>,
    /// Those that the last commit has moved away or deleted.
    gone: Vec<PathBuf>,
    /// The folder was listed at least once.
    listed: bool,
    /// The user knows that the folder does not exist.
    warned: bool,
}

impl DirectorySource {
    /// Starts, after the files that an earlier version took.
    pub(super) async fn build(
        reading: Arc<Reading>,
        start: Start,
        context: &SourceContext,
        resume: Option<&Value>,
    ) -> Result<Self, SourceError> {
        let taken = resume.and_then(|resume| taken(resume, &reading.path));
        let is_first = taken.is_none();
        let left: Vec<Found> = taken.iter().flatten().filter_map(read_file).collect();
        let taken: HashSet<PathBuf> = taken.iter().flatten().filter_map(|entry| read_path(path_of(entry))).collect();
        let mut source = Self {
            reading,
            name: context.name.clone(),
            clock: Arc::clone(&context.clock),
            available_now: context.available_now,
            files: VecDeque::new(),
            committed: 0,
            handed: 0,
            seen: Arc::new(taken),
            gone: Vec::new(),
            listed: false,
            warned: false,
        };
        source.clean_left(left).await?;
        if is_first && start == Start::Latest {
            let old = source.list().await?;
            Arc::make_mut(&mut source.seen).extend(old.into_iter().map(|file| file.path));
        }
        Ok(source)
    }

    /// The files that are not known yet.
    async fn list(&mut self) -> Result<Vec<Found>, SourceError> {
        let (place, seen) = (self.reading.place.clone(), Arc::clone(&self.seen));
        let listed = tokio::task::spawn_blocking(move || place.list(&seen))
            .await
            .map_err(|error| SourceError::Lost(format!("internal error, please report it: {error}")))?;
        let path = &self.reading.path;
        match listed {
            Ok(Some(files)) => Ok(files),
            Ok(None) => {
                if !std::mem::replace(&mut self.warned, true) {
                    let then = "its files are read as soon as it does";
                    tracing::warn!(source = %self.name, "the folder `{path}` does not exist; {then}");
                }
                Ok(Vec::new())
            }
            Err(error) => Err(SourceError::io(format!("cannot list the files of `{path}`"), error)),
        }
    }

    /// Adds new files that are old enough.
    async fn discover(&mut self) -> Result<(), SourceError> {
        let mut files = self.list().await?;
        if self.reading.min_age > 0 {
            let newest = self.clock.now().saturating_sub(self.reading.min_age);
            files.retain(|file| file.modified_millis() <= newest);
        }
        files.sort_by(|a, b| (a.modified, &a.path).cmp(&(b.modified, &b.path)));
        Arc::make_mut(&mut self.seen).extend(files.iter().map(|file| file.path.clone()));
        self.files.extend(files);
        self.listed = true;
        Ok(())
    }

    /// Where file number `number + 1` stands in the list.
    fn index(&self, number: u64) -> usize {
        usize::try_from(number.saturating_sub(self.committed)).unwrap_or(usize::MAX)
    }

    /// How many files of the list are up to `end`.
    fn index_of(&self, end: &Offset) -> usize {
        self.index(files(end).unwrap_or(self.committed))
    }

    /// The files up to `end` that are not committed.
    fn up_to(&self, end: &Offset) -> impl Iterator<Item = &Found> {
        self.files.iter().take(self.index_of(end))
    }

    /// A file that was taken, as a part of a position.
    fn entry(&self, file: &Found) -> Value {
        if self.reading.after == After::Keep { write_path(&file.path) } else { write_file(file) }
    }

    /// Cleans up what an earlier run has taken and not come to clean up, and forgets the names of files that
    /// are gone: new ones may come under them.
    async fn clean_left(&mut self, left: Vec<Found>) -> Result<(), SourceError> {
        if self.reading.after == After::Keep {
            return Ok(());
        }
        self.clean(left.into_iter().filter(|file| file.is_unchanged().unwrap_or(false)).collect()).await?;
        let seen = Arc::clone(&self.seen);
        let there = tokio::task::spawn_blocking(move || {
            seen.iter().filter(|path| path.exists()).cloned().collect::<HashSet<PathBuf>>()
        });
        let there =
            there.await.map_err(|error| SourceError::Lost(format!("internal error, please report it: {error}")))?;
        self.seen = Arc::new(there);
        self.gone.clear();
        Ok(())
    }

    async fn clean(&mut self, done: Vec<Found>) -> Result<(), SourceError> {
        let (reading, name) = (Arc::clone(&self.reading), self.name.clone());
        let cleaned = tokio::task::spawn_blocking(move || reading.after.clean(&name, done))
            .await
            .map_err(|error| SourceError::Lost(format!("internal error, please report it: {error}")))?;
        let seen = Arc::make_mut(&mut self.seen);
        for file in cleaned {
            seen.remove(&file.gone);
            self.gone.push(file.gone);
            // Should the pattern find it there, it is no new file.
            seen.extend(file.archived);
        }
        Ok(())
    }

    fn hand_out(&mut self) {
        let (mut files, mut bytes) = (0, 0_u64);
        while let Some(next) = self.files.get(self.index(self.handed)) {
            bytes = bytes.saturating_add(next.length);
            if files == self.reading.max_files || (files > 0 && bytes > self.reading.max_bytes) {
                break;
            }
            files += 1;
            self.handed += 1;
        }
    }

    /// The files up to `end` leave the list.
    fn take_committed(&mut self, end: u64) -> Vec<Found> {
        let mut done = Vec::new();
        while self.committed < end.min(self.handed) {
            self.committed += 1;
            done.extend(self.files.pop_front());
        }
        done
    }
}

#[async_trait]
impl Source for DirectorySource {
    fn start(&self) -> Offset {
        json!({ "files": 0 })
    }

    async fn latest(&mut self, _limit: Limit) -> Result<Offset, SourceError> {
        if !(self.available_now && self.listed) {
            self.discover().await?;
        }
        self.hand_out();
        Ok(json!({ "files": self.handed }))
    }

    async fn read(&mut self, start: &Offset, end: &Offset) -> Result<Vec<Block>, SourceError> {
        let (start, end) = (files(start)?, files(end)?);
        if start < self.committed || end > self.handed {
            return Err(SourceError::Lost(format!("the files {start} to {end} are not in the list any more")));
        }
        let range = self.files.iter().take(self.index(end)).skip(self.index(start));
        Ok(range.flat_map(|file| self.reading.decoding.blocks(file)).collect())
    }

    async fn commit(&mut self, end: &Offset) -> Result<(), SourceError> {
        let done = self.take_committed(files(end)?);
        if self.reading.after == After::Keep || done.is_empty() {
            return Ok(());
        }
        // Those before are written down: what was just committed says so.
        self.gone.clear();
        self.clean(done).await
    }

    /// The path, and the files that were taken: `build` leaves these out.
    fn position(&self, end: &Offset) -> Value {
        let open = self.files.iter().skip(self.index_of(end));
        let open: HashSet<&PathBuf> = open.map(|file| &file.path).collect();
        let mut taken: Vec<&PathBuf> = self.seen.iter().filter(|path| !open.contains(path)).collect();
        taken.sort_unstable();
        // With their sizes and times, so that another run can clean up what this one has not.
        let new: HashSet<&PathBuf> = self.up_to(end).map(|file| &file.path).collect();
        let old = taken.into_iter().filter(|path| !new.contains(path)).map(|path| write_path(path));
        let taken: Vec<Value> = old.chain(self.up_to(end).map(|file| self.entry(file))).collect();
        json!({ "path": self.reading.path, "taken": taken })
    }

    fn moved(&self, end: &Offset) -> Option<Value> {
        let taken: Vec<Value> = self.up_to(end).map(|file| self.entry(file)).collect();
        let gone: Vec<Value> = self.gone.iter().map(|path| write_path(path)).collect();
        // The first position says also which files were there before the start.
        (self.committed > 0).then(|| json!({ "taken": taken, "gone": gone }))
    }

    fn plan(&self, end: &Offset) -> Value {
        let files: Vec<Value> = self.up_to(end).map(write_file).collect();
        json!({ "files": files })
    }

    async fn replan(&mut self, planned: &Value) -> Result<Offset, SourceError> {
        let written = planned.get("files").and_then(Value::as_array);
        let files: Option<Vec<Found>> = written.and_then(|files| files.iter().map(read_file).collect());
        let files = files.ok_or_else(|| SourceError::Lost(format!("`{planned}` is no list of files")))?;
        Arc::make_mut(&mut self.seen).extend(files.iter().map(|file| file.path.clone()));
        self.handed += files.len() as u64;
        self.files.extend(files);
        Ok(json!({ "files": self.handed }))
    }

    fn is_finished(&self) -> bool {
        self.available_now && self.listed && self.index(self.handed) == self.files.len()
    }
}

fn files(offset: &Offset) -> Result<u64, SourceError> {
    offset.get("files").and_then(Offset::as_u64).ok_or_else(|| {
        SourceError::Lost(format!("internal error, please report it: `{offset}` is no offset of a directory"))
    })
}

/// The files that an earlier version took, if it read the same path.
fn taken(resume: &Value, path: &str) -> Option<Vec<Value>> {
    if resume.get("path")?.as_str()? != path {
        return None;
    }
    resume.get("taken")?.as_array().cloned()
}

/// The path of a file that was taken.
pub(super) fn path_of(entry: &Value) -> &Value {
    // A path that is not UTF-8 is an object, too, with another key.
    entry.get("path").unwrap_or(entry)
}

/// A file as it was when it was found.
fn write_file(file: &Found) -> Value {
    let modified = file.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "path": write_path(&file.path),
        "length": file.length,
        "modified": [modified.as_secs(), modified.subsec_nanos()],
    })
}

fn read_file(written: &Value) -> Option<Found> {
    let modified = written.get("modified")?.as_array()?;
    let (seconds, nanos) = (modified.first()?.as_u64()?, modified.get(1)?.as_u64()?);
    let modified = UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(nanos).ok()?))?;
    Some(Found { path: read_path(written.get("path")?)?, length: written.get("length")?.as_u64()?, modified })
}

/// A path as a part of a position: its text, or its bytes where it is not UTF-8.
fn write_path(path: &Path) -> Value {
    match path.to_str() {
        Some(text) => Value::from(text),
        None => serde_json::to_value(path.as_os_str()).unwrap_or_default(),
    }
}

fn read_path(written: &Value) -> Option<PathBuf> {
    match written.as_str() {
        Some(text) => Some(PathBuf::from(text)),
        None => OsString::deserialize(written).ok().map(PathBuf::from),
    }
}
