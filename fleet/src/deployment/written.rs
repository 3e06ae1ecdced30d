//! Tests that objects written by this version and by older ones are read and rewritten without loss: the files in
//! `tests/fleet/written`, named by kind and schema. A new schema gets new files; existing ones never change.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value as Json;

use super::freeze::Freeze;
use super::record::Record;
use super::record::tests::record;
use super::slot::Slot;
use super::swap::Swap;
use super::terms::Terms;
use crate::digest::Sha256;
use crate::release::manifest::{Maker, Manifest};

/// The name and the content of each file.
fn written() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fleet/written");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

/// The kind and the schema in the name of a file.
fn of_name(name: &str) -> (&str, u64) {
    let mut parts = name.split('-');
    (parts.next().unwrap(), parts.next().unwrap().parse().unwrap())
}

fn schema(content: &[u8]) -> u64 {
    json(content)["schema"].as_u64().unwrap()
}

fn json(content: &[u8]) -> Json {
    serde_json::from_slice(content).unwrap()
}

/// Reads an object and writes it as this version does.
fn again(kind: &str, content: &[u8]) -> Option<Vec<u8>> {
    Some(match kind {
        "record" => Record::read(content, "shop", "prod", 7).ok()?.write(),
        "freeze" => Freeze::read(content)?.write(),
        "manifest" => Manifest::read(content, "shop", &"v1".parse().unwrap()).ok()?.write(),
        "terms" => Terms::read(content)?.write(),
        "swap" => Swap::read(content, "main", 3)?.write(),
        _ => panic!("{kind} is not written"),
    })
}

#[test]
fn objects_of_every_version_are_read() {
    for (name, content) in written() {
        let (kind, schema_of_name) = of_name(&name);
        assert_eq!(schema(&content), schema_of_name, "{name}");
        let again = again(kind, &content).unwrap_or_else(|| panic!("{name} is not read"));
        assert_eq!(String::from_utf8(again).unwrap(), String::from_utf8(content).unwrap(), "{name}");
    }
}

#[test]
fn every_schema_has_a_file() {
    let at = "2026-11-30T23:00:00Z".parse().unwrap();
    let maker = Maker { by: "ann".into(), at, attempt: "1".into() };
    let manifest = Manifest::new("shop", "v1".parse().unwrap(), Sha256::of(b""), 7, "tar.zst", maker);
    let terms = written().into_iter().find(|(name, _)| name == "terms-1").and_then(|(_, content)| Terms::read(&content)).unwrap();
    let newest = [
        ("record", record().write()),
        ("freeze", Freeze::off("ann", at).write()),
        ("manifest", manifest.write()),
        ("terms", Terms::new([].into(), terms.fixed).write()),
        ("swap", Swap::begin("main", 3, Slot::A, "ann", at).write()),
    ];
    let expected: BTreeSet<(String, u64)> =
        newest.iter().flat_map(|(kind, content)| (1..=schema(content)).map(|number| ((*kind).to_owned(), number))).collect();
    let names: Vec<String> = written().into_iter().map(|(name, _)| name).collect();
    let found: BTreeSet<(String, u64)> = names.iter().map(|name| of_name(name)).map(|(kind, number)| (kind.to_owned(), number)).collect();
    assert_eq!(found, expected);
}
