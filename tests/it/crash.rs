//! The real binary ends in the middle of a batch, at every moment there is and at random ones; what it has
//! written in the end is what an uninterrupted run writes.
//!
//! `--available-now` with a batch interval of an hour makes batch times that do not depend on how long
//! anything takes: they go on from the last batch, whenever the process is started again.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, stderr, streamrun, write};

/// The moments of a batch, as `src/engine/failpoint.rs` names them.
const MOMENTS: [&str; 7] = ["ranges", "planned", "read", "computed", "written", "committed", "forgotten"];
const BATCHES: usize = 6;

const PIPELINE: &str = r#"
name: crashes
batch_interval: 1h
checkpoint: { path: ./checkpoint, retain: 2 }
engine: { parallelism: 2 }

sources:
  lines: { directory: { path: ./in, max_files_per_batch: 1 } }

streams:
  words:
    from: lines
    transforms:
      - flat_map:
          word: split(value, " ")
  running:
    from: words
    transforms:
      - update_state_by_key: { key: word, state: { n: count(), last: last(word) } }
  touched:
    from: words
    transforms:
      - map_with_state:
          key: word
          state: { n: { initial: 0, update: n + 1 } }
          emit: { word: word, before: old.n, after: new.n, gone: timed_out }
          timeout: 2h
  inverse:
    from: words
    transforms:
      - reduce_by_key_and_window: { key: word, values: { n: count() }, length: 3h, slide: 1h, align: start }
  merged:
    from: words
    transforms:
      - reduce_by_key_and_window: { key: word, values: { all: collect_list(word) }, length: 2h, slide: 2h, align: start }
  recent: { from: words, transforms: [ { window: { length: 2h } } ] }
  joined:
    from: words
    transforms:
      - map: { word: word, now: '"now"' }
      - join: { with: recent, key: word }
      - reduce_by_key: { key: word, values: { pairs: count() } }
  fresh: { from: words, transforms: [ { deduplicate: { key: word, within: 3h } } ] }
  ending: { from: words, transforms: [ { count_by_window: { length: 5h, slide: 5h, align: start } } ] }

sinks:
  running: { from: running, files: { path: ./out/running } }
  touched: { from: touched, files: { path: ./out/touched } }
  inverse: { from: inverse, files: { path: ./out/inverse } }
  merged: { from: merged, files: { path: ./out/merged } }
  joined: { from: joined, files: { path: ./out/joined } }
  fresh: { from: fresh, files: { path: ./out/fresh } }
  ending: { from: ending, files: { path: ./out/ending } }
"#;

/// By sink, the rows of each batch in order of its time, sorted.
type Written = BTreeMap<String, Vec<Vec<String>>>;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "p.yaml", PIPELINE);
    for index in 0..BATCHES {
        let text = format!("a b a w{index}\nb a w{}\nx{} a\n", index % 3, index / 2);
        write(folder.path(), &format!("in/{index}.txt"), &text);
    }
    folder
}

/// Runs to the end, or to where `crash_at` says; whether it came to the end.
fn run(folder: &Path, crash_at: Option<&str>) -> bool {
    let mut command = streamrun(&["p.yaml", "--available-now"]);
    command.current_dir(folder).env_remove("STREAMRUN_CRASH_AT").env("RUST_BACKTRACE", "0");
    if let Some(crash_at) = crash_at {
        command.env("STREAMRUN_CRASH_AT", crash_at);
    }
    let output = command.output().unwrap();
    assert!(output.status.code().is_none_or(|code| code == 0), "{}", stderr(&output));
    output.status.success()
}

fn written(folder: &Path) -> Written {
    let mut written = Written::new();
    for sink in visible(&folder.join("out")) {
        let batches = visible(&sink).into_iter().map(|batch| rows_of(&batch));
        written.insert(sink.file_name().unwrap().to_string_lossy().into_owned(), batches.collect());
    }
    written
}

/// The rows of a batch, sorted.
fn rows_of(batch: &Path) -> Vec<String> {
    let parts = visible(batch).into_iter().map(|part| std::fs::read_to_string(part).unwrap());
    let mut rows: Vec<String> = parts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    rows.sort();
    rows
}

fn visible(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with(['.', '_']));
    paths.sort();
    paths
}

/// What an uninterrupted run writes.
fn reference() -> Written {
    let folder = folder();
    assert!(run(folder.path(), None));
    let written = written(folder.path());
    assert_eq!(written.len(), 7);
    // One more where the last window ends.
    assert_eq!(written["running"].len(), BATCHES + 1);
    assert_eq!(written["ending"].len(), 2);
    written
}

#[test]
fn a_crash_at_any_moment_of_any_batch_does_no_harm() {
    let reference = reference();
    for moment in MOMENTS {
        let folder = folder();
        for batch in 0..BATCHES {
            let crash_at = format!("{moment}@{batch}");
            assert!(!run(folder.path(), Some(&crash_at)), "no crash at {crash_at}");
        }
        assert!(run(folder.path(), None));
        assert_eq!(written(folder.path()), reference, "crashes at `{moment}`");
    }
}

#[test]
fn kills_at_random_do_no_harm() {
    let rounds = std::env::var("STREAMRUN_CRASH_ROUNDS").ok().and_then(|it| it.parse().ok()).unwrap_or(5);
    let reference = reference();
    let begin = Instant::now();
    assert!(run(folder().path(), None));
    let whole = begin.elapsed();
    for round in 0..rounds {
        let folder = folder();
        let mut kills = 0;
        while kills < 4 && kill_somewhere(folder.path(), whole, round * 4 + kills) {
            kills += 1;
        }
        assert!(run(folder.path(), None));
        assert_eq!(written(folder.path()), reference, "round {round}");
    }
}

/// Kills a run after some part of the time that it takes; false if it was over by then.
fn kill_somewhere(folder: &Path, whole: Duration, seed: u32) -> bool {
    let mut command = streamrun(&["p.yaml", "--available-now"]);
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // Spread over the whole run: the golden ratio leaves no part of it out.
    let part = (f64::from(seed) * 0.618_033_988_75).fract();
    std::thread::sleep(whole.mul_f64(part).min(PATIENCE));
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

const RECEIVING: &str = r#"
name: received
batch_interval: 100ms
checkpoint: { path: ./checkpoint }
sources:
  lines: { socket: { host: 127.0.0.1, port: PORT, reconnect_max: 50ms } }
transforms:
  - flat_map:
      word: split(value, " ")
  - update_state_by_key: { key: word, state: { n: count() } }
sinks:
  out: { files: { path: ./out/counts } }
"#;

/// The lines that are sent, each of which is there once.
fn sent() -> String {
    (0..4_000).map(|line| format!("line{line} all word{}\n", line % 7)).collect()
}

/// How far the stream is on the disk: what stands in the log, or what was processed of it.
fn durable(folder: &Path) -> usize {
    let log = folder.join("checkpoint/received/received/socket/lines");
    let logged = visible(&log).into_iter().filter_map(|file| {
        let bytes = std::fs::read(file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.split('\n');
        let length: usize = lines.next()?.rsplit(' ').next()?.parse().ok()?;
        let head_line = lines.next()?;
        let head: serde_json::Value = serde_json::from_str(head_line).ok()?;
        // One that is cut off counts as not written.
        let whole = text.split_once('\n')?.1.len() == length;
        let written = head["entries"].as_array()?.iter().map(|entry| entry["bytes"].as_u64().unwrap()).sum::<u64>();
        whole.then(|| usize::try_from(head["start"].as_u64().unwrap() + written).unwrap())
    });
    logged.chain(committed(folder)).max().unwrap_or(0)
}

/// The position of the source in the newest commit that has it.
fn committed(folder: &Path) -> Option<usize> {
    let commits = visible(&folder.join("checkpoint/received/commits"));
    commits.into_iter().rev().find_map(|file| {
        let bytes = std::fs::read(file).unwrap();
        let mut lines = bytes.splitn(3, |byte| *byte == b'\n').skip(1);
        let head: serde_json::Value = serde_json::from_slice(lines.next()?).ok()?;
        let mut body = lines.next()?;
        for section in head["sections"].as_array()? {
            let (own, rest) = body.split_at(usize::try_from(section["length"].as_u64()?).ok()?.min(body.len()));
            if section["component"] == "source/lines" {
                return std::str::from_utf8(own).ok()?.parse().ok();
            }
            body = rest;
        }
        None
    })
}

/// Sends the rest of the text, some lines at a time, until the connection ends or nobody will come.
fn send_from(listener: &TcpListener, position: usize, ended: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    let mut stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(_) if ended.load(Ordering::Relaxed) => return,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    stream.set_nonblocking(false).unwrap();
    let text = sent();
    for chunk in text.as_bytes()[position..].chunks(40) {
        if stream.write_all(chunk).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    // Until the process ends: then nothing more is read.
    let _ = stream.read(&mut [0]);
}

fn expected_counts() -> Vec<String> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    sent().split_whitespace().for_each(|word| *counts.entry(word.to_owned()).or_default() += 1);
    let mut rows: Vec<String> = counts.iter().map(|(word, n)| format!("{{\"word\":\"{word}\",\"n\":{n}}}")).collect();
    rows.sort();
    rows
}

#[test]
fn what_was_received_is_processed_once_whenever_the_program_is_killed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "p.yaml", &RECEIVING.replace("PORT", &port.to_string()));
    let crashes = MOMENTS.iter().map(|moment| Some(*moment)).chain([None, None, None]);
    let mut next_batch = 0;
    for (round, moment) in crashes.enumerate() {
        let mut command = streamrun(&["p.yaml"]);
        command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(moment) = moment {
            command.env("STREAMRUN_CRASH_AT", format!("{moment}@{}", next_batch + 1));
        }
        let mut child = command.spawn().unwrap();
        let position = durable(folder.path());
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| send_from(&listener, position, &ended));
            if moment.is_none() {
                std::thread::sleep(Duration::from_millis(150 + 130 * (round as u64 % 3)));
                child.kill().unwrap();
            }
            let status = child.wait().unwrap();
            ended.store(true, Ordering::Relaxed);
            assert!(!status.success());
        });
        let batches = visible(&folder.path().join("checkpoint/received/offsets"));
        let newest = batches.last().unwrap().file_name().unwrap().to_string_lossy().parse::<u64>().unwrap();
        next_batch = newest + 1;
    }
    let position = durable(folder.path());
    assert!(position < sent().len(), "everything was sent before the last round");
    let mut child = streamrun(&["p.yaml", "-q"]).current_dir(folder.path()).spawn().unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| send_from(&listener, position, &ended));
        let begin = Instant::now();
        let expected = expected_counts();
        let counts = || visible(&folder.path().join("out/counts")).pop().map(|batch| rows_of(&batch));
        while counts() != Some(expected.clone()) && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        ended.store(true, Ordering::Relaxed);
        assert_eq!(counts(), Some(expected));
    });
}
