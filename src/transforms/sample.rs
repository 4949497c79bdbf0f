//! `sample: 0.1`: a random part of the rows. The choice follows from the batch's time and the
//! place of the row, so a batch that is run again gives the same rows.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use schemars::JsonSchema;
use serde::Deserialize;

use super::operator::{self, Operator, RunContext, Work};
use super::{CheckedStep, StepCheck, StepSettings};
use crate::diagnostic::codes;
use crate::spec::kind::Settings;

/// The fraction of the rows to keep, from 0 to 1.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sample(#[schemars(range(min = 0.0, max = 1.0))] f64);

impl Settings for Sample {
    const KIND: &'static str = "sample";
    const SUMMARY: &'static str = "a random part of the rows";
}

impl StepSettings for Sample {
    fn check(self: Box<Self>, step: &mut StepCheck<'_, '_>) -> Option<CheckedStep> {
        if !(0.0..=1.0).contains(&self.0) {
            let message = format!("a sample is a fraction from 0 to 1, not {}", self.0);
            step.check.report(codes::INVALID_VALUE, &[], message, Some("`0.1` keeps a tenth of the rows".to_owned()));
            return Some(CheckedStep::unchanged(step.input));
        }
        let operator: Arc<dyn Operator> = Arc::new(SampleOperator { fraction: self.0 });
        let schema = step.input.clone();
        Some(CheckedStep::new(schema.clone(), move |input| operator::apply(input, Arc::clone(&operator), &schema)))
    }
}

#[derive(Debug)]
struct SampleOperator {
    fraction: f64,
}

impl Operator for SampleOperator {
    fn name(&self) -> &'static str {
        "Sample"
    }

    fn keeps_order(&self) -> bool {
        true
    }

    fn start(&self, run: &Arc<RunContext>, partition: usize) -> Work {
        let (time, fraction) = (run.time(), self.fraction);
        let mut row = 0_u64;
        Box::new(move |batch| {
            let kept: BooleanArray = (0..batch.num_rows())
                .map(|_| {
                    row += 1;
                    Some(unit(time, partition, row) < fraction)
                })
                .collect();
            Ok(vec![filter_record_batch(&batch, &kept)?])
        })
    }
}

/// A number from 0 to 1 that looks random but follows from its arguments.
fn unit(time: i64, partition: usize, row: u64) -> f64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_i64(time);
    hasher.write_usize(partition);
    hasher.write_u64(row);
    // The upper 53 bits fill a double's fraction exactly.
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}
