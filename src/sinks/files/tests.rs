use std::fs;

use tempfile::TempDir;

use super::super::testing::{check, columns, failing, open, words, words_schema};
use super::*;

const BATCH: Batch = Batch { id: 0, time: 1_000 };

async fn sink_in(folder: &TempDir, name: &str, more: &str) -> Box<dyn Sink> {
    let path = folder.path().join(name);
    let settings = format!("{{ path: '{}'{more} }}", path.display());
    open("files", &settings, &words_schema()).await.unwrap().0
}

/// Every file below a folder, hidden ones too, and every empty folder, with a `/` at its end.
fn tree(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        let entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let name = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
        if entries.iter().all(|path| path.ends_with(super::MANIFEST)) && folder != root {
            found.push(name(folder) + "/");
        }
        for path in entries {
            if path.is_dir() {
                walk(&path, root, found);
            } else if !path.ends_with(super::MANIFEST) {
                found.push(name(&path));
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

fn read(folder: &TempDir, file: &str) -> String {
    fs::read_to_string(folder.path().join(file)).unwrap()
}

#[tokio::test]
async fn a_folder_per_batch_and_a_file_per_partition_with_rows() {
    let folder = TempDir::new().unwrap();
    let mut sink = sink_in(&folder, "a/out", "").await;
    sink.write(BATCH, vec![words(&[("a", 1), ("b", 2)]), words(&[]), words(&[("c", 3)])]).await.unwrap();
    sink.write(Batch { id: 1, time: 2_000 }, vec![words(&[("d", 4)])]).await.unwrap();
    let expected =
        ["a/out/batch=1000/part-00000.json", "a/out/batch=1000/part-00002.json", "a/out/batch=2000/part-00000.json"];
    assert_eq!(tree(folder.path()), expected);
    let rows = "{\"word\":\"a\",\"count\":1}\n{\"word\":\"b\",\"count\":2}\n";
    assert_eq!(read(&folder, expected[0]), rows);
}

#[tokio::test]
async fn a_manifest_says_what_a_batch_holds() {
    let folder = TempDir::new().unwrap();
    let mut sink = sink_in(&folder, "out", "").await;
    sink.write(BATCH, vec![words(&[("a", 1), ("b", 2)]), words(&[]), words(&[("c", 3)])]).await.unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&read(&folder, "out/batch=1000/_manifest.json")).unwrap();
    assert_eq!((&manifest["time"], &manifest["rows"]), (&1_000.into(), &3.into()));
    let files: Vec<_> = manifest["files"].as_array().unwrap().iter().map(|it| (&it["name"], &it["rows"])).collect();
    assert_eq!(files, [(&"part-00000.json".into(), &2.into()), (&"part-00002.json".into(), &1.into())]);
}

#[tokio::test]
async fn spark_names() {
    let folder = TempDir::new().unwrap();
    let mut plain = sink_in(&folder, "counts", ", naming: prefix, format: text").await;
    plain.write(BATCH, vec![words(&[("a", 1)])]).await.unwrap();
    let mut suffixed = sink_in(&folder, "totals", ", naming: prefix, suffix: txt, format: text").await;
    suffixed.write(BATCH, vec![words(&[("a", 1)])]).await.unwrap();
    assert_eq!(tree(folder.path()), ["counts-1000/part-00000.txt", "totals-1000.txt/part-00000.txt"]);
    assert_eq!(read(&folder, "counts-1000/part-00000.txt"), "(a,1)\n");
}

#[tokio::test]
async fn a_rerun_replaces() {
    let folder = TempDir::new().unwrap();
    let mut sink = sink_in(&folder, "out", "").await;
    sink.write(BATCH, vec![words(&[("a", 1)]), words(&[("b", 2)])]).await.unwrap();
    sink.write(BATCH, vec![words(&[("c", 3)])]).await.unwrap();
    assert_eq!(tree(folder.path()), ["out/batch=1000/part-00000.json"]);
    assert_eq!(read(&folder, "out/batch=1000/part-00000.json"), "{\"word\":\"c\",\"count\":3}\n");
    sink.write(BATCH, vec![words(&[])]).await.unwrap();
    assert_eq!(tree(folder.path()), ["out/"]);
}

#[tokio::test]
async fn empty_batches() {
    let folder = TempDir::new().unwrap();
    sink_in(&folder, "skipped", "").await.write(BATCH, vec![words(&[])]).await.unwrap();
    let mut sink = sink_in(&folder, "written", ", empty_batches: write").await;
    sink.write(BATCH, vec![]).await.unwrap();
    assert_eq!(tree(folder.path()), ["skipped/", "written/batch=1000/"]);
}

#[tokio::test]
async fn a_failure_leaves_nothing_visible() {
    let folder = TempDir::new().unwrap();
    let mut sink = sink_in(&folder, "out", "").await;
    let error = sink.write(BATCH, vec![words(&[("a", 1)]), failing(&[("b", 2)])]).await.unwrap_err();
    assert_eq!(error.to_string(), "the source is gone");
    assert_eq!(tree(folder.path()), ["out/"]);
    sink.write(BATCH, vec![words(&[("a", 1)])]).await.unwrap();
    sink.write(BATCH, vec![failing(&[("b", 2)])]).await.unwrap_err();
    assert_eq!(read(&folder, "out/batch=1000/part-00000.json"), "{\"word\":\"a\",\"count\":1}\n");
    assert_eq!(tree(folder.path()), ["out/batch=1000/part-00000.json"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failure_waits_for_the_other_workers() {
    let folder = TempDir::new().unwrap();
    let mut sink = sink_in(&folder, "out", "").await;
    let rows: Vec<(&str, i64)> = (0..200).map(|i| ("w", i)).collect();
    for _ in 0..20 {
        let mut partitions: Vec<Partition> = (0..8).map(|_| words(&rows)).collect();
        partitions.push(failing(&[("b", 2)]));
        sink.write(BATCH, partitions).await.unwrap_err();
        assert_eq!(tree(folder.path()), ["out/"]);
    }
}

#[tokio::test]
async fn leftovers_are_removed_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let stay = [".batch=x.tmp-7/f", ".batch=9.tmp-me/f", ".hidden/f", "batch=3/new", "batch=8/f", "other.tmp-7/f"];
    for file in stay.into_iter().chain([".batch=3.tmp-7/f", ".batch=3.old-7/old", ".batch=4.old-7/old"]) {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    sink_in(&folder, "", "").await;
    // Batch 4 was set aside and never replaced.
    let mut expected: Vec<&str> = stay.into_iter().chain(["batch=4/old"]).collect();
    expected.sort_unstable();
    assert_eq!(tree(folder.path()), expected);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let settings = format!("{{ path: '{}/out' }}", file.display());
    let error = open("files", &settings, &words_schema()).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot create the folder `{}/out`: ", file.display())), "{error}");
}

#[test]
fn settings_are_checked() {
    let maps = columns(&[("m", "map<long, long>")]);
    for (settings, schema, code) in [
        ("{}", words_schema(), codes::MISSING_KEY),
        ("{ path: out, formt: json }", words_schema(), codes::UNKNOWN_KEY),
        ("{ path: out }", maps, codes::SCHEMA_MISMATCH),
        ("{ path: '' }", words_schema(), codes::INVALID_VALUE),
        ("{ path: /, naming: prefix }", words_schema(), codes::INVALID_VALUE),
        ("{ path: 's3://bucket/out' }", words_schema(), codes::INVALID_VALUE),
        ("{ path: out, suffix: txt }", words_schema(), codes::CONFLICTING_KEYS),
        ("{ path: out, naming: prefix, suffix: a/b }", words_schema(), codes::INVALID_VALUE),
    ] {
        let (_, findings) = check("files", settings, &schema);
        let found: Vec<&str> = findings.iter().map(|finding| finding.code.name()).collect();
        assert_eq!(found, [code.name()], "{settings}");
    }
    let (checked, findings) = check("files", "{ path: out, naming: prefix, suffix: txt }", &words_schema());
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(checked.unwrap().resources, [Resource::WritePath("out".to_owned(), "path")]);
}
