//! Files that are torn, damaged or missing.

use super::*;

#[tokio::test]
async fn a_torn_commit_counts_as_not_written() {
    let folder = tempdir().unwrap();
    let third = || vec![delta("count", "c"), snapshot("window", "y")];
    let first = vec![snapshot("count", "a"), snapshot("window", "x")];
    run_all(folder.path(), [first, vec![delta("count", "b")], third()]).await;
    let size = fs::read(commit_file(folder.path(), 2)).unwrap().len();
    for length in (0..size).step_by(10) {
        let copy = copy_of(folder.path());
        cut(&commit_file(copy.path(), 2), length);
        let (mut checkpoint, recovered) = open(copy.path()).await;
        assert_eq!((last(&recovered), again(&recovered)), (Some(1), vec![2]));
        assert_eq!(states(&recovered), model([("count", "ab"), ("window", "x")]));
        assert!(recovered.warnings[0].contains(&format!("is cut off after {length} bytes")), "{recovered:?}");
        run(&mut checkpoint, 2, third()).await;
        drop(checkpoint);
        let (_, recovered) = open(copy.path()).await;
        assert_eq!((last(&recovered), recovered.warnings.len()), (Some(2), 0));
        assert_eq!(states(&recovered), model([("count", "abc"), ("window", "y")]));
    }
}

#[tokio::test]
async fn damage_in_the_middle_goes_back_before_it() {
    let folder = tempdir().unwrap();
    let first = vec![snapshot("count", "a"), snapshot("window", "x")];
    let second = vec![delta("count", "b"), delta("window", "y")];
    // Only one of the two has a snapshot after the damage.
    run_all(folder.path(), [first, second.clone(), vec![snapshot("count", "c")], vec![delta("count", "d")]]).await;
    for is_missing in [false, true] {
        let copy = copy_of(folder.path());
        let damaged = commit_file(copy.path(), 1);
        if is_missing {
            fs::remove_file(&damaged).unwrap();
        } else {
            cut(&damaged, 20);
        }
        let (mut checkpoint, recovered) = open(copy.path()).await;
        assert_eq!((last(&recovered), again(&recovered)), (Some(0), vec![1, 2, 3]));
        assert_eq!(states(&recovered), model([("count", "a"), ("window", "x")]));
        assert_eq!(recovered.warnings.len(), 2, "{:?}", recovered.warnings);
        assert!(recovered.warnings[1].contains("after batch 0 are run again"), "{:?}", recovered.warnings);
        // Until a batch is committed again, the damaged file can be restored.
        assert!(commit_file(copy.path(), 3).exists());
        run(&mut checkpoint, 1, second.clone()).await;
        drop(checkpoint);
        // What the run before made of batches 2 and 3 is not taken for what follows from batch 1.
        let (_, recovered) = open(copy.path()).await;
        assert_eq!((last(&recovered), again(&recovered)), (Some(1), vec![2, 3]));
        assert_eq!(states(&recovered), model([("count", "ab"), ("window", "xy")]));
    }
}

#[tokio::test]
async fn damage_before_all_snapshots_does_not_matter() {
    let folder = tempdir().unwrap();
    let first = vec![snapshot("count", "a"), snapshot("window", "x")];
    let third = vec![snapshot("count", "c")];
    let fourth = vec![snapshot("window", "z"), delta("count", "d")];
    run_all(folder.path(), [first, vec![delta("count", "b")], third, fourth]).await;
    cut(&commit_file(folder.path(), 0), 20);
    fs::remove_file(commit_file(folder.path(), 1)).unwrap();
    let (_, recovered) = open(folder.path()).await;
    assert_eq!((last(&recovered), recovered.warnings.len()), (Some(3), 0));
    assert_eq!(states(&recovered), model([("count", "cd"), ("window", "z")]));
}

#[tokio::test]
async fn damage_of_a_commit_that_is_not_listed_does_not_matter() {
    let folder = tempdir().unwrap();
    let first = vec![snapshot("idle", "x"), snapshot("count", "a")];
    let others = [vec![delta("count", "b")], vec![snapshot("count", "c")], vec![], vec![delta("count", "d")]];
    run_all(folder.path(), [first].into_iter().chain(others)).await;
    cut(&commit_file(folder.path(), 1), 20);
    fs::remove_file(commit_file(folder.path(), 3)).unwrap();
    let (_, recovered) = open(folder.path()).await;
    assert_eq!((last(&recovered), again(&recovered), recovered.warnings.len()), (Some(4), vec![], 0));
    assert_eq!(states(&recovered), model([("count", "cd"), ("idle", "x")]));

    // Nor does it where an older commit is gone on from.
    cut(&commit_file(folder.path(), 4), 20);
    let (mut checkpoint, recovered) = open(folder.path()).await;
    assert_eq!((last(&recovered), again(&recovered)), (Some(2), vec![3, 4]));
    assert_eq!(states(&recovered), model([("count", "c"), ("idle", "x")]));
    assert_eq!(recovered.warnings.len(), 2, "{:?}", recovered.warnings);
    run(&mut checkpoint, 3, vec![delta("count", "e")]).await;
    drop(checkpoint);
    let (_, recovered) = open(folder.path()).await;
    assert_eq!((last(&recovered), again(&recovered), recovered.warnings.len()), (Some(3), vec![4], 0));
    assert_eq!(states(&recovered), model([("count", "ce"), ("idle", "x")]));
}

#[tokio::test]
async fn damage_of_what_an_idle_component_wrote_steps_back_before_it() {
    let folder = tempdir().unwrap();
    let (mut checkpoint, _) = open(folder.path()).await;
    let count = |batch: u64| snapshot("count", &batch.to_string());
    run(&mut checkpoint, 0, vec![count(0)]).await;
    run(&mut checkpoint, 1, vec![count(1), snapshot("idle", "x")]).await;
    for batch in 2..=3 {
        run(&mut checkpoint, batch, vec![count(batch)]).await;
    }
    let copy = copy_of(folder.path());
    cut(&commit_file(copy.path(), 1), 20);
    let (_, recovered) = open(copy.path()).await;
    assert_eq!((last(&recovered), again(&recovered)), (Some(0), vec![1, 2, 3]));
    assert_eq!(states(&recovered), model([("count", "0")]));

    // Later there are no plans any more to step back so far.
    for batch in 4..=9 {
        run(&mut checkpoint, batch, vec![count(batch)]).await;
    }
    drop(checkpoint);
    let damaged = commit_file(folder.path(), 1);
    let whole = fs::read(&damaged).unwrap();
    cut(&damaged, 20);
    let error = refusal(folder.path()).await;
    let place = |name: String| Store::local(folder.path()).unwrap().place(&name);
    let (commit, plan) = (place(layout::commit(1)), place(layout::offsets(5)));
    let problems = format!("continued: `{commit}` is cut off after 20 bytes; `{plan}` is missing; restore");
    assert!(error.contains(&problems), "{error}");
    fs::write(&damaged, whole).unwrap();
    let (_, recovered) = open(folder.path()).await;
    assert_eq!((last(&recovered), again(&recovered), recovered.warnings.len()), (Some(9), vec![], 0));
    assert_eq!(states(&recovered), model([("count", "9"), ("idle", "x")]));
}

#[tokio::test]
async fn a_commit_that_does_not_go_with_those_it_lists_is_stepped_over() {
    let other = tempdir().unwrap();
    run_all(other.path(), [vec![snapshot("count", "a")], vec![delta("count", "b")], vec![delta("count", "c")]]).await;
    let no_delta = [vec![snapshot("count", "a")], vec![snapshot("count", "b")]];
    let no_second = [vec![snapshot("count", "a")], vec![]];
    let no_first = [vec![], vec![delta("count", "b")]];
    for [first, second] in [no_delta, no_second, no_first] {
        let folder = tempdir().unwrap();
        run_all(folder.path(), [first, second, vec![]]).await;
        fs::copy(commit_file(other.path(), 2), commit_file(folder.path(), 2)).unwrap();
        let (_, recovered) = open(folder.path()).await;
        assert_eq!((last(&recovered), again(&recovered)), (Some(1), vec![2]));
        assert!(recovered.warnings[0].contains("does not go with the commits that it lists"), "{recovered:?}");
    }
}

#[tokio::test]
async fn a_gap_in_the_offset_log_is_refused() {
    let folder = tempdir().unwrap();
    let batches = ["b", "c", "d"].map(|text| vec![delta("count", text)]);
    run_all(folder.path(), [vec![snapshot("count", "a")]].into_iter().chain(batches)).await;
    let damaged = commit_file(folder.path(), 2);
    let whole = fs::read(&damaged).unwrap();
    cut(&damaged, 20);
    for gap in [2, 3] {
        let copy = copy_of(folder.path());
        fs::remove_file(offsets_file(copy.path(), gap)).unwrap();
        let error = refusal(copy.path()).await;
        let place = |name: String| Store::local(copy.path()).unwrap().place(&name);
        assert!(error.contains(&format!("`{}` is cut off after 20 bytes; ", place(layout::commit(2)))), "{error}");
        assert!(error.contains(&format!("`{}` is missing; restore", place(layout::offsets(gap)))), "{error}");
        // Restored, it goes on as if nothing had been.
        fs::write(commit_file(copy.path(), 2), &whole).unwrap();
        let (_, recovered) = open(copy.path()).await;
        assert_eq!((last(&recovered), states(&recovered)), (Some(3), model([("count", "abcd")])));
    }
}

#[tokio::test]
async fn a_torn_plan_counts_as_not_written() {
    let folder = tempdir().unwrap();
    run_all(folder.path(), [vec![snapshot("count", "a")]]).await;
    let (mut checkpoint, _) = open(folder.path()).await;
    checkpoint.plan(&planned(1)).await.unwrap();
    drop(checkpoint);
    cut(&offsets_file(folder.path(), 1), 30);
    let (mut checkpoint, recovered) = open(folder.path()).await;
    assert_eq!((last(&recovered), again(&recovered)), (Some(0), vec![]));
    assert!(recovered.warnings[0].ends_with("; batch 1 had not begun"), "{recovered:?}");
    let error = checkpoint.commit(1, time(1), vec![]).await.unwrap_err().to_string();
    assert!(error.ends_with("batch 1 cannot be committed, it was not planned"), "{error}");
    run(&mut checkpoint, 1, vec![delta("count", "b")]).await;
    drop(checkpoint);

    // With a commit the batch did run, so its plan is needed where the commit is damaged.
    cut(&offsets_file(folder.path(), 1), 30);
    cut(&commit_file(folder.path(), 1), 30);
    let error = refusal(folder.path()).await;
    assert!(error.contains("is cut off after 30 bytes; restore"), "{error}");
}
