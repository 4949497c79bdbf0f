//! A pipeline file that changes while its pipeline runs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Running, TextServer, send, write};

fn pipeline(port: u16, step: &str) -> String {
    format!(
        "name: p\nbatch_interval: 50ms\nsources:\n  lines:\n    socket: {{ host: 127.0.0.1, port: {port} }}\ntransforms:\n  - map: {{ value: '{step}' }}\nsinks:\n  out:\n    console: {{ format: json }}\n"
    )
}

fn value(line: &str) -> Option<String> {
    let row: serde_json::Value = serde_json::from_str(line).ok()?;
    row["value"].as_str().map(str::to_owned)
}

#[test]
fn a_changed_file_is_taken_over_and_no_row_is_lost_or_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let server = TextServer::start();
    let old = pipeline(server.port(), "value");
    let new = pipeline(server.port(), r#"concat("new ", value)"#);
    write(folder.path(), "p.yaml", &old);
    let running = Running::start(folder.path(), &["p.yaml"]);
    // One connection for the whole test: an unchanged source keeps it.
    let mut client = server.accept();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut sent = 0;
    for round in 0..6 {
        let text = if round % 2 == 0 { &new } else { &old };
        let marked = round % 2 == 0;
        // As editors save: a new file renamed over the old one.
        write(folder.path(), ".p.yaml.swap", text);
        std::fs::rename(folder.path().join(".p.yaml.swap"), folder.path().join("p.yaml")).unwrap();
        // Rows keep coming while the file is swapped, until one comes out the new way.
        loop {
            send(&mut client, &format!("row {sent}\n"));
            sent += 1;
            let line = running.wait_for("a row", |line| value(line).is_some());
            let row = value(&line).unwrap();
            *seen.entry(row.trim_start_matches("new ").to_owned()).or_default() += 1;
            if row.starts_with("new ") == marked {
                break;
            }
        }
    }
    running.signal("TERM");
    let (code, left) = running.finish();
    for row in left.iter().filter_map(|line| value(line)) {
        *seen.entry(row.trim_start_matches("new ").to_owned()).or_default() += 1;
    }
    assert_eq!(code, 0);
    assert_eq!(seen.len(), sent);
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

#[test]
fn a_wrong_file_leaves_the_old_version_running() {
    let folder = tempfile::tempdir().unwrap();
    let server = TextServer::start();
    write(folder.path(), "p.yaml", &pipeline(server.port(), "value"));
    let running = Running::start(folder.path(), &["p.yaml"]);
    let mut client = server.accept();
    write(folder.path(), "p.yaml", &pipeline(server.port(), "valu"));
    running.wait_for_log("there is no column `valu`");
    running.wait_for_log("the old version runs on");
    send(&mut client, "still here\n");
    running.wait_for("the row", |line| value(line).as_deref() == Some("still here"));
    write(folder.path(), "p.yaml", &pipeline(server.port(), "upper(value)"));
    running.wait_for_log("reloaded");
    send(&mut client, "again\n");
    running.wait_for("the row", |line| value(line).as_deref() == Some("AGAIN"));
}

#[test]
fn a_source_that_cannot_start_leaves_the_old_version_running() {
    let folder = tempfile::tempdir().unwrap();
    let (server, taken) = (TextServer::start(), TextServer::start());
    let text = pipeline(server.port(), "value");
    write(folder.path(), "p.yaml", &text);
    let running = Running::start(folder.path(), &["p.yaml"]);
    let client = server.accept();
    let listening = text.replace(
        &format!("{{ host: 127.0.0.1, port: {} }}", server.port()),
        &format!("{{ listen: '127.0.0.1:{}' }}", taken.port()),
    );
    write(folder.path(), "p.yaml", &listening);
    running.wait_for_log("not reloaded, the old version runs on");
    drop(client);
    // The old source was started again and connects.
    let mut client = server.accept();
    send(&mut client, "back\n");
    running.wait_for("the row", |line| value(line).as_deref() == Some("back"));
}

#[test]
fn a_config_map_swap_counts_as_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let server = TextServer::start();
    // As Kubernetes mounts a ConfigMap: p.yaml -> ..data/p.yaml, ..data -> a dated folder.
    write(folder.path(), "..1/p.yaml", &pipeline(server.port(), "value"));
    write(folder.path(), "..2/p.yaml", &pipeline(server.port(), "upper(value)"));
    link("..1", &folder.path().join("..data"));
    link("..data/p.yaml", &folder.path().join("p.yaml"));
    let running = Running::start(folder.path(), &["p.yaml"]);
    let mut client = server.accept();
    link("..2", &folder.path().join("..data_tmp"));
    std::fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
    running.wait_for_log("reloaded");
    send(&mut client, "x\n");
    running.wait_for("the row", |line| value(line).as_deref() == Some("X"));
}

#[test]
fn hang_up_reloads_and_equal_content_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let server = TextServer::start();
    write(folder.path(), "p.yaml", &pipeline(server.port(), "value"));
    let running = Running::start(folder.path(), &["p.yaml", "-v", "--no-reload"]);
    let mut client = server.accept();
    running.wait_for_log("connected");
    running.signal("HUP");
    write(folder.path(), "p.yaml", &pipeline(server.port(), "upper(value)"));
    running.signal("HUP");
    running.wait_for_log("reloaded: 1 source kept (lines), 1 sink kept (out)");
    send(&mut client, "x\n");
    running.wait_for("the row", |line| value(line).as_deref() == Some("X"));
}

#[test]
fn files_of_a_folder_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (TextServer::start(), TextServer::start());
    write(
        folder.path(),
        "pipelines/a.yaml",
        &pipeline(a.port(), r#"concat("a ", value)"#).replace("name: p", "name: a"),
    );
    let running = Running::start(folder.path(), &["pipelines"]);
    let mut to_a = a.accept();
    write(
        folder.path(),
        "pipelines/b.yaml",
        &pipeline(b.port(), r#"concat("b ", value)"#).replace("name: p", "name: b"),
    );
    let mut to_b = b.accept();
    send(&mut to_b, "1\n");
    running.wait_for("b's row", |line| value(line).as_deref() == Some("b 1"));
    std::fs::remove_file(folder.path().join("pipelines/b.yaml")).unwrap();
    running.wait_for_log("its pipeline stops");
    send(&mut to_a, "2\n");
    running.wait_for("a's row", |line| value(line).as_deref() == Some("a 2"));
    running.signal("TERM");
    assert_eq!(running.finish().0, 0);
}

fn link(target: &str, at: &Path) {
    std::os::unix::fs::symlink(target, at).unwrap();
}

#[test]
fn a_changed_schema_file_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let server = TextServer::start();
    write(folder.path(), "schemas/row.yaml", "value: string\n");
    let text = pipeline(server.port(), "value").replace(
        "    socket: { host: 127.0.0.1, ",
        "    socket: { format: { json: { schema: schemas/row.yaml } }, host: 127.0.0.1, ",
    );
    write(folder.path(), "p.yaml", &text);
    let running = Running::start(folder.path(), &["p.yaml"]);
    let mut client = server.accept();
    send(&mut client, "{\"value\":\"x\"}\n");
    running.wait_for("the row", |line| value(line).as_deref() == Some("x"));
    write(folder.path(), "schemas/row.yaml", "valeu: string\n");
    running.wait_for_log("there is no column `value`");
    write(folder.path(), "schemas/row.yaml", "value: string\nmore: long\n");
    running.wait_for_log("reloaded: ");
    // The source's columns changed, so it connects anew.
    let mut client = server.accept();
    send(&mut client, "{\"value\":\"y\",\"more\":1}\n");
    running.wait_for("the row", |line| value(line).as_deref() == Some("y"));
}
