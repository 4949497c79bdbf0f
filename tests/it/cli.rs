//! The program as a user meets it.

use crate::support::{Running, TextServer, free_port, run_in, send, stderr, stdout, streamrun, write};

const WORDCOUNT: &str = r#"name: wordcount
batch_interval: 200ms
sources:
  lines:
    socket: { host: localhost, port: 9999 }
transforms:
  - flat_map:
      word: split(value, " ")
  - filter: word != ""
  - reduce_by_key: { key: word, values: { count: count() } }
sinks:
  out:
    console: {}
"#;

#[test]
fn word_count_with_a_feed_and_nothing_else_running() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "wordcount.yaml", WORDCOUNT);
    write(folder.path(), "words.txt", "spark hadoop\nspark\n");
    let port = format!("sources.lines.socket.port={}", free_port());
    let output = run_in(folder.path(), &["wordcount.yaml", "--feed", "words.txt", "--available-now", "--set", &port]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    let rule = "-".repeat(43);
    assert_eq!((lines[0], lines[2]), (rule.as_str(), rule.as_str()));
    assert!(lines[1].starts_with("Time: ") && lines[1].ends_with("00 ms"), "{text}");
    let mut rows = vec![lines[3], lines[4]];
    rows.sort_unstable();
    assert_eq!(rows, ["(hadoop,1)", "(spark,2)"]);
    assert_eq!(lines[5..], [""]);
}

#[test]
fn what_was_received_before_a_stop_is_processed() {
    let folder = tempfile::tempdir().unwrap();
    let server = TextServer::start();
    let text = WORDCOUNT.replace("9999", &server.port().to_string()).replace("200ms", "1h");
    write(folder.path(), "wordcount.yaml", &text);
    let running = Running::start(folder.path(), &["wordcount.yaml", "-v"]);
    let mut client = server.accept();
    running.wait_for_log("connected");
    send(&mut client, "late late\nlast");
    drop(client);
    // The server closed: what it sent has arrived.
    running.wait_for_log("closed");
    running.signal("TERM");
    running.wait_for("(late,2)", |line| line == "(late,2)" || line == "(last,1)");
    let (code, left) = running.finish();
    assert_eq!(code, 0);
    assert!(left.iter().any(|line| line == "(late,2)" || line == "(last,1)"), "{left:?}");
}

#[test]
fn exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "bad.yaml", "sources: 1");
    write(
        folder.path(),
        "rows.yaml",
        "sources: { in: { rows: { values: [a, b] } } }\nsinks: { out: { console: { format: json } } }\n",
    );
    write(
        folder.path(),
        "fails.yaml",
        "sources: { in: { rows: { values: ['{', '{}'] } } }\ntransforms:\n  - parse: { json: { schema: { a: int } } }\nsinks: { out: { discard: {} } }\n",
    );
    write(
        folder.path(),
        "rows.test.yaml",
        "pipeline: rows.yaml\ntests:\n  - name: wrong\n    batches:\n      - { input: { in: [a] }, expect: { out: [{ value: b }] } }\n",
    );
    for (args, code) in [
        (vec!["rows.yaml"], 0),
        (vec!["bad.yaml"], 78),
        (vec!["validate", "bad.yaml"], 78),
        (vec!["validate", "rows.yaml"], 0),
        (vec!["fails.yaml"], 1),
        (vec!["nothing.yaml"], 2),
        (vec!["--no-such-option"], 2),
        (vec!["test", "rows.test.yaml"], 3),
        (vec!["explain", "SR0201"], 0),
        (vec!["explain", "SR9999"], 2),
        (vec!["list"], 0),
        (vec!["schema"], 0),
        (vec!["rows.yaml", "--feed", "rows.yaml"], 2),
    ] {
        let output = run_in(folder.path(), &args);
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{}{}", stdout(&output), stderr(&output));
    }
    assert_eq!(stdout(&run_in(folder.path(), &["rows.yaml"])), "{\"value\":\"a\"}\n{\"value\":\"b\"}\n");
    assert!(stderr(&run_in(folder.path(), &["valdate", "x"])).contains("validate"));
}

#[test]
fn bad_rows_fail_with_the_row_or_are_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let text = "sources: { in: { rows: { values: ['{\"a\": 1}', 'nonsense', '{\"a\": 2}'] } } }\ntransforms:\n  - parse: { json: { schema: { a: int } } }\nsinks: { out: { console: { format: json } } }\n";
    write(folder.path(), "p.yaml", text);
    let output = run_in(folder.path(), &["p.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let log = stderr(&output);
    assert!(
        log.contains("`parse` cannot decode a row") && log.contains("nonsense") && log.contains("on_error: skip"),
        "{log}"
    );
    let output = run_in(folder.path(), &["p.yaml", "--set", "on_error=skip"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), "{\"a\":1}\n{\"a\":2}\n");
    assert!(stderr(&output).contains("rows=1"), "{}", stderr(&output));
}

#[test]
fn run_for_and_batches_end_a_run() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "p.yaml",
        "batch_interval: 50ms\nsources: { in: { rate: { rows_per_second: 100 } } }\nsinks: { out: { discard: {} } }\n",
    );
    assert_eq!(run_in(folder.path(), &["p.yaml", "--batches", "3"]).status.code(), Some(0));
    assert_eq!(run_in(folder.path(), &["p.yaml", "--run-for", "300ms"]).status.code(), Some(0));
    assert_eq!(run_in(folder.path(), &["p.yaml", "--run-for", "300"]).status.code(), Some(2));
}

#[test]
fn log_lines_as_json() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "p.yaml", "sources: { in: { rows: { values: [a] } } }\nsinks: { out: { discard: {} } }\n");
    let output = run_in(folder.path(), &["p.yaml", "--log-format", "json"]);
    let log = stderr(&output);
    let batches: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .filter(|event: &serde_json::Value| event["message"] == "batch done")
        .collect();
    assert_eq!(batches.len(), 1, "{log}");
    assert_eq!((&batches[0]["rows_in"], &batches[0]["rows_out"]), (&serde_json::json!(1), &serde_json::json!(1)));
}

#[test]
fn files_of_a_directory_are_read_once_each_and_written_whole() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "in/a.txt", "one\ntwo\n");
    write(folder.path(), "in/b.txt", "three");
    write(folder.path(), "in/.hidden", "no\n");
    write(folder.path(), "in/_temporary", "no\n");
    write(
        folder.path(),
        "p.yaml",
        "sources: { in: { directory: { path: in, max_files_per_batch: 1 } } }\nsinks: { out: { files: { path: out, format: text } } }\ntransforms:\n  - select: [value]\n",
    );
    let output = run_in(folder.path(), &["p.yaml", "--available-now"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let mut batches: Vec<_> =
        std::fs::read_dir(folder.path().join("out")).unwrap().flatten().map(|entry| entry.path()).collect();
    batches.sort();
    assert_eq!(batches.len(), 2, "{batches:?}");
    let mut lines = Vec::new();
    for batch in batches {
        assert!(batch.file_name().unwrap().to_string_lossy().starts_with("batch="));
        for file in std::fs::read_dir(batch).unwrap().flatten() {
            if file.file_name() == "_manifest.json" {
                continue;
            }
            lines.extend(std::fs::read_to_string(file.path()).unwrap().lines().map(str::to_owned));
        }
    }
    lines.sort();
    assert_eq!(lines, ["one", "three", "two"]);
}

#[test]
fn validate_formats() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "bad.yaml", "sources: { in: { sockt: {} } }\nsinks: { out: { console: {} } }\n");
    for (format, text) in [
        ("json", "\"code\": \"SR0205\""),
        ("github", "::error file=bad.yaml,line=1"),
        ("sarif", "\"ruleId\": \"SR0205\""),
        ("junit", "<testsuite"),
        ("human", "did you mean `socket`?"),
    ] {
        let output = run_in(folder.path(), &["validate", "bad.yaml", "--format", format]);
        assert!(stdout(&output).contains(text), "{format}: {}", stdout(&output));
    }
    write(
        folder.path(),
        "unused.yaml",
        "sources: { a: { rate: { rows_per_second: 1 } }, b: { rate: { rows_per_second: 1 } } }\nstreams: { s: { from: a } }\nsinks: { out: { discard: {} } }\n",
    );
    assert_eq!(run_in(folder.path(), &["validate", "unused.yaml"]).status.code(), Some(0));
    assert_eq!(run_in(folder.path(), &["validate", "unused.yaml", "--strict"]).status.code(), Some(78));
}

#[test]
fn explain_hides_what_was_filled_in() {
    let folder = tempfile::tempdir().unwrap();
    let text = "sources: { in: { rows: { values: [a] } } }\ntransforms:\n  - filter: 'value != \"${env:SR_SECRET}\"'\n  - with_columns:\n      shout: upper(\"${env:SR_SECRET}\")\n      sum: length(value) + ${env:SR_NUMBER}\n  - sql: select *, '${env:SR_SECRET}' as secret from stream\nsinks: { out: { discard: {} } }\n";
    write(folder.path(), "p.yaml", text);
    let explain = |file: &str| {
        let mut command = streamrun(&["explain", file]);
        let output = command.current_dir(folder.path()).env("SR_SECRET", "hunter2").env("SR_NUMBER", "4711").output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let plan = explain("p.yaml");
    assert!(plan.contains("FilterExec: value@0 != ***"), "{plan}");
    for hidden in ["hunter2", "HUNTER2", "4711"] {
        assert!(!plan.contains(hidden), "{plan}");
    }
    write(folder.path(), "q.yaml", &text.replace("${env:SR_SECRET}", "open").replace("${env:SR_NUMBER}", "4711"));
    let plan = explain("q.yaml");
    assert!(plan.contains("FilterExec: value@0 != open") && plan.contains("4711"), "{plan}");
}

#[test]
fn findings_hide_what_was_filled_in() {
    let folder = tempfile::tempdir().unwrap();
    let text = "sources: { in: { socket: { listen: '${env:SR_SECRET}' } } }\ntransforms:\n  - filter: value == ${env:SR_SECRET} || valeu == 1\n  - parse: { column: '${env:SR_SECRET}', csv: { schema: { a: int } } }\n  - sql: select ${env:SR_SECRET} from stream\nsinks: { out: { discard: {} } }\n";
    write(folder.path(), "p.yaml", text);
    let mut command = streamrun(&["validate", "p.yaml"]);
    let output = command.current_dir(folder.path()).env("SR_SECRET", "hunter2").output().unwrap();
    let out = stdout(&output);
    assert!(out.contains("there is no column `...`") && out.contains("`...` is no address"), "{out}");
    assert!(!out.contains("hunter2"), "{out}");
}

#[test]
fn findings_about_a_value_of_the_command_line_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "batch_interval: 1s\nsources: { in: { rows: { values: [a] } } }\nsinks: { out: { discard: {} } }\n";
    write(folder.path(), "p.yaml", text);
    let validate = |set: &[&str]| {
        let set = set.iter().flat_map(|set| ["--set", *set]);
        let args: Vec<&str> = ["validate", "p.yaml"].into_iter().chain(set).collect();
        let output = run_in(folder.path(), &args);
        assert_eq!(output.status.code(), Some(78));
        stdout(&output)
    };
    let out = validate(&["batch_interval=0s", "sources.in.rows.per_batch=x", "engine.x.y=1", "sinks.9.z=1"]);
    for message in [
        "`--set batch_interval=0s`: the batch interval must be positive\n--> p.yaml\n",
        "`--set sources.in.rows.per_batch=x`: expected a whole number, found `x`\n",
        "`--set engine.x.y=1`: the key `x` is not known here\n",
        "`--set sinks.9.z=1`: there is no sink `z`\n",
    ] {
        assert!(out.contains(message), "{message}\n{out}");
    }
    assert!(!out.contains(" | "), "{out}");
    let out = validate(&["sources.in.rows.password=hunter2"]);
    assert!(out.contains("`--set sources.in.rows.password=...`: ") && !out.contains("hunter2"), "{out}");
}

#[test]
fn list_shows_kinds_and_their_settings() {
    let folder = tempfile::tempdir().unwrap();
    let list = |names: &[&str]| {
        let output = run_in(folder.path(), &[&["list"][..], names].concat());
        assert!(output.status.success(), "{names:?}: {}", stderr(&output));
        stdout(&output)
    };
    let overview = list(&[]);
    for part in ["  host, port, listen, format, max_line", "  path (required), format", "\n  split(text, separator)"] {
        assert!(overview.contains(part), "{part}\n{overview}");
    }
    let all = list(&["socket", "parse", "limit", "filter", "csv", "split"]);
    for part in [
        "socket (source): lines of text over TCP",
        "\n  port: whole number from 1 to 65535, optional\n",
        "\n  max_line: size, default `1MiB`\n",
        "\n  format: text | json | csv | parquet, optional\n",
        "\n    on_error: fail | skip, optional\n",
        "\n  needed: json, or csv, or regex\n",
        "\n  value: whole number of at least 0\n",
        "\n  value: expression\n",
        "\n    schema: mapping of names to type or text, required\n",
        "split(text, separator) (function): ",
    ] {
        assert!(all.contains(part), "{part}\n{all}");
    }
    let sources = list(&["sources"]);
    let (kinds, steps, sinks) = streamrun::plan::kinds();
    for kind in &kinds {
        assert!(sources.contains(&format!("{kind} (source): ")), "{sources}");
    }
    for kind in kinds.into_iter().chain(steps).chain(sinks) {
        assert!(list(&[kind]).starts_with(kind));
    }
    let output = run_in(folder.path(), &["list", "sockt"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `socket`?"), "{}", stderr(&output));
}
