//! Go modules: `pkg/mod/MODULE@VERSION/`, and the go command's metadata about them below `pkg/mod/cache/download`.
//!
//! Source: <https://go.dev/ref/mod#go-sum-files>, golang.org/x/mod/sumdb/dirhash (Hash1).

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::super::file;
use crate::digest::{Hasher, Sha256};
use crate::sorting::Sort as _;

const MODULES: &str = "pkg/mod/";

/// The size limit of the go command for modules, in bytes.
const MODULE: u64 = 500 << 20;

/// A module, with paths relative to the root of the image.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) directory: PathBuf,
    /// `MODULE@VERSION`, as in go.sum.
    name: String,
    /// The file with the digest of the whole module.
    digest: PathBuf,
}

/// The module to which a file belongs.
pub(super) fn module(file: &Path) -> Option<Module> {
    let path = file.to_str()?;
    let at = path.find(MODULES)? + MODULES.len();
    let version = at + path[at..].find('@')?;
    let end = version + path[version..].find('/')?;
    let digest = format!("{}cache/download/{}/@v/{}.ziphash", &path[..at], &path[at..version], &path[version + 1..end]);
    Some(Module { directory: path[..end].into(), name: unescaped(&path[at..end]), digest: digest.into() })
}

/// Decodes upper-case letters, which are written as `!` and a lower-case letter.
fn unescaped(path: &str) -> String {
    let mut parts = path.split('!');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (capital, rest) = part.split_at(part.chars().next().map_or(0, char::len_utf8));
        name.push_str(&capital.to_ascii_uppercase());
        name.push_str(rest);
    }
    name
}

/// Whether the module has exactly the published files, unchanged.
pub(super) fn is_as_published(root: &Path, module: &Module) -> bool {
    let known = file::list(&root.join(&module.digest));
    let Some(known) = std::str::from_utf8(&known).ok().and_then(|known| known.strip_prefix("h1:")).and_then(Sha256::parse) else {
        return false;
    };
    let directory = root.join(&module.directory);
    let (mut files, mut waiting) = (Vec::new(), vec![directory.clone()]);
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                _ => files.push(entry.path()),
            }
        }
    }
    // Byte order is required, but paths sort by component.
    files.order_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    let mut all = Hasher::new();
    for file in files {
        let Ok(content) = content(&file) else { return false };
        let name = file.strip_prefix(&directory).unwrap_or(&file);
        all.update(format!("{}  {}/", Sha256::of(&content), module.name).as_bytes());
        all.update(name.as_os_str().as_bytes());
        all.update(b"\n");
    }
    all.finish() == known
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    let (file, mut content) = (file::open(path)?, Vec::new());
    file.take(MODULE).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_known_by_all_of_its_files() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("root/go/pkg/mod/example.com/!shop@v1.2.0");
        fs::create_dir_all(directory.join("a")).unwrap();
        for (name, content) in [("go.mod", "module example.com/Shop\n"), ("a/key.go", "package a\n"), ("a-b.go", "package b\n")] {
            fs::write(directory.join(name), content).unwrap();
        }
        let module = module(Path::new("root/go/pkg/mod/example.com/!shop@v1.2.0/a/key.go")).unwrap();
        assert_eq!(module.name, "example.com/Shop@v1.2.0");
        assert!(!is_as_published(root.path(), &module), "nothing says so");
        let digest = root.path().join("root/go/pkg/mod/cache/download/example.com/!shop/@v/v1.2.0.ziphash");
        fs::create_dir_all(digest.parent().unwrap()).unwrap();
        // Computed by running `sha256sum` on the three files in their order, and then on that list.
        let list = [("a-b.go", "package b\n"), ("a/key.go", "package a\n"), ("go.mod", "module example.com/Shop\n")];
        let list: String =
            list.iter().map(|(name, content)| format!("{}  {}/{name}\n", Sha256::of(content.as_bytes()), module.name)).collect();
        fs::write(&digest, format!("h1:{}", Sha256::of(list.as_bytes()))).unwrap();
        assert!(is_as_published(root.path(), &module));
        fs::write(directory.join("a/more.go"), "x").unwrap();
        assert!(!is_as_published(root.path(), &module));
    }
}
