//! `streamrun validate`: checks pipelines without running them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{DONE, INVALID, USAGE, print, print_error};
use crate::diagnostic::render::{self, Format, Report};
use crate::diagnostic::{Diagnostic, Severity, Span, has_errors, sort};
use crate::job::supervisor::is_pipeline;
use crate::plan::{Plan, delivery};
use crate::{job, spec, testing};

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Pipeline and test files, folders (with the folders in them) or patterns such as `pipelines/*.yaml`
    #[arg(required = true)]
    paths: Vec<String>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Warnings are errors
    #[arg(long)]
    strict: bool,
    /// Override a value of the files, as when running
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_value)]
    overrides: Vec<(String, String)>,
}

/// Checks every file; the exit code.
pub(super) fn validate(args: &ValidateArgs) -> u8 {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in &args.paths {
        match expand(path) {
            Ok(found) if found.is_empty() => {
                print_error(&format!("streamrun: there is no pipeline (*.yaml) at {path}\n"));
                return USAGE;
            }
            Ok(found) => files.extend(found),
            Err(message) => {
                print_error(&format!("streamrun: {path}: {message}\n"));
                return USAGE;
            }
        }
    }
    files.sort();
    files.dedup();
    let (plans, mut findings) = check(&files, &args.overrides);
    if args.strict {
        findings.iter_mut().for_each(|finding| finding.severity = Severity::Error);
    }
    sort(&mut findings);
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let report = Report { findings: &findings, files: &names, color: super::color(&std::io::stdout()) };
    print(&render::render(&report, args.format));
    // Of a whole folder it would be more than anyone reads; `explain` has it for each.
    if let ([_], [plan], Format::Human) = (files.as_slice(), plans.as_slice(), args.format) {
        print(&delivery::guarantee(plan).to_string());
    }
    if has_errors(&findings) { INVALID } else { DONE }
}

/// The pipelines that can run, and all that is wrong with pipelines and test files.
fn check(files: &[PathBuf], overrides: &[(String, String)]) -> (Vec<Plan>, Vec<Diagnostic>) {
    let (tests, pipelines): (Vec<&PathBuf>, Vec<&PathBuf>) =
        files.iter().partition(|file| testing::is_test_file(file) && !file.is_dir());
    let mut findings: Vec<Diagnostic> = Vec::new();
    let mut plans = Vec::new();
    for pipeline in pipelines {
        plans.extend(job::load(pipeline, overrides, &mut findings));
    }
    for test in tests {
        let mut found = Vec::new();
        testing::check_file(test, &mut found);
        // What is wrong with its pipeline may have been said already.
        let mut new = without(found, &findings);
        findings.append(&mut new);
    }
    (plans, findings)
}

fn without(mut found: Vec<Diagnostic>, known: &[Diagnostic]) -> Vec<Diagnostic> {
    let known: HashSet<_> = known.iter().map(identity).collect();
    found.retain(|finding| !known.contains(&identity(finding)));
    found
}

/// What makes two findings the same.
fn identity(finding: &Diagnostic) -> (&str, Option<Span>, &str, &str) {
    (finding.file.name(), finding.span, finding.code.name(), finding.message.as_str())
}

/// The pipeline files of an argument: a file as it is, a folder's with those below it, a pattern's.
fn expand(argument: &str) -> Result<Vec<PathBuf>, String> {
    let path = Path::new(argument);
    let is_pattern = argument.contains(['*', '?', '[']) && !path.exists();
    if !is_pattern {
        let mut found = Vec::new();
        below(path, &mut found);
        return Ok(found);
    }
    let matches = glob::glob(argument).map_err(|error| format!("not a pattern: {error}"))?;
    let mut found = Vec::new();
    for path in matches.flatten() {
        if path.is_dir() || is_pipeline(&path) {
            below(&path, &mut found);
        }
    }
    Ok(found)
}

fn below(path: &Path, found: &mut Vec<PathBuf>) {
    if !path.is_dir() {
        // A file that was named is checked whatever its name; one that is missing is a finding.
        found.push(path.to_path_buf());
        return;
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let entry = entry.path();
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if entry.is_dir() && !hidden {
            below(&entry, found);
        } else if is_pipeline(&entry) && looks_like_pipeline(&entry) {
            found.push(entry);
        }
    }
}

/// A folder may hold other YAML (schemas, compose files): a pipeline has sources or sinks. What
/// cannot be read counts, so that it is not passed over in silence.
fn looks_like_pipeline(path: &Path) -> bool {
    let Ok(Some(bytes)) = spec::read_at_most(path, spec::MAX_FILE_BYTES) else { return true };
    let text = String::from_utf8_lossy(&bytes);
    let top_level = |key: &str| text.lines().any(|line| line.starts_with(key));
    top_level("sources")
        || top_level("sinks")
        || top_level("streams")
        || top_level("transforms")
        || text.trim_start().starts_with('{')
}
