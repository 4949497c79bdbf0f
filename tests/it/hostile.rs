//! Files that mean harm get a finding, never a crash.

use std::time::{Duration, Instant};

use crate::support::{repository, run_in, stdout, write};

fn validate(text: &[u8]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.yaml"), text).unwrap();
    let output = run_in(folder.path(), &["validate", "p.yaml", "--format", "json"]);
    (output.status.code().unwrap_or(-1), stdout(&output))
}

#[test]
fn hostile_files_get_a_finding() {
    let deep = "[".repeat(100_000);
    let deep_blocks: String = (0..100_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 1_000))).collect();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let expression = |text: &str| {
        format!(
            "sources: {{ s: {{ rate: {{ rows_per_second: 1 }} }} }}\ntransforms:\n  - filter: '{text}'\nsinks: {{ o: {{ discard: {{}} }} }}\n"
        )
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nesting", deep.into_bytes(), "SR01"),
        ("nested blocks", deep_blocks.into_bytes(), "SR01"),
        ("aliases", bomb.into_bytes(), "SR0103"),
        ("50 MiB", vec![b'a'; 50 << 20], "SR0103"),
        ("NUL", b"sources: \0".to_vec(), "SR0102"),
        ("not UTF-8", b"sources: \xff\xfe".to_vec(), "SR0102"),
        ("UTF-16", "sources".encode_utf16().flat_map(u16::to_le_bytes).collect(), "SR0102"),
        ("empty", Vec::new(), "SR0105"),
        ("parentheses", expression(&"(".repeat(100_000)).into_bytes(), "SR0406"),
        ("negations", expression(&"!".repeat(100_000)).into_bytes(), "SR0406"),
        ("a long line", format!("a: {}", "x".repeat(1 << 20)).into_bytes(), "SR0201"),
        ("many keys", (0..50_000).map(|i| format!("k{i}: 1\n")).collect::<String>().into_bytes(), "SR0201"),
    ];
    for (name, text, code) in cases {
        let (exit, out) = validate(&text);
        assert_eq!(exit, 78, "{name}: {}", out.chars().take(500).collect::<String>());
        assert!(out.contains(code), "{name}: {}", out.chars().take(500).collect::<String>());
    }
}

#[test]
fn a_missing_file_and_a_folder_without_pipelines() {
    let output = run_in(repository(), &["validate", "no-such-file.yaml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stdout(&output).contains("SR0101"));
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "notes.txt", "nothing");
    assert_eq!(run_in(folder.path(), &["validate", "."]).status.code(), Some(2));
}

/// What takes a second here took minutes where one of them was compared with all the others.
#[test]
fn ten_thousand_of_anything_take_seconds() {
    let many = |each: &dyn Fn(usize) -> String| (1..10_000).map(each).collect::<String>();
    let source = "sources: { in: { rate: { rows_per_second: 1 } } }\n";
    let sink = "sinks: { out: { from: s0, discard: {} } }\n";
    let streams =
        |each: &dyn Fn(usize) -> String| format!("{source}streams:\n  s0: {{ from: in }}\n{}{sink}", many(each));
    let chain = |steps: String| format!("{source}transforms: {steps}\nsinks: {{ out: {{ discard: {{}} }} }}\n");
    let sources = |settings: &dyn Fn(usize) -> String| {
        let all = many(&|i| format!("  s{i}: {{ {} }}\n", settings(i)));
        format!("sources:\n  s0: {{ rate: {{ rows_per_second: 1 }} }}\n{all}{sink}")
    };
    let cases = [
        ("steps", chain(format!("\n{}", many(&|_| "  - limit: 1\n".to_owned()))), 0),
        ("steps on one line", chain(format!("[{}]", many(&|_| "limit: 1, ".to_owned()))), 0),
        ("a chain of streams", streams(&|i| format!("  s{i}: {{ from: s{}, transforms: [limit: 1] }}\n", i - 1)), 0),
        ("unknown streams", streams(&|i| format!("  s{i}: {{ from: stream_{i} }}\n")), 78),
        ("a circle", streams(&|i| format!("  s{i}: {{ from: s{} }}\n", i % 9_999 + 1)), 78),
        ("sources", sources(&|_| "rate: { rows_per_second: 1 }".to_owned()), 78),
        ("one port", sources(&|_| "socket: { listen: '0.0.0.0:7000' }".to_owned()), 78),
    ];
    for (name, text, code) in cases {
        let begin = Instant::now();
        let (exit, out) = validate(text.as_bytes());
        assert_eq!(exit, code, "{name}: {}", out.chars().take(500).collect::<String>());
        assert!(begin.elapsed() < Duration::from_secs(30), "{name}: {:?}", begin.elapsed());
    }
}
