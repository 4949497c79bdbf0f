//! The operators of steps with state, by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde_json::Value;

use super::RunError;
use crate::logical::{Output, Stages, StateStage, parallelism};
use crate::plan::Plan;
use crate::spec::Node;
use crate::state::{Operator, Size};

/// A step with state that runs.
pub struct RunningOperator {
    /// The step.
    pub operator: Box<dyn Operator>,
    /// What its state is, in the terms of [`crate::state::Stateful::fingerprint`].
    pub fingerprint: Value,
    /// The step as written, the columns that arrive and the number of threads: all that an operator is made
    /// of besides its state.
    made_of: (Node, SchemaRef, usize),
}

/// The operators of a version of a pipeline.
#[derive(Default)]
pub struct Operators(BTreeMap<String, RunningOperator>);

impl Operators {
    /// Makes the operators of all stages, without any state.
    ///
    /// # Errors
    /// A bug.
    pub fn build(plan: &Plan, stages: &Stages) -> Result<Self, RunError> {
        let threads = parallelism(plan);
        let build = |stage: &StateStage| {
            let operator =
                stage.state.build(&stage.input, threads).map_err(|error| RunError::state(&stage.step, error))?;
            let fingerprint = stage.state.fingerprint(&stage.input);
            let made_of = (stage.node.clone(), Arc::clone(&stage.input), threads);
            Ok((stage.step.clone(), RunningOperator { operator, fingerprint, made_of }))
        };
        state_stages(stages).map(build).collect::<Result<_, _>>().map(Self)
    }

    /// Takes over the state of an earlier version for every step whose name and fingerprint are the same:
    /// with its operator, if that would be made in the same way.
    ///
    /// # Errors
    /// A bug.
    pub fn take_over(&mut self, earlier: Self) -> Result<(), RunError> {
        for (step, old) in earlier.0 {
            let Some(new) = self.0.get_mut(&step).filter(|new| new.fingerprint == old.fingerprint) else { continue };
            if new.made_of == old.made_of {
                new.operator = old.operator;
            } else {
                let moved = old.operator.snapshot().and_then(|rows| new.operator.restore(rows));
                moved.map_err(|error| RunError::state(&step, error))?;
            }
        }
        Ok(())
    }

    /// The steps of an earlier version whose state does not go over to this one, with what differs where
    /// the step is still there.
    #[must_use]
    pub fn not_taken_over<'a>(&'a self, earlier: &'a Self) -> Vec<(&'a str, &'a RunningOperator, Option<String>)> {
        let gone = |(step, old): (&'a String, &'a RunningOperator)| match self.0.get(step) {
            None => Some((step.as_str(), old, None)),
            Some(new) if new.fingerprint == old.fingerprint => None,
            Some(new) => Some((step.as_str(), old, Some(difference(&old.fingerprint, &new.fingerprint)))),
        };
        earlier.0.iter().filter_map(gone).collect()
    }

    /// The operator of a step.
    ///
    /// # Errors
    /// When there is none; a bug.
    pub fn get(&mut self, step: &str) -> Result<&mut RunningOperator, RunError> {
        self.0.get_mut(step).ok_or_else(|| RunError::Internal(format!("the step `{step}` does not run")))
    }

    /// All of them, by step.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut RunningOperator)> {
        self.0.iter_mut().map(|(step, running)| (step.as_str(), running))
    }

    /// Steps with the fingerprints of their state.
    pub fn fingerprints(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(step, running)| (step.as_str(), &running.fingerprint))
    }

    /// How much state each step has.
    #[must_use]
    pub fn sizes(&self) -> Vec<(String, Size)> {
        self.0.iter().map(|(step, running)| (step.clone(), running.operator.size())).collect()
    }
}

/// Says what differs between two fingerprints, in the words they are written in.
#[must_use]
pub fn difference(before: &Value, now: &Value) -> String {
    let mut differences = Vec::new();
    compare("", before, now, &mut differences);
    differences.join("; ")
}

fn compare(path: &str, before: &Value, now: &Value, differences: &mut Vec<String>) {
    match (before, now) {
        (before, now) if before == now => {}
        (Value::Object(old), Value::Object(new)) => {
            let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let null = Value::Null;
                compare(&path, old.get(key).unwrap_or(&null), new.get(key).unwrap_or(&null), differences);
            }
        }
        (before, now) => differences.push(format!("its {path} was {} and is {}", show(before), show(now))),
    }
}

/// A part of a fingerprint in words: columns by name and type, aggregates by what they are.
fn show(value: &Value) -> String {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    match value {
        Value::Array(items) => {
            let item = |item: &Value| match (text(item, "name"), text(item, "type"), item.get("columns")) {
                (Some(name), Some(of_type), _) => {
                    let expression = text(item, "expression").filter(|expression| *expression != name);
                    let expression = expression.map_or_else(String::new, |expression| format!(" = {expression}"));
                    format!("{name}{expression}: {of_type}")
                }
                (.., Some(columns)) => show(columns),
                _ => item.to_string(),
            };
            format!("`{}`", items.iter().map(item).collect::<Vec<_>>().join(", ").replace('`', ""))
        }
        Value::String(text) => format!("`{text}`"),
        Value::Null => "nothing".to_owned(),
        other => format!("`{other}`"),
    }
}

/// The stages that end in an operator.
pub fn state_stages(stages: &Stages) -> impl Iterator<Item = &StateStage> {
    stages.stages.iter().filter_map(|stage| match &stage.output {
        Output::State(state) => Some(state.as_ref()),
        _ => None,
    })
}
