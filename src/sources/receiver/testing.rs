//! What the tests of sources share.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;

pub use super::super::clock::ManualClock;
use super::super::{Block, CheckedSource, Limit, SourceContext, SourceSettings};
use crate::diagnostic::{Diagnostic, SourceFile, Span};
use crate::spec::kind::Settings;
use crate::spec::{Check, Component, Name, OnError, document, typed};

/// A context with its clock at 0.
pub fn context() -> (SourceContext, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(0));
    let context = SourceContext {
        name: "lines".to_owned(),
        clock: Arc::<ManualClock>::clone(&clock),
        block_interval: Duration::from_millis(1),
        receive_buffer: 1 << 20,
        available_now: false,
        log: None,
    };
    (context, clock)
}

/// Everything there is.
pub const ALL: Limit = Limit { until: i64::MAX, rows: None };

/// Reads and checks settings written in YAML.
pub fn check<S: Settings + SourceSettings>(yaml: &str) -> (Option<CheckedSource>, Vec<Diagnostic>) {
    let file = Arc::new(SourceFile::new("test.yaml", yaml));
    let mut findings = Vec::new();
    let Some(settings) = document::read(&file, &mut findings) else { return (None, findings) };
    let Some(read) = typed::read::<S>(&settings, &file, &mut findings) else { return (None, findings) };
    let name = Name { text: "lines".to_owned(), span: Span::default() };
    let component = Component::new(name.clone(), name, settings);
    let mut check = Check { file: &file, component: &component, on_error: OnError::Fail, findings: &mut findings };
    let checked = Box::new(read).check(&mut check);
    (checked, findings)
}

/// All rows of blocks, with the columns at these indices.
pub fn rows(blocks: &[Block], columns: &[usize]) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for block in blocks {
        for piece in block.content.open(columns).unwrap() {
            batches.extend(piece.unwrap().batches);
        }
    }
    batches
}

/// The texts of the only column.
pub fn texts(blocks: &[Block]) -> Vec<String> {
    use arrow::array::AsArray;
    let batches = rows(blocks, &[0]);
    let columns = batches.iter().map(|batch| batch.column(0).as_string_view());
    columns.flat_map(|column| column.iter().map(|text| text.unwrap_or("NULL").to_owned()).collect::<Vec<_>>()).collect()
}
