//! `streamrun state`: what the steps of a pipeline keep, read from its checkpoint without the lock. Nothing
//! is written there, and the pipeline may run meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{cast, concat_batches, filter_record_batch, interleave_record_batch};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::checkpoint::{self, Stop};
use super::{DONE, print, print_error};
use crate::checkpoint::{Recovered, Saved};
use crate::diagnostic::suggest;
use crate::formats::json::JsonOutput;
use crate::formats::parquet::ParquetOutput;
use crate::formats::{FormatError, OutputFormat};
use crate::schema::ColumnType;
use crate::sinks::render;
use crate::state::written;

/// The component of a step is this and its name.
const STEP: &str = "step/";
/// `show` cuts the cells of its table.
const LONGEST_CELL: usize = 40;
/// So many keys are compared with one that is not there.
const COMPARED: usize = 100_000;
/// So many of them are shown.
const NEAR: usize = 3;

#[derive(Debug, Args)]
pub(super) struct StateArgs {
    #[command(subcommand)]
    command: StateCommand,
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// List the steps with state, and the states that were saved
    List(ListArgs),
    /// Show the first rows of a step's state
    Show(ShowArgs),
    /// Show the rows of one key
    Get(GetArgs),
    /// Write all rows of a step's state
    Export(ExportArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// The checkpoint's folder (`./checkpoints/wordcount`), or the folder above it if it holds only this one
    checkpoint: PathBuf,
}

#[derive(Debug, Args)]
struct Place {
    /// The checkpoint's folder (`./checkpoints/wordcount`), or the folder above it if it holds only this one
    checkpoint: PathBuf,
    /// The step as the pipeline names it (`update_state_by_key`, in a stream `words/update_state_by_key`), or
    /// a state that was saved, as `streamrun state list` shows them
    step: String,
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    place: Place,
    /// So many rows at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t = ShowFormat::Table)]
    format: ShowFormat,
}

#[derive(Debug, Args)]
struct GetArgs {
    #[command(flatten)]
    place: Place,
    /// The key as `streamrun state show` shows it. Of several key columns: the values with commas between
    /// them (`spark,7`), or as a JSON list (`["spark", 7]`)
    #[arg(allow_negative_numbers = true)]
    key: String,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t = ShowFormat::Table)]
    format: ShowFormat,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    place: Place,
    /// How rows are written
    #[arg(long, value_enum, default_value_t = ExportFormat::Json)]
    format: ExportFormat,
    /// Where to; standard output by default
    #[arg(long, value_name = "FILE", required_if_eq("format", "parquet"))]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ShowFormat {
    /// A table, for a terminal
    Table,
    /// One JSON object per line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// One JSON object per line
    Json,
    /// A Parquet file
    Parquet,
    /// A table
    Table,
}

/// Answers; the exit code.
pub(super) fn state(args: &StateArgs) -> u8 {
    checkpoint::answer(async {
        match &args.command {
            StateCommand::List(args) => list(args).await,
            StateCommand::Show(args) => show(args).await,
            StateCommand::Get(args) => get(args).await,
            StateCommand::Export(args) => export(args).await,
        }
    })
}

async fn list(args: &ListArgs) -> Result<u8, Stop> {
    let states = open(&args.checkpoint).await?;
    if states.is_empty() {
        print("no step has a state here\n");
        return Ok(DONE);
    }
    let names = ["step", "kind", "entries", "size", "key", "batch", "time"];
    print(&render::table(names.into_iter(), states.iter().map(Written::line), None));
    Ok(DONE)
}

async fn show(args: &ShowArgs) -> Result<u8, Stop> {
    let rows = args.place.find().await?.rows()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let (all, rows) = (rows.count(), rows.first(limit));
    let rest = if all > limit { format!("only the first {limit} of {all} rows are shown\n") } else { String::new() };
    match args.format {
        ShowFormat::Table => print(&(rows.table(Some(LONGEST_CELL))? + &rest)),
        ShowFormat::Json => {
            print(&rows.json()?);
            print_error(&rest);
        }
    }
    Ok(DONE)
}

async fn get(args: &GetArgs) -> Result<u8, Stop> {
    let state = args.place.find().await?;
    let names = state.key();
    let step = &state.name;
    if names.is_empty() {
        let what = format!("`{step}` has no key, it keeps {}", state.kind());
        return Err(Stop::usage(format!("{what}; `streamrun state show` shows its rows")));
    }
    let wanted = readings(&args.key, names.len());
    if wanted.is_empty() {
        let help = "write the values with commas between them, or as a JSON list";
        let what = format!("the key of `{step}` has {} columns ({})", names.len(), names.join(", "));
        return Err(Stop::usage(format!("{what}, and `{}` is not {} values; {help}", args.key, names.len())));
    }
    let rows = state.rows()?;
    let keys = rows.keys(names.len())?;
    let found = rows.filter(&keys.iter().map(|key| wanted.contains(key)).collect::<Vec<_>>())?;
    if found.count() == 0 {
        let near = near(&args.key, &keys);
        let help = if near.is_empty() { String::new() } else { format!("\nhelp: near it are {}", near.join(", ")) };
        return Err(Stop::failed(format!("there is no key `{}` in the state of `{step}`{help}", args.key)));
    }
    print(&match args.format {
        ShowFormat::Table => found.table(None)?,
        ShowFormat::Json => found.json()?,
    });
    Ok(DONE)
}

/// What a key on the command line can mean, as the values of its columns; nothing if it has another number
/// of them.
fn readings(key: &str, columns: usize) -> Vec<Vec<String>> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        value => value.to_string(),
    };
    let list = serde_json::from_str::<Vec<Value>>(key).ok();
    let list = list.map(|values| values.into_iter().map(text).collect::<Vec<_>>());
    let plain: Vec<String> = match columns {
        1 => vec![key.to_owned()],
        _ => key.split(',').map(str::to_owned).collect(),
    };
    list.into_iter().chain([plain]).filter(|values| values.len() == columns).collect()
}

/// The keys that are most like one that is not there.
fn near(wanted: &str, keys: &[Vec<String>]) -> Vec<String> {
    let mut others: BTreeSet<String> = keys.iter().take(COMPARED).map(|key| key.join(",")).collect();
    let mut near = Vec::new();
    while near.len() < NEAR {
        let next = suggest::nearest(wanted, others.iter().map(String::as_str)).map(str::to_owned);
        let Some(next) = next else { break };
        others.remove(&next);
        near.push(format!("`{next}`"));
    }
    near
}

async fn export(args: &ExportArgs) -> Result<u8, Stop> {
    let rows = args.place.find().await?.rows()?;
    let Some(file) = &args.output else {
        print(&match args.format {
            ExportFormat::Table => rows.table(None)?,
            // Parquet goes to a file only.
            ExportFormat::Json | ExportFormat::Parquet => rows.json()?,
        });
        return Ok(DONE);
    };
    let written = rows.write(args.format, file);
    written.map_err(|error| Stop::failed(format!("cannot write `{}`: {error}", file.display())))?;
    print(&format!("{} written to {}\n", checkpoint::count(rows.count(), "row"), file.display()));
    Ok(DONE)
}

/// All states of the checkpoint at a path.
async fn open(path: &Path) -> Result<Vec<Written>, Stop> {
    let store = checkpoint::locate(path)?;
    let recovered = checkpoint::look(&store).await?.recovered?;
    if !recovered.warnings.is_empty() {
        let shown = recovered
            .last
            .map_or_else(|| "no state is left".to_owned(), |(batch, _)| format!("this is the state of batch {batch}"));
        let help = "`streamrun checkpoint verify` says what is wrong";
        print_error(&format!("streamrun: the checkpoint is damaged; {shown}\nhelp: {help}\n"));
    }
    let saved = crate::checkpoint::saved(&store).await.unwrap_or_else(|error| {
        // A copy that is damaged must not hide the states that are not.
        print_error(&format!("streamrun: the states that were saved are not shown: {error}\n"));
        Vec::new()
    });
    let steps = Written::of_steps(&recovered).into_iter();
    Ok(steps.chain(saved.into_iter().map(Written::of_saved)).collect())
}

impl Place {
    async fn find(&self) -> Result<Written, Stop> {
        let mut states = open(&self.checkpoint).await?;
        if let Some(index) = states.iter().position(|state| state.name == self.step) {
            return Ok(states.swap_remove(index));
        }
        let names: Vec<&str> = states.iter().map(|state| state.name.as_str()).collect();
        let help = suggest::help(&self.step, names.iter().copied());
        let help = help.unwrap_or_else(|| "no step has a state here".to_owned());
        Err(Stop::usage(format!("there is no state of a step `{}`\nhelp: {help}", self.step)))
    }
}

/// A state as it was written.
pub(super) struct Written {
    /// The step, as the pipeline names it; of a state that was saved, its file.
    pub(super) name: String,
    fingerprint: Value,
    /// The batch it is of.
    batch: u64,
    /// That batch's time, which a state that was saved does not tell.
    time: Option<i64>,
    /// A snapshot, and what changed since, in order.
    parts: Vec<Bytes>,
}

impl Written {
    /// The states of all steps.
    pub(super) fn of_steps(recovered: &Recovered) -> Vec<Self> {
        let Some((batch, time)) = recovered.last else { return Vec::new() };
        let steps = recovered.components.iter().filter_map(|(name, history)| Some((name.strip_prefix(STEP)?, history)));
        let written = steps.map(|(name, history)| Self {
            name: name.to_owned(),
            fingerprint: history.fingerprint.clone(),
            batch,
            time: Some(time),
            parts: history.snapshot.iter().chain(&history.deltas).cloned().collect(),
        });
        written.collect()
    }

    fn of_saved(saved: Saved) -> Self {
        let Saved { name, fingerprint, batch, bytes, .. } = saved;
        Self { name, fingerprint, batch, time: None, parts: vec![bytes] }
    }

    /// What is kept, in words.
    pub(super) fn kind(&self) -> &str {
        self.fingerprint.get("kind").and_then(Value::as_str).unwrap_or_default()
    }

    /// How many bytes it takes in the checkpoint.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }

    /// The names of the key columns.
    fn key(&self) -> Vec<&str> {
        let keys = self.fingerprint.get("key").and_then(Value::as_array);
        keys.into_iter().flatten().filter_map(|key| key.get("name")?.as_str()).collect()
    }

    /// As `list` shows it.
    fn line(&self) -> Vec<String> {
        let entries = self.rows().map_or_else(|_| "unreadable".to_owned(), |rows| rows.count().to_string());
        vec![
            self.name.clone(),
            self.kind().to_owned(),
            entries,
            checkpoint::size(self.bytes()),
            self.key().join(", "),
            self.batch.to_string(),
            self.time.map(checkpoint::time).unwrap_or_default(),
        ]
    }

    /// The rows that it is made of.
    pub(super) fn rows(&self) -> Result<Rows, Stop> {
        let failed =
            |error: Box<dyn Error>| Stop::failed(format!("the state of `{}` cannot be read: {error}", self.name));
        self.read().map_err(failed)
    }

    fn read(&self) -> Result<Rows, Box<dyn Error>> {
        let form = Form::of(self.kind())
            .ok_or_else(|| format!("it keeps `{}`, which this streamrun does not know", self.kind()))?;
        let first = self.parts.first().ok_or("it was never written")?;
        // Without rows this is all that tells the columns.
        let schema = StreamReader::try_new(&first[..], None)?.schema();
        let mut batches = Vec::new();
        for part in &self.parts {
            batches.extend(written::decode(part)?);
        }
        if form.by_key {
            batches = newest(&batches, self.key().len(), form.has_removals)?;
        }
        let batches = batches.iter().map(|batch| form.shown(batch)).collect::<Result<_, _>>()?;
        Ok(Rows { schema: form.shown(&RecordBatch::new_empty(schema))?.schema(), batches })
    }
}

/// How the rows of a kind of state are written. Their last column is a time: when the key was touched last
/// or seen first, or when the row's pane ends.
struct Form {
    /// There is one row per key: a later one takes the place of an earlier one.
    by_key: bool,
    /// Behind the time there is a column that says that the key is gone.
    has_removals: bool,
}

impl Form {
    fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "state per key" => Self { by_key: true, has_removals: true },
            "keys that were seen" => Self { by_key: true, has_removals: false },
            "aggregates over a window" | "rows of a window" => Self { by_key: false, has_removals: false },
            _ => return None,
        })
    }

    /// Rows for people: with a time instead of milliseconds.
    fn shown(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let width = batch.num_columns().saturating_sub(usize::from(self.has_removals));
        let kept = batch.project(&(0..width).collect::<Vec<_>>())?;
        let mut fields: Vec<Arc<Field>> = kept.schema().fields().iter().cloned().collect();
        let (Some((millis, others)), Some(field)) = (kept.columns().split_last(), fields.last_mut()) else {
            return Ok(kept);
        };
        let millis = cast(millis, &DataType::Timestamp(TimeUnit::Millisecond, Some(Arc::from("UTC"))))?;
        let time = cast(&millis, &ColumnType::Timestamp.to_arrow())?;
        *field = Arc::new(Field::new(field.name(), time.data_type().clone(), true));
        let columns = others.iter().cloned().chain([time]).collect();
        RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)
    }
}

/// The last row of each key that is not gone, in the order of the keys.
fn newest(batches: &[RecordBatch], keys: usize, has_removals: bool) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut places: BTreeMap<Vec<u8>, (usize, usize)> = BTreeMap::new();
    for (index, batch) in batches.iter().enumerate() {
        let gone = batch.columns().last().filter(|_| has_removals).and_then(|column| column.as_boolean_opt());
        for (row, key) in encoded_keys(batch, keys)?.into_iter().enumerate() {
            if gone.is_some_and(|gone| gone.value(row)) {
                places.remove(&key);
            } else {
                places.insert(key, (index, row));
            }
        }
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<(usize, usize)> = places.into_values().collect();
    Ok(vec![interleave_record_batch(&batches.iter().collect::<Vec<_>>(), &places)?])
}

/// The keys of rows as bytes, which compare as the keys do.
fn encoded_keys(batch: &RecordBatch, keys: usize) -> Result<Vec<Vec<u8>>, ArrowError> {
    let columns = batch.columns().get(..keys).unwrap_or_default();
    if columns.is_empty() {
        return Ok(vec![Vec::new(); batch.num_rows()]);
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(columns)?;
    Ok(rows.iter().map(|row| row.data().to_vec()).collect())
}

/// Rows of one schema.
pub(super) struct Rows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Rows {
    pub(super) fn count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    fn first(&self, limit: usize) -> Self {
        let mut left = limit;
        let mut batches = Vec::new();
        for batch in &self.batches {
            let taken = left.min(batch.num_rows());
            batches.push(batch.slice(0, taken));
            left -= taken;
        }
        Self { schema: Arc::clone(&self.schema), batches }
    }

    /// The key of each row, as it is shown.
    fn keys(&self, columns: usize) -> Result<Vec<Vec<String>>, Stop> {
        let columns: Vec<usize> = (0..columns).collect();
        let mut keys = Vec::new();
        for batch in &self.batches {
            render::cells(&batch.project(&columns)?, &mut keys)?;
        }
        Ok(keys)
    }

    /// The rows for which it says so.
    fn filter(&self, kept: &[bool]) -> Result<Self, Stop> {
        let all = concat_batches(&self.schema, &self.batches)?;
        let kept = filter_record_batch(&all, &BooleanArray::from(kept.to_vec()))?;
        Ok(Self { schema: Arc::clone(&self.schema), batches: vec![kept] })
    }

    fn table(&self, longest: Option<usize>) -> Result<String, FormatError> {
        let mut cells = Vec::new();
        for batch in &self.batches {
            render::cells(batch, &mut cells)?;
        }
        let names = self.schema.fields().iter().map(|field| field.name().as_str());
        Ok(render::table(names, cells.into_iter(), longest))
    }

    fn json(&self) -> Result<String, FormatError> {
        let mut text = String::new();
        for batch in &self.batches {
            render::json(batch, &mut text)?;
        }
        Ok(text)
    }

    fn write(&self, format: ExportFormat, file: &Path) -> Result<(), FormatError> {
        let format = match format {
            ExportFormat::Table => return Ok(std::fs::write(file, self.table(None)?)?),
            ExportFormat::Json => OutputFormat::Json(JsonOutput::default()),
            ExportFormat::Parquet => OutputFormat::Parquet(ParquetOutput::default()),
        };
        let out = BufWriter::new(File::create(file)?);
        let mut writer = format.writer(Arc::clone(&self.schema), Box::new(out))?;
        for batch in &self.batches {
            writer.write(batch)?;
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringViewArray};
    use serde_json::json;

    use super::*;

    /// Rows of a state per key: word, count, when it was touched; without a count the key is gone.
    fn rows(rows: &[(&str, Option<i64>, i64)]) -> Bytes {
        let words: StringViewArray = rows.iter().map(|(word, ..)| Some(*word)).collect();
        let counts: Int64Array = rows.iter().map(|(_, count, _)| *count).collect();
        let touched: Int64Array = rows.iter().map(|(_, count, time)| count.map(|_| *time)).collect();
        let gone: BooleanArray = rows.iter().map(|(_, count, _)| Some(count.is_none())).collect();
        let columns: [(&str, ArrayRef, bool); 4] = [
            ("word", Arc::new(words), true),
            ("count()", Arc::new(counts), true),
            ("last touched", Arc::new(touched), true),
            ("removed", Arc::new(gone), false),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        written::encode(&batch.schema(), &[batch]).unwrap()
    }

    fn keyed(parts: Vec<Bytes>) -> Written {
        let fingerprint = json!({ "kind": "state per key", "key": [{ "name": "word" }] });
        Written { name: "count".to_owned(), fingerprint, batch: 2, time: Some(2_000), parts }
    }

    #[test]
    fn later_rows_take_the_place_of_earlier_ones() {
        let whole = rows(&[("spark", Some(2), 1_000), ("hadoop", Some(1), 1_000), ("gone", Some(1), 1_000)]);
        let then = rows(&[("spark", Some(3), 2_000), ("gone", None, 0), ("again", Some(1), 2_000)]);
        let last = rows(&[("again", None, 0), ("again", Some(7), 3_250)]);
        let read = keyed(vec![whole, then, last]).rows().unwrap();
        let expected = "\
+------+-------+------------------------+
|word  |count()|last touched            |
+------+-------+------------------------+
|again |7      |1970-01-01T00:00:03.250Z|
|hadoop|1      |1970-01-01T00:00:01Z    |
|spark |3      |1970-01-01T00:00:02Z    |
+------+-------+------------------------+
";
        assert_eq!(read.table(None).unwrap(), expected);
        let first = read.first(1);
        assert_eq!(
            first.json().unwrap(),
            "{\"word\":\"again\",\"count()\":7,\"last touched\":\"1970-01-01T00:00:03.250Z\"}\n"
        );
    }

    #[test]
    fn a_state_without_rows_has_columns() {
        let read = keyed(vec![rows(&[("spark", None, 0)])]).rows().unwrap();
        assert_eq!(read.count(), 0);
        assert_eq!(read.table(None).unwrap().lines().nth(1), Some("|word|count()|last touched|"));
    }

    #[test]
    fn a_kind_of_another_streamrun_is_no_riddle() {
        let mut state = keyed(vec![rows(&[])]);
        state.fingerprint = json!({ "kind": "sketch" });
        let Err(stop) = state.rows() else { panic!("it was read") };
        let expected = "the state of `count` cannot be read: it keeps `sketch`, which this streamrun does not know";
        assert!(format!("{stop:?}").contains(expected), "{stop:?}");
    }

    #[test]
    fn keys_are_read_in_every_way_that_they_may_be_meant() {
        assert_eq!(readings("spark", 1), [["spark"]]);
        assert_eq!(readings("a,b", 1), [["a,b"]]);
        assert_eq!(readings("a,7", 2), [["a", "7"]]);
        assert_eq!(readings(r#"["a,b", 7]"#, 2), [["a,b", "7"]]);
        assert_eq!(readings("a", 2), Vec::<Vec<String>>::new());
        assert_eq!(readings(r#"["a"]"#, 1), [["a"], [r#"["a"]"#]]);
    }

    #[test]
    fn near_keys_are_found() {
        let keys = ["spark", "sparks", "hadoop"].map(|key| vec![key.to_owned()]);
        assert_eq!(near("sprak", &keys), ["`spark`", "`sparks`"]);
        assert_eq!(near("flink", &keys), [""; 0]);
    }
}
