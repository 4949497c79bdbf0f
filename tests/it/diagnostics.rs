//! Every `tests/cases/NAME.yaml` is checked, and what is printed compared with `NAME.txt` beside it.
//! `UPDATE=1 cargo test` writes those files anew, to be read before they are committed.

use crate::support::{repository, run_in, stdout};

#[test]
fn findings_look_as_they_should() {
    let folder = repository().join("tests/cases");
    let mut cases: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path()).collect();
    cases.retain(|path| path.extension().is_some_and(|it| it == "yaml"));
    cases.sort();
    assert!(cases.len() > 20, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let output = run_in(&folder, &["validate", &name]);
        let text = format!("exit {}\n{}", output.status.code().unwrap_or(-1), stdout(&output));
        let expected = case.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, &text).unwrap();
        }
        if std::fs::read_to_string(&expected).unwrap_or_default() != text {
            wrong.push(format!("{name}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_has_a_case() {
    let folder = repository().join("tests/cases");
    let shown: String = std::fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|it| it == "txt"))
        .map(|entry| std::fs::read_to_string(entry.path()).unwrap())
        .collect();
    // Where a code comes from something else than a pipeline file's text, another test shows it.
    let elsewhere = ["SR0101", "SR0103", "SR0601", "SR0701", "SR0702"];
    let missing: Vec<&str> = streamrun::diagnostic::codes::ALL
        .iter()
        .map(|code| code.name())
        .filter(|code| !shown.contains(code) && !elsewhere.contains(code))
        .collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}
