//! Writing the log.

use super::harness::{Gate, all_rows, batch, memory, start, with_log};
use super::*;

#[tokio::test]
async fn without_a_log_nothing_has_to_be_waited_for() {
    let (context, _) = context();
    let (sender, mut source) = start(&context, None).await;
    sender.send(lines(b"a\n"), 1).await;
    assert!(sender.durable().now_or_never().unwrap().is_ok());
    assert_eq!(source.latest(ALL).now_or_never().unwrap().unwrap(), 2);
    assert!(source.receiver.shared.log.is_none());
}

#[tokio::test]
async fn without_a_log_offsets_go_on_and_nothing_is_promised_again() {
    let (context, _) = context();
    let (sender, mut source) = start(&context, Some(&Offset::from(7))).await;
    assert_eq!(source.start(), 7);
    sender.send(lines(b"a\n"), 1).await;
    let error = source.replan(&Offset::from(9)).await.unwrap_err().to_string();
    assert!(error.contains("received by an earlier run, and is lost"), "{error}");
    assert_eq!(source.replan(&Offset::from(7)).await.unwrap(), 7);
    assert_eq!(batch(&mut source).await, (vec!["a".to_owned()], Offset::from(9)));
}

#[tokio::test]
async fn what_is_part_of_a_batch_is_in_the_log() {
    let store = memory();
    let (sender, mut source) = start(&with_log(&store), None).await;
    sender.send(lines(b"a\nb\n"), 2).await;
    sender.send_bad(b"too long", "max_line".to_owned()).await;
    sender.send(lines(b"c"), 1).await;
    let end = source.latest(ALL).await.unwrap();
    assert_eq!(end, 7);
    assert_eq!(all_rows(&source.read(&source.start(), &end).await.unwrap()), ["a", "b", "too long", "c"]);
    let file = store.read("00000000000000000000").await.unwrap().unwrap();
    let payload = crate::checkpoint::opened("received", &file).unwrap();
    let entries = r#"{"time":0,"bytes":4},{"time":0,"bytes":8,"bad":"max_line"},{"time":0,"bytes":2}"#;
    assert_eq!(payload, format!("{{\"start\":0,\"entries\":[{entries}]}}\na\nb\ntoo longc\n"));
    assert_eq!(store.list("").await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_was_received_is_written_soon_also_if_nobody_waits() {
    let gate = Gate::new(usize::MAX >> 4);
    let (sender, _source) = start(&with_log(&gate.store()), None).await;
    sender.send(lines(b"a\n"), 1).await;
    gate.has_begun(1).await;
}

#[tokio::test]
async fn what_comes_during_a_write_goes_into_the_next_file() {
    let gate = Gate::new(0);
    let store = gate.store();
    let (sender, mut source) = start(&with_log(&store), None).await;
    let send = |text: &'static [u8]| {
        let sender = sender.clone();
        tokio::spawn(async move {
            sender.send(lines(text), 1).await;
            sender.durable().await.unwrap();
        })
    };
    let first = send(b"a\n");
    gate.has_begun(1).await;
    let others = [send(b"b\n"), send(b"c\n"), send(b"d\n")];
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished() && others.iter().all(|other| !other.is_finished()));
    gate.open(2);
    first.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(store.list("").await.unwrap(), ["00000000000000000000", "00000000000000000002"]);
    assert_eq!(batch(&mut source).await.0, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_batch_waits_for_what_it_takes_and_not_for_more() {
    let gate = Gate::new(0);
    let (mut context, clock) = context();
    context.log = Some(gate.store());
    let (sender, mut source) = start(&context, None).await;
    sender.send(lines(b"a\n"), 1).await;
    gate.open(1);
    sender.durable().await.unwrap();
    clock.turn_to(10);
    sender.send(lines(b"b\n"), 1).await;
    let until = |until| Limit { until, rows: None };
    assert_eq!(source.latest(until(9)).await.unwrap(), 2);
    assert_eq!(source.latest(Limit { until: 10, rows: Some(0) }).await.unwrap(), 2);
    assert!(source.latest(until(10)).now_or_never().is_none());
    gate.open(1);
    assert_eq!(source.latest(until(10)).await.unwrap(), 4);
}

#[tokio::test]
async fn a_log_that_fails_promises_nothing() {
    let gate = Gate::new(1);
    let store = gate.store();
    let (sender, mut source) = start(&with_log(&store), None).await;
    sender.send(lines(b"a\n"), 1).await;
    sender.durable().await.unwrap();
    gate.refuse();
    sender.send(lines(b"b\n"), 1).await;
    let error = sender.durable().await.unwrap_err().to_string();
    assert!(error.starts_with("cannot keep what was received: cannot write `"), "{error}");
    assert!(error.contains("the disk is full"), "{error}");
    assert_eq!(source.latest(ALL).await.unwrap_err().to_string(), error);
    source.stop().await;
    assert_eq!(source.latest(ALL).await.unwrap_err().to_string(), error);
    drop(source);
    assert!(sender.durable().await.is_err());
    // What could be written is there.
    let (_, mut source) = start(&with_log(&store), None).await;
    assert_eq!(batch(&mut source).await.0, ["a"]);
}

#[tokio::test]
async fn what_is_processed_is_deleted_file_by_file() {
    let store = memory();
    let (sender, mut source) = start(&with_log(&store), None).await;
    for text in [b"a\nb\n", b"c\nd\n", b"e\nf\n"] {
        sender.send(lines(text), 2).await;
        sender.durable().await.unwrap();
    }
    assert_eq!(store.list("").await.unwrap().len(), 3);
    for (rows, left) in [(1, 3), (1, 2), (3, 1)] {
        let end = source.latest(Limit { until: 0, rows: Some(rows) }).await.unwrap();
        source.commit(&end).await.unwrap();
        source.receiver.settle().await;
        assert_eq!(store.list("").await.unwrap().len(), left);
    }
    source.stop().await;
    let (lines, end) = batch(&mut source).await;
    assert_eq!(lines, ["f"]);
    source.commit(&end).await.unwrap();
    source.stop().await;
    assert_eq!(store.list("").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn small_files_of_one_interval_are_one_block() {
    let (mut context, clock) = context();
    context.log = Some(memory());
    context.block_interval = Duration::from_millis(200);
    let (sender, mut source) = start(&context, None).await;
    for count in 0..40 {
        clock.turn_to(count * 10);
        sender.send(lines(b"a\n"), 1).await;
        sender.durable().await.unwrap();
    }
    let end = source.latest(ALL).await.unwrap();
    let blocks = source.read(&source.start(), &end).await.unwrap();
    assert_eq!((blocks.len(), texts(&blocks).len()), (2, 40));
}
