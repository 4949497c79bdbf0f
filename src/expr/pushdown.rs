//! Keeps a filter from growing while it is pushed down.
//!
//! DataFusion moves a filter below a projection by writing the projection's expressions into it. Where
//! steps use a column twice, the filter doubles with every step, and planning would never end.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};

/// A filter is not pushed where it would grow beyond this many operators and operands: computing it
/// again from further down would cost more than it saves.
const MAX_PREDICATE: usize = 200;

/// DataFusion's rules with this one guard.
pub(super) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let guarded = |rule: Arc<dyn OptimizerRule + Send + Sync>| -> Arc<dyn OptimizerRule + Send + Sync> {
        if rule.name() == "push_down_filter" { Arc::new(Guarded(rule)) } else { rule }
    };
    Optimizer::new().rules.into_iter().map(guarded).collect()
}

#[derive(Debug)]
struct Guarded(Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for Guarded {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if would_grow(&plan) {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan, config)
    }
}

/// Whether pushing this filter, with those right below it, would make it too large.
fn would_grow(plan: &LogicalPlan) -> bool {
    let mut predicates = Vec::new();
    let mut below = plan;
    while let LogicalPlan::Filter(filter) = below {
        predicates.push(&filter.predicate);
        below = filter.input.as_ref();
    }
    // These write expressions of theirs into a filter; others only rename its columns.
    let expressions = match below {
        LogicalPlan::Projection(projection) => &projection.expr,
        LogicalPlan::Aggregate(aggregate) => &aggregate.group_expr,
        _ => return false,
    };
    let mut uses: HashMap<Column, usize> = HashMap::new();
    for predicate in &predicates {
        visit(predicate, |expr| {
            if let Expr::Column(column) = expr {
                *uses.entry(column.clone()).or_default() += 1;
            }
        });
    }
    let now: usize = predicates.iter().map(|predicate| size(predicate)).sum();
    let outputs = below.schema().columns().into_iter().zip(expressions);
    let growth = outputs.map(|(column, expr)| uses.get(&column).map_or(0, |uses| uses * (size(expr) - 1)));
    let growth: usize = growth.sum();
    growth > 0 && now + growth > MAX_PREDICATE
}

/// How many operators and operands an expression has; a name for it is none.
fn size(expr: &Expr) -> usize {
    let mut size = 0;
    visit(expr, |part| size += usize::from(!matches!(part, Expr::Alias(_))));
    size.max(1)
}

fn visit(expr: &Expr, mut see: impl FnMut(&Expr)) {
    // The closure never fails.
    let _ = expr.apply(|part| {
        see(part);
        Ok(TreeNodeRecursion::Continue)
    });
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{LogicalPlanBuilder, col, lit};

    use super::*;
    use crate::expr::session::empty_table;
    use crate::schema::{Column, ColumnType, Schema};

    fn filtered(width: usize) -> LogicalPlan {
        let table = empty_table("t", &Schema::new(vec![Column::new("n", ColumnType::Long)])).unwrap();
        let sum = (1..width).fold(col("n"), |sum, _| sum + col("n"));
        let plan = LogicalPlanBuilder::from(table).project(vec![sum.alias("n")]).unwrap();
        plan.filter(col("n").gt(lit(1_i64))).unwrap().build().unwrap()
    }

    #[test]
    fn a_filter_is_pushed_until_it_is_too_large() {
        assert!(!would_grow(&filtered(1)));
        assert!(!would_grow(&filtered(90)));
        assert!(would_grow(&filtered(110)));
    }
}
