//! An executable plan without the constants in it, for pipelines that have values from outside the file. The
//! engine has computed with them by now, so none can be told apart: all are hidden.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::{Column, Literal, UnKnownColumn};
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};

/// Stands for a constant.
pub(super) const HIDDEN: &str = "***";

/// The operators with the columns and functions they use, one a line, indented as they nest.
///
/// # Errors
/// An expression that cannot be made anew; a bug.
pub(super) fn lines(plan: &dyn ExecutionPlan) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    add(plan, 0, &mut lines)?;
    Ok(lines)
}

fn add(plan: &dyn ExecutionPlan, depth: usize, lines: &mut Vec<String>) -> Result<()> {
    let mut expressions: Vec<String> = Vec::new();
    plan.apply_expressions(&mut |expression: &Arc<dyn PhysicalExpr>| {
        expressions.push(masked(expression)?.to_string());
        Ok(TreeNodeRecursion::Continue)
    })?;
    let shown = if expressions.is_empty() { String::new() } else { format!(": {}", expressions.join(", ")) };
    lines.push(format!("{}{}{shown}", "  ".repeat(depth), plan.name()));
    for child in plan.children() {
        add(child.as_ref(), depth + 1, lines)?;
    }
    Ok(())
}

fn masked(expression: &Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let result = Arc::clone(expression).transform(|part| {
        // SQL names a column without a name after its expression, constants and all.
        let computed = part.downcast_ref::<Column>().is_some_and(|it| it.name().contains(['(', '"', '\'']));
        if !computed && !part.is::<Literal>() {
            return Ok(Transformed::no(part));
        }
        let hidden: Arc<dyn PhysicalExpr> = Arc::new(UnKnownColumn::new(HIDDEN));
        Ok(Transformed::yes(hidden))
    })?;
    Ok(result.data)
}
