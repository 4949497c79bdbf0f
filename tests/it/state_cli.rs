//! `streamrun state` and `streamrun checkpoint` on the checkpoints that real runs have left.

use std::fs::{self, File};
use std::path::Path;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Running, run_in, stderr, stdout, write};

const PIPELINE: &str = r#"
name: wordcount
batch_interval: 1s
checkpoint: { path: ./checkpoints }

sources:
  lines: { directory: { path: in, max_files_per_batch: 1 } }

streams:
  counts:
    from: lines
    transforms:
      - flat_map: { word: 'split(value, " ")' }
      - update_state_by_key: { key: word, state: { count: count() } }
        reload: { on_state_change: reset }
  files:
    from: lines
    transforms:
      - map_with_state: { key: [value, file], state: { count: count() } }
  recent:
    from: lines
    transforms:
      - window: { length: 1h }

sinks:
  counts: { from: counts, discard: {} }
  files: { from: files, discard: {} }
  recent: { from: recent, discard: {} }
"#;

const COUNTS: &str = "counts/update_state_by_key";
const FILES: &str = "files/map_with_state";
const WINDOW: &str = "recent/window";

/// A folder with a pipeline that has processed two files, each in a batch.
fn after_a_run() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "p.yaml", PIPELINE);
    write(folder.path(), "in/a.txt", "spark hadoop\nspark\n");
    write(folder.path(), "in/b.txt", "flink spark\nsolr\n");
    run(folder.path(), &[]);
    folder
}

fn run(folder: &Path, options: &[&str]) {
    let output = run_in(folder, &[&["p.yaml", "--available-now"][..], options].concat());
    assert!(output.status.success(), "{}", stderr(&output));
}

/// What a command prints to standard output and to standard error, where it ends with this code.
fn ask(folder: &Path, code: i32, args: &[&str]) -> (String, String) {
    let output = run_in(folder, args);
    let texts = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{}{}", texts.0, texts.1);
    texts
}

/// The same where nothing goes to standard error.
fn answer(folder: &Path, args: &[&str]) -> String {
    let (answer, errors) = ask(folder, 0, args);
    assert_eq!(errors, "", "{args:?}");
    answer
}

/// The rows of a table, its header first.
fn table(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.map(|row| row.split('|').map(str::trim).collect()).collect()
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn cut(folder: &Path, file: &str, length: usize) {
    let file = folder.join("checkpoints/wordcount").join(file);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..length]).unwrap();
}

const FIRST_COMMIT: &str = "commits/00000000000000000000";
const LAST_COMMIT: &str = "commits/00000000000000000001";

#[test]
fn list_shows_the_steps_with_state() {
    let folder = after_a_run();
    let list = answer(folder.path(), &["state", "list", "checkpoints/wordcount"]);
    // There is one checkpoint in that folder, so it is the one that is meant.
    assert_eq!(answer(folder.path(), &["state", "list", "checkpoints"]), list);
    let rows = table(&list);
    assert_eq!(rows[0], ["step", "kind", "entries", "size", "key", "batch", "time"]);
    let shown: Vec<_> = rows[1..].iter().map(|row| (row[0], row[1], row[2], row[4], row[5])).collect();
    let expected = [
        (COUNTS, "state per key", "4", "word", "1"),
        (FILES, "state per key", "4", "value, file", "1"),
        (WINDOW, "rows of a window", "4", "", "1"),
    ];
    assert_eq!(shown, expected);
    assert!(rows[1..].iter().all(|row| row[3].contains('B') && row[6].ends_with('Z')), "{list}");
}

#[test]
fn show_folds_what_was_written() {
    let folder = after_a_run();
    let shown = answer(folder.path(), &["state", "show", "checkpoints", COUNTS]);
    let rows = table(&shown);
    assert_eq!(rows[0], ["word", "count()", "last touched"]);
    let counts: Vec<_> = rows[1..].iter().map(|row| (row[0], row[1])).collect();
    assert_eq!(counts, [("flink", "1"), ("hadoop", "1"), ("solr", "1"), ("spark", "3")]);
    assert!(rows[1..].iter().all(|row| row[2].starts_with("20") && row[2].ends_with('Z')), "{shown}");

    let few = answer(folder.path(), &["state", "show", "checkpoints", COUNTS, "--limit", "2"]);
    assert!(table(&few).len() == 3 && few.ends_with("only the first 2 of 4 rows are shown\n"), "{few}");
    let few = ["state", "show", "checkpoints", COUNTS, "--limit", "2", "--format", "json"];
    let (few, note) = ask(folder.path(), 0, &few);
    let few = json_lines(&few);
    assert_eq!((few.len(), &few[1]["word"], &few[1]["count()"]), (2, &json!("hadoop"), &json!(1)));
    assert_eq!(note, "only the first 2 of 4 rows are shown\n");

    let window = answer(folder.path(), &["state", "show", "checkpoints", WINDOW]);
    let rows = table(&window);
    assert_eq!((rows[0].as_slice(), rows.len()), (["value", "file", "pane end"].as_slice(), 5));
    assert_eq!(rows[1][..2], ["spark hadoop", "in/a.txt"]);
}

#[test]
fn get_finds_a_key() {
    let folder = after_a_run();
    let found = answer(folder.path(), &["state", "get", "checkpoints", COUNTS, "spark", "--format", "json"]);
    let found = json_lines(&found);
    assert_eq!((found.len(), &found[0]["count()"]), (1, &json!(3)));
    for key in ["spark hadoop,in/a.txt", r#"["spark hadoop", "in/a.txt"]"#] {
        let found = answer(folder.path(), &["state", "get", "checkpoints", FILES, key]);
        assert_eq!(table(&found)[1][..3], ["spark hadoop", "in/a.txt", "1"]);
    }
    let (_, error) = ask(folder.path(), 1, &["state", "get", "checkpoints", COUNTS, "sprak"]);
    let expected = "there is no key `sprak` in the state of `counts/update_state_by_key`\nhelp: near it are `spark`";
    assert!(error.contains(expected), "{error}");
    let (_, error) = ask(folder.path(), 2, &["state", "get", "checkpoints", FILES, "spark"]);
    assert!(error.contains("has 2 columns (value, file)"), "{error}");
    let (_, error) = ask(folder.path(), 2, &["state", "get", "checkpoints", WINDOW, "spark"]);
    assert!(error.contains("`recent/window` has no key"), "{error}");
    ask(folder.path(), 1, &["state", "get", "checkpoints", COUNTS, "-1"]);
}

#[test]
fn export_writes_all_rows() {
    let folder = after_a_run();
    let export =
        |options: &[&str]| answer(folder.path(), &[&["state", "export", "checkpoints", COUNTS][..], options].concat());
    let lines = export(&[]);
    assert_eq!(json_lines(&lines).len(), 4);
    assert_eq!(export(&["--output", "rows.json"]), "4 rows written to rows.json\n");
    assert_eq!(fs::read_to_string(folder.path().join("rows.json")).unwrap(), lines);
    assert_eq!(table(&export(&["--format", "table"])).len(), 5);

    export(&["--format", "parquet", "--output", "rows.parquet"]);
    let file = File::open(folder.path().join("rows.parquet")).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 4);
    let schema = batches[0].schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["word", "count()", "last touched"]);
    let (_, error) = ask(folder.path(), 2, &["state", "export", "checkpoints", COUNTS, "--format", "parquet"]);
    assert!(error.contains("--output"), "{error}");
    let nowhere = ["state", "export", "checkpoints", COUNTS, "--output", "not/there.json"];
    let (_, error) = ask(folder.path(), 1, &nowhere);
    assert!(error.contains("cannot write `not/there.json`"), "{error}");
}

#[test]
fn states_that_were_saved_are_shown_too() {
    let folder = after_a_run();
    write(folder.path(), "p.yaml", &PIPELINE.replacen("{ count: count() }", "{ longest: max(length(word)) }", 1));
    write(folder.path(), "in/c.txt", "beam\n");
    run(folder.path(), &[]);
    let list = answer(folder.path(), &["state", "list", "checkpoints"]);
    let rows = table(&list);
    let saved = "saved/step-counts-update_state_by_key-1";
    let line = rows.iter().find(|row| row[0] == saved).unwrap_or_else(|| panic!("{list}"));
    assert_eq!((line[2], line[4], line[5], line[6]), ("4", "word", "1", ""));
    assert_eq!(table(&answer(folder.path(), &["state", "get", "checkpoints", saved, "spark"]))[1][1], "3");
    let now = answer(folder.path(), &["state", "show", "checkpoints", COUNTS]);
    assert_eq!(table(&now)[1][..2], ["beam", "4"]);
    assert!(answer(folder.path(), &["checkpoint", "verify", "checkpoints"]).contains("none is damaged"));
}

#[test]
fn info_says_how_far_it_is() {
    let folder = after_a_run();
    let info = answer(folder.path(), &["checkpoint", "info", "checkpoints"]);
    for part in [
        "pipeline  wordcount\n",
        "in use    no\n",
        "last      batch 1, 20",
        "planned   nothing that is not committed\n",
        "files     4 files, ",
        "  lines (directory): 2 files of `in`\n",
        "  counts/update_state_by_key (state per key): 4 entries, ",
    ] {
        assert!(info.contains(part), "{part}\n{info}");
    }
    let info = answer(folder.path(), &["checkpoint", "info", "checkpoints", "--format", "json"]);
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!((&info["pipeline"], &info["last"]["batch"]), (&json!("wordcount"), &json!(1)));
    assert_eq!((&info["in_use_by"], &info["planned"], &info["problems"]), (&Value::Null, &json!([]), &json!([])));
    assert_eq!((&info["sources"][0]["name"], &info["steps"][0]["entries"]), (&json!("lines"), &json!(4)));
}

#[test]
fn verify_says_what_is_damaged_and_where_it_goes_on() {
    let folder = after_a_run();
    let verify = |code: i32| ask(folder.path(), code, &["checkpoint", "verify", "checkpoints"]).0;
    let whole = verify(0);
    assert!(whole.starts_with("4 files checked, none is damaged\n"), "{whole}");
    assert!(whole.contains("can be continued from batch 2, with the state of batch 1, 20"), "{whole}");

    cut(folder.path(), LAST_COMMIT, 100);
    let damaged = verify(1);
    for part in [
        &*format!("{LAST_COMMIT} is cut off after 100 bytes\n"),
        "4 files checked, 1 damaged\n",
        "can be continued from batch 1, with the state of batch 0, 20",
        "; 1 batch that had been planned is run again\n",
    ] {
        assert!(damaged.contains(part), "{part}\n{damaged}");
    }
    let (verdict, _) = ask(folder.path(), 1, &["checkpoint", "verify", "checkpoints", "--format", "json"]);
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    assert_eq!(
        (&verdict["whole"], &verdict["can_continue"], &verdict["next"]),
        (&json!(false), &json!(true), &json!(1))
    );
    assert_eq!((&verdict["damaged"][0]["file"], &verdict["damaged"][0]["bytes"]), (&json!(LAST_COMMIT), &json!(100)));
    // The state is that of the batch before.
    let (shown, warning) = ask(folder.path(), 0, &["state", "show", "checkpoints", COUNTS]);
    assert_eq!(table(&shown)[2][..2], ["spark", "2"]);
    assert!(warning.contains("the checkpoint is damaged; this is the state of batch 0\n"), "{warning}");
    let (_, error) = ask(folder.path(), 1, &["checkpoint", "prune", "checkpoints", "--keep", "0"]);
    assert!(error.contains("is damaged") && error.contains("nothing was deleted"), "{error}");

    cut(folder.path(), FIRST_COMMIT, 100);
    let damaged = verify(1);
    assert!(
        damaged.contains("from batch 0, without any state; 2 batches that had been planned are run again"),
        "{damaged}"
    );
    cut(folder.path(), "offsets/00000000000000000000", 10);
    let damaged = verify(1);
    assert!(damaged.ends_with("the checkpoint cannot be continued\n"), "{damaged}");
    let (_, error) = ask(folder.path(), 1, &["state", "list", "checkpoints"]);
    assert!(error.contains("cannot be continued"), "{error}");

    fs::remove_file(folder.path().join("checkpoints/wordcount/metadata")).unwrap();
    let damaged = verify(1);
    assert!(damaged.contains("metadata` is missing"), "{damaged}");
}

#[test]
fn what_is_not_there_is_said() {
    let folder = after_a_run();
    let error = |args: &[&str]| ask(folder.path(), 2, args).1;
    let absent = error(&["state", "list", "nowhere"]);
    assert!(absent.contains("there is no checkpoint at `nowhere`"), "{absent}");
    let absent = error(&["checkpoint", "verify", "in"]);
    assert!(absent.contains("there is no checkpoint at `in`"), "{absent}");
    let no_folder = error(&["checkpoint", "info", "p.yaml"]);
    assert!(no_folder.contains("cannot look into `p.yaml`"), "{no_folder}");
    let unknown = error(&["state", "show", "checkpoints", "counts/update_state_by_ky"]);
    assert!(unknown.contains("did you mean `counts/update_state_by_key`?"), "{unknown}");

    run(folder.path(), &["--set", "name=again"]);
    let several = error(&["state", "list", "checkpoints"]);
    let expected = "`checkpoints` holds 2 checkpoints: `checkpoints/again`, `checkpoints/wordcount`; name one of them";
    assert!(several.contains(expected), "{several}");
    answer(folder.path(), &["state", "list", "checkpoints/again"]);
}

const TICKS: &str = "
name: ticks
batch_interval: 100ms
checkpoint: { path: ./checkpoints }
sources: { in: { rate: { rows_per_second: 200 } } }
transforms:
  - update_state_by_key: { key: { rest: counter % 3 }, state: { n: count() } }
sinks: { out: { discard: {} } }
";

#[test]
fn a_pipeline_may_run_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "p.yaml", TICKS);
    let running = Running::start(folder.path(), &["p.yaml"]);
    running.wait_for_log("batch=3");
    let shown = answer(folder.path(), &["state", "show", "checkpoints", "update_state_by_key"]);
    let keys: Vec<_> = table(&shown)[1..].iter().map(|row| row[0]).collect();
    assert_eq!(keys, ["0", "1", "2"]);
    assert_eq!(table(&answer(folder.path(), &["state", "get", "checkpoints", "update_state_by_key", "2"])).len(), 2);
    let info = answer(folder.path(), &["checkpoint", "info", "checkpoints"]);
    assert!(info.contains("in use    by process "), "{info}");
    answer(folder.path(), &["checkpoint", "verify", "checkpoints"]);
    let (_, error) = ask(folder.path(), 1, &["checkpoint", "prune", "checkpoints", "--keep", "0"]);
    assert!(error.contains("is in use by process "), "{error}");
    running.signal("TERM");
    assert_eq!(running.finish().0, 0);

    let pruned = answer(folder.path(), &["checkpoint", "prune", "checkpoints", "--keep", "0"]);
    assert!(pruned.contains(" deleted (") && !pruned.starts_with("0 files"), "{pruned}");
    let offsets = fs::read_dir(folder.path().join("checkpoints/ticks/offsets")).unwrap().count();
    assert_eq!(offsets, 1, "{pruned}");
    answer(folder.path(), &["checkpoint", "verify", "checkpoints"]);
    let again = answer(folder.path(), &["checkpoint", "prune", "checkpoints", "--keep", "0"]);
    assert!(again.starts_with("0 files deleted (0 B), "), "{again}");
}
