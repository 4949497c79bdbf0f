//! streamrun runs streaming pipelines that are written in YAML.
//!
//! ```text
//! wordcount.yaml
//!   -> spec      the document as written: every key known, places kept, nothing resolved
//!   -> plan      the checked pipeline: names wired, columns inferred, expressions typed; pure
//!   -> logical   each run of steps as one DataFusion plan, planned once
//!   -> engine    micro-batches: sources fill slots, plans run, sinks write
//!   -> job       start, stop, reload; one driver task per pipeline
//! ```
//!
//! `sources`, `transforms` and `sinks` hold one component per file and a list of them; `formats`
//! turns bytes into rows and back; `expr` and `schema` are the expression language and the column
//! types; `diagnostic` is how findings look; `testing` runs `*.test.yaml`; `cli` is the program.

pub mod checkpoint;
pub mod cli;
pub mod diagnostic;
pub mod engine;
pub mod expr;
pub mod formats;
pub mod job;
pub mod logical;
pub mod plan;
pub mod schema;
pub mod sinks;
pub mod sources;
pub mod spec;
pub mod state;
pub mod testing;
pub mod transforms;
