//! `console`: prints the first rows of each batch, as Spark's `print()` does.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::render;
use super::{
    Batch, CheckedSink, Partition, Rewrite, Sink, SinkContext, SinkError, SinkFactory, SinkSettings, each_partition,
};
use crate::diagnostic::codes;
use crate::formats::json::JsonOutput;
use crate::formats::{FormatError, OutputFormat};
use crate::schema::Schema;
use crate::spec::Check;
use crate::spec::kind::Settings;

/// As many rows of a batch as Spark prints.
const DEFAULT_ROWS: usize = 10;
/// The longest cell of a table that is not cut.
const LONGEST_CELL: usize = 40;
const RULE: &str = "-------------------------------------------";

/// Prints the first rows of each batch.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// How rows are printed.
    pub format: ConsoleFormat,
    /// How many rows of a batch are printed at most: 10 unless said otherwise, and all of them
    /// with `format: json`.
    pub rows: Option<usize>,
    /// Whether `format: table` cuts cells to 40 characters.
    pub truncate: bool,
}

impl Default for Console {
    fn default() -> Self {
        Self { format: ConsoleFormat::Spark, rows: None, truncate: true }
    }
}

/// How the console prints rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleFormat {
    /// The batch's time, then a line per row such as `(spark,1)`: Spark's `print()`.
    #[default]
    Spark,
    /// The batch's time, then a table with the columns' names: Spark's `show()`.
    Table,
    /// One JSON object per line and nothing else, for other programs to read.
    Json,
}

impl Settings for Console {
    const KIND: &'static str = "console";
    const SUMMARY: &'static str = "prints the first rows of each batch";
}

impl SinkSettings for Console {
    fn check(self: Box<Self>, check: &mut Check<'_>, schema: &Schema) -> Option<CheckedSink> {
        if self.format == ConsoleFormat::Json
            && let Err(message) = OutputFormat::Json(JsonOutput::default()).check(schema)
        {
            let help = "print with `format: spark` or `format: table`, or drop the column in a step before";
            check.report(codes::SCHEMA_MISMATCH, &["format"], message, Some(help.to_owned()));
        }
        Some(CheckedSink { resources: Vec::new(), rewrite: Rewrite::Repeats, factory: Arc::new(*self) })
    }
}

#[async_trait]
impl SinkFactory for Console {
    async fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(ConsoleSink { settings: *self, context }))
    }
}

struct ConsoleSink {
    settings: Console,
    context: SinkContext,
}

#[async_trait]
impl Sink for ConsoleSink {
    async fn write(&mut self, batch: Batch, partitions: Vec<Partition>) -> Result<(), SinkError> {
        let limit = self.settings.rows;
        let text = match self.settings.format {
            ConsoleFormat::Json => json(&first(partitions, limit.unwrap_or(usize::MAX), render::json).await?),
            ConsoleFormat::Spark => {
                spark(batch, &first(partitions, limit.unwrap_or(DEFAULT_ROWS), render::tuples).await?)
            }
            ConsoleFormat::Table => {
                self.table(batch, first(partitions, limit.unwrap_or(DEFAULT_ROWS), render::cells).await?)
            }
        };
        if text.is_empty() {
            return Ok(());
        }
        let printed = self.context.terminal.print(&text);
        printed.map_err(|error| SinkError::io("cannot print to standard output", error))
    }
}

impl ConsoleSink {
    fn table(&self, batch: Batch, first: First<Vec<Vec<String>>>) -> String {
        let names = self.context.schema.fields().iter().map(|field| field.name().as_str());
        let longest = self.settings.truncate.then_some(LONGEST_CELL);
        let (limit, more) = (first.limit, first.is_cut());
        let table = render::table(names, first.parts.into_iter().flatten().take(limit), longest);
        let rows = if limit == 1 { "row" } else { "rows" };
        let rest = if more { format!("only showing top {limit} {rows}\n") } else { String::new() };
        format!("{}{table}{rest}\n", header(batch))
    }
}

fn header(batch: Batch) -> String {
    format!("{RULE}\nTime: {} ms\n{RULE}\n", batch.time)
}

fn spark(batch: Batch, first: &First<String>) -> String {
    let mut text = header(batch);
    text.extend(first.lines());
    text.push_str(if first.is_cut() { "...\n\n" } else { "\n" });
    text
}

fn json(first: &First<String>) -> String {
    if first.is_cut() { first.lines().collect() } else { first.parts.concat() }
}

/// The rows to print, rendered. Each partition gives as many as might be printed.
struct First<T> {
    parts: Vec<T>,
    /// How many rows to print.
    limit: usize,
    /// How many rows there were.
    seen: usize,
}

impl<T> First<T> {
    fn is_cut(&self) -> bool {
        self.seen > self.limit
    }
}

impl First<String> {
    /// A rendered row is one line.
    fn lines(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| part.split_inclusive('\n')).take(self.limit)
    }
}

/// Appends rows to a text or a list.
type Render<T> = fn(&RecordBatch, &mut T) -> Result<(), FormatError>;

async fn first<T: Default + Send + 'static>(
    partitions: Vec<Partition>,
    limit: usize,
    render: Render<T>,
) -> Result<First<T>, SinkError> {
    let results = each_partition(partitions, move |_, rows| first_of(rows, limit, render)).await?;
    let seen: usize = results.iter().map(|(_, seen)| *seen).sum();
    Ok(First { parts: results.into_iter().map(|(part, _)| part).collect(), limit, seen })
}

/// Reads the partition to its end, since what fails there fails the batch. Only text is kept: a row
/// would hold on to the block that it was read from.
async fn first_of<T: Default>(mut rows: Partition, limit: usize, render: Render<T>) -> Result<(T, usize), SinkError> {
    let mut kept = T::default();
    let mut seen: usize = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let wanted = limit.saturating_sub(seen).min(batch.num_rows());
        if wanted > 0 {
            render(&batch.slice(0, wanted), &mut kept)?;
        }
        seen += batch.num_rows();
    }
    Ok((kept, seen))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{batch, check, columns, failing, open, partition, words, words_schema};
    use super::*;

    const BATCH: Batch = Batch { id: 3, time: 1_578_832_040_000 };
    const HEADER: &str = "\
-------------------------------------------
Time: 1578832040000 ms
-------------------------------------------
";

    async fn printed(settings: &str, partitions: Vec<Partition>) -> String {
        let (mut sink, page) = open("console", settings, &words_schema()).await.unwrap();
        sink.write(BATCH, partitions).await.unwrap();
        assert!(page.prints() <= 1);
        page.text()
    }

    #[tokio::test]
    async fn as_spark_prints() {
        let text = printed("{}", vec![words(&[("spark", 1)]), words(&[]), words(&[("hadoop", 1)])]).await;
        assert_eq!(text, format!("{HEADER}(spark,1)\n(hadoop,1)\n\n"));
        assert_eq!(printed("{}", vec![]).await, format!("{HEADER}\n"));
        assert_eq!(printed("{}", vec![words(&[])]).await, format!("{HEADER}\n"));
    }

    #[tokio::test]
    async fn ten_rows_and_dots() {
        let rows: Vec<(&str, i64)> = (0..11).map(|i| ("w", i)).collect();
        let ten: String = (0..10).map(|i| format!("(w,{i})\n")).collect();
        assert_eq!(printed("{}", vec![words(&rows[..10])]).await, format!("{HEADER}{ten}\n"));
        assert_eq!(printed("{}", vec![words(&rows)]).await, format!("{HEADER}{ten}...\n\n"));
        let parts = vec![words(&rows[..6]), words(&rows[6..])];
        assert_eq!(printed("{}", parts).await, format!("{HEADER}{ten}...\n\n"));
        let two = printed("{ rows: 2 }", vec![words(&rows[..1]), words(&rows[1..])]).await;
        assert_eq!(two, format!("{HEADER}(w,0)\n(w,1)\n...\n\n"));
    }

    #[tokio::test]
    async fn one_column_is_bare_and_cannot_move_the_cursor() {
        let value = [("value", "string")];
        let (mut sink, page) = open("console", "{}", &columns(&value)).await.unwrap();
        let rows = batch(&value, &[r#"{"value": "a\u001b[2J\nb"}"#, "{}"]);
        sink.write(BATCH, vec![partition(vec![Ok(rows)])]).await.unwrap();
        assert_eq!(page.text(), format!("{HEADER}a\\u{{1b}}[2J\\nb\nnull\n\n"));
    }

    #[tokio::test]
    async fn as_a_table() {
        let long = "x".repeat(41);
        let rows = || vec![words(&[("spark", 1), (long.as_str(), 2)]), words(&[("hadoop", 3)])];
        let text = printed("{ format: table, rows: 2 }", rows()).await;
        let dashes = "-".repeat(40);
        let table = format!(
            "+{dashes}+-----+\n|{:>40}|count|\n+{dashes}+-----+\n|{:>40}|    1|\n|{}...|    2|\n+{dashes}+-----+\n",
            "word",
            "spark",
            "x".repeat(37)
        );
        assert_eq!(text, format!("{HEADER}{table}only showing top 2 rows\n\n"));
        assert!(printed("{ format: table, truncate: false }", rows()).await.contains(&long));
        let empty = "+----+-----+\n|word|count|\n+----+-----+\n+----+-----+\n";
        assert_eq!(printed("{ format: table }", vec![words(&[])]).await, format!("{HEADER}{empty}\n"));
    }

    #[tokio::test]
    async fn as_json_lines() {
        let rows: Vec<(&str, i64)> = (0..12).map(|i| ("w", i)).collect();
        let lines: Vec<String> = (0..12).map(|i| format!("{{\"word\":\"w\",\"count\":{i}}}\n")).collect();
        let parts = || vec![words(&rows[..5]), words(&rows[5..])];
        assert_eq!(printed("{ format: json }", parts()).await, lines.concat());
        assert_eq!(printed("{ format: json, rows: 6 }", parts()).await, lines[..6].concat());
        assert_eq!(printed("{ format: json }", vec![words(&[])]).await, "");
    }

    #[tokio::test]
    async fn rows_that_fail_after_the_last_printed_one_fail_the_batch() {
        let (mut sink, page) = open("console", "{ rows: 1 }", &words_schema()).await.unwrap();
        let error = sink.write(BATCH, vec![failing(&[("a", 1), ("b", 2)])]).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), page.prints()), ("the source is gone", 0));
    }

    #[test]
    fn json_needs_text_keys() {
        let schema = columns(&[("m", "map<long, long>")]);
        let (_, findings) = check("console", "{ format: json }", &schema);
        assert!(findings.iter().any(|finding| finding.code == codes::SCHEMA_MISMATCH), "{findings:?}");
        assert!(check("console", "{}", &schema).1.is_empty());
    }
}
