//! Steps: what happens to rows on their way. One file per kind; the list is [`KINDS`].
//!
//! A step checks its settings against the columns that arrive and answers with the columns that
//! leave and a function from logical plans to a logical plan. Runs of steps become one plan; no
//! step is executed on its own. Steps with windows and state stand between such runs.

mod cast;
mod cogroup;
mod count;
mod count_by_value;
mod count_by_value_and_window;
mod count_by_window;
mod deduplicate;
mod distinct;
mod drop;
mod explode;
mod filter;
mod flat_map;
mod group_by_key;
mod join;
mod key;
mod keyed_state;
mod limit;
mod map;
mod map_with_state;
pub mod operator;
mod parse;
mod reduce;
mod reduce_by_key;
mod reduce_by_key_and_window;
mod reduce_by_window;
mod rename;
mod repartition;
mod row_number;
mod sample;
mod select;
mod sort;
mod sql;
mod state_program;
mod stateful;
mod union;
mod update_state_by_key;
mod window;
mod with_columns;

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use indexmap::IndexMap;

use crate::diagnostic::{codes, suggest};
use crate::expr::compile::{self, Grouped, Typed};
use crate::expr::{Expression, ExpressionError, parse as parser};
use crate::schema::{Column, ColumnType, Schema};
use crate::spec::kind::{Kind, kinds};
use crate::spec::{Check, Duration};
use crate::state::Schedule;

pub use key::Key;
pub use stateful::StatefulStep;

/// Every step kind.
pub static KINDS: &[Kind<dyn StepSettings>] = kinds![
    dyn StepSettings;
    map::Map,
    with_columns::WithColumns,
    select::Select,
    drop::Drop,
    rename::Rename,
    cast::Cast,
    flat_map::FlatMap,
    explode::Explode,
    filter::Filter,
    parse::Parse,
    count::Count,
    count_by_value::CountByValue,
    reduce::Reduce,
    reduce_by_key::ReduceByKey,
    group_by_key::GroupByKey,
    union::Union,
    join::Join,
    cogroup::Cogroup,
    distinct::Distinct,
    sort::Sort,
    limit::Limit,
    sample::Sample,
    repartition::Repartition,
    sql::Sql,
    window::Window,
    reduce_by_key_and_window::ReduceByKeyAndWindow,
    count_by_window::CountByWindow,
    reduce_by_window::ReduceByWindow,
    count_by_value_and_window::CountByValueAndWindow,
    update_state_by_key::UpdateStateByKey,
    map_with_state::MapWithState,
    deduplicate::Deduplicate,
];

/// Settings of a step that were read and now can be checked.
pub trait StepSettings: Send + Sync {
    /// The other streams or sources the step reads, in the order in which [`Lower`] gets their
    /// plans after the main one. `known` are all names there are.
    fn streams(&self, known: &[&str]) -> Vec<String> {
        let _ = known;
        Vec::new()
    }

    /// Checks the settings against the columns that arrive. Findings go to `check`.
    fn check(self: Box<Self>, check: &mut StepCheck<'_, '_>) -> Option<CheckedStep>;
}

/// Turns the plans of a step's inputs (the chain's first, then [`StepSettings::streams`]) into its
/// own. Columns are unqualified on both sides and have the names and canonical types of the schemas.
pub type Lower = Arc<dyn Fn(Vec<LogicalPlan>) -> Result<LogicalPlan, DataFusionError> + Send + Sync>;

/// A step that passed its check.
#[derive(Clone)]
pub struct CheckedStep {
    /// The columns that leave it.
    pub schema: Schema,
    /// How it becomes a plan.
    pub action: Action,
}

/// How a step becomes a plan.
#[derive(Clone)]
pub enum Action {
    /// All of it is a plan.
    Relational(Lower),
    /// It keeps something from batch to batch.
    Stateful(Box<StatefulStep>),
}

impl CheckedStep {
    /// A step with one input.
    pub fn new(
        schema: Schema,
        lower: impl Fn(LogicalPlanBuilder) -> Result<LogicalPlanBuilder, DataFusionError> + Send + Sync + 'static,
    ) -> Self {
        let lower = move |inputs: Vec<LogicalPlan>| lower(LogicalPlanBuilder::from(first(inputs)?))?.build();
        Self::relational(schema, lower)
    }

    /// A step whose inputs are those of [`Lower`].
    pub fn relational(
        schema: Schema,
        lower: impl Fn(Vec<LogicalPlan>) -> Result<LogicalPlan, DataFusionError> + Send + Sync + 'static,
    ) -> Self {
        Self { schema, action: Action::Relational(Arc::new(lower)) }
    }

    /// A step that keeps something from batch to batch.
    #[must_use]
    pub fn stateful(schema: Schema, step: StatefulStep) -> Self {
        Self { schema, action: Action::Stateful(Box::new(step)) }
    }

    /// In which batches rows leave it, where rows arrive in those of `input`; `None` for in all.
    #[must_use]
    pub fn schedule(&self, input: Option<Schedule>) -> Option<Schedule> {
        match &self.action {
            Action::Relational(_) => input,
            Action::Stateful(step) => step.state.schedule().or(input),
        }
    }

    /// A step that leaves rows as they are: what stands for one whose settings are wrong, so that
    /// the steps after it can be checked.
    pub fn unchanged(schema: &Schema) -> Self {
        Self::new(schema.clone(), Ok)
    }

    /// A step that computes columns from each row.
    pub fn project(columns: Vec<(String, Typed)>) -> Self {
        let schema = columns.iter().map(|(name, typed)| Column::new(name, typed.column_type.clone())).collect();
        let exprs: Vec<Expr> = columns.into_iter().map(|(name, typed)| typed.expr.alias(name)).collect();
        Self::new(Schema::new(schema), move |input| input.project(exprs.clone()))
    }
}

fn first(inputs: Vec<LogicalPlan>) -> Result<LogicalPlan, DataFusionError> {
    inputs.into_iter().next().ok_or_else(|| DataFusionError::Internal("a step without input".to_owned()))
}

/// What a step's check gets.
pub struct StepCheck<'a, 'c> {
    /// Its place in the file, and where findings go.
    pub check: &'a mut Check<'c>,
    /// Its name among all steps: `errors/filter-2` is one of the stream `errors`, and where there is
    /// just the one chain, a step's own name says enough.
    pub name: &'a str,
    /// The columns that arrive.
    pub input: &'a Schema,
    /// In which batches rows arrive; `None` for in all.
    pub schedule: Option<Schedule>,
    /// Batches are cut this often.
    pub batch_interval: Duration,
    /// The columns of another stream the step reads; `None` where that one has errors itself.
    pub stream: &'a dyn Fn(&str) -> Option<Schema>,
}

impl StepCheck<'_, '_> {
    /// Parses and types an expression over the rows that arrive. One that is wrong is reported and
    /// counts as NULL, which fits everywhere, so that the steps after it can be checked.
    pub fn expression(&mut self, path: &[&str], expression: &Expression) -> Typed {
        let result = parser::parse(&expression.0).and_then(|ast| compile::compile_row(&ast, self.input));
        result.unwrap_or_else(|error| {
            self.report_expression(path, error);
            compile::null()
        })
    }

    /// Parses and types an expression over groups with these keys; a wrong one as in
    /// [`StepCheck::expression`].
    pub fn grouped(&mut self, path: &[&str], expression: &Expression, keys: &Schema, prefix: &str) -> Grouped {
        let result =
            parser::parse(&expression.0).and_then(|ast| compile::compile_grouped(&ast, self.input, keys, prefix));
        result.unwrap_or_else(|error| {
            self.report_expression(path, error);
            Grouped { value: compile::null(), aggregates: Vec::new() }
        })
    }

    /// Reports what is wrong with the expression at a path, pointing at the word it is about.
    pub fn report_expression(&mut self, path: &[&str], error: ExpressionError) {
        let span = match &error.word {
            Some(word) => self.check.word_span(path, word),
            None => self.check.span(path),
        };
        let finding =
            crate::diagnostic::Diagnostic::new(error.code, self.check.file, span, error.message).maybe_help(error.help);
        self.check.findings.push(finding);
    }

    /// The expressions of a mapping, in order.
    pub fn expressions(&mut self, path: &[&str], mapping: &IndexMap<String, Expression>) -> Vec<(String, Typed)> {
        mapping
            .iter()
            .map(|(name, expression)| (name.clone(), self.expression(&[path, &[name.as_str()]].concat(), expression)))
            .collect()
    }

    /// The column of that name. One that is not there is reported and counts as a column of NULLs.
    pub fn column(&mut self, path: &[&str], name: &str) -> Column {
        self.input.column(name).cloned().unwrap_or_else(|| {
            let help = suggest::help(name, self.input.names().collect::<Vec<_>>());
            self.check.report(codes::UNKNOWN_COLUMN, path, format!("there is no column `{name}`"), help);
            Column::new(name, ColumnType::Null)
        })
    }

    /// The columns of a list of names, each once.
    pub fn columns(&mut self, path: &[&str], names: &[String]) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let index = index.to_string();
            let path = [path, &[index.as_str()]].concat();
            if columns.iter().any(|other| other.name == *name) {
                self.check.report(codes::DUPLICATE_COLUMN, &path, format!("the column `{name}` is there twice"), None);
            } else {
                columns.push(self.column(&path, name));
            }
        }
        columns
    }

    /// Reports a mapping that needs at least one entry and has none.
    pub fn not_empty<T>(&mut self, path: &[&str], mapping: &IndexMap<String, T>) {
        if mapping.is_empty() {
            let what = path.last().map_or_else(|| "the step".to_owned(), |key| format!("`{key}`"));
            let help = Some("name at least one column".to_owned());
            self.check.report(codes::INVALID_VALUE, path, format!("{what} is empty"), help);
        }
    }

    /// Reports output columns that have the same name; false if there are any.
    pub fn unique(&mut self, path: &[&str], columns: &[Column]) -> bool {
        let mut fine = true;
        for (index, column) in columns.iter().enumerate() {
            if columns.iter().take(index).any(|other| other.name == column.name) {
                let message = format!("two columns of the result are named `{}`", column.name);
                let help = "give one of them another name, with `rename` in a step before if need be";
                self.check.report(codes::DUPLICATE_COLUMN, path, message, Some(help.to_owned()));
                fine = false;
            }
        }
        fine
    }
}

/// Names a plan's columns as the schema does and brings them to its canonical types, whatever
/// qualifiers and encodings they have.
pub fn conform(plan: LogicalPlan, schema: &Schema) -> Result<LogicalPlan, DataFusionError> {
    use datafusion::logical_expr::ExprSchemable;
    let exprs = plan
        .schema()
        .columns()
        .into_iter()
        .zip(&schema.columns)
        .map(|(from, to)| {
            let arrow = to.column_type.to_arrow();
            let expr = Expr::Column(from);
            let expr =
                if expr.get_type(plan.schema())? == arrow { expr } else { datafusion::logical_expr::cast(expr, arrow) };
            Ok(expr.alias(&to.name))
        })
        .collect::<Result<Vec<_>, DataFusionError>>()?;
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}
