//! What the tests of the log share.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult,
};
use tokio::sync::Semaphore;

use super::*;
use crate::checkpoint::Store;
use crate::sources::Block;

/// A log in memory.
pub fn memory() -> Store {
    Store::new(Arc::new(InMemory::new()), Path::from("received"))
}

/// A context with that log.
pub fn with_log(store: &Store) -> SourceContext {
    SourceContext { log: Some(store.clone()), ..context().0 }
}

/// A run of the source that goes on from there.
pub async fn start(context: &SourceContext, resume: Option<&Offset>) -> (BlockSender, ReceiverSource) {
    let (sender, receiver) = open(context, resume).await.unwrap();
    let mut stop = sender.clone();
    let task = async move {
        stop.stopped().await;
        Ok(())
    };
    (sender, receiver.run(decoder(), None, task))
}

/// Why a run cannot start.
pub async fn refusal(store: &Store, resume: u64) -> String {
    let opened = open(&with_log(store), Some(&Offset::from(resume))).await;
    opened.err().unwrap().to_string()
}

/// The lines of the next batch that takes everything, and its end.
pub async fn batch(source: &mut ReceiverSource) -> (Vec<String>, Offset) {
    let start = Offset::from(source.receiver.last);
    let end = source.latest(ALL).await.unwrap();
    (texts(&source.read(&start, &end).await.unwrap()), end)
}

/// The lines of the blocks, and the rows that were left out, in the order of the stream.
pub fn all_rows(blocks: &[Block]) -> Vec<String> {
    let mut rows = Vec::new();
    for block in blocks {
        rows.extend(texts(std::slice::from_ref(block)));
        for piece in block.content.open(&[0]).unwrap() {
            let bad_rows = piece.unwrap().bad_rows.samples;
            rows.extend(bad_rows.iter().map(|row| String::from_utf8_lossy(&row.raw).into_owned()));
        }
    }
    rows
}

/// A store in memory that lets files through one by one, or refuses them.
#[derive(Debug)]
pub struct Gate {
    objects: InMemory,
    begun: AtomicUsize,
    open: Semaphore,
    refuses: AtomicBool,
}

impl Gate {
    /// Lets so many files through.
    pub fn new(files: usize) -> Arc<Self> {
        Arc::new(Self {
            objects: InMemory::new(),
            begun: AtomicUsize::new(0),
            open: Semaphore::new(files),
            refuses: AtomicBool::new(false),
        })
    }

    /// The log behind it.
    pub fn store(self: &Arc<Self>) -> Store {
        let objects: Arc<dyn ObjectStore> = Arc::<Self>::clone(self);
        Store::new(objects, Path::from("received"))
    }

    /// Lets more files through.
    pub fn open(&self, files: usize) {
        self.open.add_permits(files);
    }

    /// Refuses every file from now on.
    pub fn refuse(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    /// Returns once so many files were begun.
    pub async fn has_begun(&self, files: usize) {
        while self.begun.load(Ordering::Relaxed) < files {
            tokio::task::yield_now().await;
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gate")
    }
}

#[async_trait]
impl ObjectStore for Gate {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        if self.refuses.load(Ordering::Relaxed) {
            let source = "the disk is full".into();
            return Err(object_store::Error::PermissionDenied { path: location.to_string(), source });
        }
        self.open.acquire().await.unwrap().forget();
        self.objects.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
