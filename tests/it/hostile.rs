//! Files that mean harm get a finding, never a crash.

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
