//! The arrows of docs/architecture.md go down only.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::repository;

/// What each room may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("diagnostic", &[]),
    ("spec", &["diagnostic", "schema"]),
    ("schema", &["diagnostic"]),
    ("expr", &["diagnostic", "schema"]),
    ("formats", &["schema", "diagnostic"]),
    ("sources", &["checkpoint", "formats", "schema", "spec", "diagnostic"]),
    ("sinks", &["formats", "schema", "spec", "diagnostic", "sources"]),
    ("state", &["expr", "schema"]),
    ("checkpoint", &[]),
    ("transforms", &["state", "expr", "formats", "schema", "spec", "diagnostic"]),
    ("plan", &["sources", "transforms", "state", "sinks", "formats", "expr", "schema", "spec", "diagnostic"]),
    ("logical", &["plan", "transforms", "state", "sources", "formats", "expr", "schema", "spec", "diagnostic"]),
    (
        "engine",
        &["logical", "plan", "checkpoint", "state", "sinks", "sources", "formats", "schema", "spec", "diagnostic"],
    ),
    ("job", &["engine", "logical", "plan", "checkpoint", "sinks", "sources", "schema", "spec", "diagnostic"]),
];

/// Only these rooms name the engine library and the expression parser.
const DATAFUSION: &[&str] = &["expr", "transforms", "logical", "engine", "formats", "cli"];

#[test]
fn rooms_name_only_those_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    visit(&repository().join("src"), &mut |room, path, text| {
        let Some(below) = allowed.get(room) else { return };
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") || line.trim() == "#[cfg(test)]" {
                continue;
            }
            for (named, _) in ARROWS {
                let uses = line.contains(&format!("crate::{named}::")) || line.contains(&format!("crate::{named};"));
                if uses && *named != room && !below.contains(named) {
                    wrong.push(format!("{}:{} names crate::{named}", path.display(), number + 1));
                }
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_engine_library_stays_in_its_rooms() {
    let mut wrong = Vec::new();
    visit(&repository().join("src"), &mut |room, path, text| {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let named: Vec<&str> = code.filter(|line| line.contains("datafusion::")).collect();
        if !named.is_empty() && !DATAFUSION.contains(&room) {
            wrong.push(format!("{}: {}", path.display(), named[0]));
        }
        let parser = text.lines().any(|line| line.contains("evalexpr::") && !line.trim_start().starts_with("//"));
        let parsers_own = path.ends_with("expr/parse.rs") || path.ends_with("expr/tests.rs");
        if parser && !parsers_own {
            wrong.push(format!("{}: evalexpr", path.display()));
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Calls `look` with each file's room, path and text; test files are left out.
fn visit(folder: &Path, look: &mut impl FnMut(&str, &Path, &str)) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            visit(&path, look);
        } else if path.extension().is_some_and(|it| it == "rs") && path.file_name().is_some_and(|it| it != "tests.rs") {
            let below = path.strip_prefix(repository().join("src")).unwrap();
            let room = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            // Unit tests at the end of a file may use what they like.
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            look(&room, &path, code);
        }
    }
}
