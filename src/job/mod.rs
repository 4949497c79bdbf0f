//! A job: one pipeline that runs, from start to stop, through reloads.
//!
//! One driver task owns everything a job can change. Between two batches nothing is in flight, so
//! that is where a new version of the pipeline is swapped in.

pub mod control;
mod driver;
mod reload;
mod starts;
mod states;
pub mod supervisor;
#[cfg(test)]
mod tests;
pub mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::Store;
use crate::diagnostic::Diagnostic;
use crate::engine::{RunError, Runtime};
use crate::logical;
use crate::plan::{self, Plan, PlannedSource};
use crate::sources::{Replay, SourceContext};
use crate::spec::{self, ProcessEnvironment};

pub use control::{Asked, Control};
pub use driver::{Job, OnProgress, Options, Summary};
pub use states::take_over;

/// A pipeline that is ready to run: checked and planned.
pub struct Prepared {
    /// The pipeline.
    pub plan: Arc<Plan>,
    /// Its executable form.
    pub stages: logical::Stages,
}

/// Loads and checks a pipeline file; touches nothing but that file and what it includes.
pub fn load(path: &Path, overrides: &[(String, String)], findings: &mut Vec<Diagnostic>) -> Option<Plan> {
    let file = match spec::read_file(path) {
        Ok(file) => file,
        Err(finding) => {
            findings.push(*finding);
            return None;
        }
    };
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let environment = ProcessEnvironment::new(folder);
    let mut plan = plan::load(&file, &environment, overrides, findings)?;
    plan.includes = environment.files();
    Some(plan)
}

/// Plans the stages of a checked pipeline.
///
/// # Errors
/// A bug, or a query that cannot be executed.
pub async fn prepare(plan: Plan) -> Result<Prepared, RunError> {
    let stages = logical::build(&plan).await.map_err(|error| RunError::Internal(error.strip_backtrace()))?;
    Ok(Prepared { plan: Arc::new(plan), stages })
}

/// Makes a source's context for this run.
async fn source_context(plan: &Plan, source: &PlannedSource, runtime: &Runtime) -> Result<SourceContext, RunError> {
    // One of another kind under the same name has nothing to do with what this one receives.
    let log = checkpoint_store(plan)?.filter(|_| source.checked.replay == Replay::Received);
    let log = log.map(|store| store.folder(LOGS).folder(&source.kind).folder(&source.name));
    if let Some(log) = &log {
        log.prepare().await?;
    }
    Ok(SourceContext {
        name: source.name.clone(),
        clock: Arc::clone(&runtime.clock),
        block_interval: plan.block_interval.to_std(),
        receive_buffer: plan.engine.receive_buffer.as_usize(),
        available_now: runtime.available_now,
        log,
    })
}

/// The folder of the checkpoint in which receivers keep their logs.
const LOGS: &str = "received";

/// Where a pipeline's checkpoint is, if it has one.
fn checkpoint_store(plan: &Plan) -> Result<Option<Store>, RunError> {
    let Some(settings) = &plan.checkpoint else { return Ok(None) };
    Ok(Some(Store::local(Path::new(&settings.path))?.folder(&plan.name)))
}
