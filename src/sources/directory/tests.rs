use std::fs;
use std::time::{Duration as StdDuration, UNIX_EPOCH};

use arrow::array::AsArray;
use tempfile::TempDir;

use super::*;
use crate::sources::receiver::testing::{ALL, ManualClock, check, context, rows, texts};

struct Folder {
    folder: TempDir,
    context: SourceContext,
    clock: Arc<ManualClock>,
}

impl Folder {
    fn new() -> Self {
        let (context, clock) = context();
        Self { folder: tempfile::tempdir().unwrap(), context, clock }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that was last changed at a second.
    fn write(&self, name: &str, text: &str, second: u64) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + StdDuration::from_secs(second)).unwrap();
    }

    fn reading(&self, pattern: &str) -> Reading {
        self.reading_as(pattern, &InputFormat::default())
    }

    fn reading_as(&self, pattern: &str, format: &InputFormat) -> Reading {
        let path = self.path(pattern).to_str().unwrap().to_owned();
        let decoding = Decoding::new(format, format.decoder().unwrap());
        Reading {
            place: Place::parse(&path).unwrap(),
            path,
            max_files: u64::MAX,
            max_bytes: u64::MAX,
            min_age: 0,
            after: After::Keep,
            decoding: Arc::new(decoding),
        }
    }

    async fn source(&self, reading: Reading) -> DirectorySource {
        self.start(reading, Start::Earliest, None).await
    }

    async fn start(&self, reading: Reading, start: Start, resume: Option<&serde_json::Value>) -> DirectorySource {
        DirectorySource::build(Arc::new(reading), start, &self.context, resume).await.unwrap()
    }
}

/// The lines of the next batch, which is committed.
async fn next(source: &mut DirectorySource, last: &mut serde_json::Value) -> Vec<String> {
    let end = source.latest(ALL).await.unwrap();
    let lines = texts(&source.read(last, &end).await.unwrap());
    source.commit(&end).await.unwrap();
    *last = end;
    lines
}

#[tokio::test]
async fn each_file_once_in_the_order_of_time_then_name() {
    let folder = Folder::new();
    folder.write("b", "2\n", 20);
    folder.write("c", "3", 20);
    folder.write("a", "4\n", 30);
    folder.write("z", "1\n", 10);
    folder.write("empty", "", 10);
    folder.write(".hidden", "no\n", 10);
    folder.write("_SUCCESS", "no\n", 10);
    folder.write("below/a", "no\n", 10);
    let mut source = folder.source(folder.reading("")).await;
    let mut last = source.start();
    assert_eq!(next(&mut source, &mut last).await, ["1", "2", "3", "4"]);
    folder.write("z", "changed\n", 40);
    fs::rename(folder.path(".hidden"), folder.path("old but new")).unwrap();
    assert_eq!(next(&mut source, &mut last).await, ["no"]);
    assert!(next(&mut source, &mut last).await.is_empty());
    assert!(!source.is_finished());
}

#[tokio::test]
async fn a_range_can_be_read_again_until_it_is_committed() {
    let folder = Folder::new();
    folder.write("a", "1\n", 10);
    let mut source = folder.source(folder.reading("")).await;
    let (start, end) = (source.start(), source.latest(ALL).await.unwrap());
    folder.write("b", "2\n", 5);
    let later = source.latest(ALL).await.unwrap();
    assert_eq!(texts(&source.read(&start, &end).await.unwrap()), ["1"]);
    assert_eq!(texts(&source.read(&start, &end).await.unwrap()), ["1"]);
    source.commit(&end).await.unwrap();
    assert!(source.read(&start, &end).await.is_err());
    assert_eq!(texts(&source.read(&end, &later).await.unwrap()), ["2"]);
}

#[tokio::test]
async fn limits_give_several_batches_and_then_the_end() {
    let mut folder = Folder::new();
    folder.context.available_now = true;
    for (second, name) in ["a", "b", "c", "d"].iter().enumerate() {
        folder.write(name, &format!("{name}\n"), second as u64);
    }
    let mut source = folder.source(Reading { max_files: 3, max_bytes: 5, ..folder.reading("") }).await;
    let mut last = source.start();
    assert!(!source.is_finished());
    assert_eq!(next(&mut source, &mut last).await, ["a", "b"]);
    folder.write("late", "late\n", 50);
    assert!(!source.is_finished());
    assert_eq!(next(&mut source, &mut last).await, ["c", "d"]);
    assert!(source.is_finished());
    let mut source = folder.source(Reading { max_files: 1, max_bytes: 1, ..folder.reading("") }).await;
    assert_eq!(next(&mut source, &mut serde_json::json!({ "files": 0 })).await, ["a"]);
}

#[tokio::test]
async fn young_files_wait() {
    let folder = Folder::new();
    folder.write("a", "a\n", 10);
    let mut source = folder.source(Reading { min_age: 5_000, ..folder.reading("") }).await;
    let mut last = source.start();
    folder.clock.turn_to(14_999);
    assert!(next(&mut source, &mut last).await.is_empty());
    folder.clock.turn_to(15_000);
    assert_eq!(next(&mut source, &mut last).await, ["a"]);
}

#[tokio::test]
async fn a_pattern_finds_files_in_folders() {
    let folder = Folder::new();
    folder.write("_in/1/a.txt", "1\n", 10);
    folder.write("_in/2/b.txt", "2\n", 20);
    folder.write("_in/2/b.csv", "no\n", 20);
    folder.write("_in/_temporary/c.txt", "no\n", 20);
    folder.write("_in/.temporary/c.txt", "no\n", 20);
    let mut source = folder.source(folder.reading("_in/*/*.txt")).await;
    let mut last = source.start();
    assert_eq!(next(&mut source, &mut last).await, ["1", "2"]);
}

#[tokio::test]
async fn a_folder_may_come_later() {
    let folder = Folder::new();
    let mut source = folder.source(folder.reading("later")).await;
    let mut last = source.start();
    assert!(next(&mut source, &mut last).await.is_empty());
    folder.write("later/a", "a\n", 10);
    assert_eq!(next(&mut source, &mut last).await, ["a"]);
    let mut file = folder.source(folder.reading("later/a")).await;
    assert_eq!(next(&mut file, &mut serde_json::json!({ "files": 0 })).await, ["a"]);
}

#[tokio::test]
async fn latest_and_resumed_sources_leave_out_what_was_there() {
    let folder = Folder::new();
    folder.write("a", "a\n", 10);
    let mut source = folder.start(folder.reading(""), Start::Latest, None).await;
    let mut last = source.start();
    assert!(next(&mut source, &mut last).await.is_empty());
    folder.write("b", "b\n", 10);
    assert_eq!(next(&mut source, &mut last).await, ["b"]);
    folder.write("c", "c\n", 10);
    source.latest(ALL).await.unwrap();
    let resume = source.position(&last);
    let mut resumed = folder.start(folder.reading(""), Start::Latest, Some(&resume)).await;
    let mut last = resumed.start();
    assert_eq!(next(&mut resumed, &mut last).await, ["c"]);
}

#[tokio::test]
async fn processed_files_are_archived_or_deleted() {
    let folder = Folder::new();
    let archive = folder.path("done");
    folder.write("done/a.txt", "older\n", 1);
    folder.write("a.txt", "a\n", 10);
    let reading = Reading { after: After::Archive(archive.clone()), ..folder.reading("*") };
    let mut source = folder.source(reading).await;
    let mut last = source.start();
    assert_eq!(next(&mut source, &mut last).await, ["a"]);
    assert!(!folder.path("a.txt").exists());
    assert_eq!(fs::read_to_string(archive.join("a-1.txt")).unwrap(), "a\n");
    folder.write("a.txt", "a new one\n", 20);
    assert_eq!(next(&mut source, &mut last).await, ["a new one"]);
    assert!(archive.join("a-2.txt").exists());

    folder.write("b.txt", "b\n", 30);
    let mut source = folder.source(Reading { after: After::Delete, ..folder.reading("") }).await;
    let mut last = source.start();
    assert_eq!(next(&mut source, &mut last).await, ["b"]);
    assert!(!folder.path("b.txt").exists());
}

#[tokio::test]
async fn another_run_cleans_up_and_takes_new_files_of_old_names() {
    let folder = Folder::new();
    folder.write("a", "a\n", 10);
    folder.write("b", "b\n", 10);
    let reading = || Reading { after: After::Delete, ..folder.reading("") };
    let mut source = folder.source(reading()).await;
    let (start, end) = (source.start(), source.latest(ALL).await.unwrap());
    source.read(&start, &end).await.unwrap();
    // The commit is written, and then the process ends.
    let position = source.position(&end);
    fs::remove_file(folder.path("b")).unwrap();
    let mut again = folder.start(reading(), Start::Earliest, Some(&position)).await;
    assert!(!folder.path("a").exists());
    let mut last = again.start();
    assert!(next(&mut again, &mut last).await.is_empty());
    folder.write("a", "a new one\n", 20);
    folder.write("b", "another\n", 21);
    assert_eq!(next(&mut again, &mut last).await, ["a new one", "another"]);
}

#[tokio::test]
async fn what_was_written_after_the_reading_is_not_cleaned_up() {
    let folder = Folder::new();
    for (after, name) in [(After::Delete, "a"), (After::Archive(folder.path("done")), "b")] {
        for (text, second) in [("two lines\n", 10), ("once\n", 20)] {
            folder.write(name, "once\n", 10);
            let mut source = folder.source(Reading { after: after.clone(), ..folder.reading(name) }).await;
            let (start, end) = (source.start(), source.latest(ALL).await.unwrap());
            assert_eq!(texts(&source.read(&start, &end).await.unwrap()), ["once"]);
            folder.write(name, text, second);
            source.commit(&end).await.unwrap();
            assert_eq!(fs::read_to_string(folder.path(name)).unwrap(), text);
            assert_eq!(source.latest(ALL).await.unwrap(), end);
        }
    }
    assert!(!folder.path("done").exists());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn resumed_sources_know_names_that_are_not_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let folder = Folder::new();
    let write = |name: &[u8]| fs::write(folder.folder.path().join(OsStr::from_bytes(name)), name).unwrap();
    write(b"a\xFE");
    write(b"a\xFF");
    write("ä".as_bytes());
    let mut source = folder.source(folder.reading("")).await;
    let mut last = source.start();
    let mut lines = next(&mut source, &mut last).await;
    lines.sort();
    assert_eq!(lines, ["a\u{FFFD}", "a\u{FFFD}", "ä"]);
    write(b"b\xFF");
    let resume = serde_json::from_str(&source.position(&last).to_string()).unwrap();
    let mut resumed = folder.start(folder.reading(""), Start::Earliest, Some(&resume)).await;
    let mut last = resumed.start();
    assert_eq!(next(&mut resumed, &mut last).await, ["b\u{FFFD}"]);
    assert!(next(&mut resumed, &mut last).await.is_empty());
}

/// The reasons of the bad rows of all pieces.
async fn reasons(source: &mut DirectorySource) -> Vec<String> {
    let (start, end) = (source.start(), source.latest(ALL).await.unwrap());
    let mut reasons = Vec::new();
    for block in source.read(&start, &end).await.unwrap() {
        for piece in block.content.open(&[0]).unwrap() {
            reasons.extend(piece.unwrap().bad_rows.samples.into_iter().map(|row| row.reason));
        }
    }
    reasons
}

#[tokio::test]
async fn bad_rows_tell_their_file_and_line() {
    let folder = Folder::new();
    let bad = [1, 2, 9, 40, 99];
    let line = |number| if bad.contains(&number) { "x\n".to_owned() } else { format!("{{\"a\":{number}}}\n") };
    folder.write("a", &(1..100).map(line).collect::<String>(), 10);
    let json = serde_json::from_value(serde_json::json!({ "json": { "schema": { "a": "long" } } })).unwrap();
    for (split_bytes, chunk_bytes) in [(u64::MAX, 1 << 20), (u64::MAX, 7), (100, 30), (1, 1)] {
        let mut reading = folder.reading_as("", &json);
        let decoding = Arc::get_mut(&mut reading.decoding).unwrap();
        (decoding.split_bytes, decoding.chunk_bytes) = (split_bytes, chunk_bytes);
        let reasons = reasons(&mut folder.source(reading).await).await;
        let places: Vec<&str> = reasons.iter().map(|reason| reason.split(": ").next().unwrap()).collect();
        let path = folder.path("a");
        assert_eq!(places, bad.map(|line| format!("line {line} of `{}`", path.display())), "{split_bytes}");
    }

    let folder = Folder::new();
    folder.write("a", "a,b\n1,\"two\nlines\"\n\nx,1\n2,\"y\n", 10);
    let csv = serde_json::json!({ "csv": { "schema": { "a": "int", "b": "string" } } });
    let reading = folder.reading_as("", &serde_json::from_value(csv).unwrap());
    let mut reasons = reasons(&mut folder.source(reading).await).await;
    reasons.sort();
    let path = folder.path("a");
    let expected = ["line 5 of `PATH`: column `a`: no int: `x`", "line 6 of `PATH`: a quote is opened and not closed"];
    assert_eq!(reasons, expected.map(|reason| reason.replace("PATH", path.to_str().unwrap())));
}

#[tokio::test]
async fn ranges_give_every_line_once() {
    let folder = Folder::new();
    let lines: Vec<String> = (0..40).map(|i| "x".repeat(i * 7 % 23)).collect();
    for ending in ["", "\n"] {
        let text = lines.join("\n") + "y" + ending;
        let mut expected = lines.clone();
        expected.last_mut().unwrap().push('y');
        folder.write("a", &text, 10);
        for split_bytes in (1..40).chain([100, 10_000]) {
            for chunk_bytes in [1, 2, 7, 64, 4096] {
                let mut reading = folder.reading("");
                let decoding = Arc::get_mut(&mut reading.decoding).unwrap();
                (decoding.split_bytes, decoding.chunk_bytes) = (split_bytes, chunk_bytes);
                let mut source = folder.source(reading).await;
                let mut last = source.start();
                assert_eq!(next(&mut source, &mut last).await, expected, "{split_bytes} {chunk_bytes} {ending:?}");
            }
        }
    }
}

#[tokio::test]
async fn only_the_length_at_discovery_is_read() {
    let folder = Folder::new();
    folder.write("a", "one\ntw", 10);
    let mut source = folder.source(folder.reading("")).await;
    let (start, end) = (source.start(), source.latest(ALL).await.unwrap());
    folder.write("a", "one\ntwo\nthree\n", 10);
    assert_eq!(texts(&source.read(&start, &end).await.unwrap()), ["one", "tw"]);
    let blocks = source.read(&start, &end).await.unwrap();
    folder.write("a", "on", 10);
    let mut pieces = blocks[0].content.open(&[0]).unwrap();
    assert!(pieces.next().unwrap().unwrap_err().to_string().contains("shorter"));
    assert!(pieces.next().is_none());
    fs::remove_file(folder.path("a")).unwrap();
    let error = blocks[0].content.open(&[0]).err().unwrap().to_string();
    assert!(error.contains("gone"), "{error}");
}

#[tokio::test]
async fn rows_tell_their_file_if_asked() {
    let folder = Folder::new();
    folder.write("a", "1\n2\n", 10);
    let mut source = folder.source(folder.reading("")).await;
    let (start, end) = (source.start(), source.latest(ALL).await.unwrap());
    let blocks = source.read(&start, &end).await.unwrap();
    let path = folder.path("a").to_str().unwrap().to_owned();
    for columns in [&[0, 1][..], &[1][..]] {
        for batch in rows(&blocks, columns) {
            assert_eq!(batch.num_columns(), columns.len());
            let files = batch.column_by_name("file").unwrap().as_string_view();
            assert_eq!(files.iter().collect::<Vec<_>>(), [Some(path.as_str()); 2]);
        }
    }
    assert_eq!(rows(&blocks, &[]).iter().map(|batch| batch.num_rows()).sum::<usize>(), 2);
}

#[test]
fn settings_are_checked() {
    for (yaml, code) in [
        ("{ path: ./logs }", None),
        ("{ path: ./logs, clean: none, start: latest, min_age: 5s }", None),
        ("{ path: ./logs, clean: archive, archive: ./done }", None),
        ("{ path: ./logs, clean: archive }", Some("SR0202")),
        ("{ path: ./logs, clean: archive, archive: logs/ }", Some("SR0204")),
        ("{ path: ./logs, archive: ./done }", Some("SR0209")),
        ("{ path: ./logs, max_files_per_batch: 0 }", Some("SR0204")),
        ("{ path: 's3://bucket/logs' }", Some("SR0204")),
        ("{ path: '/data/***' }", Some("SR0204")),
        ("{ path: '' }", Some("SR0204")),
    ] {
        let (checked, findings) = check::<Directory>(yaml);
        assert_eq!(findings.first().map(|finding| finding.code.name()), code, "{yaml}");
        assert_eq!(checked.is_some(), code.is_none(), "{yaml}");
    }
    let names = |yaml| check::<Directory>(yaml).0.unwrap().schema.to_string();
    assert_eq!(names("{ path: a }"), "(value: string, file: string)");
    assert_eq!(names("{ path: a, format: { json: { schema: { file: long } } } }"), "(file: long)");
}
