//! `streamrun checkpoint`: whose a checkpoint is and how far it is, whether it is whole, and less of it.
//! Only `prune` takes the lock; the others write nothing, and the pipeline may run meanwhile.

use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::state::Written;
use super::{DONE, FAILED, Threads, USAGE, print, print_error};
use crate::checkpoint::{self, Checkpoint, CheckpointError, Damage, FileReport, History, Inspection, Recovered, Store};
use crate::diagnostic::suggest;
use crate::formats::FormatError;

/// The component of a source is this and its name.
const SOURCE: &str = "source/";
/// A position that is longer is cut.
const LONGEST_POSITION: usize = 100;

#[derive(Debug, Args)]
pub(super) struct CheckpointArgs {
    #[command(subcommand)]
    command: CheckpointCommand,
}

#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    /// Show whose checkpoint it is, how far the sources are and how much the steps keep
    Info(LookArgs),
    /// Check every file, and say whether the pipeline can go on
    Verify(LookArgs),
    /// Delete what is older than needed; the pipeline must not run
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
struct LookArgs {
    /// The checkpoint's folder (`./checkpoints/wordcount`), or the folder above it if it holds only this one
    checkpoint: PathBuf,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Args)]
struct PruneArgs {
    /// The checkpoint's folder (`./checkpoints/wordcount`), or the folder above it if it holds only this one
    checkpoint: PathBuf,
    /// How many batches before the last one can still be gone back to, as `checkpoint.retain` in the pipeline
    #[arg(long, value_name = "N")]
    keep: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines of text, for a terminal
    Human,
    /// One JSON object, for scripts
    Json,
}

/// Answers, or prunes; the exit code.
pub(super) fn checkpoint(args: &CheckpointArgs) -> u8 {
    answer(async {
        match &args.command {
            CheckpointCommand::Info(args) => info(args).await,
            CheckpointCommand::Verify(args) => verify(args).await,
            CheckpointCommand::Prune(args) => prune(args).await,
        }
    })
}

/// Why there is no answer, and the exit code for that.
#[derive(Debug)]
pub(super) struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    /// The question was wrong.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { code: USAGE, message: message.into() }
    }

    /// The question was right, and there is no answer.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { code: FAILED, message: message.into() }
    }
}

impl From<CheckpointError> for Stop {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Absent { .. } | CheckpointError::Path { .. } => Self::usage(error.to_string()),
            error => Self::failed(error.to_string()),
        }
    }
}

impl From<FormatError> for Stop {
    fn from(error: FormatError) -> Self {
        Self::failed(format!("the rows cannot be written: {error}"))
    }
}

impl From<ArrowError> for Stop {
    fn from(error: ArrowError) -> Self {
        FormatError::from(error).into()
    }
}

/// Does the work of a subcommand, and says why if there is no answer; the exit code.
pub(super) fn answer(work: impl Future<Output = Result<u8, Stop>>) -> u8 {
    let threads = match Threads::start(1) {
        Ok(threads) => threads,
        Err(error) => {
            print_error(&format!("streamrun: cannot start threads: {error}\n"));
            return FAILED;
        }
    };
    let result = threads.io.block_on(work);
    threads.shut_down();
    result.unwrap_or_else(|Stop { code, message }| {
        print_error(&format!("streamrun: {message}\n"));
        code
    })
}

/// The checkpoint at a path: the folder itself, or the only one in it.
pub(super) fn locate(path: &Path) -> Result<Store, Stop> {
    if is_checkpoint(path) {
        return Ok(Store::local(path)?);
    }
    let folder = path.display().to_string();
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(CheckpointError::Absent { folder }.into());
        }
        Err(error) => return Err(Stop::usage(format!("cannot look into `{folder}`: {error}"))),
    };
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_checkpoint(path)).collect();
    found.sort_unstable();
    match found.as_slice() {
        [] => Err(CheckpointError::Absent { folder }.into()),
        [only] => Ok(Store::local(only)?),
        several => {
            let names: Vec<String> = several.iter().map(|path| format!("`{}`", path.display())).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let all = suggest::list(&names);
            Err(Stop::usage(format!("`{folder}` holds {} checkpoints: {all}; name one of them", several.len())))
        }
    }
}

/// Also one whose metadata are lost is a checkpoint.
fn is_checkpoint(folder: &Path) -> bool {
    folder.join("metadata").is_file() || folder.join("commits").is_dir()
}

/// Looks into a checkpoint. While its pipeline runs, files that are not needed any more may go between
/// listing and reading; so what does not look whole is looked at once more.
pub(super) async fn look(store: &Store) -> Result<Inspection, CheckpointError> {
    let first = inspect(store).await?;
    let is_whole = first.recovered.as_ref().is_ok_and(|recovered| recovered.warnings.is_empty())
        && first.files.iter().all(|file| file.damage.is_none());
    if is_whole { Ok(first) } else { inspect(store).await }
}

async fn inspect(store: &Store) -> Result<Inspection, CheckpointError> {
    let result = checkpoint::inspect(store).await;
    // There is a checkpoint, so it is its metadata that are not there.
    result.map_err(|error| match error {
        CheckpointError::Absent { folder } => {
            CheckpointError::Damaged { file: store.place("metadata"), folder, damage: Damage::Missing }
        }
        error => error,
    })
}

/// A time of the engine, for people.
pub(super) fn time(millis: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(millis);
    time.map_or_else(|| format!("{millis} ms"), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// A number of bytes, for people.
pub(super) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// So many of something.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn json(value: &impl Serialize) -> String {
    // Maps with other keys than texts are what it could fail for, and there are none.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// A batch and its time.
#[derive(Serialize)]
struct At {
    batch: u64,
    time: String,
}

impl At {
    fn last(recovered: &Recovered) -> Option<Self> {
        recovered.last.map(|(batch, at)| Self { batch, time: time(at) })
    }

    fn planned(recovered: &Recovered) -> Vec<Self> {
        recovered.planned.iter().map(|planned| Self { batch: planned.batch, time: time(planned.time) }).collect()
    }
}

/// What `info` says.
#[derive(Serialize)]
struct Info {
    checkpoint: String,
    pipeline: String,
    id: String,
    format: u64,
    created: String,
    /// The process that holds the lock.
    in_use_by: Option<String>,
    can_continue: bool,
    /// The batch that was committed last.
    last: Option<At>,
    /// The batches that were begun and not committed.
    planned: Vec<At>,
    sources: Vec<SourceInfo>,
    steps: Vec<StepInfo>,
    /// The log and the states that were saved.
    files: usize,
    bytes: u64,
    /// What is wrong with the checkpoint, as far as that is in the way.
    problems: Vec<String>,
}

#[derive(Serialize)]
struct SourceInfo {
    name: String,
    kind: String,
    position: String,
}

#[derive(Serialize)]
struct StepInfo {
    name: String,
    kind: String,
    /// `None` where the state cannot be read.
    entries: Option<usize>,
    /// What it takes in the checkpoint.
    bytes: u64,
}

async fn info(args: &LookArgs) -> Result<u8, Stop> {
    let store = locate(&args.checkpoint)?;
    let Inspection { metadata, recovered, files } = look(&store).await?;
    let can_continue = recovered.is_ok();
    let (recovered, problems) = match recovered {
        Ok(recovered) => {
            let warnings = recovered.warnings.clone();
            (recovered, warnings)
        }
        Err(error) => (Recovered::default(), vec![error.to_string()]),
    };
    let info = Info {
        checkpoint: store.to_string(),
        pipeline: metadata.pipeline,
        id: metadata.id,
        format: metadata.format,
        created: metadata.created,
        in_use_by: checkpoint::holder(&store),
        can_continue,
        last: At::last(&recovered),
        planned: At::planned(&recovered),
        sources: sources(&recovered),
        steps: Written::of_steps(&recovered).iter().map(step).collect(),
        files: files.len(),
        bytes: files.iter().map(|file| file.size).sum(),
        problems,
    };
    print(&match args.format {
        Format::Human => info.human(),
        Format::Json => json(&info),
    });
    Ok(DONE)
}

fn step(state: &Written) -> StepInfo {
    let entries = state.rows().ok().map(|rows| rows.count());
    StepInfo { name: state.name.clone(), kind: state.kind().to_owned(), entries, bytes: state.bytes() }
}

fn sources(recovered: &Recovered) -> Vec<SourceInfo> {
    let sources = recovered.components.iter().filter_map(|(name, history)| Some((name.strip_prefix(SOURCE)?, history)));
    let info = |(name, history): (&str, &History)| {
        let kind = history.fingerprint.get("kind").and_then(Value::as_str).unwrap_or_default();
        let position = position(kind, history.snapshot.iter().chain(&history.deltas));
        SourceInfo { name: name.to_owned(), kind: kind.to_owned(), position }
    };
    sources.map(info).collect()
}

/// How far a source is, in short, from what it wrote down: all of it, and what was added since.
fn position<'a>(kind: &str, written: impl Iterator<Item = &'a Bytes>) -> String {
    let values: Vec<Value> = written.map(|bytes| serde_json::from_slice(bytes).unwrap_or_default()).collect();
    if kind == "directory" {
        let lists = |key: &'static str| values.iter().filter_map(move |value| value.get(key)?.as_array());
        let (taken, gone): (usize, usize) = (lists("taken").map(Vec::len).sum(), lists("gone").map(Vec::len).sum());
        let path = values.iter().find_map(|value| value.get("path")?.as_str()).unwrap_or_default();
        return format!("{} of `{path}`", count(taken.saturating_sub(gone), "file"));
    }
    let text = values.last().map(Value::to_string).unwrap_or_default();
    match text.char_indices().nth(LONGEST_POSITION) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

impl Info {
    fn human(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| text.push_str(&format!("{name:9} {value}\n"));
        line("pipeline", self.pipeline.clone());
        line("folder", self.checkpoint.clone());
        line("id", format!("{} (format {})", self.id, self.format));
        line("created", self.created.clone());
        line("in use", self.in_use_by.as_ref().map_or_else(|| "no".to_owned(), |owner| format!("by {owner}")));
        if self.can_continue {
            line("last", self.last.as_ref().map_or_else(|| "no batch is committed".to_owned(), at));
            line("planned", planned(&self.planned));
        }
        line("files", format!("{}, {}", count(self.files, "file"), size(self.bytes)));
        self.problems.iter().for_each(|problem| line("problem", problem.clone()));
        if !self.sources.is_empty() {
            text.push_str("\nsources\n");
        }
        for SourceInfo { name, kind, position } in &self.sources {
            text.push_str(&format!("  {name} ({kind}): {position}\n"));
        }
        if !self.steps.is_empty() {
            text.push_str("\nsteps\n");
        }
        for StepInfo { name, kind, entries, bytes } in &self.steps {
            let entries = match entries {
                None => "unreadable".to_owned(),
                Some(1) => "1 entry".to_owned(),
                Some(entries) => format!("{entries} entries"),
            };
            text.push_str(&format!("  {name} ({kind}): {entries}, {}\n", size(*bytes)));
        }
        text
    }
}

fn at(At { batch, time }: &At) -> String {
    format!("batch {batch}, {time}")
}

fn planned(planned: &[At]) -> String {
    match planned {
        [] => "nothing that is not committed".to_owned(),
        [only] => format!("{}; it is run again", at(only)),
        [first, .., last] => format!("batches {} to {}; they are run again", first.batch, last.batch),
    }
}

/// What `verify` says.
#[derive(Serialize)]
struct Verdict {
    checkpoint: String,
    /// `None` where the metadata are damaged.
    pipeline: Option<String>,
    whole: bool,
    /// How many files were checked.
    files: usize,
    damaged: Vec<DamagedFile>,
    /// What is wrong besides: what is missing, or follows from the damage.
    problems: Vec<String>,
    can_continue: bool,
    /// The batch that the state is of.
    last: Option<At>,
    /// The batch that comes next, if it can be continued.
    next: Option<u64>,
    /// The batches that are run again.
    planned: Vec<At>,
}

#[derive(Serialize)]
struct DamagedFile {
    file: String,
    bytes: u64,
    problem: String,
}

async fn verify(args: &LookArgs) -> Result<u8, Stop> {
    let store = locate(&args.checkpoint)?;
    let verdict = match look(&store).await {
        Ok(inspection) => Verdict::of(&store, inspection),
        // The metadata: without them nothing more is known.
        Err(error @ CheckpointError::Damaged { .. }) => Verdict::refused(&store, &error),
        Err(error) => return Err(error.into()),
    };
    print(&match args.format {
        Format::Human => verdict.human(),
        Format::Json => json(&verdict),
    });
    Ok(if verdict.whole { DONE } else { FAILED })
}

impl Verdict {
    fn of(store: &Store, inspection: Inspection) -> Self {
        let Inspection { metadata, recovered, files } = inspection;
        let mut verdict = Self {
            pipeline: Some(metadata.pipeline),
            files: files.len(),
            damaged: files.iter().filter_map(damaged).collect(),
            ..Self::nothing(store)
        };
        match recovered {
            Ok(recovered) => verdict.take(store, &recovered),
            Err(error) => verdict.problems.push(error.to_string()),
        }
        verdict.whole = verdict.can_continue && verdict.damaged.is_empty() && verdict.problems.is_empty();
        verdict
    }

    fn refused(store: &Store, error: &CheckpointError) -> Self {
        Self { problems: vec![error.to_string()], ..Self::nothing(store) }
    }

    fn nothing(store: &Store) -> Self {
        Self {
            checkpoint: store.to_string(),
            pipeline: None,
            whole: false,
            files: 0,
            damaged: Vec::new(),
            problems: Vec::new(),
            can_continue: false,
            last: None,
            next: None,
            planned: Vec::new(),
        }
    }

    /// What the pipeline would go on with.
    fn take(&mut self, store: &Store, recovered: &Recovered) {
        let places: Vec<String> =
            self.damaged.iter().map(|damaged| format!("`{}`", store.place(&damaged.file))).collect();
        // What is wrong with these files is said already, and what is run again is in `planned`.
        let is_new = |warning: &&String| {
            !warning.ends_with("are run again") && !places.iter().any(|place| warning.starts_with(place))
        };
        self.problems.extend(recovered.warnings.iter().filter(is_new).cloned());
        let unreadable = Written::of_steps(recovered).into_iter().filter_map(|state| state.rows().err());
        self.problems.extend(unreadable.map(|stop| stop.message));
        self.can_continue = true;
        self.last = At::last(recovered);
        self.next = Some(recovered.last.map_or(0, |(batch, _)| batch.saturating_add(1)));
        self.planned = At::planned(recovered);
    }

    fn human(&self) -> String {
        let mut text = String::new();
        for DamagedFile { file, problem, .. } in &self.damaged {
            text.push_str(&format!("{file} {problem}\n"));
        }
        for problem in &self.problems {
            text.push_str(&format!("{problem}\n"));
        }
        let files = count(self.files, "file");
        match self.damaged.len() {
            // Nothing was looked at.
            _ if self.pipeline.is_none() => {}
            0 => text.push_str(&format!("{files} checked, none is damaged\n")),
            damaged => text.push_str(&format!("{files} checked, {damaged} damaged\n")),
        }
        text + &self.outlook()
    }

    fn outlook(&self) -> String {
        let state = match (self.next, &self.last) {
            (None, _) => return "the checkpoint cannot be continued\n".to_owned(),
            (Some(next), None) => format!("the checkpoint can be continued from batch {next}, without any state"),
            (Some(next), Some(last)) => {
                format!("the checkpoint can be continued from batch {next}, with the state of {}", at(last))
            }
        };
        match self.planned.len() {
            0 => format!("{state}\n"),
            again => format!("{state}; {} that had been planned {} run again\n", batches(again), is_or_are(again)),
        }
    }
}

fn batches(number: usize) -> String {
    format!("{number} {}", if number == 1 { "batch" } else { "batches" })
}

fn is_or_are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

fn damaged(file: &FileReport) -> Option<DamagedFile> {
    let problem = file.damage.as_ref()?.to_string();
    Some(DamagedFile { file: file.name.clone(), bytes: file.size, problem })
}

async fn prune(args: &PruneArgs) -> Result<u8, Stop> {
    let store = locate(&args.checkpoint)?;
    let pipeline = inspect(&store).await?.metadata.pipeline;
    let (mut checkpoint, recovered) = Checkpoint::open(store.clone(), &pipeline, args.keep).await?;
    if !recovered.warnings.is_empty() {
        let problems = recovered.warnings.join("; ");
        let help = "nothing was deleted, since it may be needed to mend that; start the pipeline, or restore the files";
        return Err(Stop::failed(format!("the checkpoint `{store}` is damaged: {problems}; {help}")));
    }
    let (files, bytes) = amount(&inspect(&store).await?);
    checkpoint.prune_to(args.keep).await?;
    let (files_left, bytes_left) = amount(&inspect(&store).await?);
    let deleted = count(files.saturating_sub(files_left), "file");
    let freed = size(bytes.saturating_sub(bytes_left));
    print(&format!("{deleted} deleted ({freed}), {} left ({})\n", count(files_left, "file"), size(bytes_left)));
    Ok(DONE)
}

fn amount(inspection: &Inspection) -> (usize, u64) {
    (inspection.files.len(), inspection.files.iter().map(|file| file.size).sum())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn positions_are_short() {
        let shown = |kind: &str, values: &[Value]| {
            let written: Vec<Bytes> = values.iter().map(|value| Bytes::from(value.to_string())).collect();
            position(kind, written.iter())
        };
        let taken = [
            json!({ "path": "in", "taken": ["in/a", "in/b"] }),
            json!({ "taken": ["in/c"], "gone": ["in/a"] }),
            json!({ "taken": ["in/d"], "gone": [] }),
        ];
        assert_eq!(shown("directory", &taken), "3 files of `in`");
        assert_eq!(shown("directory", &taken[..1]), "2 files of `in`");
        assert_eq!(shown("rows", &[json!(7)]), "7");
        assert_eq!(shown("rate", &[json!("x".repeat(200))]).len(), LONGEST_POSITION + 3);
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(time(1_795_264_851_000), "2026-11-21T12:40:51Z");
        assert_eq!(time(1_795_264_851_250), "2026-11-21T12:40:51.250Z");
        assert_eq!(time(i64::MAX), "9223372036854775807 ms");
    }
}
