//! Word count, from a file and from a socket, beside a loop with two threads written by hand, which
//! does just this one thing. Both are measured in the same run, in turn.
//!
//! The text has 50 000 words, distributed after Zipf, ten a line, 256 MiB in all. It is made once, in
//! `$STREAMRUN_BENCH_DIR` or a folder for temporary files.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "support/engine.rs"]
mod engine;
#[path = "support/measure.rs"]
mod measure;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use streamrun::engine::clock::SystemClock;
use streamrun::job::{self, Job, Options, Summary};

use crate::engine::Threads;
use crate::measure::{Result, median, small, timed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WORDS: usize = 50_000;
const WORDS_PER_LINE: usize = 10;
const CHUNK: usize = 1 << 20;
const THREADS: usize = 2;
const ROUNDS: usize = 7;

type Counts = hashbrown::HashMap<Box<[u8]>, u64>;

fn main() -> Result<()> {
    let text = text()?;
    let threads = Threads::start(THREADS)?;
    let expected = loop_over_file(&text)?;

    check(&expected, &counts_of(|sink| streamrun_from_file(&threads, &text, sink))?, "from files")?;
    check(&expected, &counts_of(|sink| streamrun_from_socket(&threads, &text, sink))?, "from a socket")?;
    check(&expected, &loop_over_socket(&text)?, "of the loop from a socket")?;

    let bytes = fs::metadata(&text)?.len();
    compare("files", 0.8, bytes, || loop_over_file(&text), || streamrun_from_file(&threads, &text, DISCARD))?;
    compare("socket", 0.6, bytes, || loop_over_socket(&text), || streamrun_from_socket(&threads, &text, DISCARD))
}

/// Measures both in turn, after a first time that does not count.
fn compare<R, S>(
    name: &str,
    aim: f64,
    bytes: u64,
    reference: impl Fn() -> Result<R>,
    streamrun: impl Fn() -> Result<S>,
) -> Result<()> {
    reference()?;
    streamrun()?;
    let (mut reference_took, mut streamrun_took) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        reference_took.push(timed(&reference)?);
        streamrun_took.push(timed(&streamrun)?);
    }
    let speed = |took| bytes as f64 / 1e6 / median(took).as_secs_f64();
    let (reference, streamrun) = (speed(reference_took), speed(streamrun_took));
    let ratio = streamrun / reference;
    println!("{name}: streamrun {streamrun:.0} MB/s, loop {reference:.0} MB/s, ratio {ratio:.2} (aim {aim})");
    Ok(())
}

fn check(expected: &Counts, got: &Counts, what: &str) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    let differ = expected.iter().filter(|(word, count)| got.get(*word) != Some(*count)).count();
    Err(format!(
        "the counts {what} are wrong: {} words instead of {}, {differ} missing or with another count",
        got.len(),
        expected.len()
    )
    .into())
}

// The text.

/// SplitMix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1, without 1.
    fn unit(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}

/// The file, alone in its folder; made if it is not there yet.
fn text() -> Result<PathBuf> {
    let mebibytes: u64 = if small() { 8 } else { 256 };
    let folder = std::env::var_os("STREAMRUN_BENCH_DIR")
        .map_or_else(|| std::env::temp_dir().join("streamrun-bench"), PathBuf::from)
        .join(format!("zipf-{mebibytes}MiB"));
    let path = folder.join("words.txt");
    if !path.exists() {
        fs::create_dir_all(&folder)?;
        let unfinished = folder.join(format!(".words.txt.{}", std::process::id()));
        write_text(&unfinished, mebibytes << 20)?;
        fs::rename(&unfinished, &path)?;
    }
    Ok(path)
}

fn write_text(path: &Path, bytes: u64) -> Result<()> {
    let mut random = Random(1);
    let words = vocabulary(&mut random);
    let mut sum = 0.0;
    let up_to: Vec<f64> = (1..=words.len())
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let mut out = BufWriter::with_capacity(CHUNK, File::create(path)?);
    let mut written = 0;
    while written < bytes {
        for place in 0..WORDS_PER_LINE {
            let pick = random.unit() * sum;
            let rank = up_to.partition_point(|end| *end <= pick).min(words.len() - 1);
            out.write_all(&words[rank])?;
            out.write_all(if place + 1 == WORDS_PER_LINE { b"\n" } else { b" " })?;
            written += words[rank].len() as u64 + 1;
        }
    }
    out.into_inner()?.sync_all()?;
    Ok(())
}

/// Different words of 2 to 10 letters, the most frequent one first.
fn vocabulary(random: &mut Random) -> Vec<Vec<u8>> {
    let mut seen = HashSet::new();
    let mut words = Vec::with_capacity(WORDS);
    while words.len() < WORDS {
        let length = 2 + random.below(9);
        let word: Vec<u8> = (0..length).map(|_| b'a' + random.below(26) as u8).collect();
        if seen.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

// The loop.

fn count_words(text: &[u8], counts: &mut Counts) {
    let mut start = 0;
    for end in memchr::memchr2_iter(b' ', b'\n', text).chain(std::iter::once(text.len())) {
        let word = &text[start..end];
        start = end + 1;
        if word.is_empty() {
            continue;
        }
        match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                counts.insert(word.into(), 1);
            }
        }
    }
}

/// Two threads, each with one half of the file.
fn loop_over_file(path: &Path) -> Result<Counts> {
    let end = fs::metadata(path)?.len();
    let middle = next_line(path, end / 2)?;
    thread::scope(|scope| -> Result<Counts> {
        let second = scope.spawn(|| count_range(path, middle, end));
        let mut counts = count_range(path, 0, middle)?;
        for (word, count) in second.join().map_err(|_| "a thread panicked")?? {
            *counts.entry(word).or_insert(0) += count;
        }
        Ok(counts)
    })
}

/// Where the first line begins after the one that `at` lies in.
fn next_line(path: &Path, at: u64) -> Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let skipped = BufReader::new(file).read_until(b'\n', &mut Vec::new())?;
    Ok(at + skipped as u64)
}

fn count_range(path: &Path, start: u64, end: u64) -> Result<Counts> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut input = file.take(end - start);
    let mut counts = Counts::new();
    let mut buffer = vec![0; CHUNK];
    let mut held = 0;
    loop {
        let read = input.read(&mut buffer[held..])?;
        if read == 0 {
            count_words(&buffer[..held], &mut counts);
            return Ok(counts);
        }
        let filled = held + read;
        let whole = memchr::memrchr2(b' ', b'\n', &buffer[..filled]).map_or(0, |at| at + 1);
        count_words(&buffer[..whole], &mut counts);
        buffer.copy_within(whole..filled, 0);
        held = filled - whole;
    }
}

/// Two threads: one reads chunks of whole lines, the other counts.
fn loop_over_socket(path: &Path) -> Result<Counts> {
    let (port, sender) = serve(path)?;
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let (full, chunks) = mpsc::sync_channel::<Vec<u8>>(8);
    let (done, free) = mpsc::channel::<Vec<u8>>();
    let counter = thread::spawn(move || {
        let mut counts = Counts::new();
        for chunk in chunks {
            count_words(&chunk, &mut counts);
            // The reader may have read everything and gone.
            let _ = done.send(chunk);
        }
        counts
    });
    let mut rest: Vec<u8> = Vec::new();
    loop {
        let mut chunk = free.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        chunk[..rest.len()].copy_from_slice(&rest);
        let filled = rest.len() + fill(&mut stream, &mut chunk[rest.len()..])?;
        let ended = filled < CHUNK;
        let whole = if ended { filled } else { memchr::memrchr(b'\n', &chunk).map_or(filled, |at| at + 1) };
        rest.clear();
        rest.extend_from_slice(&chunk[whole..filled]);
        chunk.truncate(whole);
        full.send(chunk)?;
        if ended {
            break;
        }
    }
    drop(full);
    sender.join().map_err(|_| "the sender panicked")??;
    Ok(counter.join().map_err(|_| "the counter panicked")?)
}

/// Reads until the buffer is full or the input ends; how much there was.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Sends the file to the first client; the port.
fn serve(path: &Path) -> Result<(u16, JoinHandle<io::Result<u64>>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let mut file = File::open(path)?;
    let sender = thread::spawn(move || {
        let (mut client, _) = listener.accept()?;
        io::copy(&mut file, &mut client)
    });
    Ok((port, sender))
}

// The pipeline.

const DISCARD: &str = "discard: {}";

fn streamrun_from_file(threads: &Threads, path: &Path, sink: &str) -> Result<Summary> {
    let folder = path.parent().unwrap_or(path);
    run(threads, &pipeline(&format!("directory: {{ path: {} }}", quoted(folder)?), sink))
}

fn streamrun_from_socket(threads: &Threads, path: &Path, sink: &str) -> Result<Summary> {
    let (port, sender) = serve(path)?;
    let summary = run(threads, &pipeline(&format!("socket: {{ host: 127.0.0.1, port: {port} }}"), sink))?;
    sender.join().map_err(|_| "the sender panicked")??;
    Ok(summary)
}

fn pipeline(source: &str, sink: &str) -> String {
    format!(
        r#"
name: wordcount
engine: {{ parallelism: {THREADS} }}
sources:
  lines:
    {source}
transforms:
  - flat_map:
      word: split(value, " ")
  - filter: word != ""
  - reduce_by_key: {{ key: word, values: {{ count: count() }} }}
sinks:
  out:
    {sink}
"#
    )
}

/// A path as a YAML text.
fn quoted(path: &Path) -> Result<String> {
    Ok(serde_json::to_string(&path.to_string_lossy())?)
}

/// Runs a pipeline as `--available-now` does.
fn run(threads: &Threads, text: &str) -> Result<Summary> {
    let plan = engine::plan(text)?;
    let runtime = threads.runtime(Arc::new(SystemClock::start()), true);
    let job = threads.workers.spawn(async move {
        // Nothing is asked, but as long as there is a sender something could be.
        let (_control, asked) = job::control::channel();
        let prepared = job::prepare(plan).await?;
        Job::start(prepared, Options::default(), runtime).await?.run(asked).await
    });
    Ok(threads.workers.block_on(job)??)
}

/// What a run with the sink `files` counts, over all of its batches.
fn counts_of(run: impl Fn(&str) -> Result<Summary>) -> Result<Counts> {
    let folder = tempfile::tempdir()?;
    run(&format!("files: {{ path: {}, format: json }}", quoted(folder.path())?))?;
    let mut counts = Counts::new();
    for batch in fs::read_dir(folder.path())? {
        for part in fs::read_dir(batch?.path())? {
            let part = part?;
            if part.file_name() == "_manifest.json" {
                continue;
            }
            for line in BufReader::new(File::open(part.path())?).lines() {
                let row: serde_json::Value = serde_json::from_str(&line?)?;
                let (Some(word), Some(count)) = (row["word"].as_str(), row["count"].as_u64()) else {
                    return Err(format!("an odd row: {row}").into());
                };
                *counts.entry(word.as_bytes().into()).or_insert(0) += count;
            }
        }
    }
    Ok(counts)
}
