//! Files by name in a folder of an object store: each is there as a whole or not at all.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{self, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::{Path, PathPart};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use super::CheckpointError;
use super::error::{io_error, reason};

/// How often something is tried before it is an error.
const TRIES: usize = 5;
/// The wait before the second try; it doubles with each try after that.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A folder of an object store. What fails and may pass is tried again, a few times.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The same folder as the operating system knows it, if it is one of this machine.
    local: Option<PathBuf>,
}

impl Store {
    /// A folder of this machine; it need not be there yet. What is written to it outlasts a power cut.
    pub fn local(folder: &path::Path) -> Result<Self, CheckpointError> {
        let refuse = |reason: String| CheckpointError::Path { folder: folder.display().to_string(), reason };
        let full = full_name(folder).map_err(|error| refuse(error.to_string()))?;
        let prefix = Path::from_absolute_path(&full).map_err(|error| refuse(error.to_string()))?;
        Ok(Self { objects: Arc::new(LocalFileSystem::new()), prefix, local: Some(full) })
    }

    /// A folder of any other object store. It is not locked: see to it that one process writes to it.
    #[must_use]
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { objects, prefix, local: None }
    }

    /// A folder in this one. Of the name, what a path cannot hold is escaped.
    #[must_use]
    pub fn folder(&self, name: &str) -> Self {
        let part = PathPart::from(name);
        let escaped: &str = part.as_ref();
        let local = self.local.as_ref().map(|folder| folder.join(escaped));
        Self { objects: Arc::clone(&self.objects), prefix: self.prefix.clone().join(part), local }
    }

    /// Where a file is, for people.
    #[must_use]
    pub fn place(&self, name: &str) -> String {
        format!("{self}/{name}")
    }

    /// Writes a file, in place of one that may be there. Once this returns it is there to stay.
    pub async fn write(&self, name: &str, bytes: Bytes) -> Result<(), CheckpointError> {
        let (location, local) = (self.location(name), self.local.as_ref().map(|folder| folder.join(name)));
        let payload = PutPayload::from(bytes);
        let write = || async {
            self.objects.put(&location, payload.clone()).await?;
            match local.clone() {
                // Within the try, because after a sync that failed only writing again is safe.
                Some(file) => blocking(move || sync(&file)).await,
                None => Ok(()),
            }
        };
        self.attempt("write", name, write).await
    }

    /// A file's content; `None` if it is not there.
    pub async fn read(&self, name: &str) -> Result<Option<Bytes>, CheckpointError> {
        let location = self.location(name);
        let read = || async {
            match self.objects.get(&location).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.attempt("read", name, read).await
    }

    /// The names of the files right in a folder, sorted; none if it is not there.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, CheckpointError> {
        let location = self.location(folder);
        let found = self.attempt("list", folder, || self.objects.list_with_delimiter(Some(&location))).await?;
        let names = found.objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Deletes a file if it is there.
    pub async fn delete(&self, name: &str) -> Result<(), CheckpointError> {
        let location = self.location(name);
        let delete = || async {
            match self.objects.delete(&location).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                result => result,
            }
        };
        self.attempt("delete", name, delete).await
    }

    /// Makes the folder, if it is one of this machine, and removes what writes have left that were cut off.
    /// Only who holds the lock of the checkpoint that it is in may do this.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub async fn prepare(&self) -> Result<(), CheckpointError> {
        self.create(&[""]).await?;
        self.sweep(&[""]).await
    }

    /// Makes folders of a local store; other stores have none.
    pub(super) async fn create(&self, folders: &[&str]) -> Result<(), CheckpointError> {
        self.in_folders("create", folders, create_folder).await
    }

    /// Removes what writes have left that were cut off; only who holds the lock may do this.
    pub(super) async fn sweep(&self, folders: &[&str]) -> Result<(), CheckpointError> {
        self.in_folders("clean up", folders, sweep_folder).await
    }

    /// The folder, if it is one of this machine.
    pub(super) fn local_folder(&self) -> Option<&path::Path> {
        self.local.as_deref()
    }

    async fn in_folders(
        &self,
        verb: &'static str,
        folders: &[&str],
        work: fn(&path::Path) -> io::Result<()>,
    ) -> Result<(), CheckpointError> {
        let Some(local) = &self.local else { return Ok(()) };
        for name in folders {
            let folder = local.join(name);
            let attempt = || {
                let folder = folder.clone();
                blocking(move || work(&folder))
            };
            self.attempt(verb, name, attempt).await?;
        }
        Ok(())
    }

    fn location(&self, name: &str) -> Path {
        let parts = name.split('/').filter(|part| !part.is_empty());
        parts.fold(self.prefix.clone(), |path, part| path.join(part))
    }

    async fn attempt<T, F, Fut>(&self, verb: &'static str, name: &str, work: F) -> Result<T, CheckpointError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, object_store::Error>>,
    {
        let place = self.place(name);
        let result = retry(verb, &place, work).await;
        result.map_err(|source| CheckpointError::Store { verb, place, source: Box::new(source) })
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.local {
            Some(folder) => write!(f, "{}", folder.display()),
            None => write!(f, "{}/{}", self.objects, self.prefix),
        }
    }
}

/// Tries again what may pass, after a wait that grows.
async fn retry<T, F, Fut>(verb: &str, place: &str, work: F) -> Result<T, object_store::Error>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, object_store::Error>>,
{
    let waits =
        ExponentialBuilder::default().with_min_delay(FIRST_WAIT).with_max_delay(LONGEST_WAIT).with_max_times(TRIES - 1);
    work.retry(waits)
        .when(may_pass)
        .notify(|error: &object_store::Error, wait: Duration| {
            tracing::warn!("cannot {verb} `{place}`, the next try is in {wait:?}: {}", reason(error));
        })
        .await
}

/// Whether the outside world may be better in a moment.
fn may_pass(error: &object_store::Error) -> bool {
    use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
    let stays = |error: &io::Error| matches!(error.kind(), NotADirectory | PermissionDenied | ReadOnlyFilesystem);
    matches!(error, object_store::Error::Generic { .. }) && !io_error(error).is_some_and(stays)
}

/// An error of the operating system as the store has them.
pub(super) fn local_error(source: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "local folder", source: Box::new(source) }
}

/// Does what waits for the disk on a thread that may wait.
async fn blocking<W>(work: W) -> Result<(), object_store::Error>
where
    W: FnOnce() -> io::Result<()> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await?.map_err(local_error)
}

/// The folder's full name, without symbolic links; the end of it need not be there yet.
fn full_name(folder: &path::Path) -> io::Result<PathBuf> {
    let folder = path::absolute(folder)?;
    match (folder.canonicalize(), folder.parent(), folder.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(full_name(parent)?.join(name))
        }
        (result, ..) => result,
    }
}

/// Makes a folder and those above it, so that they outlast a power cut.
fn create_folder(folder: &path::Path) -> io::Result<()> {
    let Some(parent) = folder.parent().filter(|_| !folder.is_dir()) else { return Ok(()) };
    create_folder(parent)?;
    match fs::create_dir(folder) {
        // Another process was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result?,
    }
    sync_folder(parent)
}

/// The store writes `<name>#<number>` and renames it.
fn sweep_folder(folder: &path::Path) -> io::Result<()> {
    let is_digit = |letter: char| letter.is_ascii_digit();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| Some(name.rsplit_once('#')?.1));
        if number.is_some_and(|number| !number.is_empty() && number.chars().all(is_digit)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Brings a file and its name to the disk; the store itself only renames.
fn sync(file: &path::Path) -> io::Result<()> {
    File::options().write(true).open(file)?.sync_all()?;
    file.parent().map_or(Ok(()), sync_folder)
}

/// Names of files are on the disk only when their folder is synced. Other systems than Unix cannot.
fn sync_folder(folder: &path::Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use object_store::memory::InMemory;
    use tempfile::tempdir;

    use super::*;

    #[tokio::test]
    async fn files_are_written_read_listed_and_deleted() {
        let folder = tempdir().unwrap();
        let local = Store::local(&folder.path().join("not/there yet")).unwrap();
        let memory = Store::new(Arc::new(InMemory::new()), Path::from("checkpoints"));
        for store in [local, memory] {
            let store = store.folder("word count");
            assert_eq!(store.list("commits").await.unwrap(), [""; 0]);
            assert_eq!(store.read("commits/2").await.unwrap(), None);
            store.write("commits/2", Bytes::from_static(b"two")).await.unwrap();
            store.write("commits/1", Bytes::from_static(b"on")).await.unwrap();
            store.write("commits/1", Bytes::from_static(b"one")).await.unwrap();
            store.write("metadata", Bytes::new()).await.unwrap();
            assert_eq!(store.list("commits").await.unwrap(), ["1", "2"]);
            assert_eq!(store.folder("commits").list("").await.unwrap(), ["1", "2"]);
            store.folder("more").prepare().await.unwrap();
            assert_eq!(store.read("commits/1").await.unwrap().unwrap(), "one");
            assert_eq!(store.read("metadata").await.unwrap().unwrap(), "");
            store.delete("commits/2").await.unwrap();
            store.delete("commits/2").await.unwrap();
            assert_eq!(store.list("commits").await.unwrap(), ["1"]);
        }
        assert_eq!(fs::read(folder.path().join("not/there yet/word count/commits/1")).unwrap(), b"one");
    }

    #[tokio::test]
    async fn odd_names_of_folders_stay_in_their_place() {
        let folder = tempdir().unwrap();
        // What stands before `..` is not there, so nobody can say where it leads.
        let error = Store::local(&folder.path().join("a/../b")).unwrap_err().to_string();
        assert!(error.contains("a/../b` cannot hold a checkpoint: "), "{error}");
        let store = Store::local(&folder.path().join("50% of ~#1")).unwrap().folder("../größe#2");
        store.create(&["commits"]).await.unwrap();
        store.write("commits/1", Bytes::from_static(b"one")).await.unwrap();
        assert_eq!(store.read("commits/1").await.unwrap().unwrap(), "one");
        assert_eq!(store.list("commits").await.unwrap(), ["1"]);
        assert_eq!(fs::read_dir(folder.path().join("50% of ~#1")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_was_cut_off_is_swept_away() {
        let folder = tempdir().unwrap();
        let store = Store::local(folder.path()).unwrap();
        store.create(&["commits"]).await.unwrap();
        for name in ["1", "2#1", "2#10", "mine#"] {
            fs::write(folder.path().join("commits").join(name), name).unwrap();
        }
        store.sweep(&["commits"]).await.unwrap();
        let left = fs::read_dir(folder.path().join("commits")).unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["1", "mine#"]);
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again() {
        let tries = AtomicUsize::new(0);
        let broken = || object_store::Error::Generic { store: "test", source: "no answer".into() };
        let work = || async { if tries.fetch_add(1, Ordering::Relaxed) < 2 { Err(broken()) } else { Ok("done") } };
        assert_eq!(retry("read", "x", work).await.unwrap(), "done");
        assert_eq!(tries.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn what_is_forbidden_is_tried_once() {
        let tries = AtomicUsize::new(0);
        let work = || async {
            tries.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(local_error(io::ErrorKind::PermissionDenied.into()))
        };
        assert!(retry("write", "x", work).await.is_err());
        assert_eq!(tries.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn an_error_names_the_full_path() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("commits"), "a file").unwrap();
        let store = Store::local(folder.path()).unwrap();
        let error = store.create(&["commits/more"]).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot create `{store}/commits/more`: ")), "{error}");
    }
}
