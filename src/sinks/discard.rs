//! `discard`: reads every row and forgets it.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Batch, CheckedSink, Partition, Rewrite, Sink, SinkContext, SinkError, SinkFactory, SinkSettings, each_partition,
};
use crate::schema::Schema;
use crate::spec::Check;
use crate::spec::kind::Settings;

/// Computes every row and forgets it, for measuring how fast the rest is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Discard {}

impl Settings for Discard {
    const KIND: &'static str = "discard";
    const SUMMARY: &'static str = "computes every row and forgets it, for measuring";
}

impl SinkSettings for Discard {
    fn check(self: Box<Self>, _: &mut Check<'_>, _: &Schema) -> Option<CheckedSink> {
        Some(CheckedSink { resources: Vec::new(), rewrite: Rewrite::Nothing, factory: Arc::new(*self) })
    }
}

#[async_trait]
impl SinkFactory for Discard {
    async fn build(&self, _: SinkContext) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(DiscardSink))
    }
}

struct DiscardSink;

#[async_trait]
impl Sink for DiscardSink {
    async fn write(&mut self, _: Batch, partitions: Vec<Partition>) -> Result<(), SinkError> {
        each_partition(partitions, |_, rows| drain(rows)).await?;
        Ok(())
    }
}

async fn drain(mut rows: Partition) -> Result<(), SinkError> {
    while let Some(batch) = rows.next().await {
        batch?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{failing, open, words, words_schema};
    use super::*;

    const BATCH: Batch = Batch { id: 0, time: 1_000 };

    #[tokio::test]
    async fn drains_every_partition() {
        let (mut sink, page) = open("discard", "{}", &words_schema()).await.unwrap();
        sink.write(BATCH, vec![words(&[("a", 1)]), words(&[]), words(&[("b", 2)])]).await.unwrap();
        assert_eq!(page.text(), "");
    }

    #[tokio::test]
    async fn rows_that_fail_fail_the_batch() {
        let (mut sink, _) = open("discard", "{}", &words_schema()).await.unwrap();
        let error = sink.write(BATCH, vec![words(&[("a", 1)]), failing(&[("b", 2)])]).await.unwrap_err();
        assert_eq!(error.to_string(), "the source is gone");
    }
}
