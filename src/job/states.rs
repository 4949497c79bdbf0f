//! What becomes of the states of steps when one version of a pipeline takes over from another, in the same
//! process or after a restart.
//!
//! A step's identity is its name. Where it keeps the same as before, its state goes on, whatever has changed
//! around it.

use std::sync::Arc;

use super::Prepared;
use crate::engine::memory::StateLimit;
use crate::engine::{Engine, Ledger, Operators, ResetState, RunError};
use crate::logical::Stages;
use crate::plan::Plan;
use crate::spec::OnStateChange;

/// Whether the user allows that the state of a step begins anew.
pub(super) fn may_reset(plan: &Plan, step: &str) -> bool {
    plan.step(step).is_some_and(|step| step.on_state_change == OnStateChange::Reset)
}

/// Refuses a version whose steps, or whose checkpoint, do not fit the one that runs.
pub(super) fn check(old_plan: &Plan, old: &Operators, plan: &Plan, new: &Operators) -> Result<(), RunError> {
    let place = |plan: &Plan| plan.checkpoint.as_ref().map(|it| (it.path.clone(), plan.name.clone()));
    if place(old_plan) != place(plan) {
        let what = "`checkpoint.path`, or the name of a pipeline with a checkpoint, only changes with a restart";
        return Err(RunError::Refused(what.to_owned()));
    }
    for (step, _, difference) in new.not_taken_over(old) {
        if let Some(difference) = difference.filter(|_| !may_reset(plan, step)) {
            return Err(locate(RunError::StateChanged { step: step.to_owned(), difference }, plan));
        }
    }
    Ok(())
}

/// Puts a new version in the place of an engine's, with its states. The caller sees to sources and sinks.
///
/// # Errors
/// When the states do not fit; then nothing has changed.
pub async fn take_over(engine: &mut Engine, prepared: Prepared) -> Result<(), RunError> {
    let Prepared { plan, stages } = prepared;
    let operators = Operators::build(&plan, &stages)?;
    check(&engine.plan, &engine.operators, &plan, &operators)?;
    for state in left_behind(&engine.operators, &operators)? {
        reset(&state, engine.ledger.as_mut()).await?;
    }
    install(engine, plan, stages, operators)
}

/// Makes an engine one of another version. The states that do not go over have been seen to.
pub(super) fn install(
    engine: &mut Engine,
    plan: Arc<Plan>,
    stages: Stages,
    mut operators: Operators,
) -> Result<(), RunError> {
    operators.take_over(std::mem::take(&mut engine.operators))?;
    engine.operators = operators;
    engine.state_limit = StateLimit::new(&plan);
    engine.plan = plan;
    engine.stages = stages;
    engine.settle_zero();
    if let (Some(ledger), Some(settings)) = (&mut engine.ledger, &engine.plan.checkpoint) {
        ledger.change(settings);
    }
    Ok(())
}

/// The states that do not go over to the new version.
pub(super) fn left_behind(old: &Operators, new: &Operators) -> Result<Vec<ResetState>, RunError> {
    new.not_taken_over(old).into_iter().map(|(step, running, _)| ResetState::of(step, running)).collect()
}

/// Lets go of a state, and keeps a copy of it where there is a checkpoint.
pub(super) async fn reset(state: &ResetState, ledger: Option<&mut Ledger>) -> Result<(), RunError> {
    let step = &state.step;
    match ledger {
        Some(ledger) => {
            let copy = ledger.save(state).await?;
            tracing::warn!(step, copy, "the state of this step ends here; a copy of it stays in the checkpoint");
        }
        None => tracing::warn!(step, "the state of this step ends here"),
    }
    Ok(())
}

/// Names the place of the step in the file.
pub(super) fn locate(error: RunError, plan: &Plan) -> RunError {
    let RunError::StateChanged { step, difference } = error else { return error };
    let place = plan.step(&step).map(|step| plan.file.position(step.span.start));
    let step = match place {
        Some(place) => format!("`{step}` ({}:{}:{})", plan.file.name(), place.line, place.column),
        None => format!("`{step}`"),
    };
    RunError::StateChanged { step, difference }
}
