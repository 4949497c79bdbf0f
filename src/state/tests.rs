//! Operators against models that keep every row. Two operators get the same batches: one runs through, the
//! other is thrown away now and then and restored from what was written down. What the tests share.

mod aggregates;
mod distinct;
mod economy;
mod keyed;
mod program;
mod totals;
mod window_rows;

use std::cmp::Ordering;
use std::fmt::Debug;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringViewArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Float64Type, Int64Type, Schema as ArrowSchema};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// Milliseconds from batch to batch.
const EVERY: i64 = 1_000;
/// Views have up to twelve bytes in themselves.
const KEYS: &[&str] = &["", "a", "b", "c", "a key of more than twelve bytes"];

/// A value, as the models have it. NULL comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Null,
    Long(i64),
    Double(Total),
    Text(String),
    List(Vec<Cell>),
}

/// A number that is equal to itself also where it is none, which is then the greatest.
#[derive(Clone, Copy, Debug)]
struct Total(f64);

type Row = Vec<Cell>;

impl Ord for Total {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Total {}

impl From<Option<i64>> for Cell {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Long)
    }
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Null, |it| Self::Double(Total(it)))
    }
}

impl From<Option<&str>> for Cell {
    fn from(value: Option<&str>) -> Self {
        value.map_or(Self::Null, |it| Self::Text(it.to_owned()))
    }
}

fn cell(array: &dyn Array, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Int64 => Cell::Long(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::Double(Total(array.as_primitive::<Float64Type>().value(row))),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(row).to_owned()),
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(row);
            Cell::List((0..list.len()).map(|element| cell(&list, element)).collect())
        }
        other => panic!("no cell of {other}"),
    }
}

fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    let row =
        |batch: &RecordBatch, row: usize| -> Row { batch.columns().iter().map(|column| cell(column, row)).collect() };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|it| row(batch, it)).collect::<Vec<Row>>()).collect()
}

fn column(data_type: &DataType, cells: &[Cell]) -> ArrayRef {
    match data_type {
        DataType::Int64 => {
            let long = |it: &Cell| if let Cell::Long(it) = it { Some(*it) } else { None };
            Arc::new(cells.iter().map(long).collect::<Int64Array>())
        }
        DataType::Float64 => {
            let double = |it: &Cell| if let Cell::Double(it) = it { Some(it.0) } else { None };
            Arc::new(cells.iter().map(double).collect::<Float64Array>())
        }
        DataType::Utf8View => {
            let texts = cells.iter().map(|it| if let Cell::Text(it) = it { Some(it.as_str()) } else { None });
            Arc::new(texts.collect::<StringViewArray>())
        }
        DataType::List(field) => {
            let lists = cells.iter().map(|it| if let Cell::List(it) = it { it.clone() } else { Vec::new() });
            let lists: Vec<Vec<Cell>> = lists.collect();
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
            let valid: Vec<bool> = cells.iter().map(|it| *it != Cell::Null).collect();
            let elements = column(field.data_type(), &lists.concat());
            Arc::new(ListArray::new(Arc::clone(field), offsets, elements, Some(NullBuffer::from(valid))))
        }
        other => panic!("no column of {other}"),
    }
}

/// Rows as batches of a few: slices of one, as they come from the engine library.
fn batches(schema: &SchemaRef, rows: &[Row], chunk: usize) -> Vec<RecordBatch> {
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        let cells: Vec<Cell> = rows.iter().map(|row| row[index].clone()).collect();
        column(field.data_type(), &cells)
    });
    let whole = RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap();
    (0..rows.len()).step_by(chunk).map(|start| whole.slice(start, chunk.min(rows.len() - start))).collect()
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
}

fn key_column(name: &str, data_type: DataType) -> KeyColumn {
    KeyColumn { name: name.to_owned(), data_type, expression: name.to_owned() }
}

fn text(texts: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(0.8, prop::sample::select(texts.to_vec()).prop_map(|it| it.to_owned()))
}

/// Some time, as a multiple of the batch interval.
fn duration() -> impl Strategy<Value = i64> {
    (1..7_i64).prop_map(|intervals| intervals * EVERY)
}

fn times() -> impl Strategy<Value = WindowTimes> {
    (duration(), duration(), prop::sample::select(vec![Align::Clock, Align::Start]))
        .prop_map(|(length, slide, align)| WindowTimes { length, slide, align })
}

/// How batches arrive.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// The number of the first one's time.
    first: i64,
    /// So many rows are together at most.
    chunk: usize,
    threads: usize,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    (1..12_i64, 1..6_usize, prop::sample::select(vec![1_usize, 3])).prop_map(|(first, chunk, threads)| Arrival {
        first,
        chunk,
        threads,
    })
}

impl Arrival {
    fn at(self, index: usize) -> BatchTime {
        let time = (self.first + i64::try_from(index).unwrap()) * EVERY;
        BatchTime { time, zero: (self.first - 1) * EVERY }
    }
}

/// What happens after a batch.
#[derive(Clone, Copy, Debug)]
enum After {
    Nothing,
    /// All of the state is written down.
    Snapshot,
    /// The operator ends, and another one goes on from what was written down.
    Restart,
}

/// The rows of batches; a batch without is passed over, as an engine does that is late.
type Script<T> = Vec<(Option<Vec<T>>, After)>;

fn script<T: Debug>(row: impl Strategy<Value = T>) -> impl Strategy<Value = Script<T>> {
    let after = prop_oneof![6 => Just(After::Nothing), 1 => Just(After::Snapshot), 2 => Just(After::Restart)];
    let rows = prop::option::weighted(0.9, prop::collection::vec(row, 0..8));
    prop::collection::vec((rows, after), 1..30)
}

/// The rows of the window that ends with a batch; none where no window does.
fn in_window<T: Clone>(times: WindowTimes, at: BatchTime, seen: &[(i64, T)]) -> Vec<T> {
    let origin = match times.align {
        Align::Clock => 0,
        Align::Start => at.zero,
    };
    let covers = |time: i64| (at.time - origin) % times.slide == 0 && time > at.time - times.length && time <= at.time;
    seen.iter().filter(|(time, _)| covers(*time)).map(|(_, row)| row.clone()).collect()
}

/// Two operators that do the same.
struct Twins {
    state: Stateful,
    input: SchemaRef,
    threads: usize,
    /// It runs through.
    steady: Box<dyn Operator>,
    /// It is restored now and then, each time with another number of threads.
    restored: Box<dyn Operator>,
    /// What the second one was when it was written down last, and what has changed since.
    snapshot: Bytes,
    changes: Vec<u8>,
}

impl Twins {
    fn new(state: Stateful, input: &SchemaRef, threads: usize) -> Self {
        let (steady, restored) = (state.build(input, threads).unwrap(), state.build(input, threads).unwrap());
        let snapshot = written::encode(&restored.schema(), &restored.snapshot().unwrap()).unwrap();
        Self { state, input: Arc::clone(input), threads, steady, restored, snapshot, changes: Vec::new() }
    }

    /// The rows that leave both.
    fn apply(&mut self, at: BatchTime, batches: &[RecordBatch], after: After) -> [Vec<Row>; 2] {
        let output = self.state.output(&self.input).unwrap();
        let given = [&mut self.steady, &mut self.restored].map(|operator| {
            let given = operator.apply(at, batches.to_vec()).unwrap();
            given.iter().for_each(|batch| assert_eq!(batch.schema(), output));
            rows(&given)
        });
        self.steady.changes().unwrap();
        let changes = self.restored.changes().unwrap().unwrap_or_default();
        self.changes.extend_from_slice(&written::encode(&self.restored.schema(), &changes).unwrap());
        assert!(self.restored.changes().unwrap().is_none(), "changes are given once");
        match after {
            After::Nothing => {}
            After::Snapshot => {
                let snapshot = self.restored.snapshot().unwrap();
                self.snapshot = written::encode(&self.restored.schema(), &snapshot).unwrap();
                self.changes.clear();
            }
            After::Restart => {
                self.threads = 4 - self.threads;
                self.restored = self.state.build(&self.input, self.threads).unwrap();
                for bytes in [self.snapshot.clone(), Bytes::from(self.changes.clone())] {
                    self.restored.restore(written::decode(&bytes).unwrap()).unwrap();
                }
            }
        }
        given
    }
}

#[test]
fn rows_of_other_columns_are_refused() {
    let input = schema(&[("n", DataType::Int64)]);
    let times = WindowTimes { length: EVERY, slide: EVERY, align: Align::Clock };
    let keys = vec![key_column("key", DataType::Utf8View)];
    let distinct = DistinctSpec { keys: keys.clone(), within: None };
    let totals = TotalsSpec { times, keys: keys.clone(), parts: vec![TotalsSpec::rows()] };
    let keyed = KeyedSpec {
        keys,
        parts: vec![TotalsSpec::rows()],
        program: None,
        emit: Emit::All,
        timeout: None,
        remove: None,
    };
    let other = batches(&schema(&[("d", DataType::Float64)]), &[vec![Cell::Null]], 1);
    let (rows, totals) = (Stateful::Rows(times), Stateful::Totals(totals));
    for state in [rows, totals, Stateful::Keyed(keyed), Stateful::Distinct(distinct)] {
        let mut operator = state.build(&input, 1).unwrap();
        let refused = operator.restore(other.clone());
        assert!(matches!(refused, Err(StateError::OtherColumns(_))), "{refused:?}");
    }
}
