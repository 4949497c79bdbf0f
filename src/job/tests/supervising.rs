//! Files of a folder that come, go and change while their jobs are busy.

use std::path::Path;
use std::sync::mpsc as gate;
use std::time::Duration;

use super::super::supervisor::{Failure, Settings, Signal, supervise};
use super::*;
use crate::sources::Clock;

/// Runs `p.yaml` of a folder; its batches wait at a gate when they are done.
struct Supervised {
    clock: Arc<ManualClock>,
    printed: Arc<Printed>,
    batches: mpsc::UnboundedReceiver<u64>,
    /// Lets one batch through; dropped, it lets all through.
    gate: gate::Sender<()>,
    signals: mpsc::Sender<Signal>,
}

impl Supervised {
    /// The run is for the caller to wait for, beside what happens meanwhile.
    fn start(folder: &Path, reload: bool, last: Option<u64>) -> (Self, impl Future<Output = Result<Summary, Failure>>) {
        let (clock, printed) = (Arc::new(ManualClock::new(100_000)), Arc::new(Printed::default()));
        let (heard, batches) = mpsc::unbounded_channel();
        let (opened, closed) = gate::channel();
        let closed = Mutex::new(closed);
        let on_progress: OnProgress = Arc::new(move |_, progress| {
            let _ = heard.send(progress.batch.id);
            let _ = closed.lock().unwrap().recv();
        });
        let file = folder.join("p.yaml");
        let plan = load(&file, &[], &mut Vec::new()).unwrap();
        let settings = Settings {
            path: folder.to_path_buf(),
            overrides: Vec::new(),
            options: Options { batches: last, on_progress: Some(on_progress), ..Options::default() },
            reload,
            show_findings: Arc::new(|_| {}),
        };
        let (signals, asked) = mpsc::channel(1);
        let run = supervise(settings, vec![(file, plan)], runtime(&clock, &printed, false), asked);
        (Self { clock, printed, batches, gate: opened, signals }, run)
    }

    /// Waits for a batch, which is at the gate then.
    async fn batch(&mut self) {
        while self.batches.try_recv().is_err() {
            self.clock.turn_to(self.clock.now() + 1_000);
            tokio::task::yield_now().await;
        }
    }

    /// Has the supervisor look at the files. While it looks, it takes one signal aside, and there is
    /// room for another: when it has room for the fourth, the first is done with.
    async fn look(&self) {
        for _ in 0..4 {
            self.signals.send(Signal::Reload).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_comes_back_while_its_pipeline_stops_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, TICKS).unwrap();
    let (mut it, run) = Supervised::start(folder.path(), false, None);
    let story = async {
        it.batch().await;
        std::fs::remove_file(&file).unwrap();
        it.look().await;
        std::fs::write(&file, TICKS).unwrap();
        it.gate.send(()).unwrap();
        it.batch().await;
        it.signals.send(Signal::Stop).await.unwrap();
        drop(it.gate);
    };
    let both = async { tokio::join!(run, story).0 };
    let summary = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap().unwrap();
    assert!(summary.batches >= 2, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_is_too_late_for_its_job_is_run_by_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, TICKS).unwrap();
    let (mut it, run) = Supervised::start(folder.path(), true, Some(1));
    let printed = Arc::clone(&it.printed);
    let story = async {
        it.batch().await;
        std::fs::write(&file, TICKS.replace("n: counter", "n: counter + 100")).unwrap();
        it.look().await;
        // The supervisor has not waited for the batch.
        it.gate.send(()).unwrap();
        it.batch().await;
        drop(it.gate);
    };
    let both = async { tokio::join!(run, story).0 };
    let summary = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap().unwrap();
    assert_eq!(summary.batches, 2);
    let printed = printed.0.lock().unwrap().clone();
    assert!(printed.contains("{\"n\":0}\n") && printed.contains("{\"n\":100}\n"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_file_of_a_folder_is_said_once_and_runs_when_it_is_corrected() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.yaml"), TICKS).unwrap();
    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, TICKS.replace("counter", "conter")).unwrap();
    let (mut it, run) = Supervised::start(folder.path(), true, None);
    let printed = Arc::clone(&it.printed);
    let story = async {
        it.batch().await;
        std::fs::write(&wrong, TICKS.replace("n: counter", "other: counter")).unwrap();
        it.look().await;
        drop(it.gate);
        while !printed.0.lock().unwrap().contains("{\"other\":0}\n") {
            it.clock.turn_to(it.clock.now() + 1_000);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        it.signals.send(Signal::Stop).await.unwrap();
    };
    let both = async { tokio::join!(run, story).0 };
    tokio::time::timeout(Duration::from_secs(60), both).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_planning() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.yaml"), TICKS).unwrap();
    let (it, run) = Supervised::start(folder.path(), true, None);
    drop(it.gate);
    it.signals.send(Signal::Stop).await.unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(60), run).await.unwrap().unwrap().batches, 0);
}
