//! What state takes does not grow with what is gone.

use super::aggregates::{Kept, Of, layout, numbered, partials};
use super::*;

/// How many bytes an operator says it takes after ten batches of the same rows, and after a thousand.
fn bytes(state: &Stateful, input: &SchemaRef, rows: &[RecordBatch]) -> [usize; 2] {
    let mut operator = state.build(input, 1).unwrap();
    let arrival = Arrival { first: 1, chunk: 1, threads: 1 };
    let mut run = |range: std::ops::Range<usize>| {
        for index in range {
            operator.apply(arrival.at(index), rows.to_vec()).unwrap();
            operator.changes().unwrap();
        }
        operator.size().bytes
    };
    [run(0..10), run(10..1_000)]
}

fn assert_steady([early, late]: [usize; 2]) {
    assert!(early > 0 && late <= 2 * early, "{early} bytes have become {late}");
}

#[test]
fn lists_of_earlier_windows() {
    let kept: &[Kept] = &[(Merge::Sum, Of::Rows), (Merge::Append, Of::T), (Merge::Union, Of::V)];
    let (keys, parts, input) = layout(1, kept);
    let times = WindowTimes { length: 2 * EVERY, slide: EVERY, align: Align::Clock };
    let rows: Vec<_> = (0..10).map(|number| numbered(number, 3)).collect();
    let rows = batches(&input, &partials(1, kept, &rows, false), 10);
    assert_steady(bytes(&Stateful::Totals(TotalsSpec { times, keys, parts }), &input, &rows));
}

#[test]
fn times_at_which_keys_were_touched_before() {
    let kept: &[Kept] = &[(Merge::Sum, Of::Rows)];
    let (keys, parts, input) = layout(1, kept);
    let timeout = Some(1_000_000 * EVERY);
    let spec = KeyedSpec { keys, parts, program: None, emit: Emit::Touched, timeout, remove: None };
    let rows: Vec<_> = (0..10).map(|number| numbered(number, 3)).collect();
    let rows = batches(&input, &partials(1, kept, &rows, false), 10);
    assert_steady(bytes(&Stateful::Keyed(spec), &input, &rows));
}

/// What is written down of one row that came among many long ones.
fn written_of_one(state: &Stateful, input: &SchemaRef, row: impl Fn(String) -> Row) -> usize {
    let received: Vec<Row> = (0..1_000).map(|number| row(format!("{number} {}", "long ".repeat(200)))).collect();
    let mut operator = state.build(input, 1).unwrap();
    let one = batches(input, &received, 1).swap_remove(500);
    operator.apply(BatchTime { time: EVERY, zero: 0 }, vec![one]).unwrap();
    let changes = operator.changes().unwrap().unwrap();
    written::encode(&operator.schema(), &changes).unwrap().len()
}

#[test]
fn keys_among_others_that_were_received() {
    let keys = vec![key_column("key", DataType::Utf8View)];
    let input = schema(&[("key 0", DataType::Utf8View), ("id", DataType::Int64)]);
    let state = Stateful::Distinct(DistinctSpec { keys, within: None });
    let written = written_of_one(&state, &input, |key| vec![Cell::Text(key), Cell::Long(1)]);
    assert!(written < 10_000, "{written} bytes");
}

#[test]
fn rows_among_others_that_were_received() {
    let state = Stateful::Rows(WindowTimes { length: 2 * EVERY, slide: EVERY, align: Align::Clock });
    let texts = schema(&[("t", DataType::Utf8View)]);
    let written = written_of_one(&state, &texts, |text| vec![Cell::Text(text)]);
    assert!(written < 10_000, "{written} bytes");
    let lists = schema(&[("t", DataType::new_list(DataType::Utf8View, true))]);
    let written = written_of_one(&state, &lists, |text| vec![Cell::List(vec![Cell::Text(text)])]);
    assert!(written < 10_000, "{written} bytes");
}
