//! Expressions over rows that are in memory already, outside of a plan: what state is computed with.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;

use super::session;

/// Expressions over rows of one schema, ready to be evaluated again and again.
#[derive(Debug)]
pub struct Evaluator {
    expressions: Vec<Arc<dyn PhysicalExpr>>,
}

impl Evaluator {
    /// Prepares expressions over the columns of `schema`.
    ///
    /// # Errors
    /// A bug: expressions are typed before.
    pub fn new(expressions: impl IntoIterator<Item = Expr>, schema: &SchemaRef) -> Result<Self> {
        let state = session::state(session::config(1), Arc::new(RuntimeEnv::default())).build();
        let schema = Arc::new(DFSchema::try_from(Arc::clone(schema))?);
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(&schema)).build());
        // Some functions, such as `coalesce`, are only there to be written as others.
        let prepare = |expression| {
            let simple = simplifier.simplify(simplifier.coerce(expression, &schema)?)?;
            state.create_physical_expr(simple, &schema)
        };
        Ok(Self { expressions: expressions.into_iter().map(prepare).collect::<Result<_>>()? })
    }

    /// The expressions' values, a column each.
    ///
    /// # Errors
    /// When one fails, which typed expressions do not.
    pub fn evaluate(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let evaluate = |it: &Arc<dyn PhysicalExpr>| it.evaluate(rows)?.into_array(rows.num_rows());
        self.expressions.iter().map(evaluate).collect()
    }
}
