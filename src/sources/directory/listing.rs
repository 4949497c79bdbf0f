//! Finds files.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use glob::{MatchOptions, PatternError};

/// Where files are looked for.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In a folder; or the one file of that path.
    Folder(PathBuf),
    /// By a pattern. The folders before its first wildcard are as the user wrote them, the others
    /// are found, and so are hidden ones.
    Pattern {
        pattern: String,
        /// How many folders there are before the first wildcard.
        written: usize,
    },
}

/// A file, as it was when it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub path: PathBuf,
    pub length: u64,
    pub modified: SystemTime,
}

impl Found {
    fn new(path: PathBuf, metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { path, length: metadata.len(), modified: metadata.modified()? })
    }

    /// Whether the file of that name is still as it was found.
    pub(super) fn is_unchanged(&self) -> io::Result<bool> {
        let now = fs::metadata(&self.path)?;
        Ok(now.len() == self.length && now.modified()? == self.modified)
    }

    /// When it was last changed, in milliseconds since the epoch.
    pub(super) fn modified_millis(&self) -> i64 {
        match self.modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        }
    }
}

const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

impl Place {
    /// A path as the user wrote it.
    pub(super) fn parse(path: &str) -> Result<Self, PatternError> {
        if !path.contains(['*', '?', '[']) {
            return Ok(Self::Folder(PathBuf::from(path)));
        }
        glob::Pattern::new(path)?;
        let is_wild = |part: &Component<'_>| part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
        let written = parts(Path::new(path)).take_while(|part| !is_wild(part)).count();
        Ok(Self::Pattern { pattern: path.to_owned(), written })
    }

    /// The files that are not known yet, in no order. `None` if the folder does not exist.
    pub(super) fn list(&self, known: &HashSet<PathBuf>) -> io::Result<Option<Vec<Found>>> {
        match self {
            Self::Folder(folder) => list_folder(folder, known),
            Self::Pattern { pattern, written } => list_pattern(pattern, *written, known).map(Some),
        }
    }
}

fn list_folder(folder: &Path, known: &HashSet<PathBuf>) -> io::Result<Option<Vec<Found>>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let file = [folder.to_owned()].into_iter().filter(|path| !known.contains(path));
            return file.filter_map(|path| look(path).transpose()).collect::<io::Result<Vec<_>>>().map(Some);
        }
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if is_hidden(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        if !known.contains(&path) {
            files.extend(look(path)?);
        }
    }
    Ok(Some(files))
}

fn list_pattern(pattern: &str, written: usize, known: &HashSet<PathBuf>) -> io::Result<Vec<Found>> {
    let mut files = Vec::new();
    for path in glob::glob_with(pattern, MATCHING).map_err(io::Error::other)? {
        let path = match path {
            Ok(path) => path,
            Err(error) => {
                tracing::debug!("a folder cannot be listed: {error}");
                continue;
            }
        };
        let hidden = parts(&path).skip(written).any(|part| is_hidden(&part.as_os_str().to_string_lossy()));
        if !hidden && !known.contains(&path) {
            files.extend(look(path)?);
        }
    }
    Ok(files)
}

/// The file at a path; `None` if it is none, or is gone already.
fn look(path: PathBuf) -> io::Result<Option<Found>> {
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Found::new(path, &metadata).map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The parts of a path without `.`, which comes and goes when paths are put together.
fn parts(path: &Path) -> impl Iterator<Item = Component<'_>> {
    path.components().filter(|part| *part != Component::CurDir)
}

/// A file that is still being written, or one that tells about the others.
fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}
