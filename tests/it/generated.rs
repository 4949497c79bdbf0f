//! Files that are written from the code. `UPDATE=1 cargo test` writes them anew.

use std::path::Path;

use streamrun::diagnostic::codes;

use crate::support::repository;

fn check(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == expected, "{} is not current; `UPDATE=1 cargo test generated` writes it", path.display());
}

#[test]
fn the_json_schema() {
    check(&repository().join("schemas/pipeline.schema.json"), &streamrun::plan::json_schema::pipeline_schema_text());
}

#[test]
fn the_pages_of_the_codes() {
    let folder = repository().join("docs/errors");
    let mut index = "# Codes of findings\n\n`streamrun explain CODE` prints a page. These files are written from the same text.\n\n".to_owned();
    for code in codes::ALL {
        check(&folder.join(format!("{}.md", code.name())), &code.page());
        index.push_str(&format!("- [{}]({}.md): {}\n", code.name(), code.name(), code.title()));
    }
    check(&folder.join("README.md"), &index);
    let mut names: Vec<&str> = codes::ALL.iter().map(|code| code.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), codes::ALL.len(), "a code has two meanings");
}

#[test]
fn the_function_tables() {
    let path = repository().join("docs/expressions.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once("<!-- functions -->").expect("the marker");
    let (_, after) = rest.split_once("<!-- /functions -->").expect("the closing marker");
    let tables = streamrun::cli::function_tables();
    check(&path, &format!("{before}<!-- functions -->\n{tables}\n<!-- /functions -->{after}"));
}
