//! What the tests of several sinks need.

use std::sync::{Arc, Mutex};

use arrow::json::ReaderBuilder;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use futures::stream;

use super::{CheckedSink, KINDS, Partition, RowsError, Sink, SinkContext, SinkError, Terminal};
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::schema::{Column, Schema, parse_type};
use crate::spec::{Check, Component, Name, OnError, document};

/// A terminal that keeps what is printed.
#[derive(Default)]
pub(super) struct Page(Mutex<Vec<String>>);

impl Page {
    /// All that was printed.
    pub(super) fn text(&self) -> String {
        self.0.lock().unwrap().concat()
    }

    /// How often something was printed.
    pub(super) fn prints(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Terminal for Page {
    fn print(&self, text: &str) -> std::io::Result<()> {
        self.0.lock().unwrap().push(text.to_owned());
        Ok(())
    }
}

/// Columns with their types as a pipeline file writes them.
pub(super) fn columns(columns: &[(&str, &str)]) -> Schema {
    Schema::new(columns.iter().map(|(name, text)| Column::new(*name, parse_type(text).unwrap())).collect())
}

/// `(word: string, count: long)`.
pub(super) fn words_schema() -> Schema {
    columns(&[("word", "string"), ("count", "long")])
}

/// Rows from JSON objects.
pub(super) fn batch(of: &[(&str, &str)], rows: &[&str]) -> RecordBatch {
    let schema = columns(of).to_arrow();
    let mut decoder = ReaderBuilder::new(Arc::clone(&schema)).build_decoder().unwrap();
    for row in rows {
        assert_eq!(decoder.decode(row.as_bytes()).unwrap(), row.len());
    }
    decoder.flush().unwrap().unwrap_or_else(|| RecordBatch::new_empty(schema))
}

fn word_batch(rows: &[(&str, i64)]) -> RecordBatch {
    let rows: Vec<String> =
        rows.iter().map(|(word, count)| serde_json::json!({ "word": word, "count": count }).to_string()).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    batch(&[("word", "string"), ("count", "long")], &rows)
}

/// A partition of these batches.
pub(super) fn partition(batches: Vec<Result<RecordBatch, RowsError>>) -> Partition {
    stream::iter(batches).boxed()
}

/// A partition of words with counts, one row per batch, with an empty batch before them.
pub(super) fn words(rows: &[(&str, i64)]) -> Partition {
    let rows = rows.iter().map(|row| Ok(word_batch(&[*row])));
    partition(std::iter::once(Ok(word_batch(&[]))).chain(rows).collect())
}

/// A partition of one batch that is followed by an error.
pub(super) fn failing(rows: &[(&str, i64)]) -> Partition {
    partition(vec![Ok(word_batch(rows)), Err(RowsError("the source is gone".to_owned()))])
}

/// Checks settings written in YAML.
pub(super) fn check(kind: &str, settings: &str, schema: &Schema) -> (Option<CheckedSink>, Vec<Diagnostic>) {
    let file = Arc::new(SourceFile::new("test.yaml", settings));
    let mut findings = Vec::new();
    let node = document::read(&file, &mut findings).unwrap();
    let name = |text: &str| Name { text: text.to_owned(), span: node.span };
    let component = Component::new(name("out"), name(kind), node.clone());
    let kind = KINDS.iter().find(|it| it.name == kind).unwrap();
    let Some(settings) = (kind.read)(&node, &file, &mut findings) else { return (None, findings) };
    let mut check = Check { file: &file, component: &component, on_error: OnError::default(), findings: &mut findings };
    let checked = settings.check(&mut check, schema);
    (checked, findings)
}

/// Opens a sink with settings that must be good.
pub(super) async fn open(kind: &str, settings: &str, schema: &Schema) -> Result<(Box<dyn Sink>, Arc<Page>), SinkError> {
    let (checked, findings) = check(kind, settings, schema);
    assert!(findings.is_empty(), "{findings:?}");
    let page = Arc::new(Page::default());
    let terminal: Arc<dyn Terminal> = Arc::clone(&page) as Arc<dyn Terminal>;
    let context = SinkContext { name: "out".to_owned(), schema: schema.to_arrow(), terminal };
    let sink = checked.unwrap().factory.build(context).await?;
    Ok((sink, page))
}
