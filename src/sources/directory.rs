//! `directory`: the files of a folder, each one once.

mod clean;
mod files;
mod listing;
mod numbering;
mod range;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::clean::After;
use self::files::{DirectorySource, Reading};
use self::listing::Place;
use self::range::Decoding;
use super::{CheckedSource, Replay, Resource, Source, SourceContext, SourceError, SourceFactory, SourceSettings};
use crate::diagnostic::codes;
use crate::formats::InputFormat;
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::kind::Settings;
use crate::spec::{Check, Duration, Size};

/// The column with the path of the file that a row comes from.
const FILE_COLUMN: &str = "file";

/// The files of a folder, each one once: those that are there, then new ones as they appear. A file
/// is known by its path, so one that grows or is replaced is not read again. Write a file under a
/// name that starts with `.` or `_`, which is ignored, and rename it when it is complete. The rows
/// have the columns of the format, and `file`, the path of their file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// A folder, whose files are read without those of its subfolders; or a pattern for files such
    /// as `/data/*/in-*.json`, where `*` stands for any part of a name and `**` for any folders.
    /// Relative to the working directory.
    pub path: String,
    /// How a file's bytes become rows; `text` by default.
    #[serde(default)]
    pub format: InputFormat,
    /// Which files the first run begins with: `earliest` (the default) reads what is there,
    /// `latest` only what appears from then on.
    #[serde(default)]
    pub start: Start,
    /// How many files a batch has at most; no limit by default.
    #[schemars(range(min = 1))]
    pub max_files_per_batch: Option<u64>,
    /// How many bytes the files of a batch have together at most; no limit by default. A larger
    /// file has a batch of its own.
    pub max_bytes_per_batch: Option<Size>,
    /// A file is read only if it was last changed at least this long ago, for writers that cannot
    /// rename; 0s by default.
    #[serde(default = "default_min_age")]
    pub min_age: Duration,
    /// What becomes of a file after its rows are processed: `none` (the default) leaves it,
    /// `archive` moves it to the folder `archive`, `delete` removes it. A file that has changed since
    /// it was found stays.
    #[serde(default)]
    pub clean: Clean,
    /// The folder that `clean: archive` moves files to. It is made if it is not there. A name that
    /// is taken gets a number.
    pub archive: Option<String>,
}

/// Which files the first run begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Those that are there.
    #[default]
    Earliest,
    /// Those that appear from then on.
    Latest,
}

/// What becomes of a file after its rows are processed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clean {
    /// It stays.
    #[default]
    None,
    /// It is moved to another folder.
    Archive,
    /// It is removed.
    Delete,
}

fn default_min_age() -> Duration {
    Duration::from_millis(0)
}

impl Settings for Directory {
    const KIND: &'static str = "directory";
    const SUMMARY: &'static str = "the files of a folder, each one once, then new ones as they appear";
}

impl SourceSettings for Directory {
    fn schema(&self) -> Option<Schema> {
        let mut schema = self.format.schema();
        if schema.column(FILE_COLUMN).is_none() {
            schema.columns.push(Column::new(FILE_COLUMN, ColumnType::String));
        }
        Some(schema)
    }

    fn check(self: Box<Self>, check: &mut Check<'_>) -> Option<CheckedSource> {
        let before = check.findings.len();
        let place = self.place(check);
        let after = self.after(check);
        self.check_limits(check);
        let name = self.format.name();
        let decoder = self
            .format
            .decoder()
            .map_err(|error| check.report(codes::INVALID_VALUE, &["format", name], error.to_string(), None));
        let (place, after, decoder) = (place?, after?, decoder.ok()?);
        if check.findings.len() > before {
            return None;
        }
        let schema = self.schema()?;
        let decoding = Decoding::new(&self.format, decoder);
        let reading = Reading {
            place,
            path: self.path.clone(),
            max_files: self.max_files_per_batch.unwrap_or(u64::MAX),
            max_bytes: self.max_bytes_per_batch.map_or(u64::MAX, Size::as_bytes),
            min_age: i64::try_from(self.min_age.as_millis()).unwrap_or(i64::MAX),
            after,
            decoding: Arc::new(decoding),
        };
        Some(CheckedSource {
            schema,
            resources: vec![Resource::ReadPath(self.path, "path")],
            feed: None,
            format: Some(self.format),
            replay: Replay::Same,
            factory: Arc::new(Factory { reading: Arc::new(reading), start: self.start }),
        })
    }
}

impl Directory {
    fn place(&self, check: &mut Check<'_>) -> Option<Place> {
        if self.path.is_empty() {
            let help = Some("write `.` for the working directory".to_owned());
            check.report(codes::INVALID_VALUE, &["path"], "`path` is empty", help);
            return None;
        }
        if let Some((scheme, _)) = self.path.split_once("://") {
            let message = format!("`{scheme}://` cannot be read, only folders of this machine");
            let help = Some("write a path such as `/data/orders`".to_owned());
            check.report(codes::INVALID_VALUE, &["path"], message, help);
            return None;
        }
        match Place::parse(&self.path) {
            Ok(place) => Some(place),
            Err(error) => {
                let message = format!("`{}` is no pattern: {}", self.path, error.msg);
                let help = Some("a `[` that is part of a name is written `[[]`".to_owned());
                check.report(codes::INVALID_VALUE, &["path"], message, help);
                None
            }
        }
    }

    fn after(&self, check: &mut Check<'_>) -> Option<After> {
        match (self.clean, &self.archive) {
            (Clean::None, None) => Some(After::Keep),
            (Clean::Delete, None) => Some(After::Delete),
            (Clean::Archive, Some(folder)) if same_folder(folder, &self.path) => {
                let message = "files cannot be moved to the folder that they are read from";
                check.report(codes::INVALID_VALUE, &["archive"], message, None);
                None
            }
            (Clean::Archive, Some(folder)) => Some(After::Archive(PathBuf::from(folder))),
            (Clean::Archive, None) => {
                let help = Some("add `archive: ` with the path of a folder".to_owned());
                check.report(codes::MISSING_KEY, &["clean"], "`clean: archive` needs the key `archive`", help);
                None
            }
            (_, Some(_)) => {
                let help = Some("write `clean: archive`, or remove `archive`".to_owned());
                check.report(
                    codes::CONFLICTING_KEYS,
                    &["archive"],
                    "`archive` has a meaning only with `clean: archive`",
                    help,
                );
                None
            }
        }
    }

    fn check_limits(&self, check: &mut Check<'_>) {
        let limits = [
            ("max_files_per_batch", self.max_files_per_batch == Some(0)),
            ("max_bytes_per_batch", self.max_bytes_per_batch.is_some_and(|size| size.as_bytes() == 0)),
        ];
        for (key, is_zero) in limits {
            if is_zero {
                let help = Some("leave it out for no limit".to_owned());
                check.report(codes::INVALID_VALUE, &[key], format!("with `{key}` at 0 nothing would be read"), help);
            }
        }
    }
}

/// Whether two paths are the same as written, apart from `./` and a slash at the end.
fn same_folder(one: &str, other: &str) -> bool {
    let plain =
        |path: &str| Path::new(path).components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
    plain(one) == plain(other)
}

struct Factory {
    reading: Arc<Reading>,
    start: Start,
}

#[async_trait]
impl SourceFactory for Factory {
    async fn build(&self, context: SourceContext, resume: Option<Value>) -> Result<Box<dyn Source>, SourceError> {
        let source = DirectorySource::build(Arc::clone(&self.reading), self.start, &context, resume.as_ref()).await?;
        Ok(Box::new(source))
    }

    fn advance(&self, mut position: Value, moved: Value) -> Value {
        let list = |key: &str| moved.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        if let Some(taken) = position.get_mut("taken").and_then(Value::as_array_mut) {
            let gone: HashSet<Value> = list("gone").into_iter().collect();
            taken.retain(|entry| gone.is_empty() || !gone.contains(files::path_of(entry)));
            taken.extend(list("taken"));
        }
        position
    }
}
