//! Jobs on a clock that is turned by hand: the i-th batch and what it did.

mod reloading;
mod supervising;

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::*;
use crate::diagnostic::SourceFile;
use crate::engine::Progress;
use crate::engine::clock::ManualClock;
use crate::sinks::Terminal;

/// Keeps what is printed.
#[derive(Default)]
struct Printed(Mutex<String>);

impl Terminal for Printed {
    fn print(&self, text: &str) -> std::io::Result<()> {
        self.0.lock().unwrap().push_str(text);
        Ok(())
    }
}

fn plan(text: &str) -> Plan {
    let file = Arc::new(SourceFile::new("p.yaml", text));
    let mut findings = Vec::new();
    let plan = plan::load(&file, &ProcessEnvironment::new(PathBuf::new()), &[], &mut findings);
    plan.unwrap_or_else(|| panic!("{findings:?}"))
}

async fn version(text: &str) -> Prepared {
    prepare(plan(text)).await.unwrap()
}

/// What jobs share, on the threads of the test.
fn runtime(clock: &Arc<ManualClock>, printed: &Arc<Printed>, available_now: bool) -> Runtime {
    let handle = tokio::runtime::Handle::current();
    Runtime {
        clock: Arc::<ManualClock>::clone(clock),
        terminal: Arc::<Printed>::clone(printed),
        io: handle.clone(),
        workers: handle,
        available_now,
    }
}

/// A running job with the means to turn its clock and to hear of its batches.
struct Harness {
    clock: Arc<ManualClock>,
    printed: Arc<Printed>,
    control: Control,
    batches: mpsc::UnboundedReceiver<Progress>,
    job: tokio::task::JoinHandle<Result<Summary, RunError>>,
}

impl Harness {
    async fn start(text: &str, options: Options) -> Self {
        Self::start_as(text, options, false).await
    }

    async fn start_as(text: &str, options: Options, available_now: bool) -> Self {
        let clock = Arc::new(ManualClock::new(100_000));
        let printed = Arc::new(Printed::default());
        let (control, asked) = control::channel();
        let (heard, batches) = mpsc::unbounded_channel();
        let on_progress: OnProgress = Arc::new(move |_, progress| {
            let _ = heard.send(progress.clone());
        });
        let runtime = runtime(&clock, &printed, available_now);
        let options = Options { on_progress: Some(on_progress), ..options };
        let job = tokio::spawn(Job::start(version(text).await, options, runtime).await.unwrap().run(asked));
        Self { clock, printed, control, batches, job }
    }

    /// Turns the clock to the time of the next batch, or further, and waits for that batch.
    async fn batch_at(&mut self, time: i64) -> Progress {
        self.clock.turn_to(time);
        self.batches.recv().await.unwrap()
    }

    async fn end(self) -> (Summary, String) {
        let summary = self.job.await.unwrap().unwrap();
        let text = self.printed.0.lock().unwrap().clone();
        (summary, text)
    }
}

const TICKS: &str = "name: p
batch_interval: 1s
engine: { parallelism: 2 }
sources: { ticks: { rate: { rows_per_second: 2 } } }
transforms:
  - map: { n: counter }
sinks: { out: { console: { format: json } } }
";

#[tokio::test]
async fn a_late_engine_runs_every_batch_with_its_own_rows() {
    let mut job = Harness::start(TICKS, Options::default()).await;
    let first = job.batch_at(101_000).await;
    assert_eq!((first.batch.id, first.batch.time, first.rows_in()), (0, 101_000, 2));
    // The clock jumps over three batches: none is left out, each has its rows and its delay.
    job.clock.turn_to(104_000);
    for (id, time) in [(1, 102_000), (2, 103_000), (3, 104_000)] {
        let progress = job.batches.recv().await.unwrap();
        assert_eq!((progress.batch.id, progress.batch.time, progress.rows_in()), (id, time, 2));
        assert_eq!(progress.scheduling_delay.as_millis(), 104_000 - time as u128);
    }
    job.control.stop();
    let (summary, printed) = job.end().await;
    assert_eq!(summary, Summary { batches: 4, rows_in: 8, rows_out: 8 });
    let expected: String = (0..8).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    assert_eq!(printed, expected);
}

#[tokio::test]
async fn options_end_a_run() {
    let mut job = Harness::start(TICKS, Options { batches: Some(2), ..Options::default() }).await;
    job.batch_at(101_000).await;
    job.batch_at(102_000).await;
    assert_eq!(job.end().await.0.batches, 2);

    let run_for = Some(std::time::Duration::from_millis(2_500));
    let mut job = Harness::start(TICKS, Options { run_for, ..Options::default() }).await;
    job.batch_at(101_000).await;
    job.batch_at(102_000).await;
    job.clock.turn_to(102_500);
    assert_eq!(job.end().await.0.batches, 2);
}

#[tokio::test]
async fn a_failing_batch_ends_the_run_with_the_reason() {
    let text = "sources: { in: { rows: { values: ['{}', 'x'] } } }
transforms:
  - parse: { json: { schema: { a: int } } }
sinks: { out: { discard: {} } }
";
    let job = Harness::start(text, Options::default()).await;
    job.clock.turn_to(200_000);
    let error = job.job.await.unwrap().unwrap_err();
    assert!(error.to_string().starts_with("`parse` cannot decode a row"), "{error}");
}

#[tokio::test]
async fn a_failure_between_the_stages_is_placed_in_the_users_words() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x\n").unwrap();
    let lines = format!("sources: {{ in: {{ directory: {{ path: '{}' }} }} }}\n", folder.path().display());
    let rows = lines.replace(" } }", ", format: { json: { schema: { a: int } } } } }");
    let parse = "transforms: [ { parse: { json: { schema: { a: int } } } } ]";
    let chain = format!("{lines}{parse}\nsinks: {{ x: {{ discard: {{}} }}, y: {{ discard: {{}} }} }}\n");
    let graph = format!(
        "{lines}streams: {{ a: {{ from: in, {parse} }} }}
sinks: {{ x: {{ from: a, discard: {{}} }}, y: {{ from: a, discard: {{}} }} }}
"
    );
    let source = format!("{rows}sinks: {{ x: {{ from: in, discard: {{}} }}, y: {{ from: in, discard: {{}} }} }}\n");
    for (text, place) in [(chain, "`parse` "), (graph, "`a/parse` "), (source, "source `in` ")] {
        let job = Harness::start(&text, Options::default()).await;
        job.clock.turn_to(200_000);
        let error = job.job.await.unwrap().unwrap_err().to_string();
        assert!(error.starts_with(place) && error.contains("cannot decode a row"), "{error}");
    }
}

#[tokio::test]
async fn a_failing_query_is_placed_in_its_steps_with_what_helps() {
    let text = "sources: { in: { rows: { values: [{ n: 0 }] } } }
transforms: [ { sql: select 1 / n as n from stream } ]
sinks: { out: { discard: {} } }
";
    let job = Harness::start(text, Options::default()).await;
    job.clock.turn_to(200_000);
    let error = job.job.await.unwrap().unwrap_err().to_string();
    assert!(error.starts_with("in the steps of `transforms`: Divide by zero") && error.contains("nullif"), "{error}");
}

/// A pipeline of one row, 1, whose steps come again and again.
fn steps(step: &str, times: usize) -> String {
    let steps = step.repeat(times);
    let source = "sources: { in: { rows: { values: [{ n: 1 }] } } }";
    format!("{source}\ntransforms:\n{steps}sinks: {{ out: {{ console: {{ format: json }} }} }}\n")
}

#[tokio::test]
async fn a_column_that_doubles_with_every_step_is_planned() {
    let text = steps("  - with_columns: { n: n + n }\n  - filter: n > 0\n", 25);
    let mut job = Harness::start(&text, Options::default()).await;
    job.batch_at(101_000).await;
    assert_eq!(job.end().await.1, format!("{{\"n\":{}}}\n", 1_i64 << 25));
}

#[test]
fn very_many_steps_are_cut_into_stages() {
    let planned = || {
        let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let prepared = threads.block_on(version(&steps("  - filter: n > 0\n", 450)));
        assert_eq!(prepared.stages.stages.len(), 3);
    };
    // On a thread with the stack of a worker.
    std::thread::Builder::new().stack_size(8 << 20).spawn(planned).unwrap().join().unwrap();
}

#[tokio::test]
async fn rows_that_are_left_out_are_counted_by_stream_and_step() {
    let parse = "transforms: [ { parse: { json: { schema: { a: int } } } } ]";
    let text = format!(
        "on_error: skip
sources: {{ in: {{ rows: {{ values: ['{{}}', 'x'] }} }} }}
streams: {{ a: {{ from: in, {parse} }}, b: {{ from: in, {parse} }} }}
sinks: {{ x: {{ from: a, discard: {{}} }}, y: {{ from: b, discard: {{}} }} }}
"
    );
    let mut job = Harness::start(&text, Options::default()).await;
    let progress = job.batch_at(101_000).await;
    let skipped: Vec<(&str, u64)> = progress.skipped.iter().map(|(name, rows, _)| (name.as_str(), *rows)).collect();
    assert_eq!(skipped, [("a/parse", 1), ("b/parse", 1)]);
}

#[tokio::test]
async fn what_is_there_now_ends_where_the_clock_is() {
    let job = Harness::start_as(TICKS, Options::default(), true).await;
    // Its rows never end; these were due before it is asked.
    job.clock.turn_to(103_000);
    assert_eq!(job.end().await.0, Summary { batches: 1, rows_in: 6, rows_out: 6 });
}

#[tokio::test]
async fn finite_sources_end_the_run() {
    let text = "sources: { in: { rows: { values: [1, 2, 3], per_batch: 2 } } }
sinks: { out: { console: { format: json } } }
";
    let mut job = Harness::start(text, Options::default()).await;
    job.batch_at(101_000).await;
    job.batch_at(102_000).await;
    assert_eq!(job.end().await.0, Summary { batches: 2, rows_in: 3, rows_out: 3 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn order_and_partitions_do_not_change_an_answer() {
    // More than a slot gives to one partition, so that four of them work side by side.
    for parallelism in [1, 4] {
        let text = format!(
            "batch_interval: 1s
engine: {{ parallelism: {parallelism} }}
sources: {{ ticks: {{ rate: {{ rows_per_second: 100000 }} }} }}
transforms:
  - reduce_by_key:
      key: {{ k: counter % 2 }}
      values: {{ n: count(), first: first(counter), last: last(counter), least: min(counter), all: size(collect_list(counter)), third: 'element_at(collect_list(counter), 3)' }}
  - sort: {{ by: [k] }}
sinks: {{ out: {{ console: {{ format: json }} }} }}
"
        );
        let mut job = Harness::start(&text, Options { batches: Some(2), ..Options::default() }).await;
        job.batch_at(101_000).await;
        job.batch_at(102_000).await;
        let expected: String = [(0, 0), (0, 1), (100_000, 0), (100_000, 1)]
            .iter()
            .map(|(base, k)| {
                let (first, last, third) = (base + k, base + 99_998 + k, base + 4 + k);
                format!("{{\"k\":{k},\"n\":50000,\"first\":{first},\"last\":{last},\"least\":{first},\"all\":50000,\"third\":{third}}}\n")
            })
            .collect();
        assert_eq!(job.end().await.1, expected, "parallelism {parallelism}");
    }
}
