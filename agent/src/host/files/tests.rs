use std::fs;
use std::os::unix::fs::symlink;

use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};

use super::*;
use crate::host::attributes::FileKind;
use crate::host::tree::filled;

/// A temporary tree, and attributes that a test may set without being root.
fn tree() -> (tempfile::TempDir, DiskFiles) {
    let directory = tempfile::tempdir().unwrap();
    let files = DiskFiles::new(Some(directory.path().to_owned()));
    (directory, files)
}

fn mine(mode: u32) -> Attributes {
    Attributes { mode, uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() }
}

async fn text(files: &DiskFiles, path: &str) -> Option<String> {
    let content = files.read(Path::new(path), 1000).await.unwrap()?;
    Some(String::from_utf8(content.to_vec()).unwrap())
}

#[tokio::test]
async fn installs_what_was_staged() {
    let (_directory, files) = tree();
    files.create_directory(Path::new("/etc/app"), 0o2775).await.unwrap();
    let (staged, path) = (Path::new("/etc/app/.x.new"), Path::new("/etc/app/x"));
    // A umask would remove 0o022.
    files.stage(staged, b"one", mine(0o4666)).await.unwrap();
    files.install(staged, path).await.unwrap();

    let stat = files.stat(path).await.unwrap().unwrap();
    assert_eq!((stat.kind, stat.attributes.mode, stat.size), (FileKind::File, 0o4666, 3));
    assert_eq!(files.stat(Path::new("/etc")).await.unwrap().unwrap().attributes.mode, 0o2775);
    assert_eq!(files.list(Path::new("/etc/app")).await.unwrap(), ["x"]);
    assert_eq!(text(&files, "/etc/app/x").await.as_deref(), Some("one"));
}

fn grown(files: &DiskFiles) -> Vec<String> {
    files.grown.noted().directories.keys().map(|directory| directory.display().to_string()).collect()
}

#[tokio::test]
async fn directories_are_to_be_brought_to_disk_until_something_in_them_is() {
    let (_directory, files) = tree();
    files.create_directory(Path::new("/a/b/c"), 0o755).await.unwrap();
    files.create_directory(Path::new("/x"), 0o755).await.unwrap();
    assert_eq!(grown(&files), ["/", "/a", "/a/b"]);
    let (staged, path) = (Path::new("/a/b/.f.new"), Path::new("/a/b/f"));
    files.stage(staged, b"", mine(0o600)).await.unwrap();
    assert_eq!(grown(&files), ["/", "/a", "/a/b"]);
    files.install(staged, path).await.unwrap();
    assert!(grown(&files).is_empty());
}

#[test]
fn what_is_created_meanwhile_is_still_to_be_brought_to_disk() {
    let (_directory, DiskFiles { tree, grown, .. }) = tree();
    let path = Path::new("/a/f");
    grown.create(Path::new("/a/b"), 0o755, &tree).unwrap();
    let above = grown.above(path);
    grown.create(Path::new("/a/c"), 0o755, &tree).unwrap();
    grown.to_disk(above, path, &tree).unwrap();
    assert_eq!(grown.above(Path::new("/a/c/f")).iter().map(|(directory, _)| directory).collect::<Vec<_>>(), ["/a"].map(Path::new));
}

#[tokio::test]
async fn what_was_created_before_a_failure_is_still_to_be_brought_to_disk() {
    let (_directory, files) = tree();
    files.create_directory(&Path::new("/a/b").join("x".repeat(256)), 0o755).await.unwrap_err();
    assert_eq!(grown(&files), ["/", "/a"]);
}

#[tokio::test]
async fn staging_replaces_a_planted_link_and_not_its_target() {
    let (directory, files) = tree();
    fs::write(directory.path().join("victim"), "keep").unwrap();
    symlink("victim", directory.path().join("staged")).unwrap();
    files.stage(Path::new("/staged"), b"new", mine(0o600)).await.unwrap();
    assert_eq!(text(&files, "/victim").await.as_deref(), Some("keep"));
    assert_eq!(text(&files, "/staged").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn what_was_staged_and_cannot_be_owned_is_removed() {
    if Uid::effective().is_root() {
        // Root may change the owner of files; for root, writing to a full device fails instead.
        assert!(filled(File::options().write(true).open("/dev/full").unwrap(), b"x", mine(0o666)).is_err());
        return;
    }
    let (_directory, files) = tree();
    let attributes = Attributes { uid: 0, ..mine(0o600) };
    files.stage(Path::new("/x"), b"x", attributes).await.unwrap_err();
    assert_eq!(files.stat(Path::new("/x")).await.unwrap(), None);
}

#[tokio::test]
async fn links_do_not_lead_out_of_the_root() {
    let (directory, files) = tree();
    symlink("/etc", directory.path().join("absolute")).unwrap();
    symlink("../../../../../../etc", directory.path().join("relative")).unwrap();
    for path in ["/absolute/passwd", "/relative/passwd", "/../../../../../etc/passwd"] {
        assert_eq!(text(&files, path).await, None, "{path}");
    }
    files.create_directory(Path::new("/etc"), 0o755).await.unwrap();
    files.stage(Path::new("/absolute/x"), b"inside", mine(0o644)).await.unwrap();
    assert_eq!(fs::read_to_string(directory.path().join("etc/x")).unwrap(), "inside");
}

#[tokio::test]
async fn names_the_operation_and_the_path() {
    let (_directory, files) = tree();
    files.stage(Path::new("/file"), b"", mine(0o600)).await.unwrap();
    let error = files.create_directory(Path::new("/file/x"), 0o755).await.unwrap_err();
    let explained = crate::failure::Explanation::of(&error).to_string();
    insta::assert_snapshot!(explained, @r"
    cannot create directory /file/x: Not a directory (os error 20)
      hint: a parent of /file/x is a file: move it away
    ");
    assert_eq!(files.read(Path::new("/"), 9).await.unwrap_err().to_string(), "cannot read /");
    assert_eq!(files.stage(Path::new("/no/x"), b"", mine(0o600)).await.unwrap_err().to_string(), "cannot write /no/x");
}

#[tokio::test]
async fn reads_nothing_larger_than_asked_for_and_no_fifo() {
    let (directory, files) = tree();
    files.stage(Path::new("/x"), b"12345", mine(0o600)).await.unwrap();
    assert!(matches!(files.read(Path::new("/x"), 4).await, Err(HostError::TooLarge { limit: 4, .. })));
    assert_eq!(files.read(Path::new("/x"), 5).await.unwrap().unwrap().len(), 5);
    nix::unistd::mkfifo(&directory.path().join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
    assert!(files.read(Path::new("/fifo"), 4).await.is_err());
    assert!(DiskFiles::new(None).read(Path::new("/proc/self/status"), 1 << 16).await.unwrap().unwrap().len() > 100);
}

#[tokio::test]
async fn sets_mode_and_follows_no_link() {
    let (directory, files) = tree();
    files.stage(Path::new("/x"), b"", mine(0o600)).await.unwrap();
    files.set_attributes(Path::new("/x"), mine(0o751)).await.unwrap();
    assert_eq!(files.stat(Path::new("/x")).await.unwrap().unwrap().attributes, mine(0o751));
    symlink("x", directory.path().join("link")).unwrap();
    assert!(files.set_attributes(Path::new("/link"), mine(0o600)).await.is_err());
}

#[tokio::test]
async fn absence_is_an_answer() {
    let (directory, files) = tree();
    let path = Path::new("/no/such");
    assert_eq!(files.stat(path).await.unwrap(), None);
    assert!(files.read(path, 1).await.unwrap().is_none());
    assert!(files.list(path).await.unwrap().is_empty());
    files.remove(path).await.unwrap();
    assert_eq!(files.resolved(Path::new("/a/b")).await.unwrap(), Path::new("/a/b"));
    assert_eq!(files.located(Path::new("/a/../b")), directory.path().join("b"));
}
