//! What `update_state_by_key` and `map_with_state` have in common: the state of a key and how rows
//! change it.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::state_program::{Emission, Fold, StateProgram, row_and_key};
use super::stateful::{KeptValues, Keys, StatefulStep, positive, unchanged};
use super::{CheckedStep, Key, Lower, StepCheck, first};
use crate::diagnostic::codes;
use crate::expr::compile::{Typed, column, common_type, compile_row, convert};
use crate::expr::evaluate::Evaluator;
use crate::expr::{Expression, parse as parser};
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::Duration;
use crate::state::{self, Emit, KeyedSpec, Merge, PartColumn, Predicate, Program, StateError, Stateful};

/// What is kept under one name.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum StateEntry {
    /// Aggregates over all rows of the key since the start: `count()`, `sum(amount) / count()`.
    Aggregate(Expression),
    /// A value that every row changes, in the order of arrival.
    Value(ValueEntry),
}

/// A value that every row of a key changes, in the order of arrival.
#[derive(Clone, Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueEntry {
    /// Its value for a new key: an expression without columns.
    pub initial: Expression,
    /// Its value after a row: an expression over the row's columns and the state before the row.
    pub update: Expression,
}

impl<'de> Deserialize<'de> for StateEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;
        impl<'de> Visitor<'de> for EitherForm {
            type Value = StateEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression with aggregates, or a mapping with the keys `initial` and `update`")
            }

            fn visit_str<E: Error>(self, expression: &str) -> Result<StateEntry, E> {
                Ok(StateEntry::Aggregate(Expression(expression.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StateEntry, A::Error> {
                ValueEntry::deserialize(MapAccessDeserializer::new(map)).map(StateEntry::Value)
            }
        }
        deserializer.deserialize_any(EitherForm)
    }
}

/// Which rows leave a step.
pub(super) enum Output<'a> {
    /// Every key in every batch.
    All,
    /// The keys with rows.
    Touched,
    /// These columns for each row.
    Rows(&'a IndexMap<String, Expression>),
}

/// The settings of a step with keyed state.
pub(super) struct KeyedState<'a> {
    pub key: &'a Key,
    pub state: &'a IndexMap<String, StateEntry>,
    pub timeout: Option<Duration>,
    pub remove_when: Option<&'a Expression>,
    pub output: Output<'a>,
}

impl KeyedState<'_> {
    pub(super) fn check(self, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let timeout = positive(step, "timeout", self.timeout);
        let keys = Keys::check(step, self.key, &["key"])?;
        step.not_empty(&["state"], self.state);
        if let Output::Rows(emit) = self.output {
            step.not_empty(&["emit"], emit);
        }
        let mut kept = KeptValues::new(step, keys);
        for (name, entry) in self.state {
            if let StateEntry::Aggregate(expression) = entry {
                kept.add(step, &["state", name], name, expression);
            }
        }
        let folds = self.folds(step, &kept)?;
        let parts: Vec<state::Part> =
            kept.parts().map(state::Part::of).chain(folds.iter().map(|fold| fold.part.clone())).collect();
        let layout = state_schema(&kept.keys, &parts);
        let folded = folds.iter().map(|fold| (fold.name.clone(), fold.typed()));
        kept.values.extend(folded);
        // As written, whatever is computed in which way.
        kept.values.sort_by_key(|(name, _)| self.state.get_index_of(name));
        let columns = kept.columns();
        if !step.unique(&["state"], &columns) {
            return None;
        }
        let state_columns = Schema::new(columns);
        let remove = self.removal(step, &kept, &state_columns, &layout)?;
        let emission = match self.output {
            Output::Rows(emit) => Some(Emission::check(step, emit, &kept, &state_columns)?),
            Output::All | Output::Touched => None,
        };
        let program = if folds.is_empty() && emission.is_none() {
            None
        } else {
            let aggregates = kept.parts().count();
            let program = StateProgram::new(step.input, &kept, &layout, aggregates, folds, emission);
            let program = program.map_err(|error| internal(step, &error.to_string())).ok()?;
            Some(Arc::new(program))
        };
        let schema = program.as_ref().and_then(|it| it.emitted()).unwrap_or(state_columns);
        let emit = match self.output {
            Output::All => Emit::All,
            Output::Touched => Emit::Touched,
            Output::Rows(_) => Emit::Rows(schema.to_arrow()),
        };
        let (by_row, emits_rows) = (program.is_some(), matches!(emit, Emit::Rows(_)));
        let program = program.map(|program| program as Arc<dyn Program>);
        let key_columns = kept.keys.columns.clone();
        let spec = KeyedSpec { keys: key_columns, parts, program, emit, timeout, remove };
        let kept = Arc::new(kept);
        let stateful = StatefulStep {
            before: if by_row { single_rows(&kept, step.input) } else { kept.before(false) },
            state: Stateful::Keyed(spec),
            after: if emits_rows { unchanged() } else { kept.after() },
        };
        Some(CheckedStep::stateful(schema, stateful))
    }

    /// The values that rows change.
    fn folds(&self, step: &mut StepCheck<'_, '_>, kept: &KeptValues) -> Option<Vec<Fold>> {
        let entries = self.state.iter().filter_map(|(name, entry)| match entry {
            StateEntry::Value(value) => Some((name, value)),
            StateEntry::Aggregate(_) => None,
        });
        let entries: Vec<(&String, &ValueEntry)> = entries.collect();
        if entries.is_empty() {
            return Some(Vec::new());
        }
        let mut clear = true;
        for name in self.state.keys().filter(|name| step.input.column(name).is_some()) {
            let message = format!("`{name}` is a column of the rows, too, so `update` could mean either");
            let help = "give the state another name".to_owned();
            step.check.report(codes::CONFLICTING_KEYS, &["state", name], message, Some(help));
            clear = false;
        }
        if !clear {
            return None;
        }
        let mut types: Vec<ColumnType> = Vec::with_capacity(entries.len());
        let mut initial = Vec::with_capacity(entries.len());
        for (name, entry) in &entries {
            let nothing = Schema::new(Vec::new());
            let typed = parser::parse(&entry.initial.0).and_then(|ast| compile_row(&ast, &nothing));
            let typed = typed.map_err(|error| step.report_expression(&["state", name, "initial"], error)).ok()?;
            types.push(typed.column_type.clone());
            initial.push(typed);
        }
        let updates = self.updates(step, kept, &entries, &mut types)?;
        let folds = entries.iter().zip(initial.into_iter().zip(updates)).zip(types);
        let folds = folds.map(|(((name, entry), (initial, update)), column_type)| {
            let to = |typed: Typed| convert(typed.expr, &typed.column_type, &column_type);
            let column = PartColumn { name: (*name).clone(), data_type: column_type.to_arrow() };
            Some(Fold {
                name: (*name).clone(),
                part: state::Part { merge: Merge::Last, columns: vec![column] },
                initial: to(initial)?,
                update: to(update)?,
                column_type: column_type.clone(),
                text: (canonical(&entry.initial), canonical(&entry.update)),
            })
        });
        folds.collect()
    }

    /// Types the updates. A value has the type that its initial value and its update have in common, on
    /// which its update may depend in turn.
    fn updates(
        &self,
        step: &mut StepCheck<'_, '_>,
        kept: &KeptValues,
        entries: &[(&String, &ValueEntry)],
        types: &mut [ColumnType],
    ) -> Option<Vec<Typed>> {
        let mut rounds = 0;
        loop {
            let mut schema = row_and_key(step.input, &kept.keys.schema);
            let values = kept.values.iter().map(|(name, typed)| Column::new(name, typed.column_type.clone()));
            schema.columns.extend(values);
            let own = entries
                .iter()
                .zip(types.iter())
                .map(|((name, _), column_type)| Column::new(name.as_str(), column_type.clone()));
            schema.columns.extend(own);
            let mut updates = Vec::with_capacity(entries.len());
            let mut stable = true;
            for ((name, entry), column_type) in entries.iter().zip(types.iter_mut()) {
                let path = ["state", name.as_str(), "update"];
                let typed = parser::parse(&entry.update.0).and_then(|ast| compile_row(&ast, &schema));
                let typed = typed.map_err(|error| step.report_expression(&path, error)).ok()?;
                let common = common_type([&*column_type, &typed.column_type]);
                let Some(common) = common else {
                    let message =
                        format!("the initial value is {column_type}, and the update is {}", typed.column_type);
                    let help = "bring both to one type".to_owned();
                    step.check.report(codes::TYPE_MISMATCH, &path, message, Some(help));
                    return None;
                };
                stable &= common == *column_type;
                *column_type = common;
                updates.push(typed);
            }
            rounds += 1;
            if stable {
                return Some(updates);
            }
            if rounds > entries.len() + 4 {
                let message = "the type of this value changes with every update";
                step.check.report(codes::TYPE_MISMATCH, &["state"], message, None);
                return None;
            }
        }
    }

    fn removal(
        &self,
        step: &mut StepCheck<'_, '_>,
        kept: &KeptValues,
        columns: &Schema,
        layout: &SchemaRef,
    ) -> Option<Option<Predicate>> {
        let Some(expression) = self.remove_when else { return Some(None) };
        let path = ["remove_when"];
        let typed = parser::parse(&expression.0).and_then(|ast| compile_row(&ast, columns));
        let typed = typed.map_err(|error| step.report_expression(&path, error)).ok()?;
        if !matches!(typed.column_type, ColumnType::Boolean | ColumnType::Null) {
            let message = format!("`remove_when` is true or false, and this is {}", typed.column_type);
            step.check.report(codes::TYPE_MISMATCH, &path, message, None);
            return None;
        }
        let evaluator = kept.over_parts(&typed.expr).and_then(|expr| Evaluator::new([expr], layout));
        let evaluator = evaluator.map_err(|error| internal(step, &error.to_string())).ok()?;
        let predicate = move |state: &RecordBatch| -> Result<BooleanArray, StateError> {
            let values = evaluator.evaluate(state).map_err(|error| StateError::Expression(error.strip_backtrace()))?;
            let removed = values.first().and_then(|values| values.as_boolean_opt().cloned());
            Ok(removed.unwrap_or_else(|| BooleanArray::new_null(state.num_rows())))
        };
        Some(Some(Arc::new(predicate)))
    }
}

fn internal(step: &mut StepCheck<'_, '_>, error: &str) {
    step.check.report(codes::BAD_EXPRESSION, &[], format!("internal error, please report it: {error}"), None);
}

/// An expression's canonical text.
fn canonical(expression: &Expression) -> String {
    parser::parse(&expression.0).map_or_else(|_| expression.0.clone(), |ast| ast.to_string())
}

/// The columns that are kept: keys, then parts.
fn state_schema(keys: &Keys, parts: &[state::Part]) -> SchemaRef {
    let keys = keys.columns.iter().map(|key| Field::new(&key.name, key.data_type.clone(), true));
    let parts = parts.iter().flat_map(|part| &part.columns);
    let parts = parts.map(|column| Field::new(&column.name, column.data_type.clone(), true));
    Arc::new(ArrowSchema::new(keys.chain(parts).collect::<Vec<_>>()))
}

/// Rows as they are, after their keys and what each means for the aggregates.
fn single_rows(kept: &Arc<KeptValues>, input: &Schema) -> Lower {
    let (kept, input) = (Arc::clone(kept), input.clone());
    Arc::new(move |inputs| {
        let keys = kept.keys.typed.iter().enumerate();
        let keys = keys.map(|(index, (_, typed))| typed.expr.clone().alias(format!("key {index}")));
        let parts = kept.parts().flat_map(|part| &part.columns).enumerate();
        let parts =
            parts.map(|(index, it)| cast(it.single.clone(), it.data_type.clone()).alias(format!("part {index}")));
        let rows = input.names().map(column);
        let columns: Vec<Expr> = keys.chain(parts).chain(rows).collect();
        LogicalPlanBuilder::from(first(inputs)?).project(columns)?.build()
    })
}
