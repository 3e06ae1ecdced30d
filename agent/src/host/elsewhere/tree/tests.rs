use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::unistd::{getgid, getuid, mkfifo};
use tempfile::TempDir;

use super::*;

/// A root with `etc/app.conf`, beside a file that lies outside.
fn root() -> (TempDir, Tree) {
    let all = tempfile::tempdir().unwrap();
    let root = all.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/app.conf"), "a").unwrap();
    fs::write(all.path().join("outside"), "secret").unwrap();
    (all, Tree { root: Some(root) })
}

fn link(tree: &Tree, to: impl AsRef<Path>, at: &str) {
    symlink(to, tree.located(Path::new(at))).unwrap();
}

fn read(tree: &Tree, path: &str) -> Result<Option<String>, HostError> {
    Ok(tree.read(Path::new(path), 100)?.map(|content| String::from_utf8(content.to_vec()).unwrap()))
}

fn own(mode: u32) -> Attributes {
    Attributes { mode, uid: getuid().as_raw(), gid: getgid().as_raw() }
}

fn put(tree: &Tree, path: &str, content: &str) -> Result<(), HostError> {
    let staged = PathBuf::from(format!("{path}.new"));
    tree.stage(&staged, content.as_bytes(), own(0o640))?;
    tree.install(&staged, Path::new(path)).map_err(|source| failed("write", Path::new(path), source))
}

#[test]
fn links_below_the_root_are_followed() {
    let (_all, tree) = root();
    link(&tree, "app.conf", "/etc/link");
    link(&tree, "etc", "/config");
    assert_eq!(read(&tree, "/etc/link").unwrap().unwrap(), "a");
    assert_eq!(read(&tree, "/config/app.conf").unwrap().unwrap(), "a");
    assert_eq!(tree.resolved(Path::new("/config/app.conf")).unwrap(), Path::new("/etc/app.conf"));
    assert_eq!(tree.resolved(Path::new("/config/new/file")).unwrap(), Path::new("/etc/new/file"));
    assert_eq!(tree.stat(Path::new("/etc/link")).unwrap().kind, FileKind::Symlink);
    assert_eq!(tree.list(Path::new("/config")).unwrap(), ["app.conf", "link"]);
}

#[test]
fn nothing_outside_the_root_is_read_written_or_listed() {
    let (all, tree) = root();
    link(&tree, all.path().join("outside"), "/etc/absolute");
    link(&tree, "../../outside", "/etc/relative");
    link(&tree, all.path(), "/away");
    for path in ["/etc/absolute", "/etc/relative", "/away/outside"] {
        let error = read(&tree, path).unwrap_err().to_string();
        assert!(error.contains("cannot read"), "{error}");
    }
    assert!(tree.list(Path::new("/away")).is_err() && tree.resolved(Path::new("/away/x")).is_err());
    assert!(put(&tree, "/away/outside", "b").is_err());
    assert!(tree.create_directory(Path::new("/away/new"), 0o755, None, &mut |_, _| {}).is_err());
    assert!(tree.unlink(Path::new("/away/outside")).is_err());
    assert_eq!(fs::read_to_string(all.path().join("outside")).unwrap(), "secret");
    assert!(!all.path().join("new").exists());
    // `..` does not lead out, either.
    assert_eq!(read(&tree, "/../outside").unwrap(), None);
}

#[test]
fn a_link_to_nothing_is_replaced_and_never_written_through() {
    let (all, tree) = root();
    link(&tree, all.path().join("made"), "/etc/dangling");
    assert_eq!(read(&tree, "/etc/dangling").unwrap(), None);
    assert_eq!(tree.stat(Path::new("/etc/dangling")).unwrap().kind, FileKind::Symlink);
    assert!(tree.create_directory(Path::new("/etc/dangling"), 0o755, None, &mut |_, _| {}).is_err());
    put(&tree, "/etc/dangling", "b").unwrap();
    assert_eq!(tree.stat(Path::new("/etc/dangling")).unwrap().kind, FileKind::File);
    link(&tree, all.path().join("made"), "/etc/other.new");
    put(&tree, "/etc/other", "c").unwrap();
    assert_eq!(read(&tree, "/etc/other").unwrap().unwrap(), "c");
    assert!(!all.path().join("made").exists());
}

#[test]
fn a_file_has_its_attributes_and_is_replaced_whole() {
    let (_all, tree) = root();
    put(&tree, "/etc/app.conf", "new").unwrap();
    let stat = tree.stat(Path::new("/etc/app.conf")).unwrap();
    assert_eq!((stat.kind, stat.attributes, stat.size), (FileKind::File, own(0o640), 3));
    tree.set_attributes(Path::new("/etc/app.conf"), own(0o600)).unwrap();
    assert_eq!(tree.stat(Path::new("/etc/app.conf")).unwrap().attributes.mode, 0o600);
    link(&tree, "app.conf", "/etc/link");
    assert_eq!(tree.set_attributes(Path::new("/etc/link"), own(0o644)).unwrap_err().raw_os_error(), Some(libc::ELOOP));
    tree.unlink(Path::new("/etc/app.conf")).unwrap();
    assert_eq!(read(&tree, "/etc/app.conf").unwrap(), None);
}

#[test]
fn directories_are_made_one_after_the_other_whatever_the_umask() {
    let (_all, tree) = root();
    let mut grown = Vec::new();
    tree.create_directory(Path::new("/srv/app/data"), 0o775, None, &mut |parent, growth| grown.push((parent.to_owned(), growth))).unwrap();
    let at = |path: &str, growth| (PathBuf::from(path), growth);
    let expected = ["/", "/srv", "/srv/app"].map(|parent| [at(parent, Growth::Begins), at(parent, Growth::Created)]).concat();
    assert_eq!(grown, expected);
    assert_eq!(tree.stat(Path::new("/srv/app")).unwrap().attributes.mode, 0o775);
    tree.create_directory(Path::new("/srv/app/data"), 0o700, None, &mut |_, _| panic!("it exists")).unwrap();
}

#[test]
fn only_files_of_a_bounded_size_are_read() {
    let (_all, tree) = root();
    mkfifo(&tree.located(Path::new("/etc/fifo")), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(read(&tree, "/etc/fifo").unwrap_err().to_string().contains("/etc/fifo"));
    assert!(read(&tree, "/etc").is_err());
    put(&tree, "/etc/large", &"x".repeat(101)).unwrap();
    assert!(matches!(read(&tree, "/etc/large"), Err(HostError::TooLarge { limit: 100, .. })));
    assert_eq!(read(&tree, "/etc/none").unwrap(), None);
    assert_eq!(tree.list(Path::new("/none")).unwrap(), [""; 0]);
}

#[test]
fn without_a_root_paths_are_those_of_the_machine() {
    let all = tempfile::tempdir().unwrap();
    let place = all.path().join("file");
    let tree = Tree::default();
    put(&tree, place.to_str().unwrap(), "a").unwrap();
    assert_eq!(fs::read_to_string(&place).unwrap(), "a");
    assert!(matches!(tree.exchange(&place, &place), Err(error) if error.kind() == io::ErrorKind::Unsupported));
}
