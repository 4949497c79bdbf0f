//! The folders of batches: what they are called, how one appears as a whole, and what is removed
//! after a process that died.
//!
//! ```text
//! .batch=1000.tmp-4711   being written, or left by a process that died
//! .batch=1000.old-4711   replaced by a rerun, about to be deleted
//! batch=1000             complete
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::sinks::SinkError;

/// How the folders of batches are called: `<folder>/<prefix><time><suffix>`.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    folder: PathBuf,
    prefix: String,
    suffix: String,
}

impl Layout {
    /// `folder/batch=1000`; `None` where the path names no folder.
    pub(super) fn in_folder(path: &str) -> Option<Self> {
        let layout = Self { folder: path.into(), prefix: "batch=".to_owned(), suffix: String::new() };
        (!path.trim().is_empty()).then_some(layout)
    }

    /// `path-1000` or `path-1000.suffix`; `None` where the path ends with no name.
    pub(super) fn with_prefix(path: &str, suffix: Option<&str>) -> Option<Self> {
        let name = Path::new(path).file_name()?.to_str()?;
        let folder = match Path::new(path).parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let suffix = suffix.map_or_else(String::new, |suffix| format!(".{suffix}"));
        Some(Self { folder: folder.to_owned(), prefix: format!("{name}-"), suffix })
    }

    /// The place of the batch of that time.
    pub(super) fn place(&self, time: i64) -> Place {
        let name = format!("{}{time}{}", self.prefix, self.suffix);
        let process = std::process::id();
        Place {
            unfinished: self.folder.join(format!(".{name}.tmp-{process}")),
            replaced: self.folder.join(format!(".{name}.old-{process}")),
            target: self.folder.join(name),
            folder: self.folder.clone(),
        }
    }

    /// Makes sure that batches can be written, and cleans up after processes that died.
    pub(super) fn prepare(&self) -> Result<(), SinkError> {
        attempt("create the folder", &self.folder, fs::create_dir_all(&self.folder))?;
        self.clean_up()?;
        // Named as what a clean-up removes, should this process die right here.
        let probe = self.place(0).unfinished;
        attempt("write into the folder", &self.folder, fs::create_dir(&probe))?;
        remove(&probe)
    }

    /// The latest time of a batch that is there.
    pub(super) fn last_time(&self) -> Option<i64> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let times = entries.filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix(&self.prefix)?.strip_suffix(&self.suffix)?.parse().ok()
        });
        times.max()
    }

    fn clean_up(&self) -> Result<(), SinkError> {
        for entry in attempt("list", &self.folder, fs::read_dir(&self.folder))? {
            let name = attempt("list", &self.folder, entry)?.file_name();
            let Some((target, state)) = name.to_str().and_then(|name| self.leftover(name)) else { continue };
            let (left, target) = (self.folder.join(&name), self.folder.join(target));
            if state == "old" && !attempt("look for", &target, target.try_exists())? {
                // Its process died between the two renames: what stood there stands there again.
                attempt("restore", &target, fs::rename(&left, &target))?;
            } else {
                remove(&left)?;
            }
        }
        Ok(())
    }

    /// Splits `.<target>.<tmp|old>-<process>`; `None` for everything that is not ours.
    fn leftover<'a>(&self, name: &'a str) -> Option<(&'a str, &'a str)> {
        let (target, made) = name.strip_prefix('.')?.rsplit_once('.')?;
        let (state, process) = made.split_once('-')?;
        let time = target.strip_prefix(&self.prefix)?.strip_suffix(&self.suffix)?;
        let ours = matches!(state, "tmp" | "old") && process.parse::<u32>().is_ok() && time.parse::<i64>().is_ok();
        ours.then_some((target, state))
    }
}

/// Where a batch's folder belongs, and what it is called before and after.
pub(super) struct Place {
    folder: PathBuf,
    target: PathBuf,
    /// What its parts are written into.
    pub unfinished: PathBuf,
    replaced: PathBuf,
}

impl Place {
    /// Shows the batch. An earlier version is gone for the moment between two renames only, and
    /// comes back if the second one fails.
    pub(super) fn publish(&self) -> Result<(), SinkError> {
        sync_folder(&self.unfinished)?;
        let replaces = self.set_aside()?;
        if let Err(error) = fs::rename(&self.unfinished, &self.target) {
            if replaces {
                // Should this fail too, the next start does it.
                let _ = fs::rename(&self.replaced, &self.target);
            }
            return attempt("create", &self.target, Err(error));
        }
        self.settle(replaces)
    }

    /// Leaves nothing of the batch, nor of an earlier version of it.
    pub(super) fn withdraw(&self) -> Result<(), SinkError> {
        remove(&self.unfinished)?;
        let removes = self.set_aside()?;
        if removes { self.settle(true) } else { Ok(()) }
    }

    /// Hides what stands at the target; false if nothing does.
    fn set_aside(&self) -> Result<bool, SinkError> {
        remove(&self.replaced)?;
        match fs::rename(&self.target, &self.replaced) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            result => attempt("replace", &self.target, result).map(|()| true),
        }
    }

    fn settle(&self, replaced: bool) -> Result<(), SinkError> {
        sync_folder(&self.folder)?;
        if replaced {
            // The batch is what it should be already; what is left here, the next start removes.
            let _ = remove(&self.replaced);
        }
        Ok(())
    }
}

/// An empty folder, also where an earlier try left something.
pub(super) fn start(folder: &Path) -> Result<(), SinkError> {
    remove(folder)?;
    attempt("create the folder", folder, fs::create_dir_all(folder))
}

/// Removes a folder with all that is in it, if it is there.
pub(super) fn remove(folder: &Path) -> Result<(), SinkError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => attempt("remove", folder, result),
    }
}

/// Names of files are on the disk only when their folder is synced. Other systems than Unix cannot.
fn sync_folder(folder: &Path) -> Result<(), SinkError> {
    if cfg!(unix) {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        return attempt("sync the folder", folder, synced);
    }
    Ok(())
}

/// Says what was tried, and with what.
pub(super) fn attempt<T>(verb: &str, path: &Path, result: io::Result<T>) -> Result<T, SinkError> {
    result.map_err(|error| SinkError::io(format!("cannot {verb} `{}`", path.display()), error))
}
