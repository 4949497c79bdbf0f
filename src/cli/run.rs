//! `streamrun FILE`: runs pipelines.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::terminal::{Screen, start_log};
use super::{DONE, FAILED, INVALID, LogFormat, RunArgs, Threads, USAGE, feed};
use crate::diagnostic::render::{self, Format, Report};
use crate::diagnostic::{Diagnostic, Severity, has_errors, suggest};
use crate::engine::RunError;
use crate::job::supervisor::{Failure, Settings, Signal, pipeline_files, supervise};
use crate::job::{self, OnProgress, Options};
use crate::logical::parallelism;
use crate::plan::Plan;
use crate::sinks::SinkError;

/// Two signals to stop that come as close together are one.
const SAME_STOP: Duration = Duration::from_millis(100);

/// Runs the pipelines of a path; the exit code.
pub(super) fn run(args: &RunArgs) -> u8 {
    let Some(path) = &args.file else { return USAGE };
    let screen = Screen::new(!args.quiet && args.log_format == LogFormat::Text);
    let console = Console { screen: screen.clone(), format: args.log_format };
    start_log(&screen, args.log_format, (!args.quiet).then_some(args.verbose));
    if let Some(message) = no_such_file(path) {
        console.fail(&message);
        return USAGE;
    }
    if !args.rest.is_empty() {
        console.fail("one file or folder is run at a time; put the files into one folder to run them together");
        return USAGE;
    }
    let loaded = Loaded::from(path, args);
    console.show(&loaded.findings);
    if has_errors(&loaded.findings) {
        return INVALID;
    }
    if loaded.plans.is_empty() {
        console.fail(&format!("there is no pipeline (*.yaml) in {}", path.display()));
        return USAGE;
    }
    let workers = loaded.plans.iter().map(|(_, plan)| parallelism(plan)).max().unwrap_or(1);
    let threads = match Threads::start(workers) {
        Ok(threads) => threads,
        Err(error) => {
            console.fail(&format!("cannot start threads: {error}"));
            return FAILED;
        }
    };
    screen.begin();
    let code = threads.io.block_on(run_plans(args, loaded.plans, &console, &threads));
    screen.finish();
    threads.shut_down();
    code
}

/// Where messages go that are no log lines: in a log of JSON they are events, so that all of it is JSON.
#[derive(Clone)]
struct Console {
    screen: Screen,
    format: LogFormat,
}

impl Console {
    /// Says why nothing runs.
    fn fail(&self, message: &str) {
        match self.format {
            LogFormat::Text => self.screen.print_error(&format!("streamrun: {message}\n")),
            LogFormat::Json => tracing::error!("{message}"),
        }
    }

    /// Prints findings.
    fn show(&self, findings: &[Diagnostic]) {
        if findings.is_empty() {
            return;
        }
        let mut findings = findings.to_vec();
        crate::diagnostic::sort(&mut findings);
        if self.format == LogFormat::Json {
            findings.iter().for_each(log_finding);
            return;
        }
        let mut files: Vec<String> = findings.iter().map(|finding| finding.file.name().to_owned()).collect();
        files.dedup();
        let report = Report { findings: &findings, files: &files, color: super::color(&std::io::stderr()) };
        self.screen.print_error(&render::render(&report, Format::Human));
    }
}

/// A finding as one event of the log.
fn log_finding(finding: &Diagnostic) {
    let (code, severity, message) = (finding.code.name(), finding.severity.name(), finding.message.as_str());
    let (file, help) = (finding.file.name(), finding.help.as_deref());
    let (line, column) = finding.position().map(|position| (position.line, position.column)).unzip();
    match finding.severity {
        Severity::Error => tracing::error!(code, severity, file, line, column, help, "{message}"),
        Severity::Warning => tracing::warn!(code, severity, file, line, column, help, "{message}"),
    }
}

/// A path that is not there may be a mistyped subcommand.
fn no_such_file(path: &Path) -> Option<String> {
    if path.exists() {
        return None;
    }
    let word = path.to_string_lossy();
    let command =
        suggest::nearest(&word, ["validate", "test", "explain", "schema", "list", "state", "checkpoint", "help"]);
    let help = command.map_or_else(String::new, |command| format!("; did you mean `streamrun {command}`?"));
    Some(format!("there is no file {}{help}", path.display()))
}

/// The pipelines of a path, and what there is to say before they run.
struct Loaded {
    plans: Vec<(PathBuf, Plan)>,
    findings: Vec<Diagnostic>,
}

impl Loaded {
    /// In a folder that is followed, the files without errors run; the supervisor says what is wrong
    /// with the others, and starts them when they are corrected.
    fn from(path: &Path, args: &RunArgs) -> Self {
        let (mut plans, mut findings, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for file in pipeline_files(path) {
            let mut found = Vec::new();
            match job::load(&file, &args.overrides, &mut found) {
                Some(plan) => {
                    plans.push((file, plan));
                    findings.append(&mut found);
                }
                None => errors.append(&mut found),
            }
        }
        if plans.is_empty() || !follows(args) || !path.is_dir() {
            findings.append(&mut errors);
        }
        Self { plans, findings }
    }
}

/// Whether changes of the files are followed.
fn follows(args: &RunArgs) -> bool {
    !args.no_reload && !args.available_now
}

async fn run_plans(args: &RunArgs, plans: Vec<(PathBuf, Plan)>, console: &Console, threads: &Threads) -> u8 {
    let screen = &console.screen;
    if let Err(message) = start_feed(args, &plans).await {
        console.fail(&message);
        return USAGE;
    }
    for (file, plan) in &plans {
        tracing::info!(pipeline = plan.name, file = %file.display(), batch_interval = %plan.batch_interval, "started");
    }
    let settings = Settings {
        path: args.file.clone().unwrap_or_default(),
        overrides: args.overrides.clone(),
        options: Options { batches: args.batches, run_for: args.run_for, on_progress: Some(on_progress(screen)) },
        reload: follows(args),
        show_findings: {
            let console = console.clone();
            Arc::new(move |findings: &[Diagnostic]| console.show(findings))
        },
    };
    let runtime = threads.runtime(Arc::new(screen.clone()), args.available_now);
    match supervise(settings, plans, runtime, signals(console.clone())).await {
        Ok(summary) => {
            screen.finish();
            tracing::info!(
                batches = summary.batches,
                rows_in = summary.rows_in,
                rows_out = summary.rows_out,
                "stopped"
            );
            DONE
        }
        Err(Failure::Invalid(findings)) => {
            console.show(&findings);
            INVALID
        }
        Err(Failure::Run(pipeline, error)) if reader_is_gone(&error) => {
            tracing::debug!(pipeline, "nobody reads the output any more");
            DONE
        }
        Err(Failure::Run(pipeline, error)) => {
            screen.finish();
            tracing::error!(pipeline, "failed: {error}");
            FAILED
        }
    }
}

/// `streamrun ... | head`: the reader has had enough, which is no failure.
fn reader_is_gone(error: &RunError) -> bool {
    matches!(error, RunError::Sink { error: SinkError::Io { source, .. }, .. } if source.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Every batch goes to the status line where there is one, else to the log.
fn on_progress(screen: &Screen) -> OnProgress {
    let screen = screen.clone();
    Arc::new(move |pipeline, progress| {
        if screen.has_status() {
            screen.set_status(format!("{pipeline}: {}", progress.line()));
            progress.log_skipped(pipeline);
        } else {
            progress.log(pipeline);
        }
    })
}

async fn start_feed(args: &RunArgs, plans: &[(PathBuf, Plan)]) -> Result<(), String> {
    let Some(input) = &args.feed else { return Ok(()) };
    let mut addresses =
        plans.iter().flat_map(|(_, plan)| &plan.sources).filter_map(|source| source.checked.feed.clone());
    match (addresses.next(), addresses.next()) {
        (Some((host, port)), None) => feed::serve(input, &host, port, args.feed_rate, args.available_now).await,
        (None, _) => Err("`--feed` needs a `socket` source that connects to a host and port; there is none".to_owned()),
        _ => Err("`--feed` serves one `socket` source, and there are several".to_owned()),
    }
}

/// SIGTERM and Ctrl-C stop, SIGHUP looks at the files; a second stop ends the process at once.
fn signals(console: Console) -> mpsc::Receiver<Signal> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).ok();
        let (terminate, interrupt, hang_up) =
            (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::hangup()));
        let (Some(mut terminate), Some(mut interrupt), Some(mut hang_up)) = (terminate, interrupt, hang_up) else {
            tracing::warn!("signals cannot be caught; stopping is not graceful");
            return;
        };
        let mut stopping: Option<Instant> = None;
        loop {
            let asked = tokio::select! {
                _ = terminate.recv() => Signal::Stop,
                _ = interrupt.recv() => Signal::Stop,
                _ = hang_up.recv() => Signal::Reload,
            };
            if asked == Signal::Stop {
                // `timeout` signals the process and then its group: that is one wish.
                if stopping.is_some_and(|since| since.elapsed() < SAME_STOP) {
                    continue;
                }
                if stopping.is_some() {
                    console.fail("stopped at once");
                    #[expect(clippy::exit, reason = "the user asked twice")]
                    std::process::exit(i32::from(FAILED));
                }
                stopping = Some(Instant::now());
                tracing::info!("stopping: what was received is processed first; once more to stop at once");
            }
            if sender.send(asked).await.is_err() {
                return;
            }
        }
    });
    receiver
}
