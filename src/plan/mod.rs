//! The checked pipeline: names wired, schemas inferred, expressions typed. Pure: no file, socket or
//! clock, and all findings at once.

mod check;
mod collisions;
pub mod delivery;
mod follow_ups;
pub mod json_schema;
mod wiring;

use std::path::PathBuf;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span, has_errors};
use crate::schema::Schema;
use crate::sinks::CheckedSink;
use crate::sources::CheckedSource;
use crate::spec::{Checkpoint, Duration, Engine, Environment, Kinds, Node, OnError, OnStateChange};
use crate::state::Schedule;
use crate::transforms::CheckedStep;
use crate::{sinks, sources, spec, transforms};

pub use check::check;

/// A pipeline that can run.
#[derive(Clone)]
pub struct Plan {
    /// For messages and state.
    pub name: String,
    /// The file it came from.
    pub file: Arc<SourceFile>,
    /// Batches are cut this often.
    pub batch_interval: Duration,
    /// Blocks are cut this often.
    pub block_interval: Duration,
    /// How it runs.
    pub engine: Engine,
    /// Where it is kept how far it is.
    pub checkpoint: Option<Checkpoint>,
    /// In the order of the file.
    pub sources: Vec<PlannedSource>,
    /// In an order in which each one stands after those it reads.
    pub streams: Vec<PlannedStream>,
    /// In the order of the file.
    pub sinks: Vec<PlannedSink>,
    /// The whole file with everything filled in, for telling whether it changed.
    pub document: Node,
    /// The other files it was made from: schemas and secrets.
    pub includes: Vec<PathBuf>,
}

/// A source that passed its check.
#[derive(Clone)]
pub struct PlannedSource {
    /// Its key under `sources`.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What its rows are and how it starts.
    pub checked: CheckedSource,
    /// What becomes of rows that cannot be decoded.
    pub on_error: OnError,
    /// As written, for comparing versions.
    pub node: Node,
}

/// A chain of steps that passed its check.
#[derive(Clone)]
pub struct PlannedStream {
    /// Its key under `streams`; [`CHAIN`] for `transforms`.
    pub name: String,
    /// The source or stream it reads.
    pub from: String,
    /// In order.
    pub steps: Vec<PlannedStep>,
    /// The columns that leave it.
    pub schema: Schema,
    /// In which batches rows leave it; `None` for in all.
    pub schedule: Option<Schedule>,
}

/// The name of the one chain under `transforms`. No user can give it to a stream.
pub const CHAIN: &str = "transforms:";

/// A step that passed its check.
#[derive(Clone)]
pub struct PlannedStep {
    /// Its identity within its stream.
    pub name: String,
    /// Its identity among all steps of the pipeline: the identity of its state.
    pub full_name: String,
    /// Where its kind stands in the file.
    pub span: Span,
    /// Whether its state may begin anew when it does not fit any more.
    pub on_state_change: OnStateChange,
    /// Its kind.
    pub kind: String,
    /// As written, for comparing versions.
    pub node: Node,
    /// The other sources and streams it reads.
    pub streams: Vec<String>,
    /// What leaves it and how it becomes a plan.
    pub checked: CheckedStep,
}

/// A sink that passed its check.
#[derive(Clone)]
pub struct PlannedSink {
    /// Its key under `sinks`.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The source or stream it writes.
    pub from: String,
    /// The columns that arrive.
    pub schema: Schema,
    /// How it starts.
    pub checked: CheckedSink,
    /// As written, for comparing versions.
    pub node: Node,
}

impl Plan {
    /// The step of that name among all steps.
    #[must_use]
    pub fn step(&self, full_name: &str) -> Option<&PlannedStep> {
        self.streams.iter().flat_map(|stream| &stream.steps).find(|step| step.full_name == full_name)
    }

    /// The names that read `name`, once for each time: streams, steps and sinks.
    pub fn readers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let streams = self.streams.iter().filter(move |stream| stream.from == name).map(|stream| stream.name.as_str());
        let steps = self.streams.iter().flat_map(move |stream| {
            let read = stream.steps.iter().flat_map(|step| &step.streams).filter(move |read| *read == name);
            read.map(|_| stream.name.as_str())
        });
        let sinks = self.sinks.iter().filter(move |sink| sink.from == name).map(|sink| sink.name.as_str());
        streams.chain(steps).chain(sinks)
    }
}

/// The kinds that this build knows.
#[must_use]
pub fn kinds() -> (Vec<&'static str>, Vec<&'static str>, Vec<&'static str>) {
    (
        sources::KINDS.iter().map(|kind| kind.name).collect(),
        transforms::KINDS.iter().map(|kind| kind.name).collect(),
        sinks::KINDS.iter().map(|kind| kind.name).collect(),
    )
}

/// Loads and checks a pipeline file. `None` if it cannot run; `findings` then says why.
pub fn load(
    file: &Arc<SourceFile>,
    environment: &dyn Environment,
    overrides: &[(String, String)],
    findings: &mut Vec<Diagnostic>,
) -> Option<Plan> {
    let (sources, steps, sinks) = kinds();
    let kinds = Kinds { sources: &sources, steps: &steps, sinks: &sinks };
    let before = findings.len();
    let pipeline = spec::load(file, environment, overrides, kinds, findings);
    let plan = pipeline.as_ref().and_then(|pipeline| check(pipeline, findings));
    follow_ups::drop_after_interpolation(findings, before, file);
    let new = findings.get_mut(before..).unwrap_or_default();
    spec::explain_comments(new);
    if let Some(pipeline) = &pipeline {
        spec::mask(new, file, &pipeline.document);
    }
    spec::name_overrides(new, file, overrides);
    plan.filter(|_| !has_errors(new))
}
