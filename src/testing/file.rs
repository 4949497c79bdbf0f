//! The test file as written, and the pipeline it is about.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::script::{self, Script};
use crate::diagnostic::{self, Diagnostic, SourceFile, Span, codes};
use crate::plan::{self, Plan};
use crate::spec::{self, Duration, Environment, Node, ProcessEnvironment, document, typed};

/// 2020-01-01T00:00:00Z.
const DEFAULT_START: i64 = 1_577_836_800_000;

/// The tests of one pipeline. The doc comments here are what an editor shows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with the keys `pipeline` and `tests`")]
pub struct TestFile {
    /// The pipeline under test; its path counts from the folder of the test file.
    pub pipeline: String,
    /// Values of the pipeline to override, by path, as `--set` does: `batch_interval: 1s`.
    #[serde(default)]
    pub set: IndexMap<String, String>,
    /// Environment variables for `${env:NAME}` in the pipeline, before those of the process.
    #[serde(default)]
    pub env: IndexMap<String, String>,
    /// The time before the first batch, `2020-01-01T00:00:00Z` by default. The first batch is at the
    /// next multiple of the batch interval.
    pub start: Option<String>,
    /// The tests. Each one starts the pipeline anew.
    pub tests: Vec<Case>,
}

/// One test: a run of the pipeline from its first batch on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with the keys `name` and `batches`")]
pub struct Case {
    /// What is tested, in a few words.
    pub name: String,
    /// The batches, in order; each one advances the time by the batch interval. Between them may stand what
    /// else happens: `advance: 30s`, `restart: crash`, `reload: other.yaml`.
    pub batches: Vec<Batch>,
}

/// How the pipeline restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// The next batch is cut off when its rows are written, and runs again after the restart.
    Crash,
    /// Between two batches.
    Graceful,
}

/// What one batch gets and what must come out of it; or what happens between two batches.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with the keys `input` and `expect`")]
pub struct Batch {
    /// For each source what arrives: lines of text, which its format decodes, or rows as mappings
    /// from columns to values. A source that is left out gets nothing.
    #[serde(default)]
    pub input: IndexMap<String, Vec<Value>>,
    /// For each sink its rows, in any order. A column that is left out is NULL; a single value
    /// stands for a row with one column. A sink that is left out is not looked at.
    #[serde(default)]
    pub expect: IndexMap<String, Vec<Value>>,
    /// For each sink its rows in exactly this order.
    #[serde(default)]
    pub expect_ordered: IndexMap<String, Vec<Value>>,
    /// The batch must fail, with a message that contains this. It is the last one of its test.
    pub expect_error: Option<String>,
    /// How many rows `on_error: skip` leaves out of the batch; not looked at if it is left out.
    pub expect_skipped: Option<u64>,
    /// So much time passes, in which nothing arrives: a multiple of the batch interval. `expect` is then
    /// about all batches of that time together.
    pub advance: Option<Duration>,
    /// The pipeline restarts. With a `checkpoint` it goes on where it was; the checkpoint of a test is in
    /// memory.
    pub restart: Option<Restart>,
    /// The pipeline is reloaded from this file, as when its own file is edited; the path counts from the
    /// folder of the test file.
    pub reload: Option<String>,
}

/// Loads a test file with its pipeline. `None` if anything is wrong; `findings` then says what.
pub(super) fn load(path: &Path, findings: &mut Vec<Diagnostic>) -> Option<Script> {
    let before = findings.len();
    let script = read(path, findings);
    let errors = findings.get(before..).is_some_and(diagnostic::has_errors);
    script.filter(|_| !errors)
}

fn read(path: &Path, findings: &mut Vec<Diagnostic>) -> Option<Script> {
    let file = match spec::read_file(path) {
        Ok(file) => file,
        Err(finding) => {
            findings.push(*finding);
            return None;
        }
    };
    let root = document::read(&file, findings)?;
    let tests = typed::read::<TestFile>(&root, &file, findings)?;
    let start = start_time(&tests, &root, &file, findings);
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let plan = load_pipeline(&tests, &tests.pipeline, &folder, &file, root.nearest(&["pipeline"]).span, findings)?;
    let mut load = |path: &str, span: Span, findings: &mut Vec<Diagnostic>| {
        load_pipeline(&tests, path, &folder, &file, span, findings)
    };
    let cases = script::cases(&tests, &root, &plan, &file, &mut load, findings);
    Some(Script { file, plan, start: start?, cases })
}

fn start_time(tests: &TestFile, root: &Node, file: &Arc<SourceFile>, findings: &mut Vec<Diagnostic>) -> Option<i64> {
    let Some(text) = &tests.start else { return Some(DEFAULT_START) };
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let message = format!("`{text}` is no time");
    findings.push(
        Diagnostic::new(codes::INVALID_VALUE, file, root.nearest(&["start"]).span, message)
            .help("write e.g. `2020-01-12T13:34:00Z`"),
    );
    None
}

/// A pipeline under test. Its warnings are left to `validate`.
fn load_pipeline(
    tests: &TestFile,
    path: &str,
    folder: &Path,
    file: &Arc<SourceFile>,
    span: Span,
    findings: &mut Vec<Diagnostic>,
) -> Option<Plan> {
    let path = folder.join(path);
    let unusable = |message: String| Diagnostic::new(codes::UNKNOWN_PIPELINE, file, span, message);
    let pipeline = match spec::read_file(&path) {
        Ok(pipeline) => pipeline,
        Err(finding) => {
            let message = format!("the pipeline `{}` cannot be used: {}", path.display(), finding.message);
            findings.push(unusable(message).help("its path counts from the folder of the test file"));
            return None;
        }
    };
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let environment = TestEnvironment { variables: &tests.env, process: ProcessEnvironment::new(folder) };
    let overrides: Vec<(String, String)> = tests.set.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut of_pipeline = Vec::new();
    let plan = plan::load(&pipeline, &environment, &overrides, &mut of_pipeline);
    if plan.is_none() {
        let message = format!("the pipeline `{}` has errors of its own", path.display());
        findings.push(unusable(message));
        findings.append(&mut of_pipeline);
    }
    plan
}

/// The process's environment behind the variables of the test file.
struct TestEnvironment<'a> {
    variables: &'a IndexMap<String, String>,
    process: ProcessEnvironment,
}

impl Environment for TestEnvironment<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned().or_else(|| self.process.variable(name))
    }

    fn read_file(&self, path: &str) -> Result<String, String> {
        self.process.read_file(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_start_is_what_its_comment_says() {
        let time = DateTime::parse_from_rfc3339("2020-01-01T00:00:00Z").unwrap();
        assert_eq!(time.timestamp_millis(), DEFAULT_START);
    }

    #[test]
    fn a_pipeline_that_is_not_there_is_a_finding_at_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.test.yaml");
        std::fs::write(&path, "pipeline: a.yaml\ntests: []\n").unwrap();
        let mut findings = Vec::new();
        assert!(load(&path, &mut findings).is_none());
        let found: Vec<_> = findings.iter().map(|it| (it.code, it.position().unwrap().column)).collect();
        assert_eq!(found, [(codes::UNKNOWN_PIPELINE, 11)]);
    }
}
