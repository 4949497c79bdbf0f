//! `streamrun explain`: a code's page, or a pipeline's columns and plan.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use datafusion::physical_plan::displayable;

use super::{DONE, FAILED, INVALID, Threads, USAGE, masked, print, print_error};
use crate::diagnostic::render::{self, Format, Report};
use crate::diagnostic::{Code, codes, suggest};
use crate::job;
use crate::logical::{self, Stages};
use crate::plan::{CHAIN, Plan, delivery};
use crate::spec;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A finding's code (`SR0201`) or a pipeline file
    what: String,
    /// Override a value of the file, as when running
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_value)]
    overrides: Vec<(String, String)>,
}

/// Explains; the exit code.
pub(super) fn explain(args: &ExplainArgs) -> u8 {
    if let Some(code) = Code::find(&args.what) {
        print(&code.page());
        return DONE;
    }
    let path = Path::new(&args.what);
    if !path.exists() {
        let names = codes::ALL.iter().map(|code| code.name());
        let help = suggest::nearest(&args.what, names)
            .map_or_else(String::new, |code| format!("\nhelp: did you mean `{code}`?"));
        print_error(&format!("streamrun: `{}` is no code and no file{help}\n", args.what));
        return USAGE;
    }
    if path.is_dir() {
        print_error(&format!("streamrun: {} is a folder; name one of the files in it\n", path.display()));
        return USAGE;
    }
    explain_file(path, args)
}

fn explain_file(path: &Path, args: &ExplainArgs) -> u8 {
    let mut findings = Vec::new();
    let plan = job::load(path, &args.overrides, &mut findings);
    let files = [PathBuf::from(path).display().to_string()];
    let Some(plan) = plan else {
        let report = Report { findings: &findings, files: &files, color: super::color(&std::io::stderr()) };
        print_error(&render::render(&report, Format::Human));
        return INVALID;
    };
    let threads = match Threads::start(1) {
        Ok(threads) => threads,
        Err(error) => {
            print_error(&format!("streamrun: cannot start threads: {error}\n"));
            return FAILED;
        }
    };
    let text = threads.workers.block_on(describe(&plan));
    threads.shut_down();
    match text {
        Ok(text) => {
            print(&text);
            DONE
        }
        Err(error) => {
            print_error(&format!("streamrun: internal error, please report it: {error}\n"));
            FAILED
        }
    }
}

/// The columns after each step, then the plans that run.
async fn describe(plan: &Plan) -> Result<String, Box<dyn std::error::Error>> {
    let mut text = String::new();
    writeln!(
        text,
        "pipeline {} (a batch every {}, {} threads)",
        plan.name,
        plan.batch_interval,
        logical::parallelism(plan)
    )?;
    writeln!(text, "\nsources")?;
    for source in &plan.sources {
        writeln!(text, "  {} ({})\n    {}", source.name, source.kind, source.checked.schema)?;
    }
    for stream in &plan.streams {
        let title = if stream.name == CHAIN { "transforms".to_owned() } else { format!("stream {}", stream.name) };
        writeln!(text, "\n{title}, from {}", stream.from)?;
        for step in &stream.steps {
            let reads =
                if step.streams.is_empty() { String::new() } else { format!(", reads {}", step.streams.join(", ")) };
            let kind = if step.name == step.kind { String::new() } else { format!(" ({})", step.kind) };
            writeln!(text, "  {}{kind}{reads}\n    {}", step.name, step.checked.schema)?;
        }
    }
    writeln!(text, "\nsinks")?;
    for sink in &plan.sinks {
        let from = if sink.from == CHAIN { "transforms" } else { sink.from.as_str() };
        writeln!(text, "  {} ({}), from {from}\n    {}", sink.name, sink.kind, sink.schema)?;
    }
    write!(text, "\n{}", delivery::guarantee(plan))?;
    add_plans(&mut text, plan, &logical::build(plan).await?)?;
    Ok(text)
}

/// What is executed. Constants are hidden where some came from outside the file.
fn add_plans(text: &mut String, plan: &Plan, stages: &Stages) -> Result<(), Box<dyn std::error::Error>> {
    let mut sections = ["transforms", "streams"].into_iter().filter_map(|key| plan.document.get(key));
    let hidden = sections.any(|section| spec::is_hidden(&plan.file, section));
    for stage in &stages.stages {
        let name = if stage.name == CHAIN { "transforms" } else { stage.name.as_str() };
        let note = if hidden { format!(", without its constants ({})", masked::HIDDEN) } else { String::new() };
        writeln!(text, "\nplan of {name}{note}")?;
        let lines = if hidden {
            masked::lines(stage.plan.as_ref())?
        } else {
            displayable(stage.plan.as_ref()).indent(false).to_string().lines().map(str::to_owned).collect()
        };
        for line in lines {
            writeln!(text, "  {line}")?;
        }
    }
    Ok(())
}
