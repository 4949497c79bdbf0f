//! What steps with windows and state have in common: aggregates in parts, computed per batch before the
//! operator and put together after it.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckedStep, Key, Lower, StepCheck, first, row_number};
use crate::diagnostic::codes;
use crate::expr::compile::{Kept, Typed, column, compile_kept, null};
use crate::expr::partial::{InParts, Part};
use crate::expr::{Expression, parse as parser};
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::Duration;
use crate::state::{self, Align, KeyColumn, Stateful, TotalsSpec, WindowTimes};

const LONGEST_WINDOW: Duration = Duration::from_millis(3_660 * 24 * 3_600_000);

/// A step between two stages.
#[derive(Clone)]
pub struct StatefulStep {
    /// Brings rows into the shape that the operator takes.
    pub before: Lower,
    /// The operator.
    pub state: Stateful,
    /// Makes the step's rows of what the operator gives.
    pub after: Lower,
}

/// What the ends of windows are counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AlignSetting {
    /// The clock: a window of 1h ends at full hours.
    #[default]
    Clock,
    /// The first batch of the pipeline, as Spark's DStreams count.
    Start,
}

/// Checks `length`, `slide` and `align` of a step with a window.
pub(super) fn window_times(
    step: &mut StepCheck<'_, '_>,
    length: Duration,
    slide: Option<Duration>,
    align: Option<AlignSetting>,
) -> Option<WindowTimes> {
    let (every, what) = match step.schedule {
        Some(schedule) => (schedule.every, "slide of the window before"),
        None => (step.batch_interval.as_signed_millis(), "batch interval"),
    };
    let own = align.map(|align| match align {
        AlignSetting::Clock => Align::Clock,
        AlignSetting::Start => Align::Start,
    });
    let inherited = step.schedule.map(|schedule| schedule.align);
    if own.zip(inherited).is_some_and(|(own, inherited)| own != inherited) {
        let help = "leave `align` out, or write the same one in both steps".to_owned();
        step.check.report(
            codes::CONFLICTING_KEYS,
            &["align"],
            "the window before counts from somewhere else, so their ends would not meet",
            Some(help),
        );
        return None;
    }
    let slide = slide.unwrap_or(Duration::from_millis(every.unsigned_abs()));
    let mut fits = true;
    for (key, duration) in [("length", length), ("slide", slide)] {
        fits &= is_multiple(step, key, duration, every, what);
    }
    for (key, duration) in [("length", length), ("slide", slide)] {
        if duration > LONGEST_WINDOW {
            let message = format!("the {key} {duration} is longer than {LONGEST_WINDOW}");
            let help = Some("a window keeps what it covers".to_owned());
            step.check.report(codes::INVALID_VALUE, &[key], message, help);
            fits = false;
        }
    }
    let align = own.or(inherited).unwrap_or_default();
    fits.then(|| WindowTimes { length: length.as_signed_millis(), slide: slide.as_signed_millis(), align })
}

/// Reports a duration that is no multiple, with the two nearest ones that are.
fn is_multiple(step: &mut StepCheck<'_, '_>, key: &str, duration: Duration, every: i64, what: &str) -> bool {
    let (own, every) = (duration.as_millis(), every.unsigned_abs().max(1));
    if own > 0 && own.is_multiple_of(every) {
        return true;
    }
    let below = own / every * every;
    let nearest = |millis| Duration::from_millis(millis);
    let help = match below {
        0 => format!("write `{key}: {}`", nearest(every)),
        _ => format!("write `{key}: {}` or `{key}: {}`", nearest(below), nearest(below + every)),
    };
    let message = format!("the {key} {duration} is not a multiple of the {what} {}", nearest(every));
    step.check.report(codes::NOT_A_MULTIPLE, &[key], message, Some(help));
    false
}

/// Checks a `timeout` or its like.
pub(super) fn positive(step: &mut StepCheck<'_, '_>, key: &str, duration: Option<Duration>) -> Option<i64> {
    if duration.is_some_and(|duration| duration.as_millis() == 0) {
        let help = Some("leave it out for never".to_owned());
        step.check.report(codes::INVALID_VALUE, &[key], format!("`{key}` must be longer than nothing"), help);
    }
    duration.map(Duration::as_signed_millis)
}

/// Key columns with their types and expressions.
pub(super) struct Keys {
    pub typed: Vec<(String, Typed)>,
    pub columns: Vec<KeyColumn>,
    pub schema: Schema,
}

impl Keys {
    /// Types a key; `None` where its values cannot be told apart.
    pub(super) fn check(step: &mut StepCheck<'_, '_>, key: &Key, path: &[&str]) -> Option<Self> {
        let typed = key.check(step, path);
        if let Some((name, _)) = typed.iter().find(|(_, typed)| matches!(typed.column_type, ColumnType::Map(..))) {
            step.check.report(codes::TYPE_MISMATCH, path, format!("`{name}` is a map, which cannot be a key"), None);
            return None;
        }
        let expressions = key.expressions().map(|expression| {
            parser::parse(&expression.0).map_or_else(|_| expression.0.clone(), |ast| ast.to_string())
        });
        let columns = typed.iter().zip(expressions).map(|((name, typed), expression)| KeyColumn {
            name: name.clone(),
            data_type: typed.column_type.to_arrow(),
            expression,
        });
        let columns = columns.collect();
        let schema = typed.iter().map(|(name, typed)| Column::new(name, typed.column_type.clone())).collect();
        Some(Self { typed, columns, schema: Schema::new(schema) })
    }

    pub(super) fn none() -> Self {
        Self { typed: Vec::new(), columns: Vec::new(), schema: Schema::new(Vec::new()) }
    }

    pub(super) fn exprs(&self) -> impl Iterator<Item = Expr> {
        self.typed.iter().map(|(name, typed)| typed.expr.clone().alias(name))
    }
}

/// Values over groups of rows that arrive bit by bit.
pub(super) struct KeptValues {
    pub keys: Keys,
    /// The columns after the keys.
    pub values: Vec<(String, Typed)>,
    /// Every aggregate once, by its text.
    aggregates: IndexMap<String, InParts>,
    input: Schema,
}

impl KeptValues {
    /// No values yet.
    pub(super) fn new(step: &StepCheck<'_, '_>, keys: Keys) -> Self {
        Self { keys, values: Vec::new(), aggregates: IndexMap::new(), input: step.input.clone() }
    }

    /// Types values over groups with these keys; each value needs an aggregate.
    pub(super) fn check(
        step: &mut StepCheck<'_, '_>,
        keys: Keys,
        path: &[&str],
        values: &IndexMap<String, Expression>,
    ) -> Self {
        step.not_empty(path, values);
        let mut kept = Self::new(step, keys);
        for (name, expression) in values {
            let path = [path, &[name.as_str()]].concat();
            kept.add(step, &path, name, expression);
        }
        kept
    }

    /// Types one more value. One that is wrong is reported and counts as NULL.
    pub(super) fn add(&mut self, step: &mut StepCheck<'_, '_>, path: &[&str], name: &str, expression: &Expression) {
        let mut text = expression.0.clone();
        if parser::parse(&text).is_ok_and(|ast| !ast.has_aggregate()) {
            let message = format!("`{name}` has no aggregate, so a group has no one value for it");
            let help = format!("say which value is meant: `first({text})`, `max({text})`, `collect_list({text})`");
            step.check.report(codes::MISPLACED_AGGREGATE, path, message, Some(help));
            text = format!("first({text})");
        }
        let compiled = parser::parse(&text).and_then(|ast| compile_kept(&ast, step.input, &self.keys.schema));
        let Kept { value, aggregates } = compiled.unwrap_or_else(|error| {
            step.report_expression(path, error);
            Kept { value: null(), aggregates: Vec::new() }
        });
        self.values.push((name.to_owned(), value));
        self.aggregates.extend(aggregates);
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.aggregates.values().flat_map(|aggregate| &aggregate.parts)
    }

    /// The columns of the step's rows: keys, then values.
    pub(super) fn columns(&self) -> Vec<Column> {
        let values = self.values.iter().map(|(name, typed)| Column::new(name, typed.column_type.clone()));
        self.keys.schema.columns.iter().cloned().chain(values).collect()
    }

    /// The values over the columns that the operator keeps.
    pub(super) fn value_exprs(&self) -> Result<Vec<(String, Expr)>> {
        let results: HashMap<&str, &Expr> =
            self.aggregates.iter().map(|(name, aggregate)| (name.as_str(), &aggregate.result)).collect();
        let values = self.values.iter().map(|(name, typed)| Ok((name.clone(), replace(&typed.expr, &results)?)));
        values.collect()
    }

    /// An expression over keys and values as one over the columns that the operator keeps.
    pub(super) fn over_parts(&self, expr: &Expr) -> Result<Expr> {
        let values = self.value_exprs()?;
        replace(expr, &values.iter().map(|(name, expr)| (name.as_str(), expr)).collect())
    }

    /// Aggregates the batch's rows per key: the keys, the number of rows where `with_rows`, the parts.
    pub(super) fn before(self: &Arc<Self>, with_rows: bool) -> Lower {
        let this = Arc::clone(self);
        Arc::new(move |inputs| this.aggregate(LogicalPlanBuilder::from(first(inputs)?), with_rows)?.build())
    }

    fn aggregate(&self, input: LogicalPlanBuilder, with_rows: bool) -> Result<LogicalPlanBuilder> {
        let rows = &TotalsSpec::rows().columns;
        let rows = rows.iter().map(|it| (it.name.clone(), it.data_type.clone(), count(lit(1_i64))));
        let parts = self.parts().flat_map(|part| &part.columns);
        let parts = parts.map(|it| (it.name.clone(), it.data_type.clone(), it.partial.clone()));
        let columns: Vec<_> = rows.filter(|_| with_rows).chain(parts).collect();
        let mut aggregates = Vec::with_capacity(columns.len());
        let mut needs_order = false;
        for (index, (.., aggregate)) in columns.iter().enumerate() {
            let (ordered, aggregate) = row_number::in_order(aggregate.clone());
            needs_order |= ordered;
            aggregates.push(aggregate.alias(part_name(index)));
        }
        let input = if needs_order { row_number::number(input, &self.input)? } else { input };
        let mut grouped = input.aggregate(self.keys.exprs().collect::<Vec<_>>(), aggregates)?;
        if self.keys.typed.is_empty() && with_rows {
            // Without keys even no rows are a group.
            grouped = grouped.filter(column(&part_name(0)).gt(lit(0_i64)))?;
        }
        let keys = self.keys.typed.iter().map(|(name, _)| column(name));
        let parts = columns
            .iter()
            .enumerate()
            .map(|(index, (name, data_type, _))| cast(column(&part_name(index)), data_type.clone()).alias(name));
        grouped.project(keys.chain(parts).collect::<Vec<_>>())
    }

    /// Makes keys and values of what the operator gives.
    pub(super) fn after(self: &Arc<Self>) -> Lower {
        let this = Arc::clone(self);
        Arc::new(move |inputs| {
            let keys = this.keys.typed.iter().map(|(name, _)| column(name));
            let values = this.value_exprs()?.into_iter().map(|(name, expr)| expr.alias(name));
            let columns: Vec<Expr> = keys.chain(values).collect();
            LogicalPlanBuilder::from(first(inputs)?).project(columns)?.build()
        })
    }

    /// A step with these values over a window; `None` where two columns have one name.
    pub(super) fn into_window(
        self,
        step: &mut StepCheck<'_, '_>,
        path: &[&str],
        times: WindowTimes,
    ) -> Option<CheckedStep> {
        let columns = self.columns();
        if !step.unique(path, &columns) {
            return None;
        }
        let parts = std::iter::once(TotalsSpec::rows()).chain(self.parts().map(state::Part::of)).collect();
        let state = Stateful::Totals(TotalsSpec { times, keys: self.keys.columns.clone(), parts });
        let this = Arc::new(self);
        let stateful = StatefulStep { before: this.before(true), state, after: this.after() };
        Some(CheckedStep::stateful(Schema::new(columns), stateful))
    }
}

/// The name of a part before it gets its own, which may be the text of an aggregate over it.
fn part_name(index: usize) -> String {
    format!("part {index}")
}

/// Puts expressions in the place of columns.
fn replace(expr: &Expr, by_name: &HashMap<&str, &Expr>) -> Result<Expr> {
    let replaced = expr.clone().transform(|part| {
        Ok(match &part {
            Expr::Column(column) => match by_name.get(column.name.as_str()) {
                // What stands there now may have a column of the same name, which is another one.
                Some(expr) => {
                    Transformed::new((*expr).clone(), true, datafusion::common::tree_node::TreeNodeRecursion::Jump)
                }
                None => Transformed::no(part),
            },
            _ => Transformed::no(part),
        })
    });
    replaced.map(|it| it.data)
}

/// Leaves rows as they are.
pub(super) fn unchanged() -> Lower {
    Arc::new(|inputs: Vec<LogicalPlan>| first(inputs))
}
