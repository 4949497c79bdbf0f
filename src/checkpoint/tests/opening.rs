//! Opening, planning, committing, saving, looking; and what is refused.

use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;

#[tokio::test]
async fn states_go_on_over_several_opens() {
    let folder = tempdir().unwrap();
    let (mut checkpoint, recovered) = open(folder.path()).await;
    assert_eq!(recovered, Recovered::default());
    assert!(checkpoint.wants_snapshot("count"));
    let id = checkpoint.metadata().id.clone();
    run(&mut checkpoint, 0, vec![snapshot("count", "a"), snapshot("steps/window", "x")]).await;
    run(&mut checkpoint, 1, vec![delta("count", "b")]).await;
    drop(checkpoint);

    let (mut checkpoint, recovered) = open(folder.path()).await;
    assert_eq!((last(&recovered), again(&recovered)), (Some(1), vec![]));
    assert_eq!(states(&recovered), model([("count", "ab"), ("steps/window", "x")]));
    assert_eq!(recovered.components["count"].fingerprint, json!(["count"]));
    assert_eq!(recovered.components["count"].deltas, ["b"]);
    assert!(!checkpoint.wants_snapshot("count"));
    run(&mut checkpoint, 2, vec![]).await;
    run(&mut checkpoint, 3, vec![snapshot("count", "c"), delta("steps/window", "y")]).await;
    drop(checkpoint);

    let (checkpoint, recovered) = open(folder.path()).await;
    assert_eq!(last(&recovered), Some(3));
    assert_eq!(states(&recovered), model([("count", "c"), ("steps/window", "xy")]));
    assert_eq!(recovered.warnings, [""; 0]);
    assert_eq!(checkpoint.metadata().id, id);
}

#[tokio::test]
async fn any_object_store_will_do() {
    let store = Store::new(Arc::new(InMemory::new()), "checkpoints".into()).folder("words");
    let open = || Checkpoint::open(store.clone(), "words", RETAIN);
    let (mut checkpoint, _) = open().await.unwrap();
    // The engine's tasks may be on any thread.
    let running = tokio::spawn(async move {
        for batch in 0..10 {
            run(&mut checkpoint, batch, vec![snapshot("count", &batch.to_string())]).await;
        }
        checkpoint.plan(&planned(10)).await.unwrap();
    });
    running.await.unwrap();
    let (_, recovered) = open().await.unwrap();
    assert_eq!((last(&recovered), again(&recovered)), (Some(9), vec![10]));
    assert_eq!(states(&recovered), model([("count", "9")]));
    assert_eq!(store.list("commits").await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_batch_that_was_planned_runs_again() {
    let folder = tempdir().unwrap();
    let (mut checkpoint, _) = open(folder.path()).await;
    checkpoint.plan(&planned(0)).await.unwrap();
    drop(checkpoint);

    let (mut checkpoint, recovered) = open(folder.path()).await;
    assert_eq!((last(&recovered), again(&recovered)), (None, vec![0]));
    // It need not be planned a second time.
    checkpoint.commit(0, time(0), vec![snapshot("count", "a")]).await.unwrap();
    checkpoint.plan(&planned(1)).await.unwrap();
    drop(checkpoint);

    let (_, recovered) = open(folder.path()).await;
    assert_eq!((last(&recovered), again(&recovered)), (Some(0), vec![1]));
    assert_eq!(states(&recovered), model([("count", "a")]));
}

#[tokio::test]
async fn a_checkpoint_belongs_to_one_process_and_one_pipeline() {
    let folder = tempdir().unwrap();
    let (checkpoint, _) = open(folder.path()).await;
    assert!(refusal(folder.path()).await.contains("is in use by process "));
    drop(checkpoint);
    let error = Checkpoint::open(Store::local(folder.path()).unwrap(), "letters", RETAIN).await.unwrap_err();
    assert!(error.to_string().contains("is the checkpoint of the pipeline `words`, not of `letters`; "), "{error}");
    open(folder.path()).await;
}

#[tokio::test]
async fn metadata_must_be_right() {
    let folder = tempdir().unwrap();
    drop(open(folder.path()).await);
    let file = folder.path().join("metadata");
    let whole = fs::read(&file).unwrap();
    // Before the first batch, a write that was cut off is simply done again.
    cut(&file, 40);
    run_all(folder.path(), [vec![snapshot("count", "a")]]).await;
    cut(&file, 40);
    assert!(refusal(folder.path()).await.contains("metadata` is cut off after 40 bytes; restore the file, or move"));
    fs::remove_file(&file).unwrap();
    assert!(refusal(folder.path()).await.contains("metadata` is missing; restore the file, or move"));
    fs::write(&file, envelope::seal(envelope::Kind::Metadata, br#"{"format":2,"owner":{}}"#)).unwrap();
    assert!(refusal(folder.path()).await.contains("has format 2, which this streamrun does not know; run"));
    fs::write(&file, &whole).unwrap();
    assert_eq!(last(&open(folder.path()).await.1), Some(0));
    // A commit of another format is not damage that can be stepped over.
    fs::write(commit_file(folder.path(), 0), "streamrun commit 2 zstd 00000000 7\n...").unwrap();
    assert!(refusal(folder.path()).await.contains("has format 2, which this streamrun does not know; run"));
}

#[tokio::test]
async fn saved_states_never_replace_each_other() {
    let folder = tempdir().unwrap();
    run_all(folder.path(), [vec![], vec![]]).await;
    let (checkpoint, _) = open(folder.path()).await;
    let save = async |component: &str| checkpoint.save(component, &json!("v1"), b"state").await.unwrap();
    assert_eq!(save("steps/count").await, "saved/steps-count-1");
    assert_eq!(save("steps-count").await, "saved/steps-count-1-2");
    assert_eq!(save("steps/count").await, "saved/steps-count-1");
    let text = String::from_utf8(fs::read(folder.path().join("saved/steps-count-1")).unwrap()).unwrap();
    assert!(text.ends_with("\n{\"component\":\"steps/count\",\"batch\":1,\"fingerprint\":\"v1\"}\nstate"), "{text}");
}

#[tokio::test]
async fn batches_out_of_turn_are_refused() {
    let folder = tempdir().unwrap();
    let (mut checkpoint, _) = open(folder.path()).await;
    assert!(checkpoint.plan(&planned(1)).await.is_err());
    checkpoint.plan(&planned(0)).await.unwrap();
    checkpoint.plan(&planned(1)).await.unwrap();
    assert!(checkpoint.commit(1, time(1), vec![]).await.is_err());
    assert!(checkpoint.commit(0, time(0), vec![delta("count", "a"), delta("count", "b")]).await.is_err());
    checkpoint.commit(0, time(0), vec![delta("count", "ab")]).await.unwrap();
    assert!(checkpoint.plan(&planned(0)).await.is_err());
}

#[tokio::test]
async fn a_look_changes_nothing_and_needs_no_lock() {
    let folder = tempdir().unwrap();
    let absent = folder.path().join("nothing");
    let error = inspect(&Store::local(&absent).unwrap()).await.unwrap_err().to_string();
    assert!(error.starts_with("there is no checkpoint at `"), "{error}");
    assert!(!absent.exists());

    let (mut checkpoint, _) = open(folder.path()).await;
    run(&mut checkpoint, 0, vec![snapshot("count", "a")]).await;
    checkpoint.save("count", &json!(null), b"").await.unwrap();
    let seen = inspect(&Store::local(folder.path()).unwrap()).await.unwrap();
    assert_eq!(seen.metadata, *checkpoint.metadata());
    assert_eq!(states(&seen.recovered.unwrap()), model([("count", "a")]));
    let names: Vec<&str> = seen.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["offsets/00000000000000000000", "commits/00000000000000000000", "saved/count-0"]);
    assert!(seen.files.iter().all(|file| file.damage.is_none() && file.size > 0));

    fs::remove_file(offsets_file(folder.path(), 0)).unwrap();
    cut(&commit_file(folder.path(), 0), 10);
    let seen = inspect(&Store::local(folder.path()).unwrap()).await.unwrap();
    assert!(matches!(seen.recovered, Err(CheckpointError::Unrecoverable { .. })), "{seen:?}");
    let damaged = FileReport { name: layout::commit(0), size: 10, damage: Some(Damage::Torn(10)) };
    assert_eq!(seen.files[0], damaged);
}
