//! One release: its source, its name, and the mark next to it that declares it complete.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::aws::s3::Source;
use crate::digest::Sha256;
use crate::host::unpack::Compression;

/// File name endings of archives, the longer ones first.
const ENDINGS: [&str; 8] = [".tar.zstd", ".tar.zst", ".tar.gz", ".tzst", ".tgz", ".tar", ".zip", ".zst"];

/// File name endings of compressed single files.
const COMPRESSED: [(&str, Compression); 3] = [(".gz", Compression::Gzip), (".zst", Compression::Zstd), (".zstd", Compression::Zstd)];

/// Maximum length of a file name on Linux, in bytes.
const LONGEST_FILE: usize = 255;

/// Maximum length of a release name, which leaves room for prefixes and suffixes.
const LONGEST: usize = 128;

/// How many digits of the digest distinguish two releases with the same name.
const DIGITS: usize = 8;

/// A release that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    pub(super) source: Source,
    /// The digest that the document requires.
    pub(super) sha256: Option<Sha256>,
    pub(super) strip_components: u8,
    pub(super) links: BTreeMap<String, PathBuf>,
    /// Set if the release is a single file instead of an archive.
    pub(super) file: Option<OneFile>,
    pub(super) version: String,
}

/// A release that is a single file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OneFile {
    pub(super) name: String,
    pub(super) mode: u32,
    pub(super) compression: Option<Compression>,
}

/// The name of a single file in its release, and the compression to remove. `name` is that of the object, `asked` the
/// name in the document.
///
/// A tar archive stays compressed, because installing it as a file means keeping it unchanged. The same applies to a
/// file whose name in the document has a compressed ending.
pub(super) fn file_of(name: &str, asked: Option<&str>) -> (String, Option<Compression>) {
    let compressed = COMPRESSED.iter().find_map(|(ending, how)| Some((name.strip_suffix(ending)?, ending, *how)));
    let compressed = compressed.filter(|(bare, ..)| !bare.is_empty());
    match (compressed, asked) {
        (Some((_, ending, how)), Some(asked)) if !asked.ends_with(ending) => (asked.to_owned(), Some(how)),
        (Some((bare, _, how)), None) if !bare.ends_with(".tar") => (bare.to_owned(), Some(how)),
        (_, asked) => (asked.unwrap_or(name).to_owned(), None),
    }
}

/// Whether this is a valid file name.
pub(super) fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= LONGEST_FILE && !name.contains(|c: char| c == '/' || c.is_control())
}

/// The default name of a release: the archive's name, and digits that distinguish it from an archive that was published
/// again under the same name.
pub(super) fn name_of(source: &Source, sha256: Option<Sha256>, is_file: bool) -> String {
    let name = source.name();
    let bare = match is_file {
        true => COMPRESSED.iter().find_map(|(ending, _)| name.strip_suffix(ending)),
        false => ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)),
    };
    let bare = bare.unwrap_or(name);
    let plain: String = bare.chars().map(|c| if is_plain(c) { c } else { '_' }).take(LONGEST - DIGITS - 1).collect();
    let plain = plain.trim_start_matches('.');
    let plain = if plain.is_empty() { "release" } else { plain };
    let digits = match (sha256, source) {
        (Some(sha256), _) => Some(sha256),
        (None, Source::S3 { version_id: Some(version), .. }) => Some(Sha256::of(version.as_bytes())),
        _ => None,
    };
    match digits {
        Some(digits) => format!("{plain}-{}", &digits.to_string()[..DIGITS]),
        None => plain.to_owned(),
    }
}

/// Whether this is a valid release name.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.starts_with('.') && text.chars().all(is_plain)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._+~-@=".contains(c)
}

/// The mark of a release, in a file next to its directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Whether the release is complete. Otherwise its directory may not be ingot's, or was being replaced.
    pub(super) whole: bool,
    pub(super) source: String,
    pub(super) sha256: String,
    /// Length of the archive.
    pub(super) bytes: u64,
    /// Unpacked size in bytes.
    pub(super) unpacked: u64,
    #[serde(default)]
    pub(super) strip_components: u8,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) links: BTreeMap<String, PathBuf>,
    /// The name of the file, for a single-file release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
}

impl Mark {
    /// Whether the mark belongs to the wanted release.
    pub(super) fn is_of(&self, wanted: &Release) -> bool {
        let same = match wanted.sha256 {
            Some(sha256) => self.sha256 == sha256.to_string(),
            None => self.source == wanted.source.to_string(),
        };
        let made_alike = self.strip_components == wanted.strip_components && self.links == wanted.links;
        self.whole && same && made_alike && self.file.as_ref() == wanted.file.as_ref().map(|file| &file.name)
    }
}

/// The paths below the directory of a bundle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout<'a>(pub(super) &'a Path);

/// Prefix of the directories that are being created.
const STAGED: &str = ".ingot-staged.";

impl Layout<'_> {
    pub(super) fn releases(self) -> PathBuf {
        self.0.join("releases")
    }

    pub(super) fn current(self) -> PathBuf {
        self.0.join("current")
    }

    pub(super) fn release(self, version: &str) -> PathBuf {
        self.releases().join(version)
    }

    /// The path of its file, for a single-file release.
    pub(super) fn file(self, release: &Release) -> Option<PathBuf> {
        release.file.as_ref().map(|file| self.release(&release.version).join(&file.name))
    }

    pub(super) fn staged(self, version: &str) -> PathBuf {
        self.releases().join(format!("{STAGED}{version}"))
    }

    pub(super) fn mark(self, version: &str) -> PathBuf {
        self.releases().join(format!(".{version}.json"))
    }
}

/// The target of `current`, relative to its directory, so that a bundle can be moved as a whole.
pub(super) fn target(version: &str) -> PathBuf {
    Path::new("releases").join(version)
}

/// The release to which `current` points.
pub(super) fn version_of(target: &Path) -> Option<String> {
    let name = target.strip_prefix("releases").ok()?.to_str()?;
    is_name(name).then(|| name.to_owned())
}

/// The release that a mark belongs to, derived from its file name.
pub(super) fn marked(name: &str) -> Option<&str> {
    name.strip_prefix('.')?.strip_suffix(".json").filter(|version| is_name(version))
}

/// Whether something was being created under this name.
pub(super) fn is_staged(name: &str) -> bool {
    name.starts_with(STAGED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_called_as_its_archive() {
        let name = |source: &str, sha256| name_of(&Source::parse(source).unwrap(), sha256, false);
        assert_eq!(name("s3://shop/a/shop-1.2.3.tar.zst", None), "shop-1.2.3");
        assert_eq!(name("https://example.com/shop.zip?x=1", Some(Sha256::of(b"test"))), "shop-9f86d081");
        assert_eq!(name("s3://shop/.tar.gz", None), "release");
        assert_eq!(name("s3://shop/a b/ü c.tgz", None), "__c");
        assert_eq!(name(&format!("s3://shop/{}", "x".repeat(500)), None).len(), 119);
        let versioned = Source::S3 { bucket: "shop".into(), key: "shop.tar".into(), version_id: Some("v".into()) };
        assert_eq!(name_of(&versioned, None, false), "shop-4c94485e");
        let file = |source: &str| name_of(&Source::parse(source).unwrap(), None, true);
        assert_eq!((file("s3://shop/shop-1.2.jar").as_str(), file("s3://shop/shop-1.2.gz").as_str()), ("shop-1.2.jar", "shop-1.2"));
        for source in ["s3://shop/shop-1.2.3.tar.zst", "s3://shop/.tar.gz"] {
            assert!(is_name(&name(source, None)));
        }
        for wrong in ["", ".x", "a/b", "..", "a b", "ü"] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_single_file_is_decompressed_when_its_name_says_so() {
        use Compression::{Gzip, Zstd};
        let file = |name: &str, asked| file_of(name, asked);
        for (name, asked, expected, compression) in [
            ("shop-1.2.jar", None, "shop-1.2.jar", None),
            ("shop-1.2.jar", Some("shop.jar"), "shop.jar", None),
            ("shop.gz", None, "shop", Some(Gzip)),
            ("shop-1.2.zst", Some("shop"), "shop", Some(Zstd)),
            ("shop.zstd", None, "shop", Some(Zstd)),
            ("shop.gz", Some("shop.gz"), "shop.gz", None),
            ("data.tar.gz", None, "data.tar.gz", None),
            ("data.tar.gz", Some("data.tar"), "data.tar", Some(Gzip)),
            ("data.tgz", None, "data.tgz", None),
            (".gz", None, ".gz", None),
            ("shop.xz", None, "shop.xz", None),
        ] {
            assert_eq!(file(name, asked), (expected.to_owned(), compression), "{name}, {asked:?}");
        }
        for wrong in ["", ".", "..", "a/b", "a\nb", &"x".repeat(256)] {
            assert!(!is_file_name(wrong), "{wrong}");
        }
        assert!(is_file_name("shop 1.jar") && is_file_name(".env"));
    }

    #[test]
    fn names_of_files_are_told_apart() {
        let layout = Layout(Path::new("/opt/shop"));
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(marked(&name(layout.mark("shop-1.0"))), Some("shop-1.0"));
        assert!(is_staged(&name(layout.staged("x"))) && marked(&name(layout.staged("x"))).is_none());
        assert_eq!(version_of(&target("shop-1.0")).as_deref(), Some("shop-1.0"));
        assert_eq!((version_of(Path::new("/elsewhere")), version_of(Path::new("releases/a/b"))), (None, None));
    }
}
