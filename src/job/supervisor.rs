//! Runs one pipeline file, or every pipeline of a folder, and follows changes of the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::watch::FileWatch;
use super::{Control, Job, Options, Prepared, Summary, control, load, prepare};
use crate::diagnostic::Diagnostic;
use crate::engine::{RunError, Runtime};
use crate::plan::Plan;
use crate::spec::Node;

/// What the supervisor reacts to from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stop gracefully.
    Stop,
    /// Look at the files now (SIGHUP).
    Reload,
}

/// Prints findings.
pub type ShowFindings = Arc<dyn Fn(&[Diagnostic]) + Send + Sync>;

/// How pipelines are run.
#[derive(Clone)]
pub struct Settings {
    /// A pipeline file or a folder of them.
    pub path: PathBuf,
    /// `--set`.
    pub overrides: Vec<(String, String)>,
    /// When runs end by themselves, and who hears about batches.
    pub options: Options,
    /// Whether changed files are followed.
    pub reload: bool,
    /// Prints findings of changed files.
    pub show_findings: ShowFindings,
}

/// Why nothing runs any more.
#[derive(Debug)]
pub enum Failure {
    /// Files have errors; nothing was started.
    Invalid(Vec<Diagnostic>),
    /// A pipeline failed: its name and why.
    Run(String, RunError),
}

/// The pipeline files of a path: itself, or the `*.yaml` and `*.yml` of a folder that are no tests
/// and not hidden.
#[must_use]
pub fn pipeline_files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_path_buf()];
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|file| is_pipeline(file)).collect();
    files.sort();
    files
}

/// Whether a file's name is that of a pipeline.
#[must_use]
pub fn is_pipeline(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let yaml = name.ends_with(".yaml") || name.ends_with(".yml");
    let test = name.ends_with(".test.yaml") || name.ends_with(".test.yml");
    yaml && !test && !name.starts_with('.') && !file.is_dir()
}

struct RunningJob {
    control: Control,
    /// What runs, to tell whether a file really changed.
    document: Node,
    includes: Vec<PathBuf>,
    /// Its file is gone, so it is about to end.
    leaving: bool,
}

/// Runs the pipelines until they end or a signal comes.
///
/// # Errors
/// See [`Failure`]. In a folder, a pipeline that fails does not stop the others; the first failure
/// is returned at the end.
pub async fn supervise(
    settings: Settings,
    plans: Vec<(PathBuf, Plan)>,
    runtime: Runtime,
    signals: mpsc::Receiver<Signal>,
) -> Result<Summary, Failure> {
    let mut signals = Signals { receiver: signals, later: None };
    let (finished, mut ends) = mpsc::channel(16);
    let mut supervisor = Supervisor {
        following: settings.reload && settings.path.is_dir(),
        settings,
        runtime,
        jobs: BTreeMap::new(),
        ended: BTreeMap::new(),
        refused: BTreeMap::new(),
        missing: BTreeSet::new(),
        finished,
        stopping: false,
        total: Summary::default(),
        failure: None,
    };
    for (path, plan) in plans {
        supervisor.start(path, plan);
    }
    let mut watch = supervisor.watch();
    if supervisor.settings.reload {
        // What changed before the watch began, and what is wrong with files that do not run.
        supervisor.look_or_stop(&mut signals).await;
    }
    while !supervisor.jobs.is_empty() || (supervisor.following && !supervisor.stopping) {
        tokio::select! {
            Some(end) = ends.recv() => {
                if supervisor.job_ended(end) {
                    supervisor.look_or_stop(&mut signals).await;
                }
            }
            Some(signal) = signals.next() => match signal {
                Signal::Stop => supervisor.stop_all(),
                Signal::Reload => supervisor.look_or_stop(&mut signals).await,
            },
            () = changed(&mut watch), if !supervisor.stopping => {
                supervisor.look_or_stop(&mut signals).await;
                // Other files may be included now, and links may point elsewhere. What changes
                // between two watches is seen by a second look.
                watch = supervisor.watch();
                supervisor.look_or_stop(&mut signals).await;
            }
        }
    }
    supervisor.failure.map_or(Ok(supervisor.total), Err)
}

async fn changed(watch: &mut Option<FileWatch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// The signals, of which one to stop is heard while a file is planned, too.
struct Signals {
    receiver: mpsc::Receiver<Signal>,
    /// Came while only one to stop was waited for.
    later: Option<Signal>,
}

impl Signals {
    async fn next(&mut self) -> Option<Signal> {
        match self.later.take() {
            Some(signal) => Some(signal),
            None => self.receiver.recv().await,
        }
    }

    /// Waits for the signal to stop.
    async fn stop(&mut self) {
        if self.later.is_none() {
            match self.receiver.recv().await {
                Some(Signal::Stop) => return,
                other => self.later = other,
            }
        }
        std::future::pending::<()>().await;
    }
}

/// A job's end: its file, its pipeline's name, and what it did.
type End = (PathBuf, String, Result<Summary, RunError>);

struct Supervisor {
    settings: Settings,
    /// A folder's new files are run as they come.
    following: bool,
    runtime: Runtime,
    jobs: BTreeMap<PathBuf, RunningJob>,
    /// What ended by itself or failed, so that it is not started again before its file changes.
    ended: BTreeMap<PathBuf, Node>,
    /// What was wrong with files that were refused, so that it is said once.
    refused: BTreeMap<PathBuf, String>,
    /// Single files that are gone, so that it is said once: the log may be a file of the same folder,
    /// where every line is a change.
    missing: BTreeSet<PathBuf>,
    finished: mpsc::Sender<End>,
    /// Nothing is started or reloaded any more.
    stopping: bool,
    /// What the jobs that have ended did, added up.
    total: Summary,
    /// The first one.
    failure: Option<Failure>,
}

impl Supervisor {
    fn watch(&self) -> Option<FileWatch> {
        if !self.settings.reload {
            return None;
        }
        let mut paths = vec![self.settings.path.clone()];
        for (path, job) in &self.jobs {
            paths.push(path.clone());
            paths.extend(job.includes.iter().cloned());
        }
        FileWatch::new(&paths)
            .map_err(|error| tracing::warn!("changes of the file are not noticed ({error}); send SIGHUP to reload"))
            .ok()
    }

    /// Starts a pipeline as a task of the worker threads.
    fn start(&mut self, path: PathBuf, plan: Plan) {
        let (document, includes) = (plan.document.clone(), plan.includes.clone());
        let (control, mut asked) = control::channel();
        let (runtime, options, finished) = (self.runtime.clone(), self.settings.options.clone(), self.finished.clone());
        let name = plan.name.clone();
        let job_path = path.clone();
        self.runtime.workers.spawn(async move {
            // The job's own task, so that a panic in it is a failure and not silence.
            let job = tokio::spawn(async move {
                let prepared = tokio::select! {
                    biased;
                    () = asked.stopped() => return Ok(Summary::default()),
                    prepared = prepare_aside(&runtime, plan) => prepared?,
                };
                Job::start(prepared, options, runtime).await?.run(asked).await
            });
            let result = job.await.unwrap_or_else(|error| Err(RunError::Internal(error.to_string())));
            // Nobody waits any more if the supervisor has gone.
            let _ = finished.send((job_path, name, result)).await;
        });
        self.jobs.insert(path, RunningJob { control, document, includes, leaving: false });
    }

    /// Takes in a job's end; whether it is time to look at the files.
    fn job_ended(&mut self, (path, name, result): End) -> bool {
        match result {
            Ok(summary) => {
                self.total.batches += summary.batches;
                self.total.rows_in += summary.rows_in;
                self.total.rows_out += summary.rows_out;
            }
            Err(error) => {
                if self.following {
                    tracing::error!(pipeline = name, "stopped: {error}");
                }
                self.failure.get_or_insert(Failure::Run(name, error));
            }
        }
        let job = self.jobs.remove(&path);
        // Its file was gone, and may be back by now; or it has changed, too late for the job.
        let again = |job: &RunningJob| job.leaving || (self.following && job.control.holds_version());
        if job.as_ref().is_some_and(again) && !self.stopping {
            return true;
        }
        self.ended.extend(job.map(|job| (path, job.document)));
        // Pipelines that end by themselves end the run, also that of a folder.
        self.stopping |= self.jobs.is_empty();
        false
    }

    fn stop_all(&mut self) {
        self.stopping = true;
        for job in self.jobs.values() {
            job.control.stop();
        }
    }

    /// Looks at the files. Planning one that changed is given up where all is to stop.
    async fn look_or_stop(&mut self, signals: &mut Signals) {
        if self.stopping {
            return;
        }
        let stopped = tokio::select! {
            biased;
            () = signals.stop() => true,
            () = self.look() => false,
        };
        if stopped {
            self.stop_all();
        }
    }

    /// Compares the files with what runs.
    async fn look(&mut self) {
        let files = pipeline_files(&self.settings.path);
        self.ended.retain(|path, _| path.exists());
        let gone: Vec<PathBuf> =
            self.jobs.keys().filter(|path| !files.contains(path) || !path.exists()).cloned().collect();
        for path in gone {
            self.file_gone(&path);
        }
        for path in files {
            self.look_at(path).await;
        }
    }

    /// In a folder, a removed file stops its pipeline. A single file that is gone is about to come
    /// back.
    fn file_gone(&mut self, path: &Path) {
        if !self.settings.path.is_dir() {
            if self.missing.insert(path.to_path_buf()) {
                tracing::warn!(file = %path.display(), "the file is gone; the pipeline runs on");
            }
            return;
        }
        if let Some(job) = self.jobs.get_mut(path).filter(|job| !job.leaving) {
            job.leaving = true;
            tracing::info!(file = %path.display(), "the file is gone, its pipeline stops");
            job.control.stop();
        }
    }

    /// Loads a file; starts it, or swaps it in where it says something else than what runs.
    async fn look_at(&mut self, path: PathBuf) {
        // Half a file, or none, is seen while it is being saved; the next event brings the rest.
        if !std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() > 0) {
            return;
        }
        self.missing.remove(&path);
        let mut findings = Vec::new();
        let plan = load(&path, &self.settings.overrides, &mut findings);
        let Some(plan) = plan else {
            self.refuse(path, &findings);
            return;
        };
        self.refused.remove(&path);
        match self.jobs.get_mut(&path) {
            Some(job) if job.document == plan.document || job.leaving => {}
            Some(job) => {
                (self.settings.show_findings)(&findings);
                let (document, includes) = (plan.document.clone(), plan.includes.clone());
                match prepare_aside(&self.runtime, plan).await {
                    Ok(prepared) => {
                        (job.document, job.includes) = (document, includes);
                        job.control.reload(prepared);
                    }
                    Err(error) => {
                        tracing::error!(file = %path.display(), "not reloaded, the old version runs on: {error}");
                    }
                }
            }
            None if self.ended.get(&path) == Some(&plan.document) => {}
            None => {
                (self.settings.show_findings)(&findings);
                tracing::info!(file = %path.display(), "a new file, its pipeline starts");
                self.start(path, plan);
            }
        }
    }

    /// Says once what is wrong with a changed file.
    fn refuse(&mut self, path: PathBuf, findings: &[Diagnostic]) {
        let told = |finding: &Diagnostic| format!("{:?} {}\n", finding.span, finding.message);
        let reason: String = findings.iter().map(told).collect();
        if self.refused.get(&path) == Some(&reason) {
            return;
        }
        (self.settings.show_findings)(findings);
        let fate = if self.jobs.contains_key(&path) {
            "not reloaded, the old version runs on: the changed file has errors"
        } else {
            "the file has errors; its pipeline starts when they are corrected"
        };
        tracing::error!(file = %path.display(), "{fate}");
        self.refused.insert(path, reason);
    }
}

/// Plans on a thread of its own, with as deep a stack as the workers': they may be busy with a batch
/// for long.
async fn prepare_aside(runtime: &Runtime, plan: Plan) -> Result<Prepared, RunError> {
    let workers = runtime.workers.clone();
    let planned = runtime.workers.spawn_blocking(move || workers.block_on(prepare(plan))).await;
    planned.unwrap_or_else(|error| Err(RunError::Internal(error.to_string())))
}
