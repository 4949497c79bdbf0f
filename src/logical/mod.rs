//! From the plan to stages: each run of steps becomes one DataFusion plan, planned once and
//! executed for every batch.
//!
//! ```text
//! source slot --> steps of a stream --> sink            one stage
//! source slot --> steps --> slot --> steps --> sink     where a stream has several readers, its
//!                               \--> sink               rows are kept in a slot between stages
//! steps --> slot --> steps --> ...                      where there are very many steps, too
//! steps --> operator --> slot --> steps --> ...         a step with state or a window
//! ```

mod qualify;
pub mod slot;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool, UnboundedMemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use crate::expr::session;
use crate::plan::{Plan, PlannedStep, PlannedStream};
use crate::schema::Schema;
use crate::spec::Node;
use crate::state::{Schedule, Stateful};
use crate::transforms::operator::{OperatorPlanner, RunContext};
use crate::transforms::{Action, StatefulStep, conform};

pub use crate::transforms::operator::Named;
pub use slot::Slot;

/// So many steps at most run in one stage: a batch of rows goes through all of them on one stack.
const STAGE_STEPS: usize = 200;

/// What a job executes for every batch.
pub struct Stages {
    /// Where a batch's blocks are put, by source.
    pub inputs: BTreeMap<String, Arc<Slot>>,
    /// In order.
    pub stages: Vec<Stage>,
    /// Shared by all stages; planning again for every batch would cost more than the batch.
    pub context: Arc<TaskContext>,
    /// What the plans know of the batch.
    pub run: Arc<RunContext>,
}

/// One plan with where its rows go.
pub struct Stage {
    /// The sink, or the stream whose rows are kept.
    pub name: String,
    /// What is executed.
    pub plan: Arc<dyn ExecutionPlan>,
    /// In which batches it runs; `None` for in all.
    pub schedule: Option<Schedule>,
    /// Where its rows go.
    pub output: Output,
}

/// Where a stage's rows go.
pub enum Output {
    /// To the sink of that index in the plan.
    Sink(usize),
    /// Into a slot that later stages read.
    Slot(Arc<Slot>),
    /// Through the operator of a step with state into a slot.
    State(Box<StateStage>),
}

/// A step with state.
pub struct StateStage {
    /// The step's name among all steps.
    pub step: String,
    /// What it does.
    pub state: Stateful,
    /// The columns that arrive at it.
    pub input: SchemaRef,
    /// The step as written, for comparing versions.
    pub node: Node,
    /// Where its rows go.
    pub slot: Arc<Slot>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How many threads a plan's batches use.
#[must_use]
pub fn parallelism(plan: &Plan) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    plan.engine.parallelism.unwrap_or_else(cores)
}

/// Plans every stage.
///
/// # Errors
/// A bug, or a query that the engine cannot execute: the plan has been checked.
pub async fn build(plan: &Plan) -> Result<Stages> {
    let run = Arc::new(RunContext::default());
    let state = session_state(plan, &run)?;
    let mut builder = Builder {
        plan,
        partitions: parallelism(plan),
        tables: BTreeMap::new(),
        depths: BTreeMap::new(),
        state: &state,
        stages: Vec::new(),
        run: &run,
    };
    let mut inputs = BTreeMap::new();
    for source in &plan.sources {
        let columns = source.checked.schema.to_arrow();
        let slot = Slot::new(&source.name, columns, builder.partitions, source.on_error, Arc::clone(&run));
        inputs.insert(source.name.clone(), Arc::clone(&slot));
        let scan = scan(&slot)?;
        builder.provide(&source.name, scan).await?;
    }
    for stream in &plan.streams {
        builder.stream(stream).await?;
    }
    for (index, sink) in plan.sinks.iter().enumerate() {
        let rows = builder.table(&sink.from)?;
        let schedule = builder.schedule(&sink.from);
        builder.stage(&sink.name, &rows, schedule, Output::Sink(index)).await?;
    }
    let stages = builder.stages;
    Ok(Stages { inputs, stages, context: state.task_ctx(), run })
}

struct Builder<'a> {
    plan: &'a Plan,
    partitions: usize,
    tables: BTreeMap<String, LogicalPlan>,
    /// How many steps a table's rows go through since they were in a slot.
    depths: BTreeMap<String, usize>,
    state: &'a SessionState,
    stages: Vec<Stage>,
    run: &'a Arc<RunContext>,
}

impl Builder<'_> {
    /// Lowers a stream's steps one after the other.
    async fn stream(&mut self, stream: &PlannedStream) -> Result<()> {
        let mut rows = self.table(&stream.from)?;
        let mut columns = self.schema(&stream.from)?;
        let mut depth = self.depth(&stream.from);
        let mut schedule = self.schedule(&stream.from);
        for step in &stream.steps {
            // A `limit` wants the order of the sort before it, which a slot does not tell.
            if depth >= STAGE_STEPS && step.kind != "limit" {
                rows = self.keep(&stream.name, &conform(rows, &columns)?, columns.to_arrow(), schedule).await?;
                depth = 0;
            }
            let others = step.streams.iter().map(|name| self.table(name)).collect::<Result<Vec<_>>>()?;
            depth = 1 + step.streams.iter().map(|name| self.depth(name)).fold(depth, usize::max);
            rows = match &step.checked.action {
                Action::Relational(lower) => lower(std::iter::once(rows).chain(others).collect())?,
                Action::Stateful(stateful) => {
                    depth = 1;
                    self.state(step, stateful, rows, schedule).await?
                }
            };
            schedule = step.checked.schedule(schedule);
            columns.clone_from(&step.checked.schema);
        }
        self.depths.insert(stream.name.clone(), depth);
        self.provide(&stream.name, conform(rows, &stream.schema)?).await
    }

    /// Ends a stage with an operator, and begins the next one with what it gives.
    async fn state(
        &mut self,
        step: &PlannedStep,
        stateful: &StatefulStep,
        rows: LogicalPlan,
        schedule: Option<Schedule>,
    ) -> Result<LogicalPlan> {
        let rows = (stateful.before)(vec![rows])?;
        let input = Arc::clone(rows.schema().inner());
        let output = stateful.state.output(&input).map_err(|error| DataFusionError::Internal(error.to_string()))?;
        let slot =
            Slot::new(&step.full_name, output, self.partitions, crate::spec::OnError::Fail, Arc::clone(self.run));
        let kept = scan(&slot)?;
        let (name, node) = (step.full_name.clone(), step.node.clone());
        let state = StateStage { step: name, state: stateful.state.clone(), input, node, slot };
        self.stage(&step.full_name, &rows, schedule, Output::State(Box::new(state))).await?;
        (stateful.after)(vec![kept])
    }

    /// In which batches a source or stream has rows.
    fn schedule(&self, name: &str) -> Option<Schedule> {
        self.plan.streams.iter().find(|stream| stream.name == name)?.schedule
    }

    fn depth(&self, name: &str) -> usize {
        self.depths.get(name).copied().unwrap_or(0)
    }

    /// Makes a source's or stream's rows readable; with several readers they are computed once and
    /// kept in a slot.
    async fn provide(&mut self, name: &str, rows: LogicalPlan) -> Result<()> {
        let rows = if self.plan.readers(name).count() > 1 {
            self.depths.insert(name.to_owned(), 0);
            let schema = self.schema(name)?;
            self.keep(name, &rows, schema.to_arrow(), self.schedule(name)).await?
        } else {
            rows
        };
        self.tables.insert(name.to_owned(), rows);
        Ok(())
    }

    /// Ends a stage: puts its rows into a slot, from which they are read on.
    async fn keep(
        &mut self,
        name: &str,
        rows: &LogicalPlan,
        columns: SchemaRef,
        schedule: Option<Schedule>,
    ) -> Result<LogicalPlan> {
        let slot = Slot::new(name, columns, self.partitions, crate::spec::OnError::Fail, Arc::clone(self.run));
        self.stage(name, rows, schedule, Output::Slot(Arc::clone(&slot))).await?;
        scan(&slot)
    }

    fn schema(&self, name: &str) -> Result<Schema> {
        let sources = self.plan.sources.iter().find(|source| source.name == name).map(|source| &source.checked.schema);
        let streams = self.plan.streams.iter().find(|stream| stream.name == name).map(|stream| &stream.schema);
        sources.or(streams).cloned().ok_or_else(|| missing(name))
    }

    fn table(&self, name: &str) -> Result<LogicalPlan> {
        self.tables.get(name).cloned().ok_or_else(|| missing(name))
    }

    async fn stage(
        &mut self,
        name: &str,
        rows: &LogicalPlan,
        schedule: Option<Schedule>,
        output: Output,
    ) -> Result<()> {
        let plan = self.state.create_physical_plan(&qualify::qualify(rows.clone())?).await?;
        self.stages.push(Stage { name: name.to_owned(), plan, schedule, output });
        Ok(())
    }
}

fn missing(name: &str) -> DataFusionError {
    DataFusionError::Internal(format!("nothing provides `{name}`"))
}

/// A slot's rows, under the plain names of its columns.
fn scan(slot: &Arc<Slot>) -> Result<LogicalPlan> {
    let source = session::table_source(Arc::new(slot::SlotTable(Arc::clone(slot))));
    let name = datafusion::common::TableReference::bare(slot.name());
    let rows = LogicalPlanBuilder::scan(name, source, None)?;
    let plain = |it: datafusion::common::Column| Expr::Column(it.clone()).alias(it.name);
    let columns: Vec<Expr> = rows.schema().columns().into_iter().map(plain).collect();
    rows.project(columns)?.build()
}

fn session_state(plan: &Plan, run: &Arc<RunContext>) -> Result<SessionState> {
    let pool: Arc<dyn MemoryPool> = match plan.engine.memory_limit {
        Some(limit) => Arc::new(GreedyMemoryPool::new(limit.as_usize())),
        None => Arc::new(UnboundedMemoryPool::default()),
    };
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    let config = session::config(parallelism(plan)).with_extension(Arc::clone(run));
    Ok(session::state(config, runtime).with_query_planner(Arc::new(Planner)).build())
}

/// DataFusion's planner with our operators.
#[derive(Debug)]
struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, state: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(OperatorPlanner)]);
        planner.create_physical_plan(plan, state).await
    }
}
