//! What a batch writes into the checkpoint: the offset log before it, the states after it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::batch::RunningSource;
use super::operators::RunningOperator;
use super::{Operators, RunError, operators};
use crate::checkpoint::{Checkpoint, History, Planned, Recovered, Section, SectionKind};
use crate::sinks::Batch;
use crate::sources::{Offset, SourceFactory};
use crate::state::written;

/// The component of what the engine itself has to know.
const ENGINE: &str = "engine";

/// The component of a source.
fn of_source(name: &str) -> String {
    format!("source/{name}")
}

/// The component of a step.
fn of_step(name: &str) -> String {
    format!("step/{name}")
}

/// An open checkpoint.
pub struct Ledger {
    checkpoint: Checkpoint,
    /// The whole of a component is written this often at least, in milliseconds.
    interval: i64,
    /// When it was, by component, as far as that was in this run.
    snapshots: BTreeMap<String, i64>,
    /// What was written last that windows count from.
    zero: Option<i64>,
}

/// What a batch will read.
#[must_use]
pub fn planned(batch: Batch, sources: &BTreeMap<String, RunningSource>, ends: &BTreeMap<String, Offset>) -> Planned {
    let of = |(name, end): (&String, &Offset)| Some((name.clone(), sources.get(name)?.source.plan(end)));
    Planned { batch: batch.id, time: batch.time, sources: ends.iter().filter_map(of).collect() }
}

/// The state of a step that begins anew, as it was.
pub struct ResetState {
    /// The step.
    pub step: String,
    /// What the state was.
    pub fingerprint: Value,
    /// The state, as [`written::encode`] writes it.
    pub bytes: Bytes,
}

impl ResetState {
    /// The state of a step of an earlier run.
    fn was(step: &str, history: &History) -> Self {
        let bytes: Vec<&[u8]> = history.snapshot.iter().chain(&history.deltas).map(AsRef::as_ref).collect();
        Self { step: step.to_owned(), fingerprint: history.fingerprint.clone(), bytes: bytes.concat().into() }
    }

    /// The state of a running step.
    ///
    /// # Errors
    /// A bug.
    pub fn of(step: &str, running: &RunningOperator) -> Result<Self, RunError> {
        let rows = running.operator.snapshot();
        let bytes = rows.and_then(|rows| written::encode(&running.operator.schema(), &rows));
        let bytes = bytes.map_err(|error| RunError::state(step, error))?;
        Ok(Self { step: step.to_owned(), fingerprint: running.fingerprint.clone(), bytes })
    }
}

/// What an earlier run has left.
pub struct Left {
    /// The last committed batch.
    pub last: Option<Batch>,
    /// What windows count from.
    pub zero: Option<i64>,
    /// Batches that were begun and not committed.
    pub planned: Vec<Planned>,
    components: BTreeMap<String, History>,
}

impl Ledger {
    /// From a checkpoint that was opened.
    ///
    /// # Errors
    /// When the checkpoint holds what no run has written.
    pub fn new(checkpoint: Checkpoint, recovered: Recovered, interval: i64) -> Result<(Self, Left), RunError> {
        for warning in &recovered.warnings {
            tracing::warn!("checkpoint: {warning}");
        }
        let zero = match recovered.components.get(ENGINE) {
            Some(history) => last_value(history)?.get("zero").and_then(Value::as_i64),
            None => None,
        };
        let left = Left {
            last: recovered.last.map(|(id, time)| Batch { id, time }),
            zero,
            planned: recovered.planned,
            components: recovered.components,
        };
        Ok((Self { checkpoint, interval, snapshots: BTreeMap::new(), zero }, left))
    }

    /// Writes down what a batch will read, before it does.
    ///
    /// # Errors
    /// When the checkpoint cannot be written.
    pub async fn plan(&mut self, planned: &Planned) -> Result<(), RunError> {
        Ok(self.checkpoint.plan(planned).await?)
    }

    /// Writes down what a batch has changed, after its sinks have written it; how many bytes that took.
    ///
    /// # Errors
    /// When the checkpoint cannot be written.
    pub async fn commit(&mut self, batch: Batch, sections: Vec<Section>) -> Result<u64, RunError> {
        for whole in sections.iter().filter(|section| matches!(section.kind, SectionKind::Snapshot)) {
            self.snapshots.insert(whole.component.clone(), batch.time);
        }
        Ok(self.checkpoint.commit(batch.id, batch.time, sections).await?)
    }

    /// What a batch has changed.
    ///
    /// # Errors
    /// A bug.
    pub fn sections(
        &mut self,
        batch: Batch,
        zero: i64,
        sources: &BTreeMap<String, RunningSource>,
        ends: &BTreeMap<String, Offset>,
        operators: &mut Operators,
    ) -> Result<Vec<Section>, RunError> {
        let mut sections = Vec::new();
        if self.is_whole_due(ENGINE, batch.time) || self.zero != Some(zero) {
            self.zero = Some(zero);
            sections.push(section(ENGINE.to_owned(), SectionKind::Snapshot, Value::Null, &json!({ "zero": zero })));
        }
        for (name, running) in sources {
            sections.extend(ends.get(name).and_then(|end| self.source_section(name, running, end, batch.time)));
        }
        for (name, running) in operators.iter_mut() {
            let component = of_step(name);
            let whole = self.is_whole_due(&component, batch.time);
            let rows = if whole {
                // What has changed is part of the whole.
                running.operator.changes().and_then(|_| running.operator.snapshot().map(Some))
            } else {
                running.operator.changes()
            };
            let Some(rows) = rows.map_err(|error| RunError::state(name, error))? else { continue };
            let bytes = written::encode(&running.operator.schema(), &rows);
            let bytes = bytes.map_err(|error| RunError::state(name, error))?;
            let kind = if whole { SectionKind::Snapshot } else { SectionKind::Delta };
            sections.push(Section { component, kind, fingerprint: running.fingerprint.clone(), bytes });
        }
        Ok(sections)
    }

    fn source_section(&self, name: &str, running: &RunningSource, end: &Offset, time: i64) -> Option<Section> {
        let component = of_source(name);
        let whole = self.is_whole_due(&component, time);
        if *end == running.offset && !whole {
            return None;
        }
        let moved = if whole { None } else { running.source.moved(end) };
        let kind = if moved.is_some() { SectionKind::Delta } else { SectionKind::Snapshot };
        let value = moved.unwrap_or_else(|| running.source.position(end));
        Some(section(component, kind, json!({ "kind": running.kind }), &value))
    }

    fn is_whole_due(&self, component: &str, time: i64) -> bool {
        let is_old = |written: &i64| time.saturating_sub(*written) >= self.interval;
        self.checkpoint.wants_snapshot(component) || self.snapshots.get(component).is_some_and(is_old)
    }

    /// Goes on with changed settings.
    pub fn change(&mut self, settings: &crate::spec::Checkpoint) {
        self.interval = settings.interval.as_signed_millis();
        self.checkpoint.retain(settings.retain);
    }

    /// A source has left the pipeline: should one of its name come again, it begins anew.
    pub fn forget_source(&mut self, name: &str) {
        self.checkpoint.forget(&of_source(name));
    }

    /// Keeps the state of a step that is reset, under a name of its own, which is returned.
    ///
    /// # Errors
    /// When the checkpoint cannot be written.
    pub async fn save(&mut self, state: &ResetState) -> Result<String, RunError> {
        let component = of_step(&state.step);
        let name = self.checkpoint.save(&component, &state.fingerprint, &state.bytes).await?;
        // Its chain goes on with a whole one.
        self.checkpoint.forget(&component);
        Ok(name)
    }

    /// Components that this version of the pipeline does not have go with the next commit.
    pub fn forget(&mut self, components: &[String]) {
        components.iter().for_each(|component| self.checkpoint.forget(component));
    }
}

fn section(component: String, kind: SectionKind, fingerprint: Value, value: &Value) -> Section {
    Section { component, kind, fingerprint, bytes: Bytes::from(value.to_string()) }
}

fn value(bytes: &Bytes) -> Result<Value, RunError> {
    serde_json::from_slice(bytes).map_err(|error| RunError::Internal(format!("the checkpoint is no JSON: {error}")))
}

fn last_value(history: &History) -> Result<Value, RunError> {
    history.deltas.last().or(history.snapshot.as_ref()).map_or(Ok(Value::Null), value)
}

impl Left {
    /// Where a source of that kind goes on.
    ///
    /// # Errors
    /// When the checkpoint holds what no run has written.
    pub fn position(&self, name: &str, kind: &str, factory: &dyn SourceFactory) -> Result<Option<Value>, RunError> {
        let Some(history) = self.components.get(&of_source(name)) else { return Ok(None) };
        if history.fingerprint.get("kind").and_then(Value::as_str) != Some(kind) {
            tracing::warn!(source = name, "the source was of another kind before; it starts from its beginning");
            return Ok(None);
        }
        let mut position = history.snapshot.as_ref().map_or(Ok(Value::Null), value)?;
        for moved in &history.deltas {
            position = factory.advance(position, value(moved)?);
        }
        Ok(Some(position))
    }

    /// Puts the states of steps into their operators. `reset` says whether a step's state, which is of
    /// another kind than it was, may begin anew; those are returned with what they were.
    ///
    /// # Errors
    /// When a step's state is of another kind than it was.
    pub fn restore(
        &self,
        operators: &mut Operators,
        may_reset: impl Fn(&str) -> bool,
    ) -> Result<Vec<ResetState>, RunError> {
        let mut reset = Vec::new();
        for (name, running) in operators.iter_mut() {
            let Some(history) = self.components.get(&of_step(name)) else { continue };
            if history.fingerprint != running.fingerprint {
                if !may_reset(name) {
                    let difference = operators::difference(&history.fingerprint, &running.fingerprint);
                    return Err(RunError::StateChanged { step: name.to_owned(), difference });
                }
                reset.push(ResetState::was(name, history));
                continue;
            }
            for bytes in history.snapshot.iter().chain(&history.deltas) {
                let restored = written::decode(bytes).and_then(|rows| running.operator.restore(rows));
                restored.map_err(|error| RunError::state(name, error))?;
            }
        }
        Ok(reset)
    }

    /// The states of steps that this version of the pipeline does not have.
    #[must_use]
    pub fn states_of(&self, strangers: &[String]) -> Vec<ResetState> {
        let state = |component: &String| {
            let step = component.strip_prefix("step/")?;
            Some(ResetState::was(step, self.components.get(component)?))
        };
        strangers.iter().filter_map(state).collect()
    }

    /// The components that this version of the pipeline does not have.
    #[must_use]
    pub fn strangers<'a>(&'a self, sources: impl Iterator<Item = &'a str>, operators: &Operators) -> Vec<String> {
        let own: Vec<String> =
            sources.map(of_source).chain(operators.fingerprints().map(|(step, _)| of_step(step))).collect();
        self.components.keys().filter(|it| *it != ENGINE && !own.contains(it)).cloned().collect()
    }
}
