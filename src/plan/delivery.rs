//! What becomes of every row when the pipeline crashes and starts again: computed from the sources, the
//! checkpoint and the sinks, and compared with what the pipeline claims.

use std::fmt;

use super::Plan;
use crate::diagnostic::{Diagnostic, codes};
use crate::sinks::Rewrite;
use crate::sources::Replay;
use crate::spec::{Delivery, Pipeline};

/// How often a row that comes in has an effect, as far as this part of the pipeline is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `source` or `sink`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// How often.
    pub delivery: Delivery,
    /// Why, in a sentence about it.
    pub reason: &'static str,
    /// What would make it better, where something would.
    pub remedy: Option<&'static str>,
}

/// What holds for a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarantee {
    /// Of all parts together: that of the weakest.
    pub delivery: Delivery,
    /// Source by source and sink by sink.
    pub parts: Vec<Part>,
}

/// Writes a heading, and a line for each part.
impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "delivery: {}", self.delivery.words())?;
        for part in &self.parts {
            writeln!(f, "  {} {}: {}; {}", part.what, part.name, part.delivery.words(), part.reason)?;
        }
        Ok(())
    }
}

/// What holds for a pipeline.
#[must_use]
pub fn guarantee(plan: &Plan) -> Guarantee {
    let checkpoint = plan.checkpoint.is_some();
    let sources = plan.sources.iter().map(|source| of_source(&source.name, source.checked.replay, checkpoint));
    let sinks = plan.sinks.iter().map(|sink| of_sink(&sink.name, sink.checked.rewrite, checkpoint));
    let parts: Vec<Part> = sources.chain(sinks).collect();
    let delivery = parts.iter().map(|part| part.delivery).min().unwrap_or(Delivery::ExactlyOnce);
    Guarantee { delivery, parts }
}

fn of_source(name: &str, replay: Replay, checkpoint: bool) -> Part {
    let (delivery, reason, remedy) = match (replay, checkpoint) {
        (Replay::Same, true) => (
            Delivery::ExactlyOnce,
            "a batch that runs again reads the same rows, and the next one those after them",
            None,
        ),
        (Replay::Same, false) => (
            Delivery::AtLeastOnce,
            "without a checkpoint every start reads from the beginning",
            Some("add `checkpoint: { path: ./checkpoints }`"),
        ),
        (Replay::Received, true) => (
            Delivery::AtLeastOnce,
            "what was received is in a log before it is processed, and what the sender sends again comes twice; \
             what was on its way when the program ended depends on the sender",
            None,
        ),
        (Replay::Received, false) => (
            Delivery::AtMostOnce,
            "what was received and not processed is lost with the program",
            Some("add `checkpoint: { path: ./checkpoints }`, which also keeps a log of what is received"),
        ),
    };
    Part { what: "source", name: name.to_owned(), delivery, reason, remedy }
}

fn of_sink(name: &str, rewrite: Rewrite, checkpoint: bool) -> Part {
    let (delivery, reason, remedy) = match (rewrite, checkpoint) {
        (Rewrite::Replaces, true) => {
            (Delivery::ExactlyOnce, "a batch that runs again replaces what it has written", None)
        }
        (Rewrite::Replaces, false) => (
            Delivery::AtLeastOnce,
            "a batch appears as a whole; without a checkpoint the next start writes new ones",
            Some("add `checkpoint: { path: ./checkpoints }`"),
        ),
        (Rewrite::Repeats, _) => (
            Delivery::AtLeastOnce,
            "a batch that runs again is written again",
            Some("use a sink that replaces a batch, such as `files`"),
        ),
        (Rewrite::Nothing, _) => (Delivery::ExactlyOnce, "nothing is written", None),
    };
    Part { what: "sink", name: name.to_owned(), delivery, reason, remedy }
}

/// Reports a claim that is stronger than what holds.
pub(super) fn check(pipeline: &Pipeline, plan: &Plan, findings: &mut Vec<Diagnostic>) {
    let Some(claim) = pipeline.head.delivery else { return };
    let guarantee = guarantee(plan);
    if claim <= guarantee.delivery {
        return;
    }
    let weak: Vec<&Part> = guarantee.parts.iter().filter(|part| part.delivery < claim).collect();
    let reasons =
        weak.iter().map(|part| format!("{} `{}` is {}: {}", part.what, part.name, part.delivery.words(), part.reason));
    let message = format!("the pipeline is not {}: {}", claim.words(), reasons.collect::<Vec<_>>().join(". And "));
    let mut remedies: Vec<&str> = weak.iter().filter_map(|part| part.remedy).collect();
    remedies.dedup();
    let weaker = format!("claim `delivery: {}`, or leave it out", guarantee.delivery);
    let help = if remedies.is_empty() { weaker } else { format!("{}; or {weaker}", remedies.join("; ")) };
    let span = pipeline.document.nearest(&["delivery"]).span;
    findings.push(Diagnostic::new(codes::STRONG_CLAIM, &pipeline.file, span, message).help(help));
}
