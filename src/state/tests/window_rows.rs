//! The rows of windows, against all rows since the start.

use super::*;

proptest! {
    #[test]
    fn the_rows_of_windows(
        times in times(), arrival in arrival(), script in script((prop::option::of(any::<i64>()), text(KEYS))),
    ) {
        let input = schema(&[("n", DataType::Int64), ("t", DataType::Utf8View)]);
        let mut twins = Twins::new(Stateful::Rows(times), &input, arrival.threads);
        let mut seen: Vec<(i64, Row)> = Vec::new();
        for (index, (arriving, after)) in script.into_iter().enumerate() {
            let Some(arriving) = arriving else { continue };
            let at = arrival.at(index);
            let row = |(n, t): (Option<i64>, Option<String>)| vec![Cell::from(n), Cell::from(t.as_deref())];
            let arriving: Vec<Row> = arriving.into_iter().map(row).collect();
            let given = twins.apply(at, &batches(&input, &arriving, arrival.chunk), after);
            seen.extend(arriving.into_iter().map(|row| (at.time, row)));
            let expected = in_window(times, at, &seen);
            for found in given {
                prop_assert_eq!(&found, &expected);
            }
            // Where a window ends, all that came before it is let go of.
            prop_assert!(!times.ends_at(at.time, at.zero) || twins.steady.size().entries <= expected.len());
        }
    }
}

/// State of rows in one order of columns is not that of rows in another one: it is restored by place.
#[test]
fn the_order_of_columns_is_part_of_the_state() {
    let rows = Stateful::Rows(WindowTimes { length: EVERY, slide: EVERY, align: Align::Clock });
    let [one, other] =
        [["a", "b"], ["b", "a"]].map(|names| rows.fingerprint(&schema(&names.map(|name| (name, DataType::Int64)))));
    assert_ne!(one, other);
}
