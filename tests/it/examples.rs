//! The pipelines and examples that ship: valid, tested, and run for real with their data.

use crate::support::{repository, run_in, stderr, stdout};

#[test]
fn pipelines_and_examples_are_valid() {
    let output = run_in(repository(), &["validate", "--strict", "pipelines", "examples"]);
    assert!(output.status.success(), "{}", stdout(&output));
}

#[test]
fn their_tests_pass() {
    let output = run_in(repository(), &["test", "pipelines", "examples", "tests/steps"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn every_pipeline_has_a_test() {
    for folder in ["pipelines", "examples"] {
        for path in pipelines(&repository().join(folder)) {
            let test = path.with_extension("test.yaml");
            assert!(test.exists(), "{} has no test", path.display());
        }
    }
}

#[test]
fn examples_give_their_expected_output() {
    let mut run = 0;
    for path in pipelines(&repository().join("examples")) {
        let expected = path.parent().unwrap().join("expected/out.json");
        let out = tempfile::tempdir().unwrap();
        let set = format!("sinks.out.files.path={}", out.path().join("out").display());
        let file = path.display().to_string();
        let output = run_in(repository(), &[&file, "--available-now", "--set", &set]);
        assert!(output.status.success(), "{file}: {}", stderr(&output));
        let mut got = Vec::new();
        collect(&out.path().join("out"), &mut got);
        got.sort();
        let text = std::fs::read_to_string(&expected).unwrap();
        let mut wanted: Vec<String> = text.lines().map(str::to_owned).collect();
        wanted.sort();
        assert_eq!(got, wanted, "{file}");
        run += 1;
    }
    assert!(run >= 3, "only {run} examples");
}

fn pipelines(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(pipelines(&path));
        } else if name.ends_with(".yaml") && !name.ends_with(".test.yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The lines of all files below a folder.
fn collect(folder: &std::path::Path, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, lines);
        } else if !entry.file_name().to_string_lossy().starts_with('_') {
            lines.extend(std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned));
        }
    }
}
