//! `streamrun list`: every source, step, sink, format and function of this build.

use std::fmt::Write;

use clap::{Args, ValueEnum};

use super::{DONE, print};
use crate::expr::compile::signature;
use crate::expr::{aggregates, functions};
use crate::{sinks, sources, transforms};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only this; everything by default
    #[arg(value_enum)]
    what: Option<What>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Sources,
    Steps,
    Sinks,
    Formats,
    Functions,
}

/// Prints the lists; the exit code.
pub(super) fn list(args: &ListArgs) -> u8 {
    let wanted = |what: What| args.what.is_none_or(|only| only == what);
    let mut text = String::new();
    let mut section = |what: What, title: &str, rows: Vec<(String, String)>| {
        if wanted(what) {
            let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(44);
            let lines: Vec<String> =
                rows.iter().map(|(name, summary)| format!("  {name:width$}  {summary}\n")).collect();
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{title}\n{}", lines.concat()));
        }
    };
    let row = |name: &str, summary: &str| (name.to_owned(), summary.to_owned());
    section(What::Sources, "sources", sources::KINDS.iter().map(|kind| row(kind.name, kind.summary)).collect());
    section(What::Steps, "steps", transforms::KINDS.iter().map(|kind| row(kind.name, kind.summary)).collect());
    section(What::Sinks, "sinks", sinks::KINDS.iter().map(|kind| row(kind.name, kind.summary)).collect());
    let formats = [
        ("text", "a line is a row with the column `value`"),
        ("json", "a JSON object per line"),
        ("csv", "fields with a delimiter between them"),
        ("parquet", "Parquet files (directory source, files sink)"),
    ];
    section(What::Formats, "formats", formats.iter().map(|(name, summary)| row(name, summary)).collect());
    let all = functions::all().map(|it| (signature(it.name, it.parameters), it.summary.to_owned()));
    section(What::Functions, "functions", all.collect());
    let all = aggregates::all().map(|it| (signature(it.name, it.parameters), it.summary.to_owned()));
    section(What::Functions, "aggregates (where rows are grouped)", all.collect());
    print(&text);
    DONE
}

/// The functions as Markdown tables, for `docs/expressions.md`.
#[must_use]
pub fn function_tables() -> String {
    let mut text = String::new();
    let mut group = None;
    let mut all: Vec<_> = functions::all().collect();
    all.sort_by_key(|function| function.group);
    // Writing to a string cannot fail.
    for function in all {
        if group != Some(function.group) {
            group = Some(function.group);
            let _ = write!(text, "\n### {:?}\n\n| function | | example |\n|---|---|---|\n", function.group);
        }
        let (expression, value) = function.example;
        let escape = |text: &str| text.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{}` | {} | `{}` is `{}` |",
            escape(&signature(function.name, function.parameters)),
            escape(function.summary),
            escape(expression),
            escape(value)
        );
    }
    text.push_str("\n### Aggregates\n\n| function | |\n|---|---|\n");
    for aggregate in aggregates::all() {
        let _ = writeln!(
            text,
            "| `{}` | {} |",
            signature(aggregate.name, aggregate.parameters),
            aggregate.summary.replace('|', "\\|")
        );
    }
    text
}
