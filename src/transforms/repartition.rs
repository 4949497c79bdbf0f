//! `repartition: n`: spreads the rows of each batch over n partitions.

use std::sync::Arc;

use datafusion::logical_expr::Partitioning;
use schemars::JsonSchema;
use serde::Deserialize;

use super::operator::{self, Operator, RunContext, Work};
use super::{CheckedStep, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::spec::kind::Settings;

/// How many partitions the rows are spread over; the files sink writes one file for each.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Repartition(#[schemars(range(min = 1, max = 1024))] u32);

impl Settings for Repartition {
    const KIND: &'static str = "repartition";
    const SUMMARY: &'static str = "spread the rows of each batch over so many partitions";
}

impl StepSettings for Repartition {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        let partitions = self.0 as usize;
        if !(1..=1024).contains(&partitions) {
            step.check.report(codes::INVALID_VALUE, &[], "the number of partitions is from 1 to 1024", None);
            return Some(CheckedStep::unchanged(step.input));
        }
        // Whole batches are dealt out, so each is cut into that many first.
        let cut: Arc<dyn Operator> = Arc::new(CutOperator { parts: partitions });
        let schema = step.input.clone();
        Some(CheckedStep::new(schema.clone(), move |input| {
            operator::apply(input, Arc::clone(&cut), &schema)?.repartition(Partitioning::RoundRobinBatch(partitions))
        }))
    }
}

/// Cuts each batch into parts of about the same size.
#[derive(Debug)]
struct CutOperator {
    parts: usize,
}

impl Operator for CutOperator {
    fn name(&self) -> &'static str {
        "Cut"
    }

    fn keeps_order(&self) -> bool {
        true
    }

    fn start(&self, _: &Arc<RunContext>, _: usize) -> Work {
        let parts = self.parts;
        Box::new(move |batch| {
            let rows = batch.num_rows();
            let size = rows.div_ceil(parts).max(1);
            Ok((0..rows).step_by(size).map(|start| batch.slice(start, size.min(rows - start))).collect())
        })
    }
}
