//! What a reload keeps, gives up, and finds out before that.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::reload::Changes;
use super::*;
use crate::sources::Clock;

/// `TICKS` with files in that folder as its sink.
fn with_files(folder: &Path) -> String {
    TICKS.replace("console: { format: json }", &format!("files: {{ path: '{}' }}", folder.display()))
}

/// Two servers whose rows are printed.
fn servers(a: u16, b: u16, more_of_b: &str) -> String {
    format!(
        "batch_interval: 10ms
engine: {{ parallelism: 1 }}
sources:
  a: {{ socket: {{ listen: '127.0.0.1:{a}' }} }}
  b: {{ socket: {{ listen: '127.0.0.1:{b}'{more_of_b} }} }}
streams: {{ both: {{ from: a, transforms: [ {{ union: [b] }} ] }} }}
sinks: {{ out: {{ console: {{ format: json }} }} }}
"
    )
}

/// Two ports that nobody uses right now.
fn free_ports() -> (u16, u16) {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [a, b] = listeners.map(|listener| listener.local_addr().unwrap().port());
    (a, b)
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

impl Harness {
    /// Runs the next batch of `servers`.
    async fn next(&mut self) -> Progress {
        let next = self.clock.now() + 10;
        self.batch_at(next).await
    }

    /// Runs batches until this row, which a client sends, was read.
    async fn receive(&mut self, client: &mut TcpStream, row: &str) {
        client.write_all(format!("{row}\n").as_bytes()).await.unwrap();
        let read = async { while self.next().await.rows_in() == 0 {} };
        tokio::time::timeout(Duration::from_secs(60), read).await.unwrap();
    }
}

#[tokio::test]
async fn a_reload_between_batches_keeps_sources_and_loses_nothing() {
    let mut job = Harness::start(TICKS, Options::default()).await;
    job.batch_at(101_000).await;
    let changed = TICKS.replace("n: counter", "n: counter * 10");
    job.control.reload(version(&changed).await);
    job.batch_at(102_000).await;
    // Another interval: batch times are multiples of the new one, later than those that were.
    let slower = changed.replace("batch_interval: 1s", "batch_interval: 5s");
    job.control.reload(version(&slower).await);
    let progress = job.batch_at(105_000).await;
    assert_eq!((progress.batch.time, progress.rows_in()), (105_000, 6));
    job.control.stop();
    let (summary, printed) = job.end().await;
    assert_eq!(summary.rows_in, 10);
    let values: Vec<u64> = [0, 1].into_iter().chain((2..10).map(|n| n * 10)).collect();
    let expected: String = values.iter().map(|n| format!("{{\"n\":{n}}}\n")).collect();
    assert_eq!(printed, expected);
}

#[tokio::test]
async fn of_many_versions_during_a_batch_the_newest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = Harness::start(TICKS, Options::default()).await;
    job.batch_at(101_000).await;
    let mut versions = Vec::new();
    for name in ["1", "2", "3", "4", "5", "6"] {
        // Each of these would leave a folder if it were taken over.
        versions.push(version(&with_files(&folder.path().join(name))).await);
    }
    versions.push(version(&TICKS.replace("n: counter", "n: counter * 10")).await);
    // The job gets its turn when this task waits: until then it is as busy as with a long batch.
    for version in versions {
        job.control.reload(version);
    }
    job.batch_at(102_000).await;
    job.control.stop();
    assert_eq!(job.end().await.1, "{\"n\":0}\n{\"n\":1}\n{\"n\":20}\n{\"n\":30}\n");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_stop_comes_before_a_new_version() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = Harness::start(TICKS, Options::default()).await;
    job.batch_at(101_000).await;
    let version = version(&with_files(&folder.path().join("out"))).await;
    job.control.reload(version);
    assert!(job.control.holds_version());
    job.control.stop();
    assert_eq!(job.end().await.0.batches, 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_server_that_changes_is_made_anew_and_the_other_keeps_its_clients() {
    let (a, b) = free_ports();
    let mut job = Harness::start(&servers(a, b, ""), Options::default()).await;
    let (mut to_a, mut to_b) = (connect(a).await, connect(b).await);
    job.receive(&mut to_a, "1").await;
    job.receive(&mut to_b, "2").await;
    job.control.reload(version(&servers(a, b, ", max_line: 2KiB")).await);
    job.next().await;
    assert_eq!(to_b.read(&mut [0; 1]).await.unwrap(), 0, "the old server's client is still connected");
    job.receive(&mut connect(b).await, "3").await;
    job.receive(&mut to_a, "4").await;
    job.control.stop();
    let (summary, printed) = job.end().await;
    assert_eq!(summary.rows_in, 4);
    let expected: String = (1..=4).map(|row| format!("{{\"value\":\"{row}\"}}\n")).collect();
    assert_eq!(printed, expected);
}

#[tokio::test]
async fn what_cannot_be_built_is_found_before_anything_is_given_up() {
    let (a, b) = free_ports();
    let file = tempfile::NamedTempFile::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut job = Harness::start(&servers(a, b, ""), Options::default()).await;
    let mut to_b = connect(b).await;
    job.receive(&mut to_b, "1").await;
    let below_a_file = format!("files: {{ path: '{}/out' }}", file.path().display());
    for wrong in [
        servers(a, b, ", max_line: 2KiB").replace("console: { format: json }", &below_a_file),
        servers(a, taken.local_addr().unwrap().port(), ""),
        servers(a, b, ", tls: { cert: no-such.pem, key: no-such.pem }"),
    ] {
        job.control.reload(version(&wrong).await);
        job.next().await;
        job.receive(&mut to_b, "2").await;
    }
    job.control.stop();
    assert_eq!(job.end().await.0.rows_in, 4);
}

// Only Linux has more than one address of its own machine without further ado.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_comes_back_if_the_new_one_cannot_start() {
    let (a, b) = free_ports();
    let mut job = Harness::start(&servers(a, b, ""), Options::default()).await;
    // Somebody else has the port at another address, which only shows when the old server has stopped.
    let _other = TcpListener::bind(("127.0.0.2", b)).unwrap();
    let all = servers(a, b, "").replace(&format!("127.0.0.1:{b}"), &format!("0.0.0.0:{b}"));
    job.control.reload(version(&all).await);
    job.next().await;
    job.receive(&mut connect(b).await, "1").await;
    job.control.stop();
    assert_eq!(job.end().await.0.rows_in, 1);
}

#[test]
fn what_changes() {
    let text =
        "sources: { in: { rows: { values: [a] } }, lines: { socket: { listen: '127.0.0.1:9' }, on_error: fail } }
streams: { both: { from: in, transforms: [ { union: [lines] } ] } }
sinks: { out: { discard: {} } }
";
    let between = |new: &str| Changes::between(&plan(text), &plan(new)).to_string();
    assert_eq!(between(text), "2 sources kept (in, lines), 1 sink kept (out)");
    // What the pipeline says of bad rows concerns the sources that say nothing themselves.
    let skipping = format!("on_error: skip\n{text}");
    let expected = "1 source kept (lines), 1 source new (in), 1 source stopped (in), 1 sink kept (out)";
    assert_eq!(between(&skipping), expected);
    let buffer = format!("engine: {{ receive_buffer: 1MiB }}\n{text}");
    let expected = "2 sources new (in, lines), 2 sources stopped (in, lines), 1 sink kept (out)";
    assert_eq!(between(&buffer), expected);
    let renamed = text.replace("out:", "result:");
    assert_eq!(between(&renamed), "2 sources kept (in, lines), 1 sink new (result), 1 sink closed (out)");
}

#[tokio::test]
async fn what_a_first_start_has_found_holds_for_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("in/old"), "old\n").unwrap();
    let text = format!(
        "name: p
batch_interval: 1s
checkpoint: {{ path: '{}' }}
sources: {{ lines: {{ directory: {{ path: '{}', start: latest }} }} }}
transforms: [ {{ select: [value] }} ]
sinks: {{ out: {{ console: {{ format: json }} }} }}
",
        path("checkpoint"),
        path("in")
    );
    // The process ends before its first batch, and a file comes before the next one starts.
    let first = Harness::start(&text, Options::default()).await;
    first.job.abort();
    let _ = first.job.await;
    std::fs::write(folder.path().join("in/new"), "new\n").unwrap();
    let mut second = Harness::start(&text, Options { batches: Some(1), ..Options::default() }).await;
    assert_eq!(second.batch_at(101_000).await.rows_in(), 1);
    assert!(second.end().await.1.contains("new"));
}
