//! Tests beside pipelines: `wordcount.test.yaml` gives a pipeline's sources their rows batch by
//! batch and says what must arrive at its sinks.
//!
//! ```text
//! wordcount.test.yaml -> file      the file as written, and its pipeline, loaded and checked
//!                     -> script    rows with the types of the pipeline's columns; all findings
//!                     -> run       a fresh engine per test, in memory, on a clock turned by hand
//!                     -> compare   rows against rows
//!                     -> report    for people, scripts and CI servers
//! ```
//!
//! Nothing outside is touched: the sources and sinks of the pipeline are never started.

mod compare;
mod file;
mod input;
pub mod report;
mod run;
mod script;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::diagnostic::{self, Diagnostic, Position};
use crate::engine::Runtime;

pub use file::{Batch, Case, TestFile};

/// What a test file's tests did.
#[derive(Clone, Debug)]
pub struct FileResult {
    /// The test file.
    pub path: PathBuf,
    /// What is wrong with the test file or its pipeline; then no test has run.
    pub findings: Vec<Diagnostic>,
    /// In the order of the file.
    pub cases: Vec<CaseResult>,
}

impl FileResult {
    /// Whether the file or its pipeline could not be used.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        diagnostic::has_errors(&self.findings)
    }
}

/// What one test did.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub duration: Duration,
    /// What was not as expected; none if the test passed.
    pub failures: Vec<Failure>,
}

impl CaseResult {
    /// Whether everything was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// One thing that was not as expected.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The batch, counted from 1.
    pub batch: usize,
    /// The sink whose rows differ; `None` where it is about the batch as a whole.
    pub sink: Option<String>,
    /// Where the test file says what was expected.
    pub position: Position,
    /// What is wrong; one or more lines.
    pub message: String,
    /// What was expected and not there, one row per line.
    pub expected: Vec<String>,
    /// What was there instead.
    pub got: Vec<String>,
    /// So many lines of `expected` and `got`, from the first on, belong together.
    pub pairs: usize,
}

/// The test files among `paths`, beside the pipelines and below the folders among them, each one once: folders
/// in the order of names, hidden files and folders and those that cannot be read left out.
#[must_use]
pub fn find(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            find_below(path, &mut found);
            continue;
        }
        let file = if is_test_file(path) { Some(path.clone()) } else { beside(path) };
        if let Some(file) = file.filter(|file| !found.contains(file)) {
            found.push(file);
        }
    }
    found
}

/// The tests of a pipeline: `wordcount.test.yaml` for `wordcount.yaml`.
fn beside(pipeline: &Path) -> Option<PathBuf> {
    let is_yaml = pipeline.extension().is_some_and(|it| it == "yaml" || it == "yml");
    let mut candidates = ["test.yaml", "test.yml"].map(|ending| pipeline.with_extension(ending)).into_iter();
    candidates.find(|file| is_yaml && file.is_file())
}

fn find_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut entries: Vec<std::fs::DirEntry> = entries.filter_map(Result::ok).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        // Links to folders are not followed: they may lead in a circle.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find_below(&path, found);
        } else if is_test_file(&path) && path.is_file() && !found.contains(&path) {
            found.push(path);
        }
    }
}

/// Whether a file's name is that of a test file.
#[must_use]
pub fn is_test_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".test.yaml") || name.ends_with(".test.yml")
}

/// Checks a test file and its pipeline without running anything.
pub fn check_file(path: &Path, findings: &mut Vec<Diagnostic>) {
    // What would run is not needed.
    let _ = file::load(path, findings);
}

/// Runs the tests of a file. `runtime` lends its threads; its clock and terminal are not used.
pub async fn run_file(path: &Path, runtime: &Runtime) -> FileResult {
    let mut findings = Vec::new();
    let script = file::load(path, &mut findings);
    let cases = match script {
        Some(script) => run::run(&script, runtime).await,
        None => Vec::new(),
    };
    diagnostic::sort(&mut findings);
    FileResult { path: path.to_path_buf(), findings, cases }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::diagnostic::codes;
    use crate::engine::clock::ManualClock;
    use crate::sinks::Terminal;

    const PIPELINE: &str = "\
sources: { lines: { socket: { host: localhost, port: 9999 } } }
transforms: [distinct]
sinks: { out: { discard: {} } }
";

    struct Silent;

    impl Terminal for Silent {
        fn print(&self, _: &str) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Runs tests of [`PIPELINE`] below their key `tests`.
    async fn run(tests: &str) -> FileResult {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), PIPELINE).unwrap();
        let path = folder.path().join("a.test.yaml");
        std::fs::write(&path, format!("pipeline: a.yaml\nset: {{ batch_interval: 5s }}\ntests:\n{tests}")).unwrap();
        let runtime = Runtime {
            clock: Arc::new(ManualClock::new(0)),
            terminal: Arc::new(Silent),
            io: tokio::runtime::Handle::current(),
            workers: tokio::runtime::Handle::current(),
            available_now: false,
        };
        run_file(&path, &runtime).await
    }

    #[tokio::test]
    async fn batches_are_compared_one_by_one() {
        let result = run("  - name: each line once
    batches:
      - { input: { lines: [b, { value: a }, b] }, expect: { out: [a, { value: b }] } }
      - { expect: { out: [] } }
  - name: something else
    batches:
      - { input: { lines: [a] } }
      - input: { lines: [a, b] }
        expect:
          out:
            - a
            - c
  - name: no failure
    batches:
      - { input: { lines: [a] }, expect_error: broken }
")
        .await;
        assert!(result.findings.is_empty(), "{:?}", result.findings);
        assert!(result.cases[0].passed(), "{:?}", result.cases[0]);
        let failure = &result.cases[1].failures[0];
        assert_eq!((failure.batch, failure.position.line, failure.position.column), (2, 15, 15));
        assert_eq!(
            (failure.expected.concat(), failure.got.concat()),
            ("{value: c}".to_owned(), "{value: b}".to_owned())
        );
        assert_eq!(result.cases[2].failures[0].message, "the batch must fail, and it did not");
    }

    #[tokio::test]
    async fn all_that_does_not_fit_is_found_before_anything_runs() {
        let result = run("  - name: one
    batches:
      - { input: { line: [a], lines: [{ valu: a }, { value: [1] }, ~] }, expect: { ouut: [a] } }
      - { expect_error: no, expect: { out: [] } }
      - { expect: { out: [a] }, expect_ordered: { out: [a] } }
  - name: one
    batches: []
")
        .await;
        let mut found: Vec<(usize, &str)> =
            result.findings.iter().map(|it| (it.position().unwrap().line, it.code.name())).collect();
        found.sort_unstable();
        let expected = [
            (6, codes::UNKNOWN_STREAM),
            (6, codes::UNKNOWN_STREAM),
            (6, codes::BAD_TEST_ROW),
            (6, codes::BAD_TEST_ROW),
            (6, codes::BAD_TEST_ROW),
            (7, codes::INVALID_VALUE),
            (7, codes::CONFLICTING_KEYS),
            (8, codes::CONFLICTING_KEYS),
            (9, codes::DUPLICATE_NAME),
            (10, codes::INVALID_VALUE),
        ];
        let mut expected = expected.map(|(line, code)| (line, code.name()));
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert!(result.cases.is_empty());
    }

    #[test]
    fn finds_test_files_once_and_none_that_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("b/.hidden")).unwrap();
        for name in ["z.test.yml", "a.test.yaml", "a.yaml", "b/c.test.yaml", "b/.hidden/d.test.yaml", ".e.test.yaml"] {
            std::fs::write(root.join(name), "").unwrap();
        }
        let found = find(&[root.to_path_buf(), root.join("a.test.yaml"), root.join("a.yaml")]);
        assert_eq!(found, ["a.test.yaml", "b/c.test.yaml", "z.test.yml"].map(|name| root.join(name)));
        assert_eq!(find(&[root.join("a.yaml"), root.join("b")]), found[..2]);
    }
}
