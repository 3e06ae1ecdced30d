//! What is read back from real files, and what is not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::host::files::DiskFiles;

fn entry(state: EntryState) -> Entry {
    Entry { state, boot_id: "b".into(), at: "2026-11-01T00:00:00Z".into(), detail: None }
}

struct Fixture {
    root: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    async fn load(&self, instance: &str) -> Record {
        let owner = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Record::load(Rc::new(DiskFiles::new(Some(self.root.path().to_owned()))), owner, instance).await.unwrap()
    }

    fn file(&self) -> PathBuf {
        self.root.path().join("var/lib/ingot/instances/i-1/record.json")
    }
}

#[tokio::test]
async fn remembers_across_processes_and_not_across_instances() {
    let fixture = Fixture::new();
    fixture.load("i-1").await.put("commands.migrate", entry(EntryState::Done)).await.unwrap();
    assert_eq!(fixture.load("i-1").await.get("commands.migrate"), Some(entry(EntryState::Done)));
    assert_eq!(fixture.load("i-2").await.get("commands.migrate"), None);

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&fixture.file()), mode(fixture.file().parent().unwrap())), (0o600, 0o700));
    insta::assert_snapshot!(fs::read_to_string(fixture.file()).unwrap(), @r#"
    {
      "version": 1,
      "instance": "i-1",
      "sha256": "09d3f70eebc985d6e18ef60f7dc6a9bcf67c7f6eb6043854466eb3473c2e7344",
      "entries": {
        "commands.migrate": {
          "state": "done",
          "boot_id": "b",
          "at": "2026-11-01T00:00:00Z"
        }
      }
    }
    "#);
}

#[tokio::test]
async fn loses_nothing_when_several_write_at_once() {
    let fixture = Fixture::new();
    let record = fixture.load("i-1").await;
    let puts = (0..50).map(|number| {
        let record = &record;
        async move { record.put(&format!("commands.{number:02}"), entry(EntryState::Started)).await }
    });
    assert!(futures_util::future::join_all(puts).await.into_iter().all(|put| put.is_ok()));
    assert_eq!(fixture.load("i-1").await.entries.borrow().len(), 50);
}

#[tokio::test]
async fn sets_aside_what_it_cannot_trust() {
    let fixture = Fixture::new();
    fixture.load("i-1").await.put("commands.a", entry(EntryState::Done)).await.unwrap();
    let whole = fs::read_to_string(fixture.file()).unwrap();
    let spoilt = [
        String::new(),
        "\0\0\0\0".into(),
        whole[..whole.len() / 2].to_owned(),
        whole.replace("commands.a", "commands.b"),
        whole.replace("\"version\": 1", "\"version\": 2"),
        whole.replace("i-1", "i-2"),
    ];
    for content in spoilt {
        fs::write(fixture.file(), &content).unwrap();
        let record = fixture.load("i-1").await;
        assert_eq!(record.get("commands.a"), None, "{content}");
        assert!(!fixture.file().exists());
        assert_eq!(fs::read_to_string(fixture.file().with_extension("json.bad")).unwrap(), content);
        record.put("commands.c", entry(EntryState::Started)).await.unwrap();
        assert_eq!(fixture.load("i-1").await.get("commands.c"), Some(entry(EntryState::Started)));
    }
}

/// A record is never partially trusted: truncated anywhere, or with any byte changed, it is ignored, unless only its
/// white space differs.
#[tokio::test]
async fn trusts_no_record_that_is_torn_or_altered_anywhere() {
    let whole = Record {
        instance: "i-1".into(),
        entries: RefCell::new(BTreeMap::from([("commands.a".into(), entry(EntryState::Done))])),
        ..Fixture::new().load("i-1").await
    };
    let (content, entries) = (whole.content(), whole.entries.borrow().clone());
    assert_eq!(parse(&content, "i-1"), Ok(entries.clone()));
    for at in 0..content.len() {
        // Only its last line feed can be missing.
        assert!(parse(&content[..at], "i-1").is_err() || at == content.len() - 1, "torn at {at}");
        for byte in [0, b' ', b'"', content[at] ^ 0x01, content[at] ^ 0x20, content[at] ^ 0x80] {
            let mut altered = content.clone();
            altered[at] = byte;
            let is_same = parse(&altered, "i-1").is_ok_and(|parsed| parsed == entries);
            assert!(is_same || parse(&altered, "i-1").is_err(), "byte {at} as {byte}: {}", String::from_utf8_lossy(&altered));
        }
    }
}

#[tokio::test]
async fn what_is_no_file_is_set_aside_time_and_again() {
    let fixture = Fixture::new();
    for round in 1..=SET_ASIDE {
        fs::create_dir_all(fixture.file().join("deep")).unwrap();
        let record = fixture.load("i-1").await;
        record.put("commands.a", entry(EntryState::Done)).await.unwrap();
        assert_eq!(fixture.load("i-1").await.get("commands.a"), Some(entry(EntryState::Done)), "{round}");
        fs::remove_file(fixture.file()).unwrap();
    }
    nix::unistd::mkfifo(&fixture.file(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(fixture.load("i-1").await.get("commands.a"), None, "and nobody waits for a writer");
}

#[tokio::test]
async fn forgets_what_could_not_be_written() {
    let fixture = Fixture::new();
    let record = fixture.load("i-1").await;
    fs::write(fixture.root.path().join("var"), "in the way").unwrap();
    assert!(record.put("commands.a", entry(EntryState::Started)).await.is_err());
    assert_eq!(record.get("commands.a"), None);
    fs::remove_file(fixture.root.path().join("var")).unwrap();
    record.put("commands.a", entry(EntryState::Started)).await.unwrap();
    assert_eq!(fixture.load("i-1").await.get("commands.a"), Some(entry(EntryState::Started)));
}

#[tokio::test]
async fn what_is_kept_apart_is_not_overwritten() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.load("i-1").await, fixture.load("i-1").await);
    let apart = first.apart("preload./srv/shop").await.unwrap();
    second.put("commands.a", entry(EntryState::Done)).await.unwrap();
    apart.put("preload./srv/shop", entry(EntryState::Done)).await.unwrap();
    let later = fixture.load("i-1").await;
    assert_eq!(later.get("commands.a"), Some(entry(EntryState::Done)));
    assert_eq!(later.get("preload./srv/shop"), None);
    assert_eq!(later.apart("preload./srv/shop").await.unwrap().get("preload./srv/shop"), Some(entry(EntryState::Done)));
    assert!(fixture.file().with_file_name("preload.!srv!shop.json").exists());
}

#[test]
fn an_instance_id_is_no_path() {
    assert_eq!(as_name("i-0abc123def4567890"), "i-0abc123def4567890");
    assert_eq!(as_name("../../etc"), ".._.._etc");
    assert_eq!((as_name(".."), as_name("")), ("unknown".into(), "unknown".into()));
}
