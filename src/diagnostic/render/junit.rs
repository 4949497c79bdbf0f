//! JUnit XML, for CI servers.

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::{Report, clean, clean_line, counted, human};
use crate::diagnostic::{Diagnostic, Severity};

/// One suite with a test case per checked file, which fails if the file has errors. Its warnings
/// are the case's output. Files that only findings name (a schema file) come last.
pub fn render(report: &Report<'_>) -> String {
    let mut files: Vec<&str> = report.files.iter().map(String::as_str).collect();
    for finding in report.findings {
        if !files.contains(&finding.file.name()) {
            files.push(finding.file.name());
        }
    }
    let mut suite = TestSuite::new("streamrun validate");
    for file in files {
        suite.add_test_case(test_case(report, file));
    }
    let mut document = quick_junit::Report::new("streamrun");
    document.add_test_suite(suite);
    // Writing to memory fails only if XML itself cannot hold the text, and that is cleaned.
    document.to_string().unwrap_or_else(|error| format!("<!-- {error} -->\n"))
}

fn test_case(report: &Report<'_>, file: &str) -> TestCase {
    let of_file = |severity: Severity| -> Vec<&Diagnostic> {
        let belongs = |finding: &&Diagnostic| finding.severity == severity && finding.file.name() == file;
        report.findings.iter().filter(belongs).collect()
    };
    let errors = of_file(Severity::Error);
    let warnings = of_file(Severity::Warning);
    let status = match errors.as_slice() {
        [] => TestCaseStatus::success(),
        [first, rest @ ..] => {
            let message = if rest.is_empty() { first.message.clone() } else { counted(errors.len(), "error") };
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status
                .set_type(first.code.name())
                .set_message(clean(&message))
                .set_description(human::findings(errors.iter().copied(), false));
            status
        }
    };
    let mut case = TestCase::new(clean_line(file), status);
    if !warnings.is_empty() {
        case.set_system_out(human::findings(warnings.iter().copied(), false));
    }
    case
}
