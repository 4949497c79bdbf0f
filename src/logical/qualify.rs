//! Gives the input of every projection a name of its own.
//!
//! DataFusion 55 drops a projection that is written like the one below it
//! (`merge_consecutive_projections` in `optimize_projections`): of two steps `n: n + 1` one would be
//! lost. When each names its columns after its own input, no two are written alike.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, SubqueryAlias};

/// The same plan, protected. Its columns keep their names and qualifiers. Plans of subqueries stay as
/// they are: rules that turn them into joins look for their shape.
pub(super) fn qualify(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut count = 0;
    let qualified = plan.transform_up(|node| match node {
        LogicalPlan::Projection(projection) if can_be_qualified(&projection) => {
            count += 1;
            qualified(&projection, &TableReference::bare(format!("input-{count}"))).map(Transformed::yes)
        }
        node => Ok(Transformed::no(node)),
    });
    qualified.map(|it| it.data)
}

/// A table has a name already; columns that differ in nothing but their table need theirs; a subquery
/// may refer to them.
fn can_be_qualified(projection: &Projection) -> bool {
    let is_named = matches!(*projection.input, LogicalPlan::TableScan(_) | LogicalPlan::SubqueryAlias(_));
    let mut names = HashSet::new();
    !is_named
        && projection.input.schema().fields().iter().all(|field| names.insert(field.name()))
        && !projection.expr.iter().any(has_subquery)
}

fn has_subquery(expr: &Expr) -> bool {
    let is_subquery = |part: &Expr| {
        matches!(part, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(..))
    };
    expr.exists(|part| Ok(is_subquery(part))).unwrap_or(true)
}

fn qualified(projection: &Projection, name: &TableReference) -> Result<LogicalPlan> {
    let expressions = projection.expr.iter().zip(projection.schema.iter()).map(|(expr, (qualifier, field))| {
        let expr = expr.clone().unalias().transform(|part| {
            Ok(match part {
                Expr::Column(column) => Transformed::yes(Column::new(Some(name.clone()), column.name).into()),
                part => Transformed::no(part),
            })
        })?;
        Ok(expr.data.alias_qualified(qualifier.cloned(), field.name()))
    });
    let expressions = expressions.collect::<Result<Vec<Expr>>>()?;
    let input = SubqueryAlias::try_new(Arc::clone(&projection.input), name.clone())?;
    Ok(LogicalPlan::Projection(Projection::try_new(expressions, Arc::new(LogicalPlan::SubqueryAlias(input)))?))
}
