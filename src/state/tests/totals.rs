//! Aggregates over windows, against those over all rows of each window.

use super::aggregates::{In, Kept, Of, assert_groups, groups, layout, numbered, partials, row};
use super::*;

/// Rows can be taken out of these again.
const INVERTIBLE: &[Kept] =
    &[(Merge::Sum, Of::Rows), (Merge::Sum, Of::V), (Merge::Sum, Of::X), (Merge::Moments, Of::X)];
/// These are computed anew for each window.
const OTHERS: &[Kept] = &[
    (Merge::Sum, Of::Rows),
    (Merge::Min, Of::T),
    (Merge::Min, Of::X),
    (Merge::Max, Of::V),
    (Merge::Max, Of::X),
    (Merge::First, Of::T),
    (Merge::First, Of::V),
    (Merge::Last, Of::T),
    (Merge::Last, Of::X),
    (Merge::Append, Of::T),
    (Merge::Append, Of::X),
    (Merge::Union, Of::T),
    (Merge::Union, Of::V),
    (Merge::Union, Of::X),
    (Merge::Moments, Of::X),
];
const ARRIVAL: Arrival = Arrival { first: 1, chunk: 8, threads: 1 };

fn check(keys: usize, kept: &[Kept], times: WindowTimes, arrival: Arrival, each: bool, script: Script<In>) {
    let (key_columns, parts, input) = layout(keys, kept);
    let spec = TotalsSpec { times, keys: key_columns, parts };
    let mut twins = Twins::new(Stateful::Totals(spec), &input, arrival.threads);
    let mut seen = Vec::new();
    for (index, (rows, after)) in script.into_iter().enumerate() {
        let Some(rows) = rows else { continue };
        let at = arrival.at(index);
        let given = twins.apply(at, &batches(&input, &partials(keys, kept, &rows, each), arrival.chunk), after);
        seen.extend(rows.into_iter().map(|row| (at.time, row)));
        let expected = groups(keys, &in_window(times, at, &seen));
        given.iter().for_each(|found| assert_groups(keys, kept, found, &expected));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_can_be_taken_apart(
        keys in 0..2_usize, times in times(), arrival in arrival(), each in any::<bool>(), script in script(row()),
    ) {
        check(keys, INVERTIBLE, times, arrival, each, script);
    }

    #[test]
    fn what_cannot_be_taken_apart(
        keys in 0..2_usize, times in times(), arrival in arrival(), each in any::<bool>(), script in script(row()),
    ) {
        check(keys, OTHERS, times, arrival, each, script);
    }
}

#[test]
fn panes_of_many_batches() {
    for (kept, keys) in [(INVERTIBLE, 7), (OTHERS, 7), (OTHERS, 1)] {
        let batch = |batch: i64| {
            let after = match batch {
                40 | 120 => After::Snapshot,
                60 | 130 => After::Restart,
                _ => After::Nothing,
            };
            (Some(vec![numbered(2 * batch, keys), numbered(2 * batch + 1, keys)]), after)
        };
        let times = WindowTimes { length: 100 * EVERY, slide: 50 * EVERY, align: Align::Clock };
        check(1, kept, times, Arrival { chunk: 1, threads: 3, ..ARRIVAL }, true, (0..210).map(batch).collect());
    }
}

#[test]
fn many_rows_on_several_threads() {
    for kept in [INVERTIBLE, OTHERS] {
        let batch = |batch: i64| {
            let rows = (0..21_000).map(|row| numbered(21_000 * batch + row, 1_009));
            (Some(rows.collect()), if batch == 1 { After::Restart } else { After::Nothing })
        };
        let times = WindowTimes { length: 2 * EVERY, slide: EVERY, align: Align::Clock };
        check(1, kept, times, Arrival { chunk: 5_000, threads: 3, ..ARRIVAL }, true, (0..3).map(batch).collect());
    }
}

/// Each number is a small part of the one before, but not so small that its digits were lost in a single
/// step on the way down.
#[test]
fn digits_that_are_lost_bit_by_bit() {
    for (merge, part) in [(Merge::Sum, 1_000_f64), (Merge::Moments, 30.0)] {
        let x = |index: i32| (2..10).contains(&index).then(|| 1e17 / 3.0 / part.powi(index - 2));
        let batch = |index| (Some(vec![In { key: None, v: None, x: x(index), t: None }]), After::Nothing);
        let times = WindowTimes { length: 8 * EVERY, slide: EVERY, align: Align::Clock };
        let kept = [(Merge::Sum, Of::Rows), (merge, Of::X)];
        check(1, &kept, times, ARRIVAL, false, (0..20).map(batch).collect());
    }
}

/// The squares of these are too great for a double, but their distance is not.
#[test]
fn equal_numbers_have_no_variance() {
    let row = In { key: None, v: None, x: Some(1e200), t: None };
    let times = WindowTimes { length: EVERY, slide: EVERY, align: Align::Clock };
    let kept = [(Merge::Sum, Of::Rows), (Merge::Moments, Of::X)];
    check(1, &kept, times, ARRIVAL, true, vec![(Some(vec![row.clone(), row]), After::Nothing)]);
}
