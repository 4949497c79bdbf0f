//! `streamrun list`: every source, step, sink, format and function of this build, with its settings.
//!
//! Settings are read off the JSON Schema, functions off their tables: there is no list to keep up to date.

use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use super::settings::Schema;
use super::{DONE, USAGE, print, print_error};
use crate::diagnostic::suggest;
use crate::expr::compile::signature;
use crate::expr::{aggregates, functions};
use crate::plan;
use crate::plan::json_schema::declared_schema;

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// What to show with all its settings: a source, step, sink, format or function (`socket`, `csv`), or all of
    /// them (`sources`, `steps`, `sinks`, `formats`, `functions`). An overview by default
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Something that a pipeline file may name.
struct Item<'a> {
    /// The list it is in, e.g. `sources`.
    list: &'static str,
    /// What it is, e.g. `source`.
    what: &'static str,
    name: &'a str,
    /// Its name, or how a function is called.
    title: String,
    summary: &'a str,
    /// Its settings. A format has some where it is read and others where it is written.
    settings: Vec<(&'static str, &'a Value)>,
    /// What may stand beside it.
    beside: Vec<(&'a str, &'a Value)>,
    /// An expression and its value.
    example: Option<(&'static str, &'static str)>,
}

/// Prints the overview or what was asked for; the exit code.
pub(super) fn list(args: &ListArgs) -> u8 {
    let schema = declared_schema();
    let items = items(&schema);
    let mut text = String::new();
    if args.names.is_empty() {
        overview(&items, Schema(&schema), &mut text);
    }
    for name in &args.names {
        let found: Vec<&Item<'_>> = items.iter().filter(|item| item.name == *name || item.list == *name).collect();
        if found.is_empty() {
            print_error(&unknown(name, &items));
            return USAGE;
        }
        for item in found {
            if !text.is_empty() {
                text.push('\n');
            }
            details(item, Schema(&schema), &mut text);
        }
    }
    print(&text);
    DONE
}

fn unknown(name: &str, items: &[Item<'_>]) -> String {
    let known = items.iter().flat_map(|item| [item.name, item.list]);
    let help = suggest::nearest(name, known).map_or_else(
        || "`streamrun list` shows what there is".to_owned(),
        |nearest| format!("did you mean `{nearest}`?"),
    );
    format!("streamrun: there is no source, step, sink, format or function `{name}`\nhelp: {help}\n")
}

fn items(schema: &Value) -> Vec<Item<'_>> {
    let (sources, steps, sinks) = plan::kinds();
    let mut items = components(schema, "sources", "source", "Source", &sources);
    items.extend(components(schema, "steps", "step", "Step", &steps));
    items.extend(components(schema, "sinks", "sink", "Sink", &sinks));
    items.extend(formats(schema));
    let function = |what, name, title, summary, example| Item {
        list: "functions",
        what,
        name,
        title,
        summary,
        settings: Vec::new(),
        beside: Vec::new(),
        example,
    };
    items.extend(
        functions::all()
            .map(|it| function("function", it.name, signature(it.name, it.parameters), it.summary, Some(it.example))),
    );
    items.extend(
        aggregates::all().map(|it| function("aggregate", it.name, signature(it.name, it.parameters), it.summary, None)),
    );
    items
}

/// The kinds of a section, with the keys that may stand beside each.
fn components<'a>(
    schema: &'a Value,
    list: &'static str,
    what: &'static str,
    definition: &str,
    kinds: &[&str],
) -> Vec<Item<'a>> {
    let keys = schema.pointer(&format!("/definitions/{definition}/anyOf/0/properties")).and_then(Value::as_object);
    let keys = keys.into_iter().flatten().map(|(name, key)| (name.as_str(), key));
    let (kinds, beside): (Vec<_>, Vec<_>) = keys.partition(|(name, _)| kinds.contains(name));
    let item = |(name, settings): (&'a str, &'a Value)| Item {
        list,
        what,
        name,
        title: name.to_owned(),
        summary: description(settings),
        settings: vec![("", settings)],
        beside: beside.clone(),
        example: None,
    };
    kinds.into_iter().map(item).collect()
}

fn formats<'a>(schema: &'a Value) -> Vec<Item<'a>> {
    let written = forms(schema, "OutputFormat");
    let item = |(name, summary, settings): (&'a str, &'a str, &'a Value)| Item {
        list: "formats",
        what: "format",
        name,
        title: name.to_owned(),
        summary,
        settings: std::iter::once(("read", settings))
            .chain(written.iter().filter(|(other, ..)| *other == name).map(|(.., settings)| ("written", *settings)))
            .collect(),
        beside: Vec::new(),
        example: None,
    };
    forms(schema, "InputFormat").into_iter().map(item).collect()
}

/// The formats of a definition: name, description, settings.
fn forms<'a>(schema: &'a Value, definition: &str) -> Vec<(&'a str, &'a str, &'a Value)> {
    let forms = schema.pointer(&format!("/definitions/{definition}/oneOf")).and_then(Value::as_array);
    let named = forms.into_iter().flatten().flat_map(|form| {
        let settings = form.get("properties").and_then(Value::as_object).into_iter().flatten();
        settings.map(move |(name, settings)| (name.as_str(), description(form), settings))
    });
    named.collect()
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// A line for each item, and one with the names of its settings.
fn overview(items: &[Item<'_>], schema: Schema<'_>, text: &mut String) {
    for section in items.chunk_by(|a, b| a.what == b.what) {
        let Some(first) = section.first() else { continue };
        let heading = if first.what == "aggregate" { "aggregates (where rows are grouped)" } else { first.list };
        let width = section.iter().map(|item| item.title.chars().count()).max().unwrap_or(0).min(44);
        text.push_str(&format!("{heading}\n"));
        for item in section {
            text.push_str(&format!("  {:width$}  {}\n", item.title, item.summary));
            let mut names: Vec<String> =
                item.settings.iter().flat_map(|(_, settings)| schema.names(settings)).collect();
            let mut seen = std::collections::HashSet::new();
            names.retain(|name| seen.insert(name.clone()));
            if !names.is_empty() {
                text.push_str(&format!("  {:width$}    {}\n", "", names.join(", ")));
            }
        }
        text.push('\n');
    }
    text.push_str("`streamrun list NAME...` explains all settings, e.g. of `socket`, of `csv` or of all `sources`.\n");
}

/// An item with all its settings.
fn details(item: &Item<'_>, schema: Schema<'_>, text: &mut String) {
    text.push_str(&format!("{} ({}): {}\n", item.title, item.what, item.summary));
    for (label, settings) in &item.settings {
        text.push('\n');
        if !label.is_empty() {
            text.push_str(&format!("  {label}:\n"));
        }
        schema.describe(settings, if label.is_empty() { 2 } else { 4 }, text);
    }
    if !item.beside.is_empty() {
        text.push_str(&format!("\n  beside `{}`:\n", item.name));
    }
    for (name, setting) in &item.beside {
        schema.setting(name, setting, false, 4, text);
    }
    if let Some((expression, value)) = item.example {
        text.push_str(&format!("  `{expression}` is `{value}`\n"));
    }
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
