//! Results as text: for people, scripts and CI servers.

use std::time::Duration;

use annotate_snippets::normalize_untrusted_str;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use serde_json::{Value, json};

use super::{CaseResult, Failure, FileResult};
use crate::diagnostic::render;

/// Every test passed.
const PASSED: u8 = 0;
/// Tests failed.
const FAILED: u8 = 3;
/// A test file or its pipeline cannot be used: `EX_CONFIG` of sysexits.
const INVALID: u8 = 78;

/// So many differing rows of a sink are shown to people.
const MAX_SHOWN: usize = 20;

/// An output format for results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines of text, for a terminal.
    Human,
    /// One JSON object, for scripts.
    Json,
    /// JUnit XML, one suite per file, for CI servers.
    Junit,
}

/// The results in a format, with a line break at the end. Only [`Format::Human`] has colors.
#[must_use]
pub fn render(results: &[FileResult], format: Format, color: bool) -> String {
    match format {
        Format::Human => human(results, color),
        Format::Json => json(results),
        Format::Junit => junit(results),
    }
}

/// 78 if a test file or a pipeline is invalid, else 3 if a test failed, else 0.
#[must_use]
pub fn exit_code(results: &[FileResult]) -> u8 {
    if results.iter().any(FileResult::is_invalid) {
        return INVALID;
    }
    if count(results).1 > 0 { FAILED } else { PASSED }
}

/// How many tests passed, and how many failed.
fn count(results: &[FileResult]) -> (usize, usize) {
    let cases = || results.iter().flat_map(|file| &file.cases);
    let passed = cases().filter(|case| case.passed()).count();
    (passed, cases().count() - passed)
}

fn name(file: &FileResult) -> String {
    file.path.display().to_string()
}

/// The findings of a file in a format of findings.
fn findings(file: &FileResult, format: render::Format, color: bool) -> String {
    render::render(&render::Report { findings: &file.findings, files: &[name(file)], color }, format)
}

/// One line per test, with what differs below those that failed, then the counts.
fn human(results: &[FileResult], color: bool) -> String {
    let mut text = String::new();
    for file in results {
        push(&mut text, "", &name(file));
        if !file.findings.is_empty() {
            text.push_str(&findings(file, render::Format::Human, color));
        }
        for case in &file.cases {
            push(&mut text, mark(case.passed(), color), &format!("{} ({})", case.name, shown(case.duration)));
            for failure in &case.failures {
                human_failure(&mut text, file, failure);
            }
        }
    }
    let (passed, failed) = count(results);
    push(&mut text, "", &format!("{passed} passed, {failed} failed"));
    text
}

fn mark(passed: bool, color: bool) -> &'static str {
    match (passed, color) {
        (true, false) => "  ok    ",
        (true, true) => "  \u{1b}[32mok\u{1b}[0m    ",
        (false, false) => "  FAIL  ",
        (false, true) => "  \u{1b}[1;31mFAIL\u{1b}[0m  ",
    }
}

fn human_failure(text: &mut String, file: &FileResult, failure: &Failure) {
    push(text, "        ", &heading(file, failure));
    for line in failure.message.lines() {
        push(text, "          ", line);
    }
    let lines = differences(failure);
    for (label, row) in lines.iter().take(MAX_SHOWN) {
        push(text, &format!("          {label:<11}"), row);
    }
    if let Some(more) = lines.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        push(text, "          ", &format!("... and {more} more"));
    }
}

/// Which batch and sink, and where in the test file: `...: pipelines/wordcount.test.yaml:14:19`.
fn heading(file: &FileResult, failure: &Failure) -> String {
    let sink = failure.sink.as_ref().map_or_else(String::new, |sink| format!(", sink `{sink}`"));
    let position = failure.position;
    format!("batch {}{sink}: {}:{}:{}", failure.batch, name(file), position.line, position.column)
}

/// The rows that differ, each with a word on it: those that belong together first.
fn differences(failure: &Failure) -> Vec<(&'static str, &str)> {
    let pairs = failure.expected.iter().zip(&failure.got).take(failure.pairs);
    let missing = failure.expected.iter().skip(failure.pairs).map(|row| ("missing", row.as_str()));
    let extra = failure.got.iter().skip(failure.pairs).map(|row| ("unexpected", row.as_str()));
    let pairs = pairs.flat_map(|(expected, got)| [("expected", expected.as_str()), ("got", got.as_str())]);
    pairs.chain(missing).chain(extra).collect()
}

/// Adds a line; what comes from files is made safe to print.
fn push(text: &mut String, before: &str, line: &str) {
    let line = normalize_untrusted_str(line).replace('\n', " ");
    text.push_str(before);
    text.push_str(&line);
    text.push('\n');
}

/// `3 ms`
fn shown(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

/// `files` with their `findings` and `tests`, and the counts.
fn json(results: &[FileResult]) -> String {
    let (passed, failed) = count(results);
    let files: Vec<Value> = results.iter().map(json_file).collect();
    format!("{:#}\n", json!({ "files": files, "passed": passed, "failed": failed }))
}

fn json_file(file: &FileResult) -> Value {
    // The findings look as `validate` shows them.
    let report: Value = serde_json::from_str(&findings(file, render::Format::Json, false)).unwrap_or_default();
    let tests: Vec<Value> = file.cases.iter().map(json_case).collect();
    json!({ "file": name(file), "findings": report.get("findings"), "tests": tests })
}

fn json_case(case: &CaseResult) -> Value {
    let failures: Vec<Value> = case.failures.iter().map(json_failure).collect();
    let milliseconds = case.duration.as_secs_f64() * 1e3;
    json!({ "name": case.name, "passed": case.passed(), "duration_ms": milliseconds, "failures": failures })
}

fn json_failure(failure: &Failure) -> Value {
    json!({
        "batch": failure.batch,
        "sink": failure.sink,
        "line": failure.position.line,
        "column": failure.position.column,
        "message": failure.message,
        "expected": failure.expected,
        "got": failure.got,
        "pairs": failure.pairs,
    })
}

fn junit(results: &[FileResult]) -> String {
    let mut document = quick_junit::Report::new("streamrun test");
    for file in results {
        document.add_test_suite(junit_suite(file));
    }
    // Writing to memory fails only if XML itself cannot hold the text, and that is cleaned.
    document.to_string().unwrap_or_else(|error| format!("<!-- {error} -->\n"))
}

/// A suite with a case per test; one case with an error if the file cannot be used.
fn junit_suite(file: &FileResult) -> TestSuite {
    let file_name = normalize_untrusted_str(&name(file));
    let mut suite = TestSuite::new(file_name.as_str());
    if let Some(first) = file.findings.first().filter(|_| file.is_invalid()) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type(first.code.name());
        status.set_message(normalize_untrusted_str(&first.message));
        status.set_description(findings(file, render::Format::Human, false));
        suite.add_test_case(TestCase::new("the file is valid", status));
    }
    for case in &file.cases {
        let mut test = TestCase::new(normalize_untrusted_str(&case.name), junit_status(file, case));
        test.set_classname(file_name.as_str());
        test.set_time(case.duration);
        suite.add_test_case(test);
    }
    suite
}

fn junit_status(file: &FileResult, case: &CaseResult) -> TestCaseStatus {
    let Some(first) = case.failures.first() else { return TestCaseStatus::success() };
    let mut text = String::new();
    for failure in &case.failures {
        human_failure(&mut text, file, failure);
    }
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(normalize_untrusted_str(&first.message));
    status.set_description(text);
    status
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::diagnostic::{Diagnostic, Position, SourceFile, codes};

    fn failed() -> FileResult {
        let failure = Failure {
            batch: 2,
            sink: Some("out".to_owned()),
            position: Position { line: 14, column: 19 },
            message: "1 row differs, 1 row is missing".to_owned(),
            expected: vec!["{word: spark, count: 3}".to_owned(), "{word: hive, count: 1}".to_owned()],
            got: vec!["{word: spark, count: 2}".to_owned()],
            pairs: 1,
        };
        let case = |name: &str, millis, failures| CaseResult {
            name: name.to_owned(),
            duration: Duration::from_millis(millis),
            failures,
        };
        let cases = vec![case("counts words", 3, Vec::new()), case("second", 1, vec![failure])];
        FileResult { path: PathBuf::from("wordcount.test.yaml"), findings: Vec::new(), cases }
    }

    fn invalid() -> FileResult {
        let file = Arc::new(SourceFile::new("bad.test.yaml", ""));
        let findings = vec![Diagnostic::about_file(codes::UNREADABLE_FILE, &file, "the file cannot be read")];
        FileResult { path: PathBuf::from("bad.test.yaml"), findings, cases: Vec::new() }
    }

    #[test]
    fn people_get_a_line_per_test_and_the_counts() {
        let expected = "\
wordcount.test.yaml
  ok    counts words (3 ms)
  FAIL  second (1 ms)
        batch 2, sink `out`: wordcount.test.yaml:14:19
          1 row differs, 1 row is missing
          expected   {word: spark, count: 3}
          got        {word: spark, count: 2}
          missing    {word: hive, count: 1}
1 passed, 1 failed
";
        assert_eq!(render(&[failed()], Format::Human, false), expected);
        assert!(render(&[failed()], Format::Human, true).contains("\u{1b}[32mok\u{1b}[0m    counts words"));
        assert_eq!(render(&[], Format::Human, false), "0 passed, 0 failed\n");
    }

    #[test]
    fn long_differences_are_cut_for_people_only() {
        let mut file = failed();
        file.cases[1].failures[0].got = (0..40).map(|n| format!("{{n: {n}}}")).collect();
        assert!(render(&[file.clone()], Format::Human, false).contains("          ... and 22 more\n"));
        let json: Value = serde_json::from_str(&render(&[file], Format::Json, false)).unwrap();
        assert_eq!(json["files"][0]["tests"][1]["failures"][0]["got"].as_array().unwrap().len(), 40);
    }

    #[test]
    fn scripts_get_everything() {
        let json: Value = serde_json::from_str(&render(&[failed(), invalid()], Format::Json, false)).unwrap();
        assert_eq!((&json["passed"], &json["failed"]), (&json!(1), &json!(1)));
        assert_eq!(json["files"][0]["findings"], json!([]));
        assert_eq!(json["files"][0]["tests"][1]["failures"][0]["line"], json!(14));
        assert_eq!(json["files"][1]["findings"][0]["code"], json!("SR0101"));
    }

    #[test]
    fn ci_servers_get_failures_and_errors() {
        let xml = render(&[failed(), invalid()], Format::Junit, true);
        assert!(
            xml.contains(r#"<testsuites name="streamrun test" tests="3" skipped="0" failures="1" errors="1""#),
            "{xml}"
        );
        assert!(xml.contains(r#"classname="wordcount.test.yaml""#), "{xml}");
        assert!(xml.contains("expected   {word: spark, count: 3}"), "{xml}");
    }

    #[test]
    fn an_invalid_file_outweighs_a_failed_test() {
        assert_eq!(exit_code(&[]), 0);
        assert_eq!(exit_code(&[failed()]), 3);
        assert_eq!(exit_code(&[failed(), invalid()]), 78);
    }
}
