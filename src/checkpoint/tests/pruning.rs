//! What is removed after a commit, and what must not be.

use super::*;

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

async fn files(folder: &Path) -> Files {
    Files::list(&Store::local(folder).unwrap()).await.unwrap()
}

/// The commits that a state is made from, as its commit says.
fn listed(folder: &Path, batch: u64) -> BTreeSet<u64> {
    let file = fs::read(commit_file(folder, batch)).unwrap();
    Commit::decode(batch, &file.into()).unwrap().listed()
}

/// What a batch may change, which the model follows. The engine writes once, and one component seldom.
fn changes(random: &mut Random, batch: u64, model: &mut Model) -> Vec<Section> {
    let mut sections = Vec::new();
    if batch == 0 {
        model.insert("engine".to_owned(), "on".to_owned());
        sections.push(snapshot("engine", "on"));
    }
    for (component, odds) in [("count", 6), ("steps/window", 6), ("top", 6), ("idle", 60)] {
        let text = format!("{batch},");
        match random.below(odds) {
            0 => {
                model.insert(component.to_owned(), format!("={text}"));
                sections.push(snapshot(component, &format!("={text}")));
            }
            1..=3 => {
                model.entry(component.to_owned()).or_default().push_str(&text);
                sections.push(delta(component, &text));
            }
            _ => {}
        }
    }
    sections
}

#[tokio::test]
async fn pruning_keeps_what_going_back_needs() {
    let folder = tempdir().unwrap();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut model, mut models) = (Model::new(), Vec::new());
    let (mut checkpoint, _) = open(folder.path()).await;
    for batch in 0..60 {
        if random.below(5) == 0 {
            drop(checkpoint);
            (checkpoint, _) = open(folder.path()).await;
        }
        run(&mut checkpoint, batch, changes(&mut random, batch, &mut model)).await;
        models.push(model.clone());
        let kept = batch.saturating_sub(RETAIN);
        let mut needed = BTreeSet::new();
        for back in kept..=batch {
            let listed = listed(folder.path(), back);
            let copy = copy_of(folder.path());
            // Nothing else needs to be there.
            for other in files(copy.path()).await.commits {
                if other != back && !listed.contains(&other) {
                    fs::remove_file(commit_file(copy.path(), other)).unwrap();
                }
            }
            let (_, recovered) = open(copy.path()).await;
            assert_eq!(last(&recovered), Some(back));
            assert_eq!(states(&recovered), models[usize::try_from(back).unwrap()]);
            assert_eq!(again(&recovered), Vec::from_iter((back + 1)..=batch));
            needed.extend(listed);
            needed.insert(back);
        }
        let Files { offsets, commits } = files(folder.path()).await;
        assert_eq!((offsets, commits), (BTreeSet::from_iter(kept..=batch), needed));
    }
}

#[tokio::test]
async fn an_idle_component_keeps_its_own_files_and_no_others() {
    for is_opened_for_each_batch in [false, true] {
        let folder = tempdir().unwrap();
        let (mut checkpoint, _) = open(folder.path()).await;
        run(&mut checkpoint, 0, vec![snapshot("engine", "on"), delta("count", "0,")]).await;
        run(&mut checkpoint, 1, vec![delta("idle", "x"), delta("count", "1,")]).await;
        for batch in 2..=23u64 {
            if is_opened_for_each_batch {
                drop(checkpoint);
                (checkpoint, _) = open(folder.path()).await;
            }
            let text = format!("{batch},");
            let section = if batch.is_multiple_of(5) { snapshot("count", &text) } else { delta("count", &text) };
            run(&mut checkpoint, batch, vec![section]).await;
            if batch == 20 {
                let there = files(folder.path()).await.commits;
                assert_eq!(there, BTreeSet::from([0, 1, 15, 16, 17, 18, 19, 20]));
            }
        }
        drop(checkpoint);
        assert_eq!(files(folder.path()).await.commits, BTreeSet::from([0, 1, 20, 21, 22, 23]));
        let (_, recovered) = open(folder.path()).await;
        assert_eq!((last(&recovered), recovered.warnings.len()), (Some(23), 0));
        assert_eq!(states(&recovered), model([("count", "20,21,22,23,"), ("engine", "on"), ("idle", "x")]));
    }
}

#[tokio::test]
async fn a_damaged_commit_does_not_stop_pruning() {
    let folder = tempdir().unwrap();
    let section = |batch: u64| match batch {
        0 | 2 | 4 => snapshot("count", "s"),
        _ => delta("count", "d"),
    };
    run_all(folder.path(), (0..=4).map(|batch| vec![section(batch)])).await;
    cut(&commit_file(folder.path(), 2), 20);
    let (mut checkpoint, recovered) = open(folder.path()).await;
    assert_eq!((last(&recovered), recovered.warnings.len()), (Some(4), 0));
    // What the damaged one lists is not known; it stays itself as long as another one lists it.
    for (batch, first) in [(5, 2), (6, 2), (7, 4)] {
        run(&mut checkpoint, batch, vec![section(batch)]).await;
        assert_eq!(files(folder.path()).await.commits, BTreeSet::from_iter(first..=batch));
    }
}

#[tokio::test]
async fn how_much_is_kept_can_be_changed() {
    let folder = tempdir().unwrap();
    let (mut checkpoint, _) = open(folder.path()).await;
    for (batch, retain, first) in
        [(0, 3, 0), (1, 3, 0), (2, 1, 1), (3, 1, 2), (4, 4, 2), (5, 4, 2), (6, 4, 2), (7, 4, 3), (8, 0, 8), (9, 0, 9)]
    {
        checkpoint.retain(retain);
        run(&mut checkpoint, batch, vec![snapshot("count", "a")]).await;
        let Files { offsets, commits } = files(folder.path()).await;
        assert_eq!(commits, BTreeSet::from_iter(first..=batch));
        assert_eq!(offsets, commits);
    }
}

#[tokio::test]
async fn a_component_that_is_forgotten_stays_away_and_holds_nothing() {
    let folder = tempdir().unwrap();
    run_all(folder.path(), [vec![snapshot("count", "a"), snapshot("gone", "x")]]).await;
    let (mut checkpoint, recovered) = open(folder.path()).await;
    assert_eq!(states(&recovered).len(), 2);
    checkpoint.forget("gone");
    for batch in 1..=RETAIN {
        run(&mut checkpoint, batch, vec![snapshot("count", "b")]).await;
        assert!(commit_file(folder.path(), 0).exists());
    }
    run(&mut checkpoint, RETAIN + 1, vec![]).await;
    assert!(!commit_file(folder.path(), 0).exists());
    assert!(commit_file(folder.path(), 1).exists());
    drop(checkpoint);
    let (_, recovered) = open(folder.path()).await;
    assert_eq!(states(&recovered), model([("count", "b")]));
}
