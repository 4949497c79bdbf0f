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

/// What a batch may change, which the model follows.
fn changes(random: &mut Random, batch: u64, model: &mut Model) -> Vec<Section> {
    let mut sections = Vec::new();
    for component in ["count", "steps/window", "top"] {
        let text = format!("{batch},");
        match random.below(6) {
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
        for lost in 0..=RETAIN.min(batch) {
            let copy = copy_of(folder.path());
            for newer in (batch - lost + 1)..=batch {
                fs::remove_file(commit_file(copy.path(), newer)).unwrap();
            }
            let (_, recovered) = open(copy.path()).await;
            assert_eq!(last(&recovered), Some(batch - lost));
            assert_eq!(states(&recovered), models[usize::try_from(batch - lost).unwrap()]);
            assert_eq!(again(&recovered), Vec::from_iter((batch - lost + 1)..=batch));
        }
    }
    let count = |name: &str| fs::read_dir(folder.path().join(name)).unwrap().count();
    assert_eq!(count("offsets"), 4);
    assert!(count("commits") < 20);
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
