//! `files`: each batch becomes a folder of part files.
//!
//! A batch appears as a whole or not at all. Its parts are written into a hidden folder beside the
//! place where the batch belongs, and `layout.rs` renames that folder when everything is on the disk. A
//! manifest in the folder says what it holds; readers do not need it, since no part appears before the others.

mod layout;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf, is_separator};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use self::layout::{Layout, attempt, remove, start};
use super::{
    Batch, CheckedSink, Partition, Rewrite, Sink, SinkContext, SinkError, SinkFactory, SinkSettings, each_partition,
};
use crate::diagnostic::codes;
use crate::formats::{FormatError, OutputFormat, WriteRows};
use crate::schema::Schema;
use crate::sources::Resource;
use crate::spec::Check;
use crate::spec::kind::Settings;

/// Writes each batch into a folder of its own, one file per partition that has rows. A folder
/// appears when it is complete; a batch that is run again replaces its folder.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The local folder that gets a folder per batch; with `naming: prefix`, what the names of the
    /// batches' folders begin with. Folders above are made where they are missing.
    #[schemars(example = "./out/counts")]
    pub path: String,
    /// How rows are written: `text`, `json` (the default), `csv` or `parquet`.
    #[serde(default)]
    pub format: OutputFormat,
    /// How the folders of batches are named.
    #[serde(default)]
    pub naming: Naming,
    /// With `naming: prefix`, what the folders' names end with, after a dot.
    pub suffix: Option<String>,
    /// Whether a batch without rows gets a folder.
    #[serde(default)]
    pub empty_batches: EmptyBatches,
}

/// How the folders of batches are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Naming {
    /// `path/batch=1578832040000`, the batch's time in milliseconds: a partitioned table, as many
    /// tools read it.
    #[default]
    Batch,
    /// `path-1578832040000`, or `path-1578832040000.suffix`: Spark's `saveAsTextFiles`.
    Prefix,
}

/// What becomes of a batch without rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmptyBatches {
    /// It gets no folder.
    #[default]
    Skip,
    /// It gets an empty folder.
    Write,
}

impl Settings for Files {
    const KIND: &'static str = "files";
    const SUMMARY: &'static str = "writes each batch into a folder of files";
}

impl SinkSettings for Files {
    fn check(self: Box<Self>, check: &mut Check<'_>, schema: &Schema) -> Option<CheckedSink> {
        self.check_suffix(check);
        if let Err(message) = self.format.check(schema) {
            let help = "choose another `format`, or bring the columns into shape in a step before";
            check.report(codes::SCHEMA_MISMATCH, &["format"], message, Some(help.to_owned()));
        }
        let layout = self.layout(check)?;
        let resources = vec![Resource::WritePath(self.path.clone(), "path")];
        Some(CheckedSink {
            resources,
            rewrite: Rewrite::Replaces,
            factory: Arc::new(FilesFactory { settings: *self, layout }),
        })
    }
}

impl Files {
    fn check_suffix(&self, check: &mut Check<'_>) {
        let Some(suffix) = &self.suffix else { return };
        if self.naming != Naming::Prefix {
            let help = "add `naming: prefix`, or leave `suffix` out".to_owned();
            check.report(codes::CONFLICTING_KEYS, &["suffix"], "`suffix` needs `naming: prefix`", Some(help));
        }
        if suffix.is_empty() || suffix.contains(is_separator) {
            let message = format!("`{suffix}` cannot end the name of a folder");
            check.report(codes::INVALID_VALUE, &["suffix"], message, None);
        }
    }

    fn layout(&self, check: &mut Check<'_>) -> Option<Layout> {
        if self.path.contains("://") {
            let message = format!("`{}` is no local folder", self.path);
            let help = "write a path without a scheme, e.g. `./out`".to_owned();
            check.report(codes::INVALID_VALUE, &["path"], message, Some(help));
            return None;
        }
        let layout = match self.naming {
            Naming::Batch => Layout::in_folder(&self.path),
            Naming::Prefix => Layout::with_prefix(&self.path, self.suffix.as_deref()),
        };
        if layout.is_none() {
            let help = "write a path, e.g. `./out/counts`".to_owned();
            check.report(codes::INVALID_VALUE, &["path"], format!("`{}` names no folder", self.path), Some(help));
        }
        layout
    }
}

struct FilesFactory {
    settings: Files,
    layout: Layout,
}

#[async_trait]
impl SinkFactory for FilesFactory {
    /// The sink must be the only one of this path: what others are writing looks left over.
    async fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>, SinkError> {
        let layout = self.layout.clone();
        blocking(move || layout.prepare()).await?;
        Ok(Box::new(FilesSink {
            layout: self.layout.clone(),
            format: self.settings.format.clone(),
            schema: context.schema,
            empty_batches: self.settings.empty_batches,
        }))
    }
}

struct FilesSink {
    layout: Layout,
    format: OutputFormat,
    schema: SchemaRef,
    empty_batches: EmptyBatches,
}

#[async_trait]
impl Sink for FilesSink {
    fn last_time(&self) -> Option<i64> {
        self.layout.last_time()
    }

    async fn write(&mut self, batch: Batch, partitions: Vec<Partition>) -> Result<(), SinkError> {
        let place = self.layout.place(batch.time);
        let unfinished = place.unfinished.clone();
        blocking(move || start(&unfinished)).await?;
        let written = self.write_parts(&place.unfinished, partitions).await;
        let empty = self.empty_batches;
        blocking(move || {
            let finished = written.and_then(|parts| match (parts.as_slice(), empty) {
                ([], EmptyBatches::Skip) => place.withdraw(),
                _ => write_manifest(&place.unfinished, batch, &parts).and_then(|()| place.publish()),
            });
            if finished.is_err() {
                // The error matters more than what is left behind: the next start removes that.
                let _ = remove(&place.unfinished);
            }
            finished
        })
        .await
    }
}

impl FilesSink {
    /// The part files that were written.
    async fn write_parts(&self, folder: &Path, partitions: Vec<Partition>) -> Result<Vec<Written>, SinkError> {
        let parts = Arc::new(Parts {
            folder: folder.to_owned(),
            format: self.format.clone(),
            schema: Arc::clone(&self.schema),
        });
        let (working, mut all_stopped) = mpsc::channel::<()>(1);
        let written = each_partition(partitions, move |index, rows| {
            let (parts, working) = (Arc::clone(&parts), working.clone());
            async move {
                let wrote = parts.write(index, rows).await;
                drop(working);
                wrote
            }
        })
        .await;
        // After an error others may be in the middle of a write: the folder must not go under them.
        // Nothing is ever sent; the channel closes with the last worker.
        all_stopped.recv().await;
        Ok(written?.into_iter().flatten().collect())
    }
}

/// The part files of a batch.
struct Parts {
    folder: PathBuf,
    format: OutputFormat,
    schema: SchemaRef,
}

impl Parts {
    /// Writes the partition's file. Without rows there is none.
    async fn write(&self, index: usize, mut rows: Partition) -> Result<Option<Written>, SinkError> {
        let mut part: Option<Part> = None;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            let part = match &mut part {
                Some(part) => part,
                none => none.insert(self.create(index)?),
            };
            part.write(&batch)?;
        }
        part.map(Part::finish).transpose()
    }

    fn create(&self, index: usize) -> Result<Part, SinkError> {
        let path = self.folder.join(format!("part-{index:05}.{}", self.format.extension()));
        let file = attempt("create", &path, File::create(&path))?;
        let out = attempt("open", &path, file.try_clone())?;
        let writer = self
            .format
            .writer(Arc::clone(&self.schema), Box::new(BufWriter::new(out)))
            .map_err(|error| write_error(&path, error))?;
        Ok(Part { path, file, writer, rows: 0 })
    }
}

/// A part file under way.
struct Part {
    path: PathBuf,
    /// For the sync at the end; the writer has its own handle.
    file: File,
    writer: Box<dyn WriteRows>,
    rows: u64,
}

/// A part file as the manifest lists it.
#[derive(Debug, Serialize)]
struct Written {
    name: String,
    rows: u64,
    bytes: u64,
}

/// The file beside the parts that says what the batch is. Its name starts as that of a file that readers of
/// folders pass over.
const MANIFEST: &str = "_manifest.json";

fn write_manifest(folder: &Path, batch: Batch, parts: &[Written]) -> Result<(), SinkError> {
    let rows: u64 = parts.iter().map(|part| part.rows).sum();
    let manifest = serde_json::json!({ "batch": batch.id, "time": batch.time, "rows": rows, "files": parts });
    let path = folder.join(MANIFEST);
    let mut file = attempt("create", &path, File::create(&path))?;
    attempt("write", &path, file.write_all(manifest.to_string().as_bytes()))?;
    attempt("write", &path, file.sync_all())
}

impl Part {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(|error| write_error(&self.path, error))
    }

    fn finish(self) -> Result<Written, SinkError> {
        self.writer.finish().map_err(|error| write_error(&self.path, error))?;
        attempt("write", &self.path, self.file.sync_all())?;
        let bytes = attempt("look at", &self.path, self.file.metadata())?.len();
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Written { name, rows: self.rows, bytes })
    }
}

fn write_error(path: &Path, error: FormatError) -> SinkError {
    match error {
        FormatError::Io(error) => SinkError::io(format!("cannot write `{}`", path.display()), error),
        error => error.into(),
    }
}

/// Runs what waits for the disk where waiting is allowed.
async fn blocking(work: impl FnOnce() -> Result<(), SinkError> + Send + 'static) -> Result<(), SinkError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SinkError::Internal(error.to_string()))?
}
