//! What `validate` says, and what it leaves unsaid.

use std::time::{Duration, Instant};

use crate::support::{run_in, stderr, stdout, write};

const SOURCE: &str = "sources: { in: { rows: { values: [{ a: x }] } } }\n";
const SINK: &str = "sinks: { out: { discard: {} } }\n";

/// The codes of the findings, in order, and the whole output.
fn codes(text: &str) -> (Vec<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "p.yaml", text);
    let out = stdout(&run_in(folder.path(), &["validate", "p.yaml", "--format", "json"]));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let findings = report["findings"].as_array().unwrap();
    (findings.iter().map(|it| it["code"].as_str().unwrap().to_owned()).collect(), out)
}

#[test]
fn test_files_are_checked_as_test_files() {
    let folder = tempfile::tempdir().unwrap();
    let test =
        |pipeline: &str, batch: &str| format!("pipeline: {pipeline}\ntests: [{{ name: t, batches: [{batch}] }}]\n");
    write(folder.path(), "a.yaml", &format!("{SOURCE}{SINK}"));
    write(folder.path(), "a.test.yaml", &test("a.yaml", "{ expect: { out: [] } }"));
    write(folder.path(), "b.test.yaml", &test("gone.yaml", "{}"));
    write(folder.path(), "c.test.yaml", &test("a.yaml", "{}"));
    let output = run_in(folder.path(), &["validate", "a.yaml", "a.test.yaml"]);
    assert_eq!(stdout(&output), "2 files are valid\n");
    let output = run_in(folder.path(), &["validate", "b.test.yaml", "c.test.yaml"]);
    assert_eq!(output.status.code(), Some(78));
    let out = stdout(&output);
    assert!(out.contains("SR0701") && out.contains("a test that expects nothing tests nothing"), "{out}");
    let output = run_in(folder.path(), &["a.test.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("run it with `streamrun test a.test.yaml`"), "{}", stderr(&output));
    for path in ["a.yaml", "a.test.*", "a*.yaml"] {
        let output = run_in(folder.path(), &["test", path]);
        assert_eq!(output.status.code(), Some(0), "{path}: {}{}", stdout(&output), stderr(&output));
    }
}

#[test]
fn what_never_ends_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.yaml")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(folder.path().join("pipe.yaml")).status().unwrap();
    assert!(pipe.success());
    for path in ["zero.yaml", "pipe.yaml", "."] {
        let output = run_in(folder.path(), &["validate", path]);
        assert!(stdout(&output).contains("it is no regular file"), "{path}: {}", stdout(&output));
    }
}

#[test]
fn one_mistake_is_one_finding() {
    let join = |settings: &str| {
        format!(
            "sources:\n  l: {{ rows: {{ values: [{{ id: 1, n: a }}] }} }}\n  r: {{ rows: {{ values: [{{ id: 1, n: b }}] }} }}\nstreams:\n  j: {{ from: l, transforms: [{{ join: {{ with: r, {settings} }} }}] }}\nsinks: {{ out: {{ from: j, discard: {{}} }} }}\n"
        )
    };
    for (text, code) in [
        ("sources: { a: { rate: { rows_per_second: 1 } }, users: { nokind: {} } }\nstreams:\n  s: { from: users, transforms: [{ union: [a] }, { sql: select * from users }] }\nsinks: { out: { from: s, discard: {} } }\n".to_owned(), "SR0205"),
        (format!("{SOURCE}transforms:\n  - filter: a == ${{env:SR_NOT_SET}}\n{SINK}"), "SR0106"),
        (format!("{SOURCE}transforms:\n  - filter: ${{foo}}\n{SINK}"), "SR0107"),
        (join("key: idd"), "SR0501"),
        (join("key: id, how: left"), "SR0205"),
        (format!("{SOURCE}transforms:\n  - filter\n{SINK}"), "SR0203"),
        (format!("{SOURCE}transforms:\n  - select: []\n{SINK}"), "SR0204"),
        (format!("name: a/b\n{SOURCE}{SINK}"), "SR0204"),
        (format!("{SOURCE}sinks: {{}}\n"), "SR0203"),
    ] {
        let (found, out) = codes(&text);
        assert!(!found.is_empty() && found.iter().all(|it| it == code), "{text}\n{out}");
    }
    assert!(codes(&join("key: id, how: left")).1.contains("did you mean `left_outer`?"));
    assert!(codes(&format!("{SOURCE}transforms:\n  - filter\n{SINK}")).1.contains("the value of `filter` is missing"));
    assert!(codes(&format!("{SOURCE}sinks: {{}}\n")).1.contains("`sinks` is empty"));
}

#[test]
fn several_mistakes_of_a_kind_are_found_at_once() {
    let circles = "sources: { in: { rate: { rows_per_second: 1 } } }\nstreams:\n  a: { from: b }\n  b: { from: a }\n  c: { from: c }\nsinks: { out: { from: a, discard: {} } }\n";
    let (found, out) = codes(circles);
    assert_eq!(found.iter().filter(|code| *code == "SR0303").count(), 2, "{out}");
    let (found, out) = codes(&format!("name: ${{env:SR_NOT_SET}}${{env:SR_NEITHER}}\n{SOURCE}{SINK}"));
    assert_eq!(found, ["SR0106", "SR0106"], "{out}");
}

#[test]
fn traps_get_advice() {
    for (text, advice) in [
        (format!("{SOURCE}transforms:\n  - filter: a == \"x #y\"\n{SINK}"), "` #` starts a comment"),
        (format!("{SOURCE}transforms: [\n{SINK}"), "is not closed"),
        (format!("{SOURCE}transforms:\n  - filter: \"a\n{SINK}"), "a quote is opened and not closed"),
    ] {
        let (_, out) = codes(&text);
        assert!(out.contains(advice), "{text}\n{out}");
    }
}

#[test]
fn a_sink_below_a_folder_that_is_read_with_its_folders_is_a_loop() {
    let text = |read: &str, written: &str| {
        format!(
            "sources: {{ in: {{ directory: {{ path: {read} }} }} }}\nsinks: {{ out: {{ files: {{ path: {written} }} }} }}\n"
        )
    };
    for (read, written) in [("./fb/**/*", "./fb/out"), ("outm/", "./outm/../outm")] {
        assert_eq!(codes(&text(read, written)).0, ["SR0603"], "{read} {written}");
    }
    assert!(codes(&text("./fb/*", "./fb/out")).0.is_empty());
}

#[test]
fn of_very_many_findings_the_first_are_shown_soon() {
    let text = format!("{SOURCE}transforms: [{}]\n{SINK}", "not_a_step, ".repeat(50_000));
    let begin = Instant::now();
    let (found, out) = codes(&text);
    assert_eq!(found.len(), 1000);
    assert!(out.contains("\"left_out\": 49000"), "{}", out.chars().rev().take(200).collect::<String>());
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn options_without_a_file_are_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["-q"][..], &["--set", "a=b"]] {
        let output = run_in(folder.path(), args);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("must be named"), "{}", stderr(&output));
    }
    let output = run_in(folder.path(), &["explain", "."]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("is a folder"), "{}", stderr(&output));
}
