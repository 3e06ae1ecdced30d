//! A release is made exactly once, whatever happens between two writes.

use std::io::Write as _;

use super::*;
use crate::aws::fake::{Directory, Fault};
use crate::release::manifest::Maker;

const FAULTS: [Fault; 3] = [Fault::NotSent, Fault::NotAnswered, Fault::SentTwice];
const KEYS: [&str; 2] = ["shop/releases/v1.json", "shop/releases/v1.tar.zst"];

fn place() -> Place {
    Place::of_shop()
}

fn content(text: &str) -> Content {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Content::of(file, drop).unwrap()
}

fn make(objects: &Directory, name: &str, text: &str, by: &str) -> Result<Published, Failure> {
    let content = content(text);
    let at = "2026-11-30T23:00:00Z".parse().unwrap();
    let maker = Maker { by: by.into(), at, attempt: by.into() };
    let manifest = Manifest::new("shop", name.parse().unwrap(), content.sha256, content.bytes, "tar", maker);
    let place = place();
    let work = publish(objects, &place, manifest, &content, &|_| {});
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

#[test]
fn is_never_another() {
    let root = tempfile::tempdir().unwrap();
    let objects = Directory::new(root.path());
    assert!(matches!(make(&objects, "v1", "one", "ann"), Ok(Published::Made(_))));
    assert_eq!(*objects.log.borrow(), ["put shop/releases/v1.tar.zst", "put shop/releases/v1.json"], "what makes it one comes last");
    let Ok(Published::AlreadyThere(manifest)) = make(&objects, "v1", "one", "bob") else { panic!("it is there") };
    assert_eq!(manifest.by, "ann");
    let told = make(&objects, "v1", "two", "bob").unwrap_err().to_string();
    assert!(
        told.starts_with("the release v1 exists with other content: it was made 2026-11-30T23:00:00Z by ann with SHA-256 7692c3ad"),
        "{told}"
    );
    assert!(told.contains("hint: choose another name with --name: a release never changes"), "{told}");
    assert_eq!(objects.found(KEYS[1]).unwrap(), b"one");
}

#[test]
fn any_failed_write_is_repaired_by_the_next_run() {
    for fault in FAULTS {
        for write in 0..2 {
            let root = tempfile::tempdir().unwrap();
            let first = make(&Directory::with(root.path(), write, fault), "v1", "one", "ann");
            assert_eq!(matches!(first, Ok(Published::Made(_))), fault == Fault::SentTwice, "{fault:?} {write}");
            let objects = Directory::new(root.path());
            make(&objects, "v1", "one", "ann").unwrap();
            assert_eq!(
                (objects.keys(), objects.found(KEYS[1]).unwrap()),
                (KEYS.map(String::from).to_vec(), b"one".to_vec()),
                "{fault:?} {write}"
            );
        }
    }
}

#[test]
fn an_abandoned_upload_is_not_reused_for_other_content() {
    let root = tempfile::tempdir().unwrap();
    make(&Directory::with(root.path(), 1, Fault::NotSent), "v1", "one", "ann").unwrap_err();
    let objects = Directory::new(root.path());
    let told = make(&objects, "v1", "two", "bob").unwrap_err().to_string();
    assert!(told.starts_with("the name v1 is taken: s3://acme-releases/shop/releases/v1.tar.zst has other content"), "{told}");
    assert!(objects.found(KEYS[0]).is_none());
    make(&objects, "v1", "one", "bob").unwrap();
}

#[test]
fn one_of_two_with_different_content_wins() {
    let root = tempfile::tempdir().unwrap();
    let made: Vec<bool> = std::thread::scope(|scope| {
        let threads = ["one", "two"].map(|text| {
            let root = root.path();
            scope.spawn(move || make(&Directory::new(root), "v1", text, text).is_ok())
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
    let objects = Directory::new(root.path());
    let found = Manifest::read(&objects.found(KEYS[0]).unwrap(), "shop", &"v1".parse().unwrap()).unwrap();
    assert_eq!(found.by.as_bytes(), objects.found(KEYS[1]).unwrap());
}

#[test]
fn a_deleted_archive_is_uploaded_again() {
    let root = tempfile::tempdir().unwrap();
    let objects = Directory::new(root.path());
    make(&objects, "v1", "one", "ann").unwrap();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(objects.remove(KEYS[1])).unwrap();
    assert!(matches!(make(&objects, "v1", "one", "bob"), Ok(Published::AlreadyThere(_))));
    assert_eq!(objects.found(KEYS[1]).unwrap(), b"one");
}

#[test]
fn lists_complete_and_incomplete_releases() {
    let root = tempfile::tempdir().unwrap();
    let objects = Directory::new(root.path());
    make(&objects, "v1", "one", "ann").unwrap();
    objects.place("shop/releases/v2.tar.zst", b"half");
    objects.place("shop/releases/v3.json", b"{\"schema\": 9}");
    objects.place("shop/releases/.hidden.json", b"");
    objects.place("shop/releases/README", b"");
    objects.place("shop2/releases/v9.json", b"");
    let found = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(list(&objects, &place())).unwrap();
    let mut told: Vec<_> =
        found.iter().map(|found| (found.name.to_string(), found.bytes, matches!(found.described, Described::By(_)))).collect();
    told.sort();
    assert_eq!(told, [("v1".into(), Some(3), true), ("v2".into(), Some(4), false), ("v3".into(), None, false)]);
    let newer = found.iter().find(|found| found.name.to_string() == "v3").unwrap();
    assert_eq!(newer.described, Described::Badly("it was written by a newer ingot-fleet (schema 9)".into()));
}
