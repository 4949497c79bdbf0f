//! How long it takes to check 100 pipelines, as `streamrun validate` does.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "support/measure.rs"]
mod measure;

use std::fs;
use std::path::PathBuf;

use streamrun::diagnostic::has_errors;
use streamrun::job;

use crate::measure::{Result, median, millis, small, timed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RUNS: usize = 10;

/// `NUMBER` is different in each file.
const TEMPLATES: [&str; 3] = [
    r#"
name: wordcount-NUMBER
batch_interval: 5s
sources:
  lines:
    socket: { host: localhost, port: 9999 }
transforms:
  - flat_map:
      word: split(lower(value), " ")
  - filter: word != "" && length(word) > NUMBER % 7
  - reduce_by_key: { key: word, values: { count: count() } }
  - sort: { by: [count desc, word], limit: 10 }
sinks:
  out:
    console: {}
"#,
    r#"
name: orders-NUMBER
batch_interval: 1s
sources:
  orders:
    directory:
      path: /data/orders-NUMBER
      format: { json: { schema: { region: string, amount: double, quantity: long, at: timestamp } } }
transforms:
  - filter: amount > NUMBER && is_not_null(region)
  - with_columns:
      day: date(at)
      price: round(amount / quantity, 2)
  - reduce_by_key:
      key: [region, day]
      values:
        orders: count()
        revenue: sum(amount)
        highest: max(price)
        mean: round(sum(amount) / count(), 2)
  - sql: select region, sum(revenue) as revenue from stream group by region having sum(orders) > NUMBER
sinks:
  out:
    files: { path: ./out/orders-NUMBER, format: json }
"#,
    r#"
name: clicks-NUMBER
sources:
  clicks:
    socket: { host: localhost, port: 9998, format: { json: { schema: { user_id: long, page: string } } } }
  users:
    directory: { path: /data/users-NUMBER, format: { csv: { schema: { user_id: long, name: string } } } }
streams:
  named:
    from: clicks
    transforms:
      - join: { with: users, key: user_id, how: left_outer }
      - with_columns:
          title: if(is_null(name), "unknown NUMBER", upper(name))
      - drop: [file]
  pages:
    from: named
    transforms:
      - count_by_value: [page]
sinks:
  out: { from: named, discard: {} }
  pages: { from: pages, console: { format: table } }
"#,
];

fn main() -> Result<()> {
    let pipelines = if small() { 10 } else { 100 };
    let folder = tempfile::tempdir()?;
    let mut paths = Vec::new();
    for (number, template) in (0..pipelines).zip(TEMPLATES.iter().cycle()) {
        let path = folder.path().join(format!("pipeline-{number}.yaml"));
        fs::write(&path, template.replace("NUMBER", &number.to_string()))?;
        paths.push(path);
    }
    check(&paths)?;
    let took = (0..RUNS).map(|_| timed(|| check(&paths))).collect::<Result<Vec<_>>>()?;
    println!("validate: {pipelines} pipelines in {:.1} ms (aim 100 ms for 100)", millis(median(took)));
    Ok(())
}

fn check(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let mut findings = Vec::new();
        let plan = job::load(path, &[], &mut findings);
        if plan.is_none() || has_errors(&findings) {
            let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
            return Err(format!("{}: {}", path.display(), messages.join("; ")).into());
        }
    }
    Ok(())
}
