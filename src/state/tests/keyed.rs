//! Aggregates over everything since the start, against those over all rows of each key.

use std::collections::BTreeMap;

use arrow::array::BooleanArray;

use super::aggregates::{In, Kept, Of, assert_groups, groups, layout, numbered, partials, row};
use super::*;

/// The first one says which keys are removed.
const KEPT: &[Kept] = &[
    (Merge::Last, Of::V),
    (Merge::Sum, Of::Rows),
    (Merge::Sum, Of::V),
    (Merge::Sum, Of::X),
    (Merge::Moments, Of::X),
    (Merge::Min, Of::X),
    (Merge::Max, Of::T),
    (Merge::First, Of::T),
    (Merge::Append, Of::V),
    (Merge::Union, Of::T),
];

#[derive(Clone, Copy, Debug)]
struct Setting {
    keys: usize,
    all: bool,
    each: bool,
    removes: bool,
    timeout: Option<i64>,
}

fn setting() -> impl Strategy<Value = Setting> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (0..2_usize, flags, prop::option::of(duration())).prop_map(|(keys, (all, each, removes), timeout)| Setting {
        keys,
        all,
        each,
        removes,
        timeout,
    })
}

fn is_removed(v: Option<i64>) -> Option<bool> {
    v.map(|v| v > 5)
}

fn check(setting: Setting, arrival: Arrival, script: Script<In>) {
    let Setting { keys, all, each, removes, timeout } = setting;
    let (key_columns, parts, input) = layout(keys, KEPT);
    let remove: Predicate = Arc::new(move |state: &RecordBatch| {
        Ok(state.column(keys).as_primitive::<Int64Type>().iter().map(is_removed).collect::<BooleanArray>())
    });
    let emit = if all { Emit::All } else { Emit::Touched };
    let remove = removes.then_some(remove);
    let spec = KeyedSpec { keys: key_columns, parts, program: None, emit, timeout, remove };
    let mut twins = Twins::new(Stateful::Keyed(spec), &input, arrival.threads);
    let mut model: BTreeMap<Row, (i64, Vec<In>)> = BTreeMap::new();
    for (index, (rows, after)) in script.into_iter().enumerate() {
        let Some(rows) = rows else { continue };
        let at = arrival.at(index);
        let given = twins.apply(at, &batches(&input, &partials(keys, KEPT, &rows, each), arrival.chunk), after);
        let arrived = groups(keys, &rows);
        for (key, rows) in &arrived {
            let (touched, all) = model.entry(key.clone()).or_default();
            *touched = at.time;
            all.extend(rows.iter().cloned());
        }
        model.retain(|_, (touched, _)| timeout.is_none_or(|timeout| *touched + timeout > at.time));
        let is_gone = |rows: &[In]| removes && is_removed(rows.last().and_then(|row| row.v)) == Some(true);
        model.retain(|_, (_, rows)| !is_gone(rows));
        let expected = model.iter().filter(|(key, _)| all || arrived.contains_key(*key));
        let expected: BTreeMap<Row, Vec<In>> = expected.map(|(key, (_, rows))| (key.clone(), rows.clone())).collect();
        given.iter().for_each(|found| assert_groups(keys, KEPT, found, &expected));
        let entries = [&twins.steady, &twins.restored].map(|it| it.size().entries);
        assert_eq!(entries, [model.len(); 2]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn aggregates_since_the_start(setting in setting(), arrival in arrival(), script in script(row())) {
        check(setting, arrival, script);
    }
}

#[test]
fn many_rows_on_several_threads() {
    for all in [false, true] {
        let setting = Setting { keys: 1, all, each: true, removes: false, timeout: Some(2 * EVERY) };
        let batch = |batch: i64| {
            // Other keys in each batch, some of which were there before.
            let rows = (0..21_000).map(|row| numbered(8_000 * batch + row / 4, 9_001));
            (Some(rows.collect()), if batch == 2 { After::Restart } else { After::Nothing })
        };
        check(setting, Arrival { first: 1, chunk: 5_000, threads: 3 }, (0..4).map(batch).collect());
    }
}
