//! The one place that makes DataFusion sessions: for planning and for `sql` steps.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SessionState, SessionStateDefaults};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, LogicalTableSource, Volatility};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use futures::FutureExt;

use super::pushdown;
use crate::schema::Schema;

/// The settings that planning and running rely on: no dynamic filters and no answers from
/// statistics (a plan is used for many batches), names as written.
#[must_use]
pub fn config(parallelism: usize) -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(parallelism.max(1));
    let options = config.options_mut();
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.optimizer.enable_round_robin_repartition = false;
    // It moves field accesses below our operators, whose columns change their types.
    options.optimizer.enable_leaf_expression_pushdown = false;
    options.execution.collect_statistics = false;
    options.sql_parser.enable_ident_normalization = false;
    config
}

/// A session's state for these settings. It knows no functions by name: expressions bring theirs.
#[must_use]
pub fn state(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionStateBuilder {
    // No leaf of our plans takes a filter, and on the way down this rule would write out every column.
    let mut physical = PhysicalOptimizer::new().rules;
    physical.retain(|rule| !rule.name().starts_with("FilterPushdown"));
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_optimizer_rules(pushdown::rules())
        .with_physical_optimizer_rules(physical)
}

/// A table without rows, for finding out a query's columns.
///
/// # Errors
/// A bug.
pub fn empty_table(name: &str, schema: &Schema) -> Result<LogicalPlan> {
    LogicalPlanBuilder::scan(name, Arc::new(LogicalTableSource::new(schema.to_arrow())), None)?.build()
}

/// Plans a query, checked by [`super::query::tables`], over these tables.
///
/// # Errors
/// What is wrong with the query.
pub fn plan_sql(sql: &str, tables: HashMap<String, LogicalPlan>) -> Result<LogicalPlan> {
    let state = planning_state();
    let context = datafusion::prelude::SessionContext::new_with_state(state);
    for (name, plan) in tables {
        let reference = datafusion::common::TableReference::bare(name);
        context.register_table(reference, Arc::new(ViewTable::new(plan, None)))?;
    }
    // Planning never waits: all tables are in memory.
    let plan = context
        .state()
        .create_logical_plan(sql)
        .now_or_never()
        .ok_or_else(|| DataFusionError::Internal("planning a query waits for something".to_owned()))??;
    match plan {
        LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Explain(_) => Err(DataFusionError::Plan("only a query (`select ...`) can be a step".to_owned())),
        plan => Ok(plan),
    }
}

/// A function of the plan whose value is not fixed by its arguments, if there is one.
#[must_use]
pub fn unstable_function(plan: &LogicalPlan) -> Option<String> {
    let mut found = None;
    let result = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::ScalarFunction(function) = expr
                    && function.func.signature().volatility != Volatility::Immutable
                {
                    found = Some(function.func.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    // The closure never fails.
    result.ok().and(found)
}

/// A source of rows as a table of a plan.
#[must_use]
pub fn table_source(
    provider: Arc<dyn datafusion::catalog::TableProvider>,
) -> Arc<dyn datafusion::logical_expr::TableSource> {
    provider_as_source(provider)
}

/// What a query is planned with: every function of the engine library by name, but none of its
/// files and tables.
fn planning_state() -> SessionState {
    state(config(1), Arc::new(RuntimeEnv::default()))
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(SessionStateDefaults::default_scalar_functions())
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .build()
}
