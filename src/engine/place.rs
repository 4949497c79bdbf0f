//! Says in the user's words which part of a pipeline failed.

use datafusion::error::DataFusionError;

use super::RunError;
use crate::logical::{Named, Output, Stage};
use crate::plan::{CHAIN, Plan};
use crate::sinks::SinkError;

/// Says in the user's words what failed: the sink, or the source or steps whose rows it was to get.
pub(super) fn stage_error(stage: &Stage, place: &Place, error: SinkError) -> RunError {
    match (error, &stage.output) {
        (SinkError::Rows(error), _) => RunError::Rows(error),
        (error, Output::Sink(_)) => RunError::Sink { name: stage.name.clone(), error },
        (error, Output::Slot(_) | Output::State(_)) => {
            RunError::Stage { place: place.rows.clone(), error: error.to_string() }
        }
    }
}

fn has_sql(plan: &Plan) -> bool {
    plan.streams.iter().flat_map(|stream| &stream.steps).any(|step| step.kind == "sql")
}

/// What a stage computes, for errors that do not say themselves where they come from.
pub(super) struct Place {
    /// Its rows, in the user's words.
    rows: String,
    /// Whether a `sql` step may be to blame: expressions give NULL where SQL fails.
    sql: bool,
}

impl Place {
    pub(super) fn of(stage: &Stage, plan: &Plan) -> Self {
        let name = match &stage.output {
            Output::Sink(index) => plan.sinks.get(*index).map_or(stage.name.as_str(), |sink| sink.from.as_str()),
            Output::Slot(_) => stage.name.as_str(),
            Output::State(state) => {
                return Self { rows: format!("the steps up to `{}`", state.step), sql: has_sql(plan) };
            }
        };
        let rows = if name == CHAIN {
            "the steps of `transforms`".to_owned()
        } else if plan.sources.iter().any(|source| source.name == name) {
            format!("source `{name}`")
        } else {
            format!("the steps of stream `{name}`")
        };
        Self { rows, sql: has_sql(plan) }
    }

    /// An error of a plan without the names of its wrappers.
    pub(super) fn describe(&self, error: &DataFusionError) -> String {
        use DataFusionError as E;
        let message = match error.find_root() {
            E::External(error) if error.is::<Named>() => return error.to_string(),
            E::Execution(message) => message.clone(),
            E::ResourcesExhausted(message) => {
                format!("the batch needs more memory than `engine.memory_limit` allows: {message}")
            }
            E::ArrowError(error, _) if self.sql => {
                format!("{error}; in a `sql` step, `nullif(x, 0)` and `try_cast(x as type)` give NULL instead")
            }
            other => other.strip_backtrace(),
        };
        format!("in {}: {message}", self.rows)
    }
}
