//! Pipelines as a library: from text to a plan, and the threads that run it.

use std::collections::BTreeMap;
use std::sync::Arc;

use streamrun::diagnostic::SourceFile;
use streamrun::diagnostic::render::{Format, Report, render};
use streamrun::engine::batch::RunningSource;
use streamrun::engine::rate::RateEstimator;
use streamrun::engine::{Engine, Runtime};
use streamrun::job;
use streamrun::plan::{self, Plan};
use streamrun::sinks::{Sink, SinkContext, Terminal};
use streamrun::sources::{Clock, Offset, Source};
use streamrun::spec::Environment;

use crate::measure::Result;

/// No variables and no files.
struct NoEnvironment;

impl Environment for NoEnvironment {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read_file(&self, _: &str) -> std::result::Result<String, String> {
        Err("a bench includes no files".to_owned())
    }
}

/// Prints nothing.
struct Silent;

impl Terminal for Silent {
    fn print(&self, _: &str) -> std::io::Result<()> {
        Ok(())
    }
}

/// The checked pipeline.
pub fn plan(text: &str) -> Result<Plan> {
    let file = Arc::new(SourceFile::new("bench.yaml", text));
    let mut findings = Vec::new();
    plan::load(&file, &NoEnvironment, &[], &mut findings).ok_or_else(|| {
        let report = Report { findings: &findings, files: &["bench.yaml".to_owned()], color: false };
        render(&report, Format::Human).into()
    })
}

/// Threads as the program has them: one that waits, and some that compute.
pub struct Threads {
    io: tokio::runtime::Runtime,
    /// Those that compute.
    pub workers: tokio::runtime::Runtime,
}

impl Threads {
    /// Starts them.
    pub fn start(workers: usize) -> Result<Self> {
        let io = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let workers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_stack_size(8 << 20)
            .enable_all()
            .build()?;
        Ok(Self { io, workers })
    }

    /// What a job gets to know.
    pub fn runtime(&self, clock: Arc<dyn Clock>, available_now: bool) -> Runtime {
        Runtime {
            clock,
            terminal: Arc::new(Silent),
            io: self.io.handle().clone(),
            workers: self.workers.handle().clone(),
            available_now,
        }
    }
}

/// The pipeline with a source in memory in the place of each of its own.
#[allow(dead_code, reason = "not every bench runs an engine")]
pub async fn start(plan: Plan, source: impl Fn() -> Result<Box<dyn Source>>, runtime: &Runtime) -> Result<Engine> {
    let prepared = job::prepare(plan).await?;
    let plan = prepared.plan;
    let mut sources = BTreeMap::new();
    for planned in &plan.sources {
        let running = RunningSource {
            source: source()?,
            offset: Offset::from(0),
            rate: RateEstimator::new(plan.engine.backpressure.clone(), plan.batch_interval.to_std()),
            kind: planned.kind.clone(),
        };
        sources.insert(planned.name.clone(), running);
    }
    let mut sinks: BTreeMap<String, Box<dyn Sink>> = BTreeMap::new();
    for sink in &plan.sinks {
        let context = SinkContext {
            name: sink.name.clone(),
            schema: sink.schema.to_arrow(),
            terminal: Arc::clone(&runtime.terminal),
        };
        sinks.insert(sink.name.clone(), sink.checked.factory.build(context).await?);
    }
    Ok(Engine::new(plan, prepared.stages, sources, sinks)?)
}
