//! Expressions over state, evaluated for many keys at a time.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, StructArray};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Expr;
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::StepCheck;

use super::stateful::KeptValues;
use crate::diagnostic::codes;
use crate::expr::compile::{Typed, column, compile_row};
use crate::expr::evaluate::Evaluator;
use crate::expr::{Expression, parse as parser};
use crate::schema::{Column, ColumnType, Schema};
use crate::state::{Part, Program, StateError};

/// The column that says whether a key times out.
const TIMED_OUT: &str = "timed_out";
/// The state before and after a row.
const BEFORE: &str = "old";
const AFTER: &str = "new";

/// A value that every row changes.
pub(super) struct Fold {
    pub name: String,
    pub part: Part,
    pub initial: Expr,
    pub update: Expr,
    pub column_type: ColumnType,
    /// Initial value and update in canonical form.
    pub text: (String, String),
}

impl Fold {
    /// The value itself, which is kept under its name.
    pub(super) fn typed(&self) -> Typed {
        Typed { expr: column(&self.name), column_type: self.column_type.clone() }
    }
}

/// The columns that leave a step for each row.
pub(super) struct Emission {
    columns: Vec<(String, Typed)>,
    environment: Schema,
    at_timeouts: bool,
}

impl Emission {
    pub(super) fn check(
        step: &mut StepCheck<'_, '_>,
        emit: &IndexMap<String, Expression>,
        kept: &KeptValues,
        state: &Schema,
    ) -> Option<Self> {
        let values = state.columns.iter().skip(kept.keys.columns.len()).cloned().collect::<Vec<_>>();
        let mut environment = row_and_key(step.input, &kept.keys.schema);
        for name in [BEFORE, AFTER, TIMED_OUT] {
            if environment.column(name).is_some() {
                let message = format!("the rows have a column `{name}`, which means something else in `emit`");
                let help = format!("give it another name before: `- rename: {{ {name}: ... }}`");
                step.check.report(codes::CONFLICTING_KEYS, &["emit"], message, Some(help));
                return None;
            }
        }
        environment.columns.push(Column::new(BEFORE, ColumnType::Struct(values.clone())));
        environment.columns.push(Column::new(AFTER, ColumnType::Struct(values)));
        environment.columns.push(Column::new(TIMED_OUT, ColumnType::Boolean));
        let (mut columns, mut sound, mut at_timeouts) = (Vec::new(), true, false);
        for (name, expression) in emit {
            let parsed = parser::parse(&expression.0);
            at_timeouts |= parsed.as_ref().is_ok_and(|ast| ast.names(TIMED_OUT));
            match parsed.and_then(|ast| compile_row(&ast, &environment)) {
                Ok(typed) => columns.push((name.clone(), typed)),
                Err(error) => {
                    step.report_expression(&["emit", name], error);
                    sound = false;
                }
            }
        }
        sound.then_some(Self { columns, environment, at_timeouts })
    }

    fn schema(&self) -> Schema {
        let columns = self.columns.iter().map(|(name, typed)| Column::new(name, typed.column_type.clone()));
        Schema::new(columns.collect())
    }
}

/// What a step computes from row to row.
pub(super) struct StateProgram {
    description: Value,
    computed: Vec<(usize, ArrayRef)>,
    /// Which of the rows' columns are not named as one of the key's is, and how many the key has.
    row_columns: Vec<usize>,
    keys: usize,
    /// The state's values, over what is kept.
    values: Evaluator,
    value_fields: Vec<Field>,
    update: Evaluator,
    update_schema: SchemaRef,
    emission: Option<Emitter>,
}

/// Expressions for the rows that leave the step.
struct Emitter {
    expressions: Evaluator,
    environment: SchemaRef,
    schema: Schema,
    arrow: SchemaRef,
    at_timeouts: bool,
}

impl StateProgram {
    /// `aggregates` parts come first in `layout`, then those of `folds`.
    pub(super) fn new(
        input: &Schema,
        kept: &KeptValues,
        layout: &SchemaRef,
        aggregates: usize,
        folds: Vec<Fold>,
        emission: Option<Emission>,
    ) -> Result<Self> {
        let values = kept.value_exprs()?;
        let value_columns = kept.values.iter().map(|(name, typed)| Column::new(name, typed.column_type.clone()));
        let value_columns: Vec<Column> = value_columns.collect();
        let keys = &kept.keys.schema;
        let own = input.names().enumerate().filter(|(_, name)| keys.column(name).is_none());
        let row_columns = own.map(|(index, _)| index).collect();
        let mut update_columns = row_and_key(input, keys);
        update_columns.columns.extend(value_columns.iter().cloned());
        let update_schema = update_columns.to_arrow();
        let describe = |fold: &Fold| {
            let (initial, update) = &fold.text;
            (fold.name.clone(), json!({ "initial": initial, "update": update }))
        };
        let nothing = Arc::new(ArrowSchema::empty());
        let one_row = RecordBatchOptions::new().with_row_count(Some(1));
        let one_row = RecordBatch::try_new_with_options(Arc::clone(&nothing), Vec::new(), &one_row)?;
        let initial = Evaluator::new(folds.iter().map(|fold| fold.initial.clone()), &nothing)?.evaluate(&one_row)?;
        Ok(Self {
            description: folds.iter().map(describe).collect::<serde_json::Map<_, _>>().into(),
            computed: initial.into_iter().enumerate().map(|(index, value)| (aggregates + index, value)).collect(),
            row_columns,
            keys: keys.columns.len(),
            values: Evaluator::new(values.into_iter().map(|(_, expr)| expr), layout)?,
            value_fields: value_columns
                .iter()
                .map(|it| Field::new(&it.name, it.column_type.to_arrow(), true))
                .collect(),
            update: Evaluator::new(folds.into_iter().map(|fold| fold.update), &update_schema)?,
            update_schema,
            emission: emission.map(Emitter::new).transpose()?,
        })
    }

    /// The columns of the rows that leave the step, where it makes them.
    pub(super) fn emitted(&self) -> Option<Schema> {
        self.emission.as_ref().map(|emission| emission.schema.clone())
    }

    /// The columns of [`row_and_key`].
    fn environment(&self, rows: &RecordBatch, state: &RecordBatch) -> Vec<ArrayRef> {
        let own = self.row_columns.iter().filter_map(|index| rows.columns().get(*index));
        own.chain(state.columns().iter().take(self.keys)).cloned().collect()
    }

    fn emit_rows(
        &self,
        emitter: &Emitter,
        rows: &RecordBatch,
        before: &RecordBatch,
        after: &RecordBatch,
        timed_out: bool,
    ) -> Result<RecordBatch> {
        let mut columns = self.environment(rows, before);
        for state in [before, after] {
            let values = self.values.evaluate(state)?;
            let fields = self.value_fields.clone().into();
            columns.push(Arc::new(StructArray::try_new(fields, values, None)?));
        }
        columns.push(Arc::new(BooleanArray::from(vec![timed_out; before.num_rows()])));
        let environment = RecordBatch::try_new(Arc::clone(&emitter.environment), columns)?;
        let emitted = emitter.expressions.evaluate(&environment)?;
        Ok(RecordBatch::try_new(Arc::clone(&emitter.arrow), emitted)?)
    }
}

impl Emitter {
    fn new(emission: Emission) -> Result<Self> {
        let (schema, environment) = (emission.schema(), emission.environment.to_arrow());
        let expressions = emission.columns.into_iter().map(|(_, typed)| typed.expr);
        Ok(Self {
            expressions: Evaluator::new(expressions, &environment)?,
            environment,
            arrow: schema.to_arrow(),
            schema,
            at_timeouts: emission.at_timeouts,
        })
    }
}

/// The rows' columns, then the key's, which are there also when a key times out. One of the rows that is
/// named as one of the key's is that of the key.
pub(super) fn row_and_key(rows: &Schema, keys: &Schema) -> Schema {
    let own = rows.columns.iter().filter(|it| keys.column(&it.name).is_none());
    Schema::new(own.chain(&keys.columns).cloned().collect())
}

fn failed(error: &DataFusionError) -> StateError {
    StateError::Expression(error.strip_backtrace())
}

impl Program for StateProgram {
    fn describe(&self) -> Value {
        self.description.clone()
    }

    fn computed(&self) -> &[(usize, ArrayRef)] {
        &self.computed
    }

    fn update(&self, rows: &RecordBatch, before: &RecordBatch) -> Result<Vec<ArrayRef>, StateError> {
        if self.computed.is_empty() {
            return Ok(Vec::new());
        }
        let update = || {
            let mut columns = self.environment(rows, before);
            columns.extend(self.values.evaluate(before)?);
            self.update.evaluate(&RecordBatch::try_new(Arc::clone(&self.update_schema), columns)?)
        };
        update().map_err(|error: DataFusionError| failed(&error))
    }

    fn emit(
        &self,
        rows: &RecordBatch,
        before: &RecordBatch,
        after: &RecordBatch,
        timed_out: bool,
    ) -> Result<RecordBatch, StateError> {
        let emitter = self.emission.as_ref().ok_or_else(|| StateError::Internal("nothing to emit".to_owned()))?;
        self.emit_rows(emitter, rows, before, after, timed_out).map_err(|error| failed(&error))
    }

    fn emits_timeouts(&self) -> bool {
        self.emission.as_ref().is_some_and(|emission| emission.at_timeouts)
    }
}
