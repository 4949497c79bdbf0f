//! The driver's end of a receiver, while its task runs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Receiver, number};
use crate::formats::Decode;
use crate::sources::{Block, Limit, Offset, Source, SourceError};

/// A source that is pushed to. An offset is a place in the stream of all that it has ever received.
pub struct ReceiverSource {
    pub(super) receiver: Receiver,
    decoder: Arc<dyn Decode>,
    max_rate: Option<f64>,
    task: Task,
}

enum Task {
    Running(JoinHandle<Result<(), SourceError>>),
    /// With an error that no one has been told yet.
    Ended(Option<SourceError>),
}

impl Receiver {
    /// Starts the receiving task. It ends by itself where nothing more will come (then the source
    /// is finished), with an error that ends the run, or soon after
    /// [`BlockSender::stopped`](super::BlockSender::stopped).
    pub fn run<F>(self, decoder: Arc<dyn Decode>, max_rate: Option<f64>, task: F) -> ReceiverSource
    where
        F: Future<Output = Result<(), SourceError>> + Send + 'static,
    {
        ReceiverSource { receiver: self, decoder, max_rate, task: Task::Running(tokio::spawn(task)) }
    }
}

impl ReceiverSource {
    /// Waits for the end of the task.
    pub(super) async fn join(&mut self) {
        if let Task::Running(handle) = &mut self.task {
            let error = match handle.await {
                Ok(result) => result.err(),
                Err(error) => Some(SourceError::Lost(format!("internal error, please report it: {error}"))),
            };
            self.task = Task::Ended(error);
        }
    }
}

#[async_trait]
impl Source for ReceiverSource {
    fn start(&self) -> Offset {
        Offset::from(self.receiver.start)
    }

    async fn latest(&mut self, limit: Limit) -> Result<Offset, SourceError> {
        if matches!(&self.task, Task::Running(handle) if handle.is_finished()) {
            self.join().await;
        }
        if let Task::Ended(error) = &mut self.task
            && let Some(error) = error.take()
        {
            return Err(error);
        }
        self.receiver.promise(limit).await?;
        Ok(Offset::from(self.receiver.last))
    }

    async fn read(&mut self, start: &Offset, end: &Offset) -> Result<Vec<Block>, SourceError> {
        let (start, end) = (number(start)?, number(end)?);
        let promised = self.receiver.promised.iter().filter(|part| start <= part.start && part.end <= end);
        let (mut blocks, mut length) = (Vec::new(), 0);
        for part in promised {
            blocks.push(part.rows.block(&self.decoder));
            length += part.end - part.start;
        }
        if length != end.saturating_sub(start) {
            return Err(SourceError::Lost(format!("what was received from {start} to {end} is not there any more")));
        }
        Ok(blocks)
    }

    async fn commit(&mut self, end: &Offset) -> Result<(), SourceError> {
        self.receiver.forget(number(end)?);
        Ok(())
    }

    async fn replan(&mut self, planned: &Value) -> Result<Offset, SourceError> {
        self.receiver.promise_again(number(planned)?)?;
        Ok(planned.clone())
    }

    fn is_finished(&self) -> bool {
        // The task's end is noticed before the queue is looked at, so nothing can follow.
        matches!(self.task, Task::Ended(None)) && self.receiver.shared.queue().is_empty()
    }

    async fn stop(&mut self) {
        self.receiver.stop.send_replace(true);
        self.receiver.shared.room.close();
        self.join().await;
        self.receiver.settle().await;
    }

    fn max_rate(&self) -> Option<f64> {
        self.max_rate
    }

    fn is_receiver(&self) -> bool {
        true
    }

    fn clients(&self) -> usize {
        self.receiver.shared.clients.load(Ordering::Relaxed)
    }
}

impl Drop for ReceiverSource {
    fn drop(&mut self) {
        if let Task::Running(handle) = &self.task {
            handle.abort();
        }
    }
}
