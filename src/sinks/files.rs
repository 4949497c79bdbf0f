//! `files`: each batch becomes a folder of part files.
//!
//! A batch appears as a whole or not at all. Its parts are written into a hidden folder beside the
//! place where the batch belongs, and that folder is renamed when everything is on the disk:
//!
//! ```text
//! .batch=1000.tmp-4711   being written, or left by a process that died
//! .batch=1000.old-4711   replaced by a rerun, about to be deleted
//! batch=1000             complete
//! ```

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf, is_separator};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Batch, CheckedSink, Partition, Sink, SinkContext, SinkError, SinkFactory, SinkSettings, each_partition};
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
        Some(CheckedSink { resources, factory: Arc::new(FilesFactory { settings: *self, layout }) })
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
            let finished = written.and_then(|parts| match (parts, empty) {
                (0, EmptyBatches::Skip) => place.withdraw(),
                _ => place.publish(),
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
    /// How many part files were written.
    async fn write_parts(&self, folder: &Path, partitions: Vec<Partition>) -> Result<usize, SinkError> {
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
        Ok(written?.into_iter().filter(|wrote| *wrote).count())
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
    async fn write(&self, index: usize, mut rows: Partition) -> Result<bool, SinkError> {
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
        match part {
            Some(part) => part.finish().map(|()| true),
            None => Ok(false),
        }
    }

    fn create(&self, index: usize) -> Result<Part, SinkError> {
        let path = self.folder.join(format!("part-{index:05}.{}", self.format.extension()));
        let file = attempt("create", &path, File::create(&path))?;
        let out = attempt("open", &path, file.try_clone())?;
        let writer = self
            .format
            .writer(Arc::clone(&self.schema), Box::new(BufWriter::new(out)))
            .map_err(|error| write_error(&path, error))?;
        Ok(Part { path, file, writer })
    }
}

/// A part file under way.
struct Part {
    path: PathBuf,
    /// For the sync at the end; the writer has its own handle.
    file: File,
    writer: Box<dyn WriteRows>,
}

impl Part {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        self.writer.write(batch).map_err(|error| write_error(&self.path, error))
    }

    fn finish(self) -> Result<(), SinkError> {
        self.writer.finish().map_err(|error| write_error(&self.path, error))?;
        attempt("write", &self.path, self.file.sync_all())
    }
}

/// How the folders of batches are called: `<folder>/<prefix><time><suffix>`.
#[derive(Clone, Debug)]
struct Layout {
    folder: PathBuf,
    prefix: String,
    suffix: String,
}

impl Layout {
    fn in_folder(path: &str) -> Option<Self> {
        let layout = Self { folder: path.into(), prefix: "batch=".to_owned(), suffix: String::new() };
        (!path.trim().is_empty()).then_some(layout)
    }

    fn with_prefix(path: &str, suffix: Option<&str>) -> Option<Self> {
        let name = Path::new(path).file_name()?.to_str()?;
        let folder = match Path::new(path).parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let suffix = suffix.map_or_else(String::new, |suffix| format!(".{suffix}"));
        Some(Self { folder: folder.to_owned(), prefix: format!("{name}-"), suffix })
    }

    fn place(&self, time: i64) -> Place {
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
    fn prepare(&self) -> Result<(), SinkError> {
        attempt("create the folder", &self.folder, fs::create_dir_all(&self.folder))?;
        self.clean_up()?;
        // Named as what a clean-up removes, should this process die right here.
        let probe = self.place(0).unfinished;
        attempt("write into the folder", &self.folder, fs::create_dir(&probe))?;
        remove(&probe)
    }

    /// The latest time of a batch that is there.
    fn last_time(&self) -> Option<i64> {
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
struct Place {
    folder: PathBuf,
    target: PathBuf,
    unfinished: PathBuf,
    replaced: PathBuf,
}

impl Place {
    /// Shows the batch. An earlier version is gone for the moment between two renames only, and
    /// comes back if the second one fails.
    fn publish(&self) -> Result<(), SinkError> {
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
    fn withdraw(&self) -> Result<(), SinkError> {
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
fn start(folder: &Path) -> Result<(), SinkError> {
    remove(folder)?;
    attempt("create the folder", folder, fs::create_dir_all(folder))
}

/// Removes a folder with all that is in it, if it is there.
fn remove(folder: &Path) -> Result<(), SinkError> {
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

fn attempt<T>(verb: &str, path: &Path, result: io::Result<T>) -> Result<T, SinkError> {
    result.map_err(|error| SinkError::io(format!("cannot {verb} `{}`", path.display()), error))
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::super::testing::{check, columns, failing, open, words, words_schema};
    use super::*;

    const BATCH: Batch = Batch { id: 0, time: 1_000 };

    async fn sink_in(folder: &TempDir, name: &str, more: &str) -> Box<dyn Sink> {
        let path = folder.path().join(name);
        let settings = format!("{{ path: '{}'{more} }}", path.display());
        open("files", &settings, &words_schema()).await.unwrap().0
    }

    /// Every file below a folder, hidden ones too, and every empty folder, with a `/` at its end.
    fn tree(folder: &Path) -> Vec<String> {
        fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
            let entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            let name = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
            if entries.is_empty() && folder != root {
                found.push(name(folder) + "/");
            }
            for path in entries {
                if path.is_dir() { walk(&path, root, found) } else { found.push(name(&path)) }
            }
        }
        let mut found = Vec::new();
        walk(folder, folder, &mut found);
        found.sort();
        found
    }

    fn read(folder: &TempDir, file: &str) -> String {
        fs::read_to_string(folder.path().join(file)).unwrap()
    }

    #[tokio::test]
    async fn a_folder_per_batch_and_a_file_per_partition_with_rows() {
        let folder = TempDir::new().unwrap();
        let mut sink = sink_in(&folder, "a/out", "").await;
        sink.write(BATCH, vec![words(&[("a", 1), ("b", 2)]), words(&[]), words(&[("c", 3)])]).await.unwrap();
        sink.write(Batch { id: 1, time: 2_000 }, vec![words(&[("d", 4)])]).await.unwrap();
        let expected = [
            "a/out/batch=1000/part-00000.json",
            "a/out/batch=1000/part-00002.json",
            "a/out/batch=2000/part-00000.json",
        ];
        assert_eq!(tree(folder.path()), expected);
        let rows = "{\"word\":\"a\",\"count\":1}\n{\"word\":\"b\",\"count\":2}\n";
        assert_eq!(read(&folder, expected[0]), rows);
    }

    #[tokio::test]
    async fn spark_names() {
        let folder = TempDir::new().unwrap();
        let mut plain = sink_in(&folder, "counts", ", naming: prefix, format: text").await;
        plain.write(BATCH, vec![words(&[("a", 1)])]).await.unwrap();
        let mut suffixed = sink_in(&folder, "totals", ", naming: prefix, suffix: txt, format: text").await;
        suffixed.write(BATCH, vec![words(&[("a", 1)])]).await.unwrap();
        assert_eq!(tree(folder.path()), ["counts-1000/part-00000.txt", "totals-1000.txt/part-00000.txt"]);
        assert_eq!(read(&folder, "counts-1000/part-00000.txt"), "(a,1)\n");
    }

    #[tokio::test]
    async fn a_rerun_replaces() {
        let folder = TempDir::new().unwrap();
        let mut sink = sink_in(&folder, "out", "").await;
        sink.write(BATCH, vec![words(&[("a", 1)]), words(&[("b", 2)])]).await.unwrap();
        sink.write(BATCH, vec![words(&[("c", 3)])]).await.unwrap();
        assert_eq!(tree(folder.path()), ["out/batch=1000/part-00000.json"]);
        assert_eq!(read(&folder, "out/batch=1000/part-00000.json"), "{\"word\":\"c\",\"count\":3}\n");
        sink.write(BATCH, vec![words(&[])]).await.unwrap();
        assert_eq!(tree(folder.path()), ["out/"]);
    }

    #[tokio::test]
    async fn empty_batches() {
        let folder = TempDir::new().unwrap();
        sink_in(&folder, "skipped", "").await.write(BATCH, vec![words(&[])]).await.unwrap();
        let mut sink = sink_in(&folder, "written", ", empty_batches: write").await;
        sink.write(BATCH, vec![]).await.unwrap();
        assert_eq!(tree(folder.path()), ["skipped/", "written/batch=1000/"]);
    }

    #[tokio::test]
    async fn a_failure_leaves_nothing_visible() {
        let folder = TempDir::new().unwrap();
        let mut sink = sink_in(&folder, "out", "").await;
        let error = sink.write(BATCH, vec![words(&[("a", 1)]), failing(&[("b", 2)])]).await.unwrap_err();
        assert_eq!(error.to_string(), "the source is gone");
        assert_eq!(tree(folder.path()), ["out/"]);
        sink.write(BATCH, vec![words(&[("a", 1)])]).await.unwrap();
        sink.write(BATCH, vec![failing(&[("b", 2)])]).await.unwrap_err();
        assert_eq!(read(&folder, "out/batch=1000/part-00000.json"), "{\"word\":\"a\",\"count\":1}\n");
        assert_eq!(tree(folder.path()), ["out/batch=1000/part-00000.json"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_failure_waits_for_the_other_workers() {
        let folder = TempDir::new().unwrap();
        let mut sink = sink_in(&folder, "out", "").await;
        let rows: Vec<(&str, i64)> = (0..200).map(|i| ("w", i)).collect();
        for _ in 0..20 {
            let mut partitions: Vec<Partition> = (0..8).map(|_| words(&rows)).collect();
            partitions.push(failing(&[("b", 2)]));
            sink.write(BATCH, partitions).await.unwrap_err();
            assert_eq!(tree(folder.path()), ["out/"]);
        }
    }

    #[tokio::test]
    async fn leftovers_are_removed_and_nothing_else() {
        let folder = TempDir::new().unwrap();
        let stay = [".batch=x.tmp-7/f", ".batch=9.tmp-me/f", ".hidden/f", "batch=3/new", "batch=8/f", "other.tmp-7/f"];
        for file in stay.into_iter().chain([".batch=3.tmp-7/f", ".batch=3.old-7/old", ".batch=4.old-7/old"]) {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        sink_in(&folder, "", "").await;
        // Batch 4 was set aside and never replaced.
        let mut expected: Vec<&str> = stay.into_iter().chain(["batch=4/old"]).collect();
        expected.sort_unstable();
        assert_eq!(tree(folder.path()), expected);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_named() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let settings = format!("{{ path: '{}/out' }}", file.display());
        let error = open("files", &settings, &words_schema()).await.err().unwrap().to_string();
        assert!(error.starts_with(&format!("cannot create the folder `{}/out`: ", file.display())), "{error}");
    }

    #[test]
    fn settings_are_checked() {
        let maps = columns(&[("m", "map<long, long>")]);
        for (settings, schema, code) in [
            ("{}", words_schema(), codes::MISSING_KEY),
            ("{ path: out, formt: json }", words_schema(), codes::UNKNOWN_KEY),
            ("{ path: out }", maps, codes::SCHEMA_MISMATCH),
            ("{ path: '' }", words_schema(), codes::INVALID_VALUE),
            ("{ path: /, naming: prefix }", words_schema(), codes::INVALID_VALUE),
            ("{ path: 's3://bucket/out' }", words_schema(), codes::INVALID_VALUE),
            ("{ path: out, suffix: txt }", words_schema(), codes::CONFLICTING_KEYS),
            ("{ path: out, naming: prefix, suffix: a/b }", words_schema(), codes::INVALID_VALUE),
        ] {
            let (_, findings) = check("files", settings, &schema);
            let found: Vec<&str> = findings.iter().map(|finding| finding.code.name()).collect();
            assert_eq!(found, [code.name()], "{settings}");
        }
        let (checked, findings) = check("files", "{ path: out, naming: prefix, suffix: txt }", &words_schema());
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!(checked.unwrap().resources, [Resource::WritePath("out".to_owned(), "path")]);
    }
}
