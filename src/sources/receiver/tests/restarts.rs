//! What the next run finds.

use super::super::testing::ManualClock;
use super::harness::{Gate, all_rows, batch, memory, refusal, start, with_log};
use super::*;
use crate::checkpoint::Store;

/// A log with these files.
async fn files(texts: &[&str]) -> Store {
    let store = memory();
    let (sender, _source) = start(&with_log(&store), None).await;
    for text in texts {
        sender.send(lines(text.as_bytes()), 1).await;
        sender.durable().await.unwrap();
    }
    assert_eq!(store.list("").await.unwrap().len(), texts.len());
    store
}

/// Cuts a file off.
async fn cut_off(store: &Store, name: &str, length: usize) {
    let file = store.read(name).await.unwrap().unwrap();
    store.write(name, file.slice(..length)).await.unwrap();
}

#[tokio::test]
async fn a_run_goes_on_with_what_was_planned_and_then_with_the_rest() {
    let store = memory();
    let (sender, mut source) = start(&with_log(&store), None).await;
    sender.send(lines(b"a\nb\n"), 2).await;
    let (_, first) = batch(&mut source).await;
    sender.send(lines(b"c\n"), 1).await;
    let (_, second) = batch(&mut source).await;
    sender.send(lines(b"d\n"), 1).await;
    let (_, third) = batch(&mut source).await;
    let plans = [source.plan(&second), source.plan(&third)];
    source.commit(&first).await.unwrap();
    let position = source.position(&first);
    sender.send(lines(b"e\n"), 1).await;
    sender.durable().await.unwrap();
    sender.send(lines(b"never written\n"), 1).await;
    drop((sender, source));

    let (sender, mut source) = start(&with_log(&store), Some(&position)).await;
    assert_eq!(source.start(), first);
    sender.send(lines(b"new\n"), 1).await;
    let mut start = source.start();
    for (plan, expected) in plans.iter().zip(["c", "d"]) {
        let end = source.replan(plan).await.unwrap();
        assert_eq!(texts(&source.read(&start, &end).await.unwrap()), [expected]);
        start = end;
    }
    assert_eq!(start, third);
    assert_eq!(batch(&mut source).await.0, ["e", "new"]);
}

#[tokio::test]
async fn what_the_log_does_not_have_cannot_be_promised_again() {
    let store = files(&["a\n", "b\n"]).await;
    let (sender, mut source) = start(&with_log(&store), Some(&Offset::from(2))).await;
    sender.send(lines(b"c\n"), 1).await;
    let error = source.replan(&Offset::from(6)).await.unwrap_err().to_string();
    assert!(error.contains("reaches up to 6") && error.contains("from 2 to 4"), "{error}");
    // Neither what was processed, nor half a line more than there is.
    assert!(source.replan(&Offset::from(0)).await.is_err());
}

#[tokio::test]
async fn a_limit_may_cut_what_an_earlier_run_has_received() {
    let store = files(&["a\nb\nc\n", "d\ne\n"]).await;
    let mut position = Offset::from(0);
    for (rows, expected) in [(2, vec!["a", "b"]), (2, vec!["c", "d"]), (2, vec!["e"])] {
        let (_, mut source) = start(&with_log(&store), Some(&position)).await;
        let end = source.latest(Limit { until: 0, rows: Some(rows) }).await.unwrap();
        let plan = source.plan(&end);
        drop(source);
        let (_, mut source) = start(&with_log(&store), Some(&position)).await;
        assert_eq!(source.replan(&plan).await.unwrap(), end);
        assert_eq!(texts(&source.read(&position, &end).await.unwrap()), expected);
        source.commit(&end).await.unwrap();
        source.receiver.settle().await;
        position = source.position(&end);
    }
    assert_eq!(store.list("").await.unwrap(), [""; 0]);
    let (sender, mut source) = start(&with_log(&store), Some(&position)).await;
    sender.send(lines(b"f\n"), 1).await;
    assert_eq!(batch(&mut source).await, (vec!["f".to_owned()], Offset::from(12)));
}

#[tokio::test]
async fn rows_that_were_left_out_stay_in_their_batch() {
    let store = memory();
    let (sender, mut source) = start(&with_log(&store), None).await;
    sender.send(lines(b"a\n"), 1).await;
    sender.send_bad(b"one too long", "first".to_owned()).await;
    let (_, first) = batch(&mut source).await;
    sender.send_bad(b"", "second".to_owned()).await;
    sender.send_bad(b"\n\n", "third".to_owned()).await;
    sender.send(lines(b"b\n"), 1).await;
    let (_, second) = batch(&mut source).await;
    let before = source.read(&first, &second).await.unwrap();
    drop((sender, source));

    let (_, mut source) = start(&with_log(&store), None).await;
    assert_eq!(source.replan(&first).await.unwrap(), first);
    assert_eq!(all_rows(&source.read(&source.start(), &first).await.unwrap()), ["a", "one too long"]);
    assert_eq!(source.replan(&second).await.unwrap(), second);
    let again = source.read(&first, &second).await.unwrap();
    assert_eq!(all_rows(&again), all_rows(&before));
    assert_eq!(all_rows(&again), ["", "\n\n", "b"]);
    let mut reasons = Vec::new();
    for block in &again {
        for piece in block.content.open(&[0]).unwrap() {
            reasons.extend(piece.unwrap().bad_rows.samples.into_iter().map(|row| row.reason));
        }
    }
    assert_eq!(reasons, ["second", "third"]);
}

#[tokio::test]
async fn rows_of_an_earlier_run_keep_their_time() {
    let (mut context, clock) = context();
    context.log = Some(memory());
    let (sender, source) = start(&context, None).await;
    for time in [1_000, 2_000, 9_000] {
        clock.turn_to(time);
        sender.send(lines(b"a\n"), 1).await;
        sender.durable().await.unwrap();
    }
    drop((sender, source));
    // The clock of the next run is behind.
    context.clock = Arc::new(ManualClock::new(3_000));
    let (_, mut source) = start(&context, None).await;
    let until = |until| Limit { until, rows: None };
    assert_eq!(source.latest(until(1_999)).await.unwrap(), 2);
    assert_eq!(source.latest(until(2_999)).await.unwrap(), 4);
    assert_eq!(source.latest(until(3_000)).await.unwrap(), 6);
}

#[tokio::test]
async fn stopping_writes_what_was_received() {
    let store = memory();
    let (sender, mut source) = start(&with_log(&store), None).await;
    sender.send(lines(b"a\nb"), 2).await;
    source.stop().await;
    assert_eq!(store.list("").await.unwrap().len(), 1);
    drop((sender, source));
    let (_, mut source) = start(&with_log(&store), None).await;
    assert_eq!(batch(&mut source).await.0, ["a", "b"]);
}

#[tokio::test]
async fn another_version_goes_on_where_a_stopped_one_was_drained() {
    let store = memory();
    let (old_sender, mut old) = start(&with_log(&store), None).await;
    old_sender.send(lines(b"a\n"), 1).await;
    old.stop().await;
    let (_, end) = batch(&mut old).await;
    assert!(old.is_finished());
    old.commit(&end).await.unwrap();
    // The old one is there until the new one has been built.
    let (sender, mut source) = start(&with_log(&store), Some(&old.position(&end))).await;
    drop(old);
    sender.send(lines(b"b\n"), 1).await;
    assert_eq!(batch(&mut source).await, (vec!["b".to_owned()], Offset::from(4)));
    let (_, mut source) = start(&with_log(&store), Some(&end)).await;
    assert_eq!(batch(&mut source).await.0, ["b"]);
}

#[tokio::test]
async fn more_than_the_receive_buffer_holds_is_taken_up_and_makes_senders_wait() {
    let (mut context, clock) = context();
    context.log = Some(memory());
    let (sender, source) = start(&context, None).await;
    for time in [10, 20, 30] {
        clock.turn_to(time);
        sender.send(lines(b"abc\n"), 1).await;
    }
    sender.durable().await.unwrap();
    drop((sender, source));

    context.receive_buffer = 8;
    let (sender, mut source) = start(&context, None).await;
    let mut waiting = Box::pin(sender.send(lines(b"new\n"), 1));
    assert!(waiting.as_mut().now_or_never().is_none());
    for waits in [true, false] {
        let end = source.latest(Limit { until: 30, rows: Some(1) }).await.unwrap();
        source.commit(&end).await.unwrap();
        assert_eq!(waiting.as_mut().now_or_never().is_none(), waits);
    }
    assert_eq!(batch(&mut source).await.0, ["abc", "new"]);
    let end = Offset::from(16);
    source.commit(&end).await.unwrap();
    assert_eq!(source.receiver.shared.room.available_permits(), 8);
}

#[tokio::test]
async fn a_newest_file_that_is_cut_off_is_dropped() {
    let newest = "00000000000000000004";
    let whole = files(&["abc\n", "def\n"]).await.read(newest).await.unwrap().unwrap();
    for length in (0..whole.len()).step_by(10) {
        let store = files(&["abc\n", "def\n"]).await;
        cut_off(&store, newest, length).await;
        let (sender, mut source) = start(&with_log(&store), Some(&Offset::from(2))).await;
        assert_eq!(batch(&mut source).await, (vec!["c".to_owned()], Offset::from(4)), "{length}");
        sender.send(lines(b"new\n"), 1).await;
        assert_eq!(batch(&mut source).await, (vec!["new".to_owned()], Offset::from(8)), "{length}");
        drop((sender, source));
        let (_, mut source) = start(&with_log(&store), None).await;
        assert_eq!(batch(&mut source).await.0, ["abc", "new"], "{length}");
    }
}

#[tokio::test]
async fn a_file_that_was_part_of_a_batch_is_not_dropped() {
    let name = "00000000000000000004";
    let store = files(&["abc\n", "d\ne\n"]).await;
    cut_off(&store, name, 50).await;
    let error = refusal(&store, 6).await;
    assert!(error.contains(&format!("received/{name}` is cut off after 50 bytes; restore the file")), "{error}");
    // It is the newest that the log has, but not one that was being written.
    let store = files(&["abc\n", "d\ne\n"]).await;
    let mut file = store.read(name).await.unwrap().unwrap().to_vec();
    *file.last_mut().unwrap() ^= 1;
    store.write(name, file.into()).await.unwrap();
    let error = refusal(&store, 0).await;
    assert!(error.contains(&format!("received/{name}` has a wrong checksum")), "{error}");
}

#[tokio::test]
async fn damage_before_the_newest_file_is_refused() {
    let name = "00000000000000000002";
    for length in [0, 30, 60] {
        let store = files(&["a\n", "b\n", "c\n"]).await;
        cut_off(&store, name, length).await;
        let error = refusal(&store, 0).await;
        assert!(error.contains(&format!("received/{name}` is cut off after {length} bytes")), "{error}");
        assert!(error.contains("what was received and not processed is lost then"), "{error}");
    }
    let store = files(&["a\n", "b\n", "c\n"]).await;
    store.delete(name).await.unwrap();
    let error = refusal(&store, 0).await;
    assert!(error.contains("received/00000000000000000004` should begin at 2"), "{error}");
    // What is processed need not be there.
    let (_, mut source) = start(&with_log(&store), Some(&Offset::from(4))).await;
    assert_eq!(batch(&mut source).await.0, ["c"]);
}

#[tokio::test]
async fn a_log_that_begins_too_late_is_refused() {
    let store = files(&["a\n", "b\n"]).await;
    store.delete("00000000000000000000").await.unwrap();
    let error = refusal(&store, 0).await;
    assert!(error.contains("received/00000000000000000002` should begin at 0"), "{error}");
    // Without a checkpoint that knows better, the log is all there is.
    let (_, mut source) = start(&with_log(&store), None).await;
    assert_eq!(source.start(), 2);
    assert_eq!(batch(&mut source).await.0, ["b"]);
}

#[tokio::test]
async fn what_an_earlier_run_has_processed_is_deleted() {
    let store = files(&["a\n", "b\n", "c\nd\n"]).await;
    store.write("notes.txt", b"mine".as_slice().into()).await.unwrap();
    let (_, mut source) = start(&with_log(&store), Some(&Offset::from(6))).await;
    source.receiver.settle().await;
    assert_eq!(store.list("").await.unwrap(), ["00000000000000000004", "notes.txt"]);
    assert_eq!(batch(&mut source).await.0, ["d"]);
    // Behind the end there is nothing to read, and nothing missing.
    let (_, mut source) = start(&with_log(&store), Some(&Offset::from(100))).await;
    assert_eq!(batch(&mut source).await, (Vec::new(), Offset::from(100)));
    source.receiver.settle().await;
    assert_eq!(store.list("").await.unwrap(), ["notes.txt"]);
}

#[tokio::test]
async fn a_file_that_stays_is_deleted_by_the_next_start() {
    let gate = Gate::new(2);
    let store = gate.store();
    let (sender, mut source) = start(&with_log(&store), None).await;
    sender.send(lines(b"a\n"), 1).await;
    let (_, end) = batch(&mut source).await;
    // The crash comes between the commit of the batch and that of the source.
    drop((sender, source));
    let (_, mut source) = start(&with_log(&store), Some(&end)).await;
    source.receiver.settle().await;
    assert_eq!(store.list("").await.unwrap(), [""; 0]);
    assert_eq!(batch(&mut source).await, (Vec::new(), end));
}

#[tokio::test]
async fn the_log_is_a_folder_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local(folder.path()).unwrap().folder("received").folder("lines");
    let (sender, mut source) = start(&with_log(&store), None).await;
    sender.send(lines(b"a\n"), 1).await;
    let (_, first) = batch(&mut source).await;
    sender.send(lines(b"b\n"), 1).await;
    source.stop().await;
    source.commit(&first).await.unwrap();
    source.stop().await;
    let left: Vec<_> = std::fs::read_dir(folder.path().join("received/lines")).unwrap().collect();
    assert_eq!(left.len(), 1);
    drop((sender, source));
    let (_, mut source) = start(&with_log(&store), Some(&first)).await;
    assert_eq!(batch(&mut source).await.0, ["b"]);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("received"), "a file").unwrap();
    let store = Store::local(folder.path()).unwrap().folder("received").folder("lines");
    let context = with_log(&store);
    // Listing may fail as well, which is as good.
    let Ok((sender, _receiver)) = open(&context, None).await else { return };
    sender.send(lines(b"a\n"), 1).await;
    let error = sender.durable().await.unwrap_err().to_string();
    assert!(error.contains("cannot keep what was received: cannot write `"), "{error}");
}
