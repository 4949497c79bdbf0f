//! Starting a version of a pipeline, and swapping one version for another between two batches.
//!
//! Sources and sinks whose text is the same keep running with what they have received; the others
//! are built beside the running ones, before any of these is stopped. Only a source that takes over
//! from a leaving one (its port, or its connection) is built after that one has stopped. Whatever
//! fails, the old version goes on.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::starts;
use super::states::{self, may_reset};
use super::{Prepared, checkpoint_store, source_context};
use crate::checkpoint::Checkpoint;
use crate::engine::batch::RunningSource;
use crate::engine::rate::RateEstimator;
use crate::engine::{Engine, Ledger, Left, Operators, RunError, Runtime};
use crate::plan::{Plan, PlannedSink, PlannedSource};
use crate::sinks::{Sink, SinkContext};
use crate::sources::Resource;

/// Builds every source and sink of a pipeline, and opens its checkpoint first: no one else may be on it.
/// With what an earlier run has left, as far as the caller has to see to it.
///
/// # Errors
/// The first one that cannot start, or a checkpoint that cannot be continued.
pub(super) async fn start(prepared: Prepared, runtime: &Runtime) -> Result<(Engine, Option<Left>), RunError> {
    let Prepared { plan, stages } = prepared;
    let mut operators = Operators::build(&plan, &stages)?;
    let (ledger, left) = open_checkpoint(&plan, runtime).await?.unzip();
    let mut ledger = ledger;
    if let (Some(left), Some(ledger)) = (&left, &mut ledger) {
        let reset = left.restore(&mut operators, |step| may_reset(&plan, step));
        for state in reset.map_err(|error| states::locate(error, &plan))? {
            states::reset(&state, Some(&mut *ledger)).await?;
        }
    }
    let mut sinks = BTreeMap::new();
    for sink in &plan.sinks {
        sinks.insert(sink.name.clone(), build_sink(sink, runtime).await?);
    }
    let mut sources = BTreeMap::new();
    for source in &plan.sources {
        let factory = source.checked.factory.as_ref();
        let resume = left.as_ref().map(|left| left.position(&source.name, &source.kind, factory));
        let resume = resume.transpose()?.flatten();
        sources.insert(source.name.clone(), build_source(&plan, source, resume, runtime).await?);
    }
    let mut engine = Engine::new(plan, stages, sources, sinks)?;
    engine.operators = operators;
    engine.ledger = ledger;
    if let Some(left) = &left {
        engine.zero = left.zero;
        let sources = engine.plan.sources.iter().map(|source| source.name.as_str());
        let strangers = left.strangers(sources, &engine.operators);
        if let Some(ledger) = engine.ledger.as_mut().filter(|_| !strangers.is_empty()) {
            for state in left.states_of(&strangers) {
                states::reset(&state, Some(&mut *ledger)).await?;
            }
            tracing::warn!("left out of the checkpoint, since the pipeline has them no more: {}", strangers.join(", "));
            ledger.forget(&strangers);
            for name in strangers.iter().filter_map(|component| component.strip_prefix("source/")) {
                starts::forget(&engine.plan, name).await?;
            }
        }
    }
    Ok((engine, left))
}

async fn open_checkpoint(plan: &Plan, runtime: &Runtime) -> Result<Option<(Ledger, Left)>, RunError> {
    let (Some(settings), Some(store)) = (&plan.checkpoint, checkpoint_store(plan)?) else { return Ok(None) };
    let (name, retain) = (plan.name.clone(), settings.retain);
    // Its files are read and written by the threads that wait.
    let opened = runtime.io.spawn(async move { Checkpoint::open(store, &name, retain).await }).await;
    let (checkpoint, recovered) = opened.map_err(|error| RunError::Internal(error.to_string()))??;
    Ledger::new(checkpoint, recovered, settings.interval.as_signed_millis()).map(Some)
}

async fn build_sink(sink: &PlannedSink, runtime: &Runtime) -> Result<Box<dyn Sink>, RunError> {
    let context = SinkContext {
        name: sink.name.clone(),
        schema: sink.schema.to_arrow(),
        terminal: std::sync::Arc::clone(&runtime.terminal),
    };
    let built = sink.checked.factory.build(context).await;
    built.map_err(|error| RunError::Sink { name: sink.name.clone(), error })
}

async fn build_source(
    plan: &Plan,
    source: &PlannedSource,
    resume: Option<Value>,
    runtime: &Runtime,
) -> Result<RunningSource, RunError> {
    let context = source_context(plan, source, runtime).await?;
    let resume = match resume {
        Some(resume) => Some(resume),
        None => starts::read(plan, source).await?,
    };
    let is_first = resume.is_none();
    let factory = std::sync::Arc::clone(&source.checked.factory);
    // Receivers start tasks of their own, which belong to the threads that wait.
    let built = runtime.io.spawn(async move { factory.build(context, resume).await }).await;
    let built = built.map_err(|error| RunError::Internal(error.to_string()))?;
    let mut source_built = built.map_err(|error| RunError::Source { name: source.name.clone(), error })?;
    if is_first {
        starts::write(plan, source, source_built.as_mut()).await?;
    }
    let rate = RateEstimator::new(plan.engine.backpressure.clone(), plan.batch_interval.to_std());
    Ok(RunningSource { offset: source_built.start(), source: source_built, rate, kind: source.kind.clone() })
}

/// Finds out what would be wrong with a source that must not be built yet.
async fn rehearse(source: &PlannedSource, runtime: &Runtime) -> Result<(), RunError> {
    let factory = std::sync::Arc::clone(&source.checked.factory);
    let rehearsed = runtime.io.spawn(async move { factory.rehearse().await }).await;
    let rehearsed = rehearsed.map_err(|error| RunError::Internal(error.to_string()))?;
    rehearsed.map_err(|error| RunError::Source { name: source.name.clone(), error })
}

/// What differs between two versions of a pipeline.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    kept_sources: Vec<String>,
    new_sources: Vec<String>,
    left_sources: Vec<String>,
    kept_sinks: Vec<String>,
    new_sinks: Vec<String>,
    left_sinks: Vec<String>,
}

impl Changes {
    /// Compares the texts of sources and sinks. One that changed is both new and left.
    pub fn between(old: &Plan, new: &Plan) -> Self {
        let same_receiving =
            old.block_interval == new.block_interval && old.engine.receive_buffer == new.engine.receive_buffer;
        let same_source = |source: &&PlannedSource| {
            let same = |it: &PlannedSource| {
                // `on_error` may be that of the whole pipeline.
                it.name == source.name && it.node == source.node && it.on_error == source.on_error
            };
            same_receiving && old.sources.iter().any(same)
        };
        let same_sink = |sink: &&PlannedSink| {
            old.sinks.iter().any(|it| it.name == sink.name && it.node == sink.node && it.schema == sink.schema)
        };
        let (kept, new_sources): (Vec<_>, Vec<_>) = new.sources.iter().partition(same_source);
        let kept_sources: Vec<String> = kept.into_iter().map(|it| it.name.clone()).collect();
        let (kept, new_sinks): (Vec<_>, Vec<_>) = new.sinks.iter().partition(same_sink);
        let kept_sinks: Vec<String> = kept.into_iter().map(|it| it.name.clone()).collect();
        let left = |names: Vec<&String>, kept: &[String]| -> Vec<String> {
            names.into_iter().filter(|name| !kept.contains(name)).cloned().collect()
        };
        Self {
            left_sources: left(old.sources.iter().map(|it| &it.name).collect(), &kept_sources),
            left_sinks: left(old.sinks.iter().map(|it| &it.name).collect(), &kept_sinks),
            new_sources: new_sources.into_iter().map(|it| it.name.clone()).collect(),
            new_sinks: new_sinks.into_iter().map(|it| it.name.clone()).collect(),
            kept_sources,
            kept_sinks,
        }
    }

    fn sources_to_build<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a PlannedSource> {
        plan.sources.iter().filter(move |source| self.new_sources.contains(&source.name))
    }

    /// Whether a new source takes over from a leaving one: the port that it listens on, or, as the same
    /// client with other settings, what it is sent, or the log of what was received. Both at a time would
    /// be one too many.
    fn takes_over(&self, source: &PlannedSource, engine: &Engine) -> bool {
        let wanted = ports(std::slice::from_ref(source), std::slice::from_ref(&source.name));
        let old = engine.sources.get(&source.name).filter(|_| self.left_sources.contains(&source.name));
        if old.is_some_and(|old| old.source.is_receiver() && (wanted.is_empty() || engine.ledger.is_some())) {
            return true;
        }
        let held = ports(&engine.plan.sources, &self.left_sources);
        wanted.iter().any(|port| held.contains(port))
    }

    /// Whether a stopped source that leaves still holds rows that no batch has taken.
    pub(super) fn holds_rows(&self, engine: &Engine) -> bool {
        let mut leaving = self.left_sources.iter().filter_map(|name| engine.sources.get(name));
        leaving.any(|running| running.source.is_receiver() && !running.source.is_finished())
    }

    /// Stops the sources that leave from receiving.
    pub(super) async fn stop_sources(&self, engine: &mut Engine) {
        for name in &self.left_sources {
            let Some(running) = engine.sources.get_mut(name) else { continue };
            let clients = running.source.clients();
            if clients > 0 {
                tracing::warn!(source = %name, clients, "clients are disconnected: their source leaves or changes");
            }
            running.source.stop().await;
        }
    }
}

/// Writes e.g. `1 source kept (lines), 1 sink new (out)`.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = [
            ("source", "kept", &self.kept_sources),
            ("source", "new", &self.new_sources),
            ("source", "stopped", &self.left_sources),
            ("sink", "kept", &self.kept_sinks),
            ("sink", "new", &self.new_sinks),
            ("sink", "closed", &self.left_sinks),
        ]
        .into_iter()
        .filter(|(_, _, names)| !names.is_empty())
        .map(|(what, fate, names)| {
            let plural = if names.len() == 1 { "" } else { "s" };
            format!("{} {what}{plural} {fate} ({})", names.len(), names.join(", "))
        })
        .collect();
        f.write_str(&parts.join(", "))
    }
}

/// How a swap failed.
#[derive(Debug)]
pub(super) enum SwapError {
    /// The old version is whole and goes on.
    Kept(RunError),
    /// The old version could not be restored.
    Lost(RunError),
}

/// Sources and sinks that are built and not in use yet.
#[derive(Default)]
pub(super) struct Built {
    sources: BTreeMap<String, RunningSource>,
    sinks: BTreeMap<String, Box<dyn Sink>>,
    operators: Operators,
}

/// Builds all that is new and does not have to wait until the leaving sources have stopped. What can
/// fail mostly fails here, where nothing has been given up.
///
/// # Errors
/// The first one that cannot be built.
pub(super) async fn build_ahead(
    engine: &mut Engine,
    prepared: &Prepared,
    changes: &Changes,
    runtime: &Runtime,
) -> Result<Built, RunError> {
    let Prepared { plan, stages } = prepared;
    let mut built = Built { operators: Operators::build(plan, stages)?, ..Built::default() };
    states::check(&engine.plan, &engine.operators, plan, &built.operators)?;
    for sink in plan.sinks.iter().filter(|sink| changes.new_sinks.contains(&sink.name)) {
        built.sinks.insert(sink.name.clone(), build_sink(sink, runtime).await?);
    }
    for source in changes.sources_to_build(plan) {
        if changes.takes_over(source, engine) {
            rehearse(source, runtime).await?;
        } else {
            let resume = resume_point(engine, source);
            built.sources.insert(source.name.clone(), build_source(plan, source, resume, runtime).await?);
        }
    }
    Ok(built)
}

/// Replaces the engine's version. The sources that leave have been stopped and drained.
pub(super) async fn swap(
    engine: &mut Engine,
    prepared: Prepared,
    mut built: Built,
    changes: &Changes,
    runtime: &Runtime,
) -> Result<(), SwapError> {
    let rest = build_rest(engine, &prepared.plan, &mut built, changes, runtime).await;
    if let Err(error) = rest {
        // They may hold a port that an old one needs.
        for running in built.sources.values_mut() {
            running.source.stop().await;
        }
        restore(engine, changes, runtime).await.map_err(SwapError::Lost)?;
        return Err(SwapError::Kept(error));
    }
    for state in states::left_behind(&engine.operators, &built.operators).map_err(SwapError::Lost)? {
        states::reset(&state, engine.ledger.as_mut()).await.map_err(SwapError::Lost)?;
    }
    let Prepared { plan, stages } = prepared;
    let stays = |name: &String| plan.sources.iter().any(|source| source.name == *name);
    for name in changes.left_sources.iter().filter(|name| !stays(name)) {
        if let Some(ledger) = &mut engine.ledger {
            ledger.forget_source(name);
        }
        starts::forget(&engine.plan, name).await.map_err(SwapError::Lost)?;
    }
    engine.sources.retain(|name, _| changes.kept_sources.contains(name));
    engine.sinks.retain(|name, _| changes.kept_sinks.contains(name));
    let same_pace = plan.batch_interval == engine.plan.batch_interval
        && plan.engine.backpressure == engine.plan.engine.backpressure;
    if !same_pace {
        for running in engine.sources.values_mut() {
            running.rate = RateEstimator::new(plan.engine.backpressure.clone(), plan.batch_interval.to_std());
        }
    }
    engine.sources.extend(built.sources);
    engine.sinks.extend(built.sinks);
    states::install(engine, plan, stages, built.operators).map_err(SwapError::Lost)
}

/// Builds the sources that take over from leaving ones, which have stopped.
async fn build_rest(
    engine: &mut Engine,
    plan: &Plan,
    built: &mut Built,
    changes: &Changes,
    runtime: &Runtime,
) -> Result<(), RunError> {
    for source in changes.sources_to_build(plan) {
        if !built.sources.contains_key(&source.name) {
            let resume = resume_point(engine, source);
            built.sources.insert(source.name.clone(), build_source(plan, source, resume, runtime).await?);
        }
    }
    Ok(())
}

/// Where an earlier version of the source stopped, if it is of the same kind.
fn resume_point(engine: &Engine, source: &PlannedSource) -> Option<Value> {
    let same_kind = engine.plan.sources.iter().any(|it| it.name == source.name && it.kind == source.kind);
    engine.sources.get(&source.name).filter(|_| same_kind).map(|running| running.source.position(&running.offset))
}

fn ports(sources: &[PlannedSource], names: &[String]) -> Vec<u16> {
    let named = sources.iter().filter(|source| names.contains(&source.name));
    let resources = named.flat_map(|source| &source.checked.resources);
    resources.filter_map(|resource| if let Resource::Port(port, _) = resource { Some(*port) } else { None }).collect()
}

/// Starts the sources again that were stopped for a version that did not come to be.
async fn restore(engine: &mut Engine, changes: &Changes, runtime: &Runtime) -> Result<(), RunError> {
    let plan = std::sync::Arc::clone(&engine.plan);
    for source in plan.sources.iter().filter(|source| changes.left_sources.contains(&source.name)) {
        let resume = resume_point(engine, source);
        engine.sources.remove(&source.name);
        let running = build_source(&plan, source, resume, runtime).await?;
        engine.sources.insert(source.name.clone(), running);
    }
    Ok(())
}
