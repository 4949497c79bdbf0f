mod harness;
mod logged;
mod random;
mod restarts;

use std::time::Duration;

use futures::FutureExt;

use super::testing::{ALL, context, texts};
use super::*;
use crate::formats::{Decode, InputFormat};
use crate::sources::Source;

fn decoder() -> Arc<dyn Decode> {
    InputFormat::default().decoder().unwrap()
}

fn lines(bytes: &[u8]) -> BytesMut {
    BytesMut::from(bytes)
}

fn source(receiver: Receiver) -> ReceiverSource {
    receiver.run(decoder(), None, std::future::pending())
}

#[tokio::test]
async fn limits_are_exact_and_ranges_can_be_read_again() {
    let (context, clock) = context();
    let (sender, receiver) = channel(&context);
    let mut source = source(receiver);
    sender.send(lines(b"a\nb\nc\n"), 3).await;
    clock.turn_to(10);
    sender.send(lines(b"d\n"), 1).await;

    let start = source.start();
    let first = source.latest(Limit { until: 9, rows: Some(2) }).await.unwrap();
    assert_eq!(texts(&source.read(&start, &first).await.unwrap()), ["a", "b"]);
    assert_eq!(source.latest(Limit { until: 9, rows: Some(0) }).await.unwrap(), first);
    let second = source.latest(Limit { until: 9, rows: None }).await.unwrap();
    assert_eq!(texts(&source.read(&first, &second).await.unwrap()), ["c"]);
    let third = source.latest(Limit { until: 10, rows: None }).await.unwrap();
    assert_eq!(texts(&source.read(&second, &third).await.unwrap()), ["d"]);
    assert_eq!(texts(&source.read(&start, &third).await.unwrap()), ["a", "b", "c", "d"]);

    source.commit(&second).await.unwrap();
    assert!(source.read(&start, &third).await.is_err());
    assert_eq!(texts(&source.read(&second, &third).await.unwrap()), ["d"]);
}

/// How many blocks a batch gets that takes everything.
async fn blocks(source: &mut ReceiverSource) -> usize {
    let start = Offset::from(source.receiver.last);
    let end = source.latest(ALL).await.unwrap();
    source.read(&start, &end).await.unwrap().len()
}

#[tokio::test]
async fn a_batch_takes_the_block_that_has_not_ended() {
    let (mut context, clock) = context();
    context.block_interval = Duration::from_millis(200);
    let (sender, receiver) = channel(&context);
    let mut source = source(receiver);
    clock.turn_to(1_000);
    for _ in 0..3 {
        sender.send(lines(b"a\nb\n"), 2).await;
    }
    clock.turn_to(1_199);
    sender.send(lines(b"c\n"), 1).await;
    clock.turn_to(1_200);
    sender.send(lines(b"d\n"), 1).await;
    let start = source.start();
    let first = source.latest(Limit { until: 1_199, rows: None }).await.unwrap();
    let read = source.read(&start, &first).await.unwrap();
    assert_eq!((read.len(), texts(&read).concat()), (1, "abababc".to_owned()));
    let second = source.latest(Limit { until: 1_200, rows: None }).await.unwrap();
    sender.send(lines(b"e\n"), 1).await;
    assert_eq!(texts(&source.read(&first, &second).await.unwrap()), ["d"]);
    let third = source.latest(Limit { until: 1_200, rows: None }).await.unwrap();
    assert_eq!(texts(&source.read(&second, &third).await.unwrap()), ["e"]);
}

#[tokio::test]
async fn blocks_grow_in_place_and_end_at_their_size() {
    let (mut context, _) = context();
    context.receive_buffer = 1 << 20;
    let (sender, receiver) = channel(&context);
    let mut source = source(receiver);
    let mut buffer = lines(&b"0123456789abcde\n".repeat(16_384));
    for _ in 0..16_384 {
        sender.send(buffer.split_to(16), 1).await;
    }
    // 256 KiB in one piece of memory are one block; its size is a quarter of the receive buffer.
    assert_eq!(blocks(&mut source).await, 1);
    let half = || lines(&b"0123456789abcde\n".repeat(8_192));
    sender.send(half(), 8_192).await;
    sender.send(half(), 8_192).await;
    assert_eq!(blocks(&mut source).await, 2);
}

#[tokio::test]
async fn a_sender_waits_for_commits() {
    let (mut context, _) = context();
    context.receive_buffer = 4;
    let (sender, receiver) = channel(&context);
    let mut source = source(receiver);
    sender.send(lines(b"a\nb\n"), 2).await;
    let mut second = Box::pin(sender.send(lines(b"longer than all\n"), 1));
    assert!(second.as_mut().now_or_never().is_none());
    let end = source.latest(Limit { until: 0, rows: Some(1) }).await.unwrap();
    source.commit(&end).await.unwrap();
    assert!(second.as_mut().now_or_never().is_none());
    let end = source.latest(ALL).await.unwrap();
    source.commit(&end).await.unwrap();
    second.await;
    let later = source.latest(ALL).await.unwrap();
    assert_eq!(texts(&source.read(&end, &later).await.unwrap()), ["longer than all"]);
}

#[tokio::test]
async fn stopping_keeps_what_was_received() {
    let (mut context, _) = context();
    context.receive_buffer = 2;
    let (sender, receiver) = channel(&context);
    let mut stop = sender.clone();
    let mut source = receiver.run(decoder(), None, async move {
        sender.send(lines(b"a\n"), 1).await;
        stop.stopped().await;
        sender.send(lines(b"b"), 1).await;
        Ok(())
    });
    source.stop().await;
    assert!(!source.is_finished());
    let end = source.latest(ALL).await.unwrap();
    assert!(source.is_finished());
    assert_eq!(texts(&source.read(&Offset::from(0), &end).await.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn clients_count_as_long_as_they_are_connected() {
    let (context, _) = context();
    let (sender, receiver) = channel(&context);
    let source = source(receiver);
    let first = sender.client();
    let second = sender.client();
    assert_eq!(source.clients(), 2);
    drop(first);
    assert_eq!(source.clients(), 1);
    drop(second);
    assert_eq!(source.clients(), 0);
}

#[tokio::test]
async fn an_error_of_the_task_is_told_once() {
    let (context, _) = context();
    let (_sender, receiver) = channel(&context);
    let mut source = receiver.run(decoder(), None, async { Err(SourceError::BadRow("too long".to_owned())) });
    source.join().await;
    assert!(!source.is_finished());
    assert_eq!(source.latest(ALL).await.unwrap_err().to_string(), "too long");
    assert!(source.latest(ALL).await.is_ok());
}
