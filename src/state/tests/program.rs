//! State that a program computes from row to row, against accounts that take one payment after the other.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::BooleanArray;

use super::*;

/// What a new account has.
const START: i64 = 100;
/// An account with more than this is removed.
const RICH: i64 = 150;

/// `balance + amount`.
struct Balance {
    computed: Vec<(usize, ArrayRef)>,
    timeouts: bool,
    output: SchemaRef,
}

impl Program for Balance {
    fn describe(&self) -> Value {
        json!({ "balance": { "initial": START, "update": "balance + amount" } })
    }

    fn computed(&self) -> &[(usize, ArrayRef)] {
        &self.computed
    }

    fn update(&self, rows: &RecordBatch, before: &RecordBatch) -> Result<Vec<ArrayRef>, StateError> {
        let keys: BTreeSet<Cell> = (0..before.num_rows()).map(|row| cell(before.column(0), row)).collect();
        assert_eq!(keys.len(), rows.num_rows(), "a key is there twice");
        let balances = before.column(2).as_primitive::<Int64Type>().values().iter();
        let amounts = rows.column(0).as_primitive::<Int64Type>().iter();
        let after = balances.zip(amounts).map(|(balance, amount)| balance + amount.unwrap_or(0));
        Ok(vec![Arc::new(Int64Array::from_iter_values(after))])
    }

    fn emit(
        &self,
        rows: &RecordBatch,
        before: &RecordBatch,
        after: &RecordBatch,
        timed_out: bool,
    ) -> Result<RecordBatch, StateError> {
        let states = (1..4).flat_map(|column| [before.column(column), after.column(column)]);
        let timed_out: ArrayRef = Arc::new(Int64Array::from_value(i64::from(timed_out), rows.num_rows()));
        let columns = [rows.column(1), before.column(0)].into_iter().chain(states).cloned().chain([timed_out]);
        Ok(RecordBatch::try_new(Arc::clone(&self.output), columns.collect())?)
    }

    fn emits_timeouts(&self) -> bool {
        self.timeouts
    }
}

#[derive(Clone, Debug)]
struct Account {
    count: i64,
    balance: i64,
    last: Option<i64>,
    touched: i64,
}

impl Account {
    fn cells(&self) -> [Cell; 3] {
        [Cell::Long(self.count), Cell::Long(self.balance), self.last.into()]
    }
}

/// A row as [`Balance`] makes it.
fn emitted(id: Cell, key: &Cell, [before, after]: [&Account; 2], timed_out: bool) -> Row {
    let states = before.cells().into_iter().zip(after.cells()).flat_map(|(before, after)| [before, after]);
    [id, key.clone()].into_iter().chain(states).chain([Cell::Long(i64::from(timed_out))]).collect()
}

#[derive(Clone, Debug)]
struct Payment {
    key: Option<String>,
    amount: Option<i64>,
}

fn payment() -> impl Strategy<Value = Payment> {
    (text(KEYS), prop::option::of(-50..50_i64)).prop_map(|(key, amount)| Payment { key, amount })
}

/// What leaves the step.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    All,
    Touched,
    Rows { timeouts: bool },
}

fn leaves() -> impl Strategy<Value = Leaves> {
    let rows = |timeouts| Leaves::Rows { timeouts };
    prop::sample::select(vec![Leaves::All, Leaves::Touched, rows(false), rows(true)])
}

/// The step, and the columns that arrive: the key, the parts that are not computed, the row's own.
fn step(leaves: Leaves, timeout: Option<i64>, removes: bool) -> (Stateful, SchemaRef) {
    let longs = |names: &[&'static str]| -> Vec<(&'static str, DataType)> {
        names.iter().map(|name| (*name, DataType::Int64)).collect()
    };
    let states = ["count before", "count after", "balance before", "balance after", "last before", "last after"];
    let key = ("key", DataType::Utf8View);
    let output = [longs(&["id"]), vec![key.clone()], longs(&states), longs(&["timed out"])].concat();
    let output = schema(&output);
    let start: ArrayRef = Arc::new(Int64Array::from_iter_values([START]));
    let timeouts = matches!(leaves, Leaves::Rows { timeouts: true });
    let program = Balance { computed: vec![(1, start)], timeouts, output: Arc::clone(&output) };
    let part = |name: &str, merge: Merge| Part {
        merge,
        columns: vec![PartColumn { name: name.to_owned(), data_type: DataType::Int64 }],
    };
    let remove: Predicate = Arc::new(|state: &RecordBatch| {
        let balances = state.column(2).as_primitive::<Int64Type>().iter();
        Ok(balances.map(|balance| balance.map(|balance| balance > RICH)).collect::<BooleanArray>())
    });
    let spec = KeyedSpec {
        keys: vec![key_column("key", DataType::Utf8View)],
        parts: vec![part("count", Merge::Sum), part("balance", Merge::Last), part("last", Merge::Last)],
        program: Some(Arc::new(program)),
        emit: match leaves {
            Leaves::All => Emit::All,
            Leaves::Touched => Emit::Touched,
            Leaves::Rows { .. } => Emit::Rows(output),
        },
        timeout,
        remove: removes.then_some(remove),
    };
    let input = schema(&[vec![key], longs(&["count", "last", "amount", "id"])].concat());
    (Stateful::Keyed(spec), input)
}

fn check(leaves: Leaves, timeout: Option<i64>, removes: bool, arrival: Arrival, script: Script<Payment>) {
    let (state, input) = step(leaves, timeout, removes);
    let mut twins = Twins::new(state, &input, arrival.threads);
    let mut accounts: BTreeMap<Cell, Account> = BTreeMap::new();
    let mut id = 0;
    for (index, (payments, after)) in script.into_iter().enumerate() {
        let Some(payments) = payments else { continue };
        let at = arrival.at(index);
        let (mut arriving, mut leaving, mut touched) = (Vec::new(), Vec::new(), BTreeSet::new());
        for payment in payments {
            id += 1;
            let (key, amount) = (Cell::from(payment.key.as_deref()), Cell::from(payment.amount));
            arriving.push(vec![key.clone(), Cell::Long(1), amount.clone(), amount, Cell::Long(id)]);
            let new = Account { count: 0, balance: START, last: None, touched: at.time };
            let account = accounts.entry(key.clone()).or_insert(new);
            let before = account.clone();
            *account = Account {
                count: before.count + 1,
                balance: before.balance + payment.amount.unwrap_or(0),
                last: payment.amount,
                touched: at.time,
            };
            leaving.push(emitted(Cell::Long(id), &key, [&before, &*account], false));
            touched.insert(key);
        }
        let is_idle = |account: &Account| timeout.is_some_and(|timeout| account.touched + timeout <= at.time);
        let idle = accounts.iter().filter(|(_, account)| is_idle(account));
        let timed_out: Vec<Row> =
            idle.map(|(key, account)| emitted(Cell::Null, key, [account, account], true)).collect();
        accounts.retain(|_, account| !is_idle(account));
        accounts.retain(|key, account| !(removes && touched.contains(key) && account.balance > RICH));
        // The first ones are in the order of arrival, the others in none.
        let (ordered, expected): (usize, Vec<Row>) = match leaves {
            Leaves::Rows { timeouts } => {
                let ordered = leaving.len();
                leaving.extend(timed_out.into_iter().filter(|_| timeouts));
                (ordered, leaving)
            }
            Leaves::All | Leaves::Touched => {
                let is_all = matches!(leaves, Leaves::All);
                let kept = accounts.iter().filter(|(key, _)| is_all || touched.contains(*key));
                let row = |(key, account): (&Cell, &Account)| [vec![key.clone()], account.cells().to_vec()].concat();
                (0, kept.map(row).collect())
            }
        };
        for mut found in twins.apply(at, &batches(&input, &arriving, arrival.chunk), after) {
            found.get_mut(ordered..).unwrap_or_default().sort_unstable();
            assert_eq!(found, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn one_row_after_the_other(
        leaves in leaves(),
        timeout in prop::option::of(duration()),
        removes in any::<bool>(),
        arrival in arrival(),
        script in script(payment()),
    ) {
        check(leaves, timeout, removes, arrival, script);
    }
}

#[test]
fn many_rows_on_several_threads() {
    let batch = |batch: i64| {
        let payment = |row: i64| Payment {
            // One of the keys has many rows.
            key: (row % 100 > 0).then(|| format!("key {}", (8_000 * batch + row) % 30_011)),
            amount: (row % 7 > 0).then_some(row % 80 - 30),
        };
        (Some((0..21_000).map(payment).collect()), if batch == 1 { After::Restart } else { After::Nothing })
    };
    let arrival = Arrival { first: 1, chunk: 5_000, threads: 3 };
    for leaves in [Leaves::Rows { timeouts: true }, Leaves::Touched] {
        check(leaves, Some(2 * EVERY), true, arrival, (0..4).map(batch).collect());
    }
}
