//! What becomes of files that are processed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::listing::Found;

/// What becomes of a file after its rows are processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// It stays.
    Keep,
    /// It is moved to this folder.
    Archive(PathBuf),
    /// It is removed.
    Delete,
}

/// What became of a file.
pub(super) struct Cleaned {
    /// It is not there any more, so a file of that name is a new one.
    pub gone: PathBuf,
    /// Where it is now.
    pub archived: Option<PathBuf>,
}

impl After {
    /// Cleans up as far as that works; a file that stays is no reason to fail.
    pub(super) fn clean(&self, source: &str, files: Vec<Found>) -> Vec<Cleaned> {
        files.into_iter().filter_map(|file| self.clean_file(source, file)).collect()
    }

    fn clean_file(&self, source: &str, file: Found) -> Option<Cleaned> {
        if *self == Self::Keep {
            return None;
        }
        match self.take_away(&file) {
            Ok(archived) => Some(Cleaned { gone: file.path, archived }),
            Err(error) => {
                let what = if *self == Self::Delete { "deleted" } else { "archived" };
                tracing::warn!(source, "the file `{}` was read but cannot be {what}: {error}", file.path.display());
                None
            }
        }
    }

    /// Moves or removes a file; gives where it is then, if anywhere.
    fn take_away(&self, file: &Found) -> io::Result<Option<PathBuf>> {
        // What was written since has not been read: to remove it would lose it.
        if !file.is_unchanged()? {
            return Err(io::Error::other("it has changed since it was found; it stays, and is not read again"));
        }
        match self {
            Self::Keep => Ok(None),
            Self::Archive(folder) => archive(&file.path, folder).map(Some),
            Self::Delete => fs::remove_file(&file.path).map(|()| None),
        }
    }
}

/// Moves a file to a folder, under its name or one with a number; gives where it is then.
fn archive(file: &Path, folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let target = free_name(file, folder)?;
    match fs::rename(file, &target) {
        Ok(()) => Ok(target),
        // To another disk.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(file, &target)?;
            fs::remove_file(file)?;
            Ok(target)
        }
        Err(error) => Err(error),
    }
}

/// `report.txt`, or `report-1.txt`, `report-2.txt`, ... if that is taken.
fn free_name(file: &Path, folder: &Path) -> io::Result<PathBuf> {
    let Some(name) = file.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let mut target = folder.join(name);
    let mut number = 0_u64;
    while target.try_exists()? {
        number += 1;
        let mut numbered = file.file_stem().unwrap_or(name).to_owned();
        numbered.push(format!("-{number}"));
        if let Some(extension) = file.extension() {
            numbered.push(".");
            numbered.push(extension);
        }
        target = folder.join(numbered);
    }
    Ok(target)
}
