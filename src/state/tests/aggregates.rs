//! Rows of a few columns, and what aggregates are over them.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Beside numbers of about the same size: what makes sums lose digits.
const UNEVEN: &[f64] = &[1e16, -1e16, 1e100, -1e100, 1e-100, 0.0, 0.1, 1e8];
const TEXTS: &[&str] = &["", "x", "y", "a text of more than twelve bytes"];

/// A row of the input.
#[derive(Clone, Debug)]
pub(super) struct In {
    pub key: Option<String>,
    pub v: Option<i64>,
    pub x: Option<f64>,
    pub t: Option<String>,
}

pub(super) fn row() -> impl Strategy<Value = In> {
    let v = prop_oneof![1 => Just(None), 6 => (-9..9_i64).prop_map(Some), 1 => any::<i64>().prop_map(Some)];
    let x = prop_oneof![
        4 => Just(None),
        20 => (-1e3..1e3_f64).prop_map(Some),
        8 => prop::sample::select(UNEVEN.to_vec()).prop_map(Some),
        1 => prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN]).prop_map(Some),
    ];
    (text(KEYS), v, x, text(TEXTS)).prop_map(|(key, v, x, t)| In { key, v, x, t })
}

/// A row made from a number, of one of so many keys.
pub(super) fn numbered(number: i64, keys: i64) -> In {
    In {
        key: (number % 101 > 0).then(|| format!("key {}", number % keys)),
        v: (number % 17 > 0).then_some(number),
        x: (number % 13 > 0).then_some(number as f64 / 3.0),
        t: (number % 5 > 0).then(|| format!("text {}", number % 11)),
    }
}

/// What an aggregate is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Of {
    Rows,
    V,
    X,
    T,
}

impl Of {
    fn data_type(self) -> DataType {
        match self {
            Self::Rows | Self::V => DataType::Int64,
            Self::X => DataType::Float64,
            Self::T => DataType::Utf8View,
        }
    }

    fn cell(self, row: &In) -> Cell {
        match self {
            Self::Rows => Cell::Long(1),
            Self::V => row.v.into(),
            Self::X => row.x.into(),
            Self::T => row.t.as_deref().into(),
        }
    }
}

/// A part that is kept.
pub(super) type Kept = (Merge, Of);

fn part((merge, of): Kept) -> Part {
    let types = match merge {
        Merge::Append | Merge::Union => vec![DataType::new_list(of.data_type(), true)],
        Merge::Moments => vec![DataType::Int64, DataType::Float64, DataType::Float64],
        _ => vec![of.data_type()],
    };
    let column = |(index, data_type): (usize, DataType)| PartColumn {
        name: format!("{} of {of:?}, {index}", merge.name()),
        data_type,
    };
    Part { merge, columns: types.into_iter().enumerate().map(column).collect() }
}

/// Key columns and parts, and the columns that arrive.
pub(super) fn layout(keys: usize, kept: &[Kept]) -> (Vec<KeyColumn>, Vec<Part>, SchemaRef) {
    let keys = vec![key_column("key", DataType::Utf8View); keys];
    let parts: Vec<Part> = kept.iter().map(|it| part(*it)).collect();
    let input = table::schema(&fields(&keys), &parts);
    (keys, parts, input)
}

/// The cells of a part over some rows.
fn over((merge, of): Kept, rows: &[In]) -> Vec<Cell> {
    let all: Vec<Cell> = rows.iter().map(|row| of.cell(row)).collect();
    let some = || all.iter().filter(|it| **it != Cell::Null);
    let or_null = |cell: Option<&Cell>| vec![cell.cloned().unwrap_or(Cell::Null)];
    match merge {
        Merge::Sum => vec![some().cloned().reduce(sum).unwrap_or(Cell::Null)],
        Merge::Min => or_null(some().min()),
        Merge::Max => or_null(some().max()),
        Merge::First => or_null(all.first()),
        Merge::Last => or_null(all.last()),
        Merge::Append => vec![list(some().cloned().collect())],
        Merge::Union => vec![list(some().cloned().collect::<BTreeSet<_>>().into_iter().collect())],
        Merge::Moments => moments(&rows.iter().filter_map(|row| row.x).collect::<Vec<_>>()),
    }
}

fn sum(a: Cell, b: Cell) -> Cell {
    match (a, b) {
        (Cell::Long(a), Cell::Long(b)) => Cell::Long(a.wrapping_add(b)),
        (Cell::Double(a), Cell::Double(b)) => Cell::Double(Total(a.0 + b.0)),
        (a, b) => panic!("no sum of {a:?} and {b:?}"),
    }
}

fn list(cells: Vec<Cell>) -> Cell {
    if cells.is_empty() { Cell::Null } else { Cell::List(cells) }
}

fn moments(x: &[f64]) -> Vec<Cell> {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    let or_null = |value: f64| Cell::from((!x.is_empty()).then_some(value));
    vec![Cell::Long(i64::try_from(x.len()).unwrap()), or_null(mean), or_null(variance)]
}

fn key_of(keys: usize, row: &In) -> Row {
    [Cell::from(row.key.as_deref())].into_iter().take(keys).collect()
}

pub(super) fn groups(keys: usize, rows: &[In]) -> BTreeMap<Row, Vec<In>> {
    let mut groups: BTreeMap<Row, Vec<In>> = BTreeMap::new();
    for row in rows {
        groups.entry(key_of(keys, row)).or_default().push(row.clone());
    }
    groups
}

/// The rows of a batch as a stage gives them to an operator, keys and then parts: one for each key, or one
/// for each row.
pub(super) fn partials(keys: usize, kept: &[Kept], rows: &[In], each: bool) -> Vec<Row> {
    let parted: Vec<Vec<In>> = if each {
        rows.iter().map(|row| vec![row.clone()]).collect()
    } else {
        groups(keys, rows).into_values().collect()
    };
    let partial = |group: &Vec<In>| -> Row {
        key_of(keys, &group[0]).into_iter().chain(kept.iter().flat_map(|it| over(*it, group))).collect()
    };
    parted.iter().map(partial).collect()
}

/// Checks rows of keys and parts against the rows of each key.
pub(super) fn assert_groups(keys: usize, kept: &[Kept], found: &[Row], expected: &BTreeMap<Row, Vec<In>>) {
    let mut found_keys: Vec<&[Cell]> = found.iter().map(|row| &row[..keys]).collect();
    found_keys.sort_unstable();
    let expected_keys: Vec<&[Cell]> = expected.keys().map(Vec::as_slice).collect();
    assert_eq!(found_keys, expected_keys);
    for row in found {
        let (key, mut rest) = row.split_at(keys);
        let rows = &expected[key];
        for it in kept {
            let (own, others) = rest.split_at(part(*it).columns.len());
            rest = others;
            assert!(is_over(*it, rows, own), "{it:?} of {key:?} is {own:?}, over {rows:?}");
        }
    }
}

fn is_over(kept: Kept, rows: &[In], found: &[Cell]) -> bool {
    let expected = over(kept, rows);
    let x: Vec<f64> = rows.iter().filter_map(|row| row.x).collect();
    // Of what was added up nothing is known to more than so many digits.
    let values = x.len().max(1) as f64;
    let size: f64 = x.iter().map(|x| x.abs()).sum();
    let squares: f64 = x.iter().map(|x| x * x).sum();
    match (kept, expected.as_slice(), found) {
        ((Merge::Sum, Of::X), _, [Cell::Double(found)]) => is_near(x.iter().sum::<f64>(), found.0, size),
        ((Merge::Sum, _), [Cell::Null], _) => found == [Cell::Long(0)],
        (
            (Merge::Moments, _),
            [count, Cell::Double(mean), Cell::Double(variance)],
            [found_count, Cell::Double(found_mean), Cell::Double(found_variance)],
        ) => {
            // Where one number is not finite, there is no variance, and then nobody asks for the mean.
            let is_like = |expected: Total, found: Total, size: f64| {
                if expected.0.is_finite() { is_near(expected.0, found.0, size) } else { !found.0.is_finite() }
            };
            count == found_count
                && is_like(*mean, *found_mean, size / values)
                && is_like(*variance, *found_variance, squares / values)
        }
        ((Merge::Union, _), [Cell::List(expected)], [Cell::List(found)]) => {
            let mut found = found.clone();
            found.sort_unstable();
            *expected == found
        }
        (_, expected, found) => expected == found,
    }
}

fn is_near(expected: f64, found: f64, size: f64) -> bool {
    if expected.is_finite() {
        (expected - found).abs() <= 1e-9 * size + f64::MIN_POSITIVE
    } else {
        (expected.is_nan() && found.is_nan()) || expected == found
    }
}
