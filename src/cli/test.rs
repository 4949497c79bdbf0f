//! `streamrun test`: runs the tests beside pipelines.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::terminal::Screen;
use super::{FAILED, Threads, USAGE, print, print_error};
use crate::testing::{self, report};

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// `*.test.yaml` files, pipelines with such a file beside them, folders or patterns
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = report::Format::Human)]
    format: report::Format,
}

/// Runs every test file; the exit code.
pub(super) fn test(args: &TestArgs) -> u8 {
    let paths: Vec<PathBuf> = args.paths.iter().flat_map(|path| expand(path)).collect();
    if let Some(path) = paths.iter().find(|path| !path.exists()) {
        print_error(&format!("streamrun: there is no file {}\n", path.display()));
        return USAGE;
    }
    let files = testing::find(&paths);
    if files.is_empty() {
        print_error("streamrun: there are no tests (*.test.yaml) at the given paths\n");
        return USAGE;
    }
    let threads = match Threads::start(super::cores()) {
        Ok(threads) => threads,
        Err(error) => {
            print_error(&format!("streamrun: cannot start threads: {error}\n"));
            return FAILED;
        }
    };
    let runtime = threads.runtime(Arc::new(Screen::new(false)), false);
    let results = threads.io.block_on(async {
        let work = runtime.workers.clone().spawn(async move {
            let mut results = Vec::with_capacity(files.len());
            for file in &files {
                results.push(testing::run_file(file, &runtime).await);
            }
            results
        });
        work.await
    });
    let code = match results {
        Ok(results) => {
            print(&report::render(&results, args.format, super::color(&std::io::stdout())));
            report::exit_code(&results)
        }
        Err(error) => {
            print_error(&format!("streamrun: internal error, please report it: {error}\n"));
            FAILED
        }
    };
    threads.shut_down();
    code
}

/// The files that a pattern matches; anything else, and a pattern that matches nothing, as it is.
fn expand(path: &Path) -> Vec<PathBuf> {
    let found: Vec<PathBuf> = if path.exists() {
        Vec::new()
    } else {
        glob::glob(&path.to_string_lossy()).into_iter().flatten().flatten().collect()
    };
    if found.is_empty() { vec![path.to_path_buf()] } else { found }
}
