//! The command line. One file per subcommand.

mod checkpoint;
mod explain;
mod feed;
mod list;
mod masked;
mod run;
mod schema;
mod settings;
mod state;
mod terminal;
mod test;
mod validate;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::engine::Runtime;
use crate::engine::clock::SystemClock;
use crate::sinks::Terminal;
use crate::testing;

pub use list::function_tables;

/// Done.
pub const DONE: u8 = 0;
/// Failed at run time.
pub const FAILED: u8 = 1;
/// Wrong usage.
pub const USAGE: u8 = 2;
/// Tests failed.
pub const TESTS_FAILED: u8 = 3;
/// Invalid pipeline: `EX_CONFIG` of sysexits.
pub const INVALID: u8 = 78;

/// Run streaming pipelines written in YAML.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check pipelines without running them: all findings, offline
    Validate(validate::ValidateArgs),
    /// Run the tests beside pipelines (`*.test.yaml`)
    Test(test::TestArgs),
    /// Explain a finding's code, or show a pipeline's columns and plan step by step
    Explain(explain::ExplainArgs),
    /// Print the JSON Schema of pipeline files
    Schema,
    /// List every source, step, sink, format and function with its settings
    List(list::ListArgs),
    /// Show what the steps of a pipeline keep, from its checkpoint
    State(state::StateArgs),
    /// Show, check or prune the checkpoint of a pipeline
    Checkpoint(checkpoint::CheckpointArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A pipeline file, or a folder: then every pipeline in it runs
    file: Option<PathBuf>,
    // Only to say what is wrong: a mistyped subcommand, or several files.
    #[arg(hide = true)]
    rest: Vec<PathBuf>,
    /// Stop after this long, e.g. `60s`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    run_for: Option<Duration>,
    /// Stop after so many batches
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    batches: Option<u64>,
    /// Process what is there, then stop; batches follow each other without waiting
    #[arg(long)]
    available_now: bool,
    /// Override a value of the file, e.g. `batch_interval=1s` or `sources.lines.socket.port=9998`
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    overrides: Vec<(String, String)>,
    /// Be the text server that the `socket` source connects to, and send it this file (`-`: standard input)
    #[arg(long, value_name = "FILE")]
    feed: Option<PathBuf>,
    /// Lines per second that `--feed` sends; as fast as they are read by default
    #[arg(long, value_name = "N", requires = "feed")]
    feed_rate: Option<f64>,
    /// Do not follow changes of the file
    #[arg(long)]
    no_reload: bool,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Log more (`-vv`: much more)
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    /// Log only errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::spec::Duration::parse(text).map(crate::spec::Duration::to_std)
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, e.g. `batch_interval=1s`".to_owned()),
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let code = match &cli.command {
        Some(Command::Validate(args)) => validate::validate(args),
        Some(Command::Test(args)) => test::test(args),
        Some(Command::Explain(args)) => explain::explain(args),
        Some(Command::Schema) => schema::schema(),
        Some(Command::List(args)) => list::list(args),
        Some(Command::State(args)) => state::state(args),
        Some(Command::Checkpoint(args)) => checkpoint::checkpoint(args),
        None => run_file(&cli.run),
    };
    ExitCode::from(code)
}

/// Runs what is a pipeline, and says what to do with anything else.
fn run_file(args: &RunArgs) -> u8 {
    let Some(file) = &args.file else {
        let message = "a pipeline file, or a folder with pipelines, must be named";
        let _ = Cli::command().error(ErrorKind::MissingRequiredArgument, message).print();
        return USAGE;
    };
    if testing::is_test_file(file) && file.is_file() {
        let shown = file.display();
        print_error(&format!("streamrun: {shown} is a test file: run it with `streamrun test {shown}`\n"));
        return USAGE;
    }
    run::run(args)
}

/// The threads of the process: few that wait, and `workers` that compute.
struct Threads {
    io: tokio::runtime::Runtime,
    workers: tokio::runtime::Runtime,
}

impl Threads {
    /// Deep plans are walked recursively, so workers get a larger stack than tokio's default.
    const STACK: usize = 8 << 20;

    fn start(workers: usize) -> std::io::Result<Self> {
        let io =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("io").enable_all().build()?;
        let workers = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("worker")
            .thread_stack_size(Self::STACK)
            .enable_all()
            .build()?;
        Ok(Self { io, workers })
    }

    fn runtime(&self, terminal: Arc<dyn Terminal>, available_now: bool) -> Runtime {
        Runtime {
            clock: Arc::new(SystemClock::start()),
            terminal,
            io: self.io.handle().clone(),
            workers: self.workers.handle().clone(),
            available_now,
        }
    }

    /// Ends the threads without waiting for reads that never end (standard input).
    fn shut_down(self) {
        self.workers.shutdown_background();
        self.io.shutdown_background();
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Prints to standard output; a reader that has gone away is no error of ours.
fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints to standard error.
fn print_error(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Whether to print colours to standard error or output.
fn color(stream: &impl std::io::IsTerminal) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the convention of no-color.org")]
    let wanted = std::env::var("NO_COLOR").map_or(true, |value| value.is_empty());
    wanted && stream.is_terminal()
}
