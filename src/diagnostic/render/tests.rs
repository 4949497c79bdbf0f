use std::sync::Arc;

use serde_json::{Map, Value};

use super::*;
use crate::diagnostic::{SourceFile, Span, codes};

const TEXT: &str = "name: demo\nsources:\n  in:\n    socket: { hots: localhost, port: 9999 }\n  in:\n    rows: {}\n";

fn file(text: &str) -> Arc<SourceFile> {
    Arc::new(SourceFile::new("pipelines/demo.yaml", text))
}

/// The place of the `nth` (from 0) occurrence of a word.
fn span(text: &str, word: &str, nth: usize) -> Span {
    let start = text.match_indices(word).nth(nth).map(|(at, _)| at).expect("the word is there");
    Span::new(start, start + word.len())
}

fn samples() -> Vec<Diagnostic> {
    let demo = file(TEXT);
    let missing = Arc::new(SourceFile::new("pipelines/gone.yaml", ""));
    vec![
        Diagnostic::new(codes::UNKNOWN_KEY, &demo, span(TEXT, "hots", 0), "the key `hots` is not known here")
            .help("did you mean `host`?"),
        Diagnostic::new(codes::DUPLICATE_KEY, &demo, span(TEXT, "in:", 1), "the key `in` is there twice")
            .related(span(TEXT, "in:", 0), "first here"),
        Diagnostic::new(codes::UNUSED_STREAM, &demo, span(TEXT, "rows", 0), "the source `in` is not used"),
        Diagnostic::about_file(codes::UNREADABLE_FILE, &missing, "the file cannot be read: not found")
            .help("check the path"),
    ]
}

fn show(findings: &[Diagnostic], format: Format) -> String {
    let files = ["pipelines/demo.yaml", "pipelines/gone.yaml", "pipelines/good.yaml"].map(str::to_owned);
    render(&Report { findings, files: &files, color: false }, format)
}

fn json(findings: &[Diagnostic], format: Format) -> Value {
    serde_json::from_str(&show(findings, format)).expect("JSON")
}

#[test]
fn human() {
    insta::assert_snapshot!(show(&samples(), Format::Human));
}

#[test]
fn human_summaries() {
    let sum = |findings: &[Diagnostic], count: usize| {
        let files = vec!["a.yaml".to_owned(); count];
        let text = render(&Report { findings, files: &files, color: false }, Format::Human);
        text.lines().last().unwrap_or_default().to_owned()
    };
    let all = samples();
    assert_eq!(sum(&[], 1), "1 file is valid");
    assert_eq!(sum(&[], 3), "3 files are valid");
    assert_eq!(sum(&all, 3), "3 errors, 1 warning in 3 files");
    assert_eq!(sum(&all[..1], 1), "1 error in 1 file");
    assert_eq!(sum(&all[2..3], 2), "1 warning in 2 files");
}

#[test]
fn human_color_is_only_color() {
    let render_with = |color| human::findings(&samples(), color);
    let colored = render_with(true);
    assert!(colored.contains("\u{1b}["));
    let mut plain = String::new();
    let mut in_escape = false;
    for c in colored.chars() {
        match c {
            '\u{1b}' => in_escape = true,
            'm' if in_escape => in_escape = false,
            _ if in_escape => {}
            _ => plain.push(c),
        }
    }
    assert_eq!(plain, render_with(false));
}

#[test]
fn human_cuts_long_lines() {
    let text = format!("a: 1\nb: {}WRONG{}\n", "x".repeat(2000), "y".repeat(2000));
    let finding = Diagnostic::new(codes::INVALID_VALUE, &file(&text), span(&text, "WRONG", 0), "wrong");
    let shown = human::findings([&finding], false);
    assert!(shown.contains("pipelines/demo.yaml:2:2004\n"), "{shown}");
    assert!(shown.contains("WRONG"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() < 400), "{shown}");
    let line_of = |needle: &str| shown.lines().find_map(|line| line.find(needle));
    assert_eq!(line_of("WRONG"), line_of("^^^^^"), "{shown}");
}

#[test]
fn human_names_what_is_far_away() {
    let text = format!("first: 1\n{}first: 2\n", "#\n".repeat(5000));
    let finding = Diagnostic::new(codes::DUPLICATE_KEY, &file(&text), span(&text, "first", 1), "twice")
        .related(span(&text, "first", 0), "first here");
    let shown = human::findings([&finding], false);
    assert!(shown.contains("note: first here (line 1, column 1)"), "{shown}");
    assert!(shown.lines().count() < 10, "{shown}");
}

#[test]
fn human_shows_no_secret_and_no_raw_control_character() {
    let text = "password: hunter2\nname: \u{1b}[31m\u{9b}x\u{7}\u{202e}\r\n";
    let demo = Arc::new(SourceFile::new("a\u{1b}.yaml", text));
    let secret = span(text, "hunter2", 0);
    demo.hide(std::iter::once(secret.start..secret.end).collect());
    let findings = [
        Diagnostic::new(codes::INVALID_VALUE, &demo, secret, "not allowed"),
        Diagnostic::new(codes::INVALID_VALUE, &demo, span(text, "name", 0), "bad \u{1b}[0m\u{9b}")
            .related(Span::new(0, 8), "here \u{1b}")
            .help("try \u{1b}[1m"),
    ];
    let shown = human::findings(&findings, false);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("password: *******"), "{shown}");
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{shown:?}");
}

#[test]
fn odd_spans_do_not_panic() {
    for text in ["", "\n", "a", "ä\n", "a: ü\r\nb: 漢字\r\n\r\n", "é".repeat(500).as_str(), "\u{feff}a: 1\n\n"] {
        let demo = file(text);
        let ends = (0..text.len() + 3).filter(|at| *at < 40 || *at + 20 > text.len()).chain([usize::MAX]);
        let ends: Vec<usize> = ends.collect();
        for start in &ends {
            for end in &ends {
                let span = Span::new(*start, *end);
                let finding =
                    Diagnostic::new(codes::NOT_YAML, &demo, span, "odd").related(Span::new(*end, *end), "here");
                for format in [Format::Human, Format::Json, Format::Github, Format::Sarif, Format::Junit] {
                    assert!(!show(std::slice::from_ref(&finding), format).is_empty());
                }
            }
        }
    }
}

#[test]
fn only_the_first_line_of_a_span_is_shown() {
    let text = "sources:\n  a: 1\n  b: 2\n";
    let finding = Diagnostic::new(codes::WRONG_TYPE, &file(text), Span::new(9, text.len()), "wrong");
    let shown = human::findings([&finding], false);
    assert!(shown.contains("2 |   a: 1") && !shown.contains("b: 2"), "{shown}");
}

#[test]
fn json_fields() {
    let found = json(&samples(), Format::Json);
    assert_eq!([&found["files"], &found["errors"], &found["warnings"]], [3, 3, 1]);
    let first = &found["findings"][0];
    assert_eq!(first["code"], "SR0201");
    assert_eq!(first["severity"], "error");
    assert_eq!(first["message"], "the key `hots` is not known here");
    assert_eq!(first["file"], "pipelines/demo.yaml");
    assert_eq!([&first["line"], &first["column"]], [4, 15]);
    assert_eq!([&first["end_line"], &first["end_column"]], [4, 19]);
    assert_eq!(first["help"], "did you mean `host`?");
    assert_eq!(first["related"], Value::Null);
    let related = &found["findings"][1]["related"];
    assert_eq!([&related["line"], &related["column"]], [3, 3]);
    assert_eq!(related["message"], "first here");
    assert_eq!(found["findings"][2]["severity"], "warning");
    assert_eq!(found["findings"][3]["line"], Value::Null);
    let keys: Vec<&String> = first.as_object().into_iter().flat_map(Map::keys).collect();
    let expected =
        ["code", "severity", "message", "file", "line", "column", "end_line", "end_column", "help", "related"];
    assert_eq!(keys, expected);
}

#[test]
fn github_commands() {
    let text = "a: 1\nb: 2\n";
    let odd = Arc::new(SourceFile::new("dir,1/a:b%.yaml", text));
    let findings = [
        Diagnostic::new(codes::UNKNOWN_KEY, &odd, Span::new(5, 6), "100%\r\nwrong: a, b").help("drop `b`"),
        Diagnostic::new(codes::UNUSED_STREAM, &odd, Span::new(0, 6), "unused"),
        Diagnostic::about_file(codes::UNREADABLE_FILE, &odd, "gone"),
    ];
    assert_eq!(
        show(&findings, Format::Github),
        "::error file=dir%2C1/a%3Ab%25.yaml,line=2,col=1,endLine=2,endColumn=2,title=SR0201::100%25%0D%0Awrong: a, b (drop `b`)\n\
         ::warning file=dir%2C1/a%3Ab%25.yaml,line=1,endLine=2,title=SR0304::unused\n\
         ::error file=dir%2C1/a%3Ab%25.yaml,title=SR0101::gone\n"
    );
    assert_eq!(show(&[], Format::Github), "");
}

#[test]
fn sarif() {
    let log = json(&samples(), Format::Sarif);
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "streamrun");
    let ids: Vec<&Value> = driver["rules"].as_array().into_iter().flatten().map(|rule| &rule["id"]).collect();
    assert_eq!(ids, ["SR0101", "SR0104", "SR0201", "SR0304"]);
    assert_eq!(driver["rules"][3]["defaultConfiguration"]["level"], "warning");
    let page = driver["rules"][0]["help"]["markdown"].as_str().unwrap_or_default();
    assert!(page.starts_with("# SR0101: "), "{page}");
    insta::assert_snapshot!(format!("{:#}", run["results"]));
}

#[test]
fn sarif_paths_are_uris() {
    assert_eq!(sarif::uri("./a b/ä:%.yaml"), "a%20b/%C3%A4%3A%25.yaml");
    assert_eq!(sarif::uri("/srv/a.yaml"), "file:///srv/a.yaml");
}

#[test]
fn junit() {
    insta::assert_snapshot!(show(&samples(), Format::Junit));
}
