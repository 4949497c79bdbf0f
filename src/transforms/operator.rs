//! Operators that DataFusion does not have: one logical node, one physical node, and the planner
//! between them. An [`Operator`] turns each batch of a partition into batches.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicI64, Ordering as AtomicOrdering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PhysicalExpr, PlanProperties,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt};

use crate::formats::BadRows;
use crate::schema::Schema;
use crate::spec::OnError;

/// An error in the user's words that names the source or step it comes from.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Named(pub String);

impl Named {
    /// As an error of a plan.
    #[must_use]
    pub fn error(message: String) -> DataFusionError {
        DataFusionError::External(Box::new(Self(message)))
    }
}

/// What a batch's plan may know of the run: it is an extension of the session's configuration, and
/// set anew before every batch.
#[derive(Debug, Default)]
pub struct RunContext {
    /// The batch's time, milliseconds since the epoch.
    pub batch_time: AtomicI64,
    /// Rows left out so far in this batch, by source or step, with one reason each.
    skipped: Mutex<BTreeMap<String, (u64, String)>>,
}

impl RunContext {
    /// Applies `on_error` to rows that could not be decoded.
    ///
    /// # Errors
    /// The first bad row's reason, where bad rows are to fail the batch.
    pub fn bad_rows(&self, component: &str, on_error: OnError, bad: &BadRows) -> std::result::Result<(), String> {
        let Some(sample) = bad.samples.first().filter(|_| bad.count > 0) else { return Ok(()) };
        let raw = String::from_utf8_lossy(&sample.raw);
        let shown: String = raw.chars().take(200).flat_map(char::escape_debug).collect();
        let reason = format!("{}: {shown}", sample.reason);
        match on_error {
            OnError::Fail => Err(format!(
                "`{component}` cannot decode a row: {reason}; \
                 `on_error: skip` on it leaves such rows out and counts them"
            )),
            OnError::Skip => {
                let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
                let entry = skipped.entry(component.to_owned()).or_insert((0, reason));
                entry.0 += bad.count;
                Ok(())
            }
        }
    }

    /// The rows left out since the last call: component, count, one reason.
    pub fn take_skipped(&self) -> Vec<(String, u64, String)> {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *skipped)
            .into_iter()
            .map(|(component, (count, reason))| (component, count, reason))
            .collect()
    }

    /// The batch's time, milliseconds since the epoch.
    #[must_use]
    pub fn time(&self) -> i64 {
        self.batch_time.load(AtomicOrdering::Relaxed)
    }
}

/// Turns the batches of one partition, in order, into batches.
pub type Work = Box<dyn FnMut(RecordBatch) -> Result<Vec<RecordBatch>> + Send>;

/// An operator over partitions; it keeps their order and number.
pub trait Operator: fmt::Debug + Send + Sync {
    /// For `explain`.
    fn name(&self) -> &'static str;

    /// Whether rows keep their columns and their order, so that a sort before it still holds.
    fn keeps_order(&self) -> bool {
        false
    }

    /// Starts work on a partition of a batch.
    fn start(&self, run: &Arc<RunContext>, partition: usize) -> Work;
}

/// Puts an operator on top of a plan. The output has the columns of `schema`.
pub fn apply(input: LogicalPlanBuilder, operator: Arc<dyn Operator>, schema: &Schema) -> Result<LogicalPlanBuilder> {
    let schema = Arc::new(DFSchema::try_from(schema.to_arrow())?);
    let node = OperatorNode { input: input.build()?, schema, operator };
    Ok(LogicalPlanBuilder::from(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
}

struct OperatorNode {
    input: LogicalPlan,
    schema: DFSchemaRef,
    operator: Arc<dyn Operator>,
}

impl OperatorNode {
    fn identity(&self) -> *const () {
        Arc::as_ptr(&self.operator).cast()
    }
}

impl fmt::Debug for OperatorNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.operator)
    }
}

impl PartialEq for OperatorNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.input == other.input
    }
}

impl Eq for OperatorNode {}

impl PartialOrd for OperatorNode {
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        None
    }
}

impl Hash for OperatorNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for OperatorNode {
    fn name(&self) -> &str {
        self.operator.name()
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.operator)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = super::first(inputs)?;
        Ok(Self { input, schema: Arc::clone(&self.schema), operator: Arc::clone(&self.operator) })
    }
}

/// Plans [`OperatorNode`]s.
#[derive(Debug)]
pub struct OperatorPlanner;

#[async_trait]
impl ExtensionPlanner for OperatorPlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), Some(input)) = (node.as_any().downcast_ref::<OperatorNode>(), inputs.first()) else {
            return Ok(None);
        };
        let schema = Arc::clone(node.schema.inner());
        Ok(Some(Arc::new(OperatorExec::new(Arc::clone(input), schema, Arc::clone(&node.operator)))))
    }
}

#[derive(Debug, Clone)]
struct OperatorExec {
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    operator: Arc<dyn Operator>,
    properties: Arc<PlanProperties>,
}

impl OperatorExec {
    fn new(input: Arc<dyn ExecutionPlan>, schema: SchemaRef, operator: Arc<dyn Operator>) -> Self {
        let properties = PlanProperties::new(
            if operator.keeps_order() {
                input.equivalence_properties().clone()
            } else {
                EquivalenceProperties::new(Arc::clone(&schema))
            },
            datafusion::physical_plan::Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, schema, operator, properties: Arc::new(properties) }
    }
}

impl DisplayAs for OperatorExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.operator)
    }
}

impl ExecutionPlan for OperatorExec {
    fn name(&self) -> &str {
        self.operator.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.operator.keeps_order()]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children
            .into_iter()
            .next()
            .ok_or_else(|| DataFusionError::Internal("an operator without input".to_owned()))?;
        Ok(match options.children_properties {
            ChildrenPropertiesMode::Keep => Arc::new(Self { input, ..Self::clone(&self) }),
            ChildrenPropertiesMode::Recompute => {
                Arc::new(Self::new(input, Arc::clone(&self.schema), Arc::clone(&self.operator)))
            }
        })
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = run_context(&context)?;
        let input = self.input.execute(partition, context)?;
        let mut work = self.operator.start(&run, partition);
        let output = input
            .map(move |batch| {
                let pieces = work(batch?).map_err(named)?;
                Ok::<_, DataFusionError>(futures::stream::iter(pieces.into_iter().map(Ok)))
            })
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), output)))
    }
}

/// What an operator says of rows names its step already.
fn named(error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::Execution(message) => Named::error(message),
        other => other,
    }
}

/// The run that a plan's execution belongs to.
///
/// # Errors
/// When the session was made without one; a bug.
pub fn run_context(context: &TaskContext) -> Result<Arc<RunContext>> {
    context
        .session_config()
        .get_extension::<RunContext>()
        .ok_or_else(|| DataFusionError::Internal("the session knows no run".to_owned()))
}
