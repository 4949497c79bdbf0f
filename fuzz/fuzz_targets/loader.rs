//! Any bytes as a pipeline file: loading, checking and showing what is wrong must not panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamrun::diagnostic::render::{Format, Report, render};
use streamrun::diagnostic::{Diagnostic, has_errors, sort};
use streamrun::spec::Environment;
use streamrun::{plan, spec};

/// Knows no variable and no file.
struct Nothing;

impl Environment for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read_file(&self, _: &str) -> Result<String, String> {
        Err("there are no files".to_owned())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut findings: Vec<Diagnostic> = Vec::new();
    let loaded = match spec::source_file("fuzz.yaml", bytes.to_vec()) {
        Ok(file) => plan::load(&file, &Nothing, &[], &mut findings).is_some(),
        Err(finding) => {
            findings.push(*finding);
            false
        }
    };
    // A pipeline either runs or it is said why not.
    assert_ne!(loaded, has_errors(&findings));
    sort(&mut findings);
    let files = ["fuzz.yaml".to_owned()];
    for color in [false, true] {
        for format in [Format::Human, Format::Json, Format::Github, Format::Sarif, Format::Junit] {
            let _ = render(&Report { findings: &findings, files: &files, color }, format);
        }
    }
});
