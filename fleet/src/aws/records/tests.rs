//! The lock, and what remains known after a failure between any two calls.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::aws::fake::{Directory, Fault};
use crate::deployment::history::Role;
use crate::deployment::record::tests::{beginner, goal};
use crate::deployment::terms::tests::terms;

const FAULTS: [Fault; 3] = [Fault::NotSent, Fault::NotAnswered, Fault::SentTwice];

fn place() -> Place {
    Place::of_shop()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn ended() -> Timestamp {
    "2026-11-30T23:05:00Z".parse().unwrap()
}

fn key(number: u64) -> String {
    format!("shop/environments/prod/deployments/{number}.json")
}

fn draft(release: &str, by: &str, after: u64) -> Draft {
    let terms = Document { key: "shop/environments/prod/documents/t.json".into(), sha256: Sha256::of(b"t") };
    Draft { kind: Kind::Deploy, goal: goal(release), terms, beginner: beginner(by), after }
}

/// A deployment from its first to its last write: the document, the record, its end. Three writes.
async fn deploy(objects: &Directory, by: &str) -> Result<Kept, Failure> {
    let place = place();
    let records = Records::new(objects, &place, "prod");
    let content = b"#ingot\nversion: 1\n";
    let document = records.document(content)?;
    records.keep_document(&document, content).await?;
    let wanted = Goal { document, ..goal("v1") };
    let after = records.newest().await?.map_or(0, |kept| kept.record.number);
    match records.begin(Draft { goal: wanted, ..draft("v1", by, after) }).await? {
        Begun::Mine(kept) => records.finish(&kept, State::Good, ended(), None).await,
        Begun::Taken(kept) | Begun::Overtaken(kept) => Err(Failure::new(Exit::Failed, kept.record.told())),
    }
}

/// The states of all records, from the first on, as any process reads them.
fn states(root: &Path) -> Vec<State> {
    let (objects, place) = (Directory::new(root), place());
    let records = Records::new(&objects, &place, "prod");
    run(async {
        let mut states = Vec::new();
        for number in records.numbers().await.unwrap().into_iter().rev() {
            states.push(records.read(number).await.unwrap().unwrap().record.state);
        }
        states
    })
}

#[test]
fn numbers_follow_each_other() {
    let root = tempfile::tempdir().unwrap();
    for by in ["ann", "bob", "cid"] {
        run(deploy(&Directory::new(root.path()), by)).unwrap();
    }
    assert_eq!(states(root.path()), [State::Good; 3]);
    let (objects, place) = (Directory::new(root.path()), place());
    for number in 4..=12 {
        objects.place(
            &key(number),
            &Record::begin("shop", "prod", number, goal("v2"), beginner("ann")).end(State::Failed, ended(), None).write(),
        );
    }
    objects.place("shop/environments/prod/deployments/0013.json", b"");
    objects.place("shop/environments/prod/deployments/notes.txt", b"");
    objects.place("shop/environments/prod2/deployments/99.json", b"");
    let records = Records::new(&objects, &place, "prod");
    assert_eq!(run(records.newest()).unwrap().unwrap().record.number, 12, "by number, not by letters");
    let counting = run(records.counting()).unwrap();
    assert_eq!(counting.get(Role::InForce).unwrap().number, 3);
    assert!(counting.get(Role::LastGood).is_none() && counting.has_the_same, "all were of one release");
}

#[test]
fn the_second_operator_learns_who_deploys_and_since_when() {
    let root = tempfile::tempdir().unwrap();
    let (objects, place) = (Directory::new(root.path()), place());
    let records = Records::new(&objects, &place, "prod");
    let Begun::Mine(first) = run(records.begin(draft("v1", "ann", 0))).unwrap() else { panic!("it was free") };
    let Begun::Taken(found) = run(records.begin(draft("v2", "bob", 0))).unwrap() else { panic!("it was taken") };
    assert_eq!(found, first);
    assert_eq!(found.record.told(), "deployment 1 of prod (v1) is under way: started 2026-11-30T23:00:00Z by ann");
    // The same attempt again.
    assert!(matches!(run(records.begin(draft("v1", "ann", 0))).unwrap(), Begun::Mine(_)));
    // It ends once.
    let finish = |state| run(records.finish(&first, state, ended(), None));
    finish(State::Undone).unwrap();
    let late = finish(State::Good).unwrap_err().to_string();
    assert!(late.contains("is undone: started by ann, finished 2026-11-30T23:05:00Z"), "{late}");
    finish(State::Undone).unwrap();
    assert_eq!(states(root.path()), [State::Undone]);
}

#[test]
fn exactly_one_of_many_begins() {
    let root = tempfile::tempdir().unwrap();
    run(deploy(&Directory::new(root.path()), "before")).unwrap();
    let mine = std::thread::scope(|scope| {
        let begun: Vec<_> = (0..8)
            .map(|number| {
                let root = root.path();
                scope.spawn(move || {
                    let (objects, place) = (Directory::new(root), place());
                    let records = Records::new(&objects, &place, "prod");
                    run(records.begin(draft("v2", &format!("operator-{number}"), 1))).unwrap()
                })
            })
            .collect();
        begun.into_iter().map(|thread| thread.join().unwrap()).filter(|begun| matches!(begun, Begun::Mine(_))).count()
    });
    assert_eq!((mine, states(root.path())), (1, vec![State::Good, State::UnderWay]));
}

#[test]
fn any_failed_write_is_repaired_by_the_next_attempt() {
    for fault in FAULTS {
        for write in 0..3 {
            let root = tempfile::tempdir().unwrap();
            let first = run(deploy(&Directory::with(root.path(), write, fault), "ann"));
            assert_eq!(first.is_ok(), fault == Fault::SentTwice, "{fault:?} {write}");
            // The same attempt resumes from what is stored.
            match states(root.path()).last() {
                Some(State::Good) => {}
                _ => {
                    drop(run(deploy(&Directory::new(root.path()), "ann")).unwrap_or_else(|failure| panic!("{fault:?} {write}: {failure}")))
                }
            }
            assert_eq!(states(root.path()), [State::Good], "{fault:?} {write}");
        }
    }
}

#[test]
fn an_unreadable_record_stops_everything_and_is_kept() {
    let good = Record::begin("shop", "prod", 2, goal("v1"), beginner("ann")).write();
    let newer = String::from_utf8(good.clone()).unwrap().replace("\"schema\": 2", "\"schema\": 3");
    let other = String::from_utf8(good.clone()).unwrap().replace("\"shop\"", "\"till\"");
    for (content, says) in [
        (&good[..good.len() / 2], "hint: restore the previous version: `aws s3api list-object-versions --bucket acme-releases"),
        (b"".as_slice(), "it is not the record of a deployment"),
        (b"\xff\xfe", "it is not the record of a deployment"),
        (newer.as_bytes(), "hint: update ingot-fleet"),
        (other.as_bytes(), "it is the record of deployment 2 of prod of till"),
    ] {
        let root = tempfile::tempdir().unwrap();
        run(deploy(&Directory::new(root.path()), "ann")).unwrap();
        let (objects, place) = (Directory::new(root.path()), place());
        objects.place(&key(2), content);
        let before = objects.keys();
        let records = Records::new(&objects, &place, "prod");
        for failure in [run(records.begin(draft("v2", "bob", 0))).err(), run(records.newest()).err(), run(records.counting()).err()] {
            let text = failure.expect("it is no record").to_string();
            assert!(
                text.starts_with("cannot determine the state of deployment 2 of prod: s3://acme-releases/shop/") && text.contains(says),
                "{text}"
            );
        }
        assert_eq!((objects.found(&key(2)).unwrap(), objects.keys()), (content.to_vec(), before));
    }
}

#[test]
fn documents_are_written_once_and_not_too_large() {
    let root = tempfile::tempdir().unwrap();
    let (objects, place) = (Directory::new(root.path()), place());
    let records = Records::new(&objects, &place, "prod");
    let document = records.document(b"a").unwrap();
    for _ in 0..2 {
        run(records.keep_document(&document, b"a")).unwrap();
    }
    assert_eq!(objects.keys(), [document.key]);
    let failure = records.document(&vec![b' '; LARGEST_DOCUMENT as usize + 1]).unwrap_err();
    assert_eq!(failure.exit, Exit::Document);
    assert_eq!(objects.keys().len(), 1);
}

#[test]
fn an_outdated_plan_does_not_begin() {
    let root = tempfile::tempdir().unwrap();
    let (objects, place) = (Directory::new(root.path()), place());
    let records = Records::new(&objects, &place, "prod");
    for by in ["ann", "bob"] {
        run(deploy(&objects, by)).unwrap();
    }
    let Begun::Overtaken(newest) = run(records.begin(draft("v2", "cid", 1))).unwrap() else { panic!("it was planned on deployment 1") };
    assert_eq!((newest.record.number, states(root.path()).len()), (2, 2));
    assert!(matches!(run(records.begin(draft("v2", "cid", 2))).unwrap(), Begun::Mine(_)));
}

#[test]
fn an_ended_deployment_is_not_continued_and_a_requested_one_not_ended() {
    let root = tempfile::tempdir().unwrap();
    let (objects, place) = (Directory::new(root.path()), place());
    let records = Records::new(&objects, &place, "prod");
    let Begun::Mine(first) = run(records.begin(draft("v1", "ann", 0))).unwrap() else { panic!("it was free") };
    let ordered = run(records.order(&first, "a")).unwrap().unwrap();
    assert_eq!(run(records.end(&first, State::Undone, ended(), None)).unwrap(), None, "an operation was ordered since it was read");
    assert_eq!(run(records.order(&first, "a")).unwrap(), None, "and by another one");
    assert_eq!(run(records.order(&ordered, "a")).unwrap().unwrap().record.ordered.unwrap().times, 2);
    // What the stack shows is recorded regardless.
    assert_eq!(run(records.finish(&first, State::Good, ended(), None)).unwrap().record.ordered.unwrap().times, 2);
    assert_eq!(run(records.order(&ordered, "b")).unwrap(), None, "it has ended");
    assert_eq!(states(root.path()), [State::Good]);
}

#[test]
fn terms_are_read_back_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let (objects, place) = (Directory::new(root.path()), place());
    let records = Records::new(&objects, &place, "prod");
    let terms = terms(&[("Release", "v1"), ("MaxSize", "6")]);
    let kept = run(records.keep_terms(&terms)).unwrap();
    let record = Record::begin("shop", "prod", 1, goal("v1"), beginner("ann"));
    assert_eq!(run(records.terms(&record)).unwrap(), None, "of a deployment of before");
    let record = record.on(Kind::Deploy, kept.clone());
    assert_eq!(run(records.terms(&record)).unwrap(), Some(terms));
    objects.place(&kept.key, b"{}");
    let failure = run(records.terms(&record)).unwrap_err().to_string();
    assert!(
        failure.contains("cannot determine the settings of deployment 1 of prod") && failure.contains("ingot-fleet abort prod"),
        "{failure}"
    );
}

/// The process that the next test kills.
#[test]
#[ignore = "runs in a process of its own"]
fn child() {
    let Some(told) = std::env::var_os("INGOT_FLEET_TEST_CHILD") else { return };
    let told = told.into_string().unwrap();
    let mut parts = told.splitn(3, ':');
    let write = parts.next().unwrap().parse().unwrap();
    let fault = if parts.next() == Some("before") { Fault::HangBefore } else { Fault::HangAfter };
    let root = PathBuf::from(parts.next().unwrap());
    run(deploy(&Directory::with(&root, write, fault), "ann")).unwrap();
}

#[test]
fn a_process_killed_at_any_write_leaves_readable_records() {
    for (write, when, left) in [
        (0, "before", [].as_slice()),
        (0, "after", &[]),
        (1, "before", &[]),
        (1, "after", &[State::UnderWay]),
        (2, "before", &[State::UnderWay]),
        (2, "after", &[State::Good]),
    ] {
        let root = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "aws::records::tests::child", "--ignored", "--nocapture"])
            .env("INGOT_FLEET_TEST_CHILD", format!("{write}:{when}:{}", root.path().display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "hanging"), "{write} {when}: it never came so far");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(states(root.path()), left, "{write} {when}");
        let other = run(deploy(&Directory::new(root.path()), "bob"));
        match left {
            [State::UnderWay] => {
                let told = other.unwrap_err().to_string();
                assert_eq!(told, "deployment 1 of prod (v1) is under way: started 2026-11-30T23:00:00Z by ann");
                // The attempt itself can resume.
                run(deploy(&Directory::new(root.path()), "ann")).unwrap();
                assert_eq!(states(root.path()), [State::Good]);
            }
            _ => assert_eq!(other.unwrap().record.number, left.len() as u64 + 1),
        }
    }
}
