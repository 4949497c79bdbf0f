//! The first row of each key, against the times of first rows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::*;

/// Two columns that must be equal.
type Key = (Option<String>, Option<i64>);

fn key() -> impl Strategy<Value = Key> {
    (text(KEYS), prop::option::of(0..3_i64))
}

fn check(within: Option<i64>, arrival: Arrival, script: Script<Key>) {
    let keys = vec![key_column("a", DataType::Utf8View), key_column("b", DataType::Int64)];
    let input = schema(&[
        ("key 0", DataType::Utf8View),
        ("key 1", DataType::Int64),
        ("id", DataType::Int64),
        ("text", DataType::Utf8View),
    ]);
    let mut twins = Twins::new(Stateful::Distinct(DistinctSpec { keys, within }), &input, arrival.threads);
    let mut model: BTreeMap<Key, i64> = BTreeMap::new();
    let mut id = 0;
    for (index, (keys, after)) in script.into_iter().enumerate() {
        let Some(keys) = keys else { continue };
        let at = arrival.at(index);
        model.retain(|_, first| within.is_none_or(|within| *first + within > at.time));
        let (mut arriving, mut expected) = (Vec::new(), Vec::new());
        for key in keys {
            id += 1;
            let (a, b) = (Cell::from(key.0.as_deref()), Cell::from(key.1));
            let row = vec![Cell::Long(id), Cell::Text(format!("the row of number {id}"))];
            arriving.push([vec![a, b], row.clone()].concat());
            if let Entry::Vacant(new) = model.entry(key) {
                new.insert(at.time);
                expected.push(row);
            }
        }
        for found in twins.apply(at, &batches(&input, &arriving, arrival.chunk), after) {
            assert_eq!(found, expected);
        }
        assert_eq!(twins.steady.size().entries, model.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_first_row_of_each_key(
        within in prop::option::of(duration()), arrival in arrival(), script in script(key()),
    ) {
        check(within, arrival, script);
    }
}

#[test]
fn many_rows_on_several_threads() {
    for within in [None, Some(2 * EVERY)] {
        let batch = |batch: i64| {
            let keys = (0..21_000_i64).map(|row| {
                let number = (8_000 * batch + row) % 15_013;
                ((number % 3 > 0).then(|| format!("key {number}")), (number % 5 > 0).then_some(number))
            });
            (Some(keys.collect()), if batch == 2 { After::Restart } else { After::Nothing })
        };
        check(within, Arrival { first: 1, chunk: 5_000, threads: 3 }, (0..6).map(batch).collect());
    }
}
