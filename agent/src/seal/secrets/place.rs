//! Which files are read, and which rules apply to them.
//!
//! - A file in a system directory that a package installed, and that has not been written since, is not read: its
//!   content was published with the package. Whether it was written is known from its modification time, which a
//!   package sets to the time when it was built; comparing checksums would require reading everything.
//! - A file that Python compiled from such a file contains nothing else: it is not read either.
//! - ingot itself is not read: it contains the rules, which would match themselves. Its binary is checked elsewhere.
//! - Everything else is read, including configuration files of packages.
//! - Rules that guess do not apply to documentation, tests and examples: what looks like a secret there is an example
//!   of one.
//! - If no package manager can list what it installed, the system directories are read, but rules that guess do not
//!   apply there.

use std::path::Path;

use crate::image::contents::SYSTEM;

/// Data that programs keep for themselves: full of words and hashes, and not configuration.
const RECORDS: [&str; 5] = ["/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/rpm/", "/var/cache/", "/etc/ssl/certs/"];

/// Whether a file that was last modified at `modified` is unchanged since a package installed it at `installed`.
pub(super) fn is_as_a_package_brought_it(modified: i64, installed: Option<i64>) -> bool {
    installed.is_some_and(|installed| modified <= installed)
}

/// Places of other roots within an image: the layer of a container, or the root of a container or chroot. Each is given
/// by the text before and after its name.
const ROOTS: [(&str, &str); 6] = [
    ("/overlay2/", "/diff/"),
    ("/overlay/", "/diff/"),
    ("/snapshots/", "/fs/"),
    ("/vfs/dir/", "/"),
    ("/var/lib/machines/", "/"),
    ("/var/lib/lxc/", "/rootfs/"),
];

/// A path relative to the innermost root that contains it.
pub(super) fn in_its_root(path: &str) -> &str {
    let inner = ROOTS.iter().find_map(|(before, after)| {
        let name = path.find(before)? + before.len();
        let end = name + path[name..].find('/')?;
        path[end..].starts_with(after).then(|| &path[end + after.len() - 1..])
    });
    inner.unwrap_or(path)
}

/// Whether it is a key from CPython's own regression tests, which `make install` and pyenv install without a list of
/// files: `lib/python3.11/test/certdata/keycert.pem`.
pub(super) fn is_of_cpython(path: &str) -> bool {
    let after = path.split_once("/lib/python").and_then(|(_, rest)| rest.split_once('/'));
    after.is_some_and(|(version, rest)| version.len() <= 4 && rest.starts_with("test/") && rest.ends_with(".pem"))
}

/// Whether a store of that name contains trusted certificates.
pub(super) fn is_for_trust(path: &str) -> bool {
    let name = path.to_ascii_lowercase();
    let name = name.rsplit('/').next().unwrap_or_default();
    ["trust", "cacert", "ca-cert", "ca_cert", "cert"].iter().any(|word| name.contains(word)) || name.starts_with("ca.")
}

/// Words in names of documentation, tests and examples.
const SHOWN: [&str; 29] = [
    "doc",
    "docs",
    "documentation",
    "example",
    "examples",
    "sample",
    "samples",
    "test",
    "tests",
    "testing",
    "testdata",
    "spec",
    "specs",
    "fixture",
    "fixtures",
    "mock",
    "mocks",
    "demo",
    "demos",
    "tutorial",
    "tutorials",
    "changelog",
    "readme",
    "template",
    "templates",
    "dist",
    "md",
    "rst",
    "adoc",
];

/// Those that do not count as names of directories, because deployed directories may have these names.
const NOT_DIRECTORIES: [&str; 3] = ["dist", "template", "templates"];

/// Below /etc, where a unit or a job may have any name, only these suffixes mark an example.
const SHOWN_SETTINGS: [&str; 5] = [".example", ".sample", ".dist", ".template", ".md"];

/// Whether a file is documentation, a test or an example.
pub(super) fn is_shown(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    let name = parts.pop().unwrap_or_default().to_ascii_lowercase();
    if path.starts_with("/etc/") {
        return SHOWN_SETTINGS.iter().any(|end| name.ends_with(end));
    }
    // `bash_history` does not count.
    let by_name = name == "history.txt" || name.split(['.', '-', '_']).any(|word| SHOWN.contains(&word));
    let is_directory = |part: &str| {
        let part = part.trim_matches('_').to_ascii_lowercase();
        SHOWN.contains(&part.as_str()) && !NOT_DIRECTORIES.contains(&part.as_str())
    };
    by_name
        || parts.iter().skip(anybodys(path, &parts)).any(|part| is_directory(part))
        || path.contains("/share/man/")
        || path.contains("/locales/")
}

/// How many of the directories above a file may have arbitrary names: those just below / or /opt, and those within a
/// home, a site, or a volume of a container.
fn anybodys(path: &str, parts: &[&str]) -> usize {
    let of_volumes = ["/docker/volumes/", "/containers/storage/volumes/"].iter().any(|volumes| path.contains(volumes));
    match parts.iter().position(|part| *part == "volumes") {
        // `volumes/NAME/_data`.
        Some(at) if of_volumes => at + 3,
        _ if ["/home/", "/var/www/", "/srv/www/"].iter().any(|directory| path.starts_with(directory)) => 3,
        _ => 2,
    }
}

/// The extensions of configuration files.
const SETTINGS: [&str; 20] = [
    "cfg",
    "cnf",
    "conf",
    "config",
    "credentials",
    "env",
    "ini",
    "json",
    "php",
    "plist",
    "properties",
    "props",
    "sh",
    "sql",
    "tfstate",
    "tfvars",
    "toml",
    "xml",
    "yaml",
    "yml",
];

/// Whether rules that guess apply to a member of an archive: most archives contain published source code.
pub(super) fn is_packed_settings(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    // A backup of a home contains `.bash_history`, `.netrc` and the like.
    name.starts_with('.') || name.rsplit_once('.').is_some_and(|(_, end)| SETTINGS.contains(&end))
}

/// Whether rules that guess apply to a file.
pub(super) fn is_for_guesses(path: &Path, packages_are_known: bool) -> bool {
    let path = path.to_string_lossy();
    let path = in_its_root(&path);
    let below = |directory: &str| path.starts_with(directory);
    let of_the_system = SYSTEM.iter().any(|directory| below(directory)) && !below("/usr/local/");
    !RECORDS.iter().any(|directory| below(directory)) && (packages_are_known || !of_the_system) && !is_shown(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_alone_what_a_package_brought_until_somebody_writes_to_it() {
        assert!(is_as_a_package_brought_it(100, Some(200)));
        assert!(!is_as_a_package_brought_it(300, Some(200)));
        assert!(!is_as_a_package_brought_it(100, None));
    }

    #[test]
    fn guesses_only_where_people_put_things() {
        let guesses = |path: &str, known| is_for_guesses(Path::new(path), known);
        assert!(guesses("/etc/app/app.toml", false));
        assert!(guesses("/usr/local/bin/deploy", false));
        assert!(guesses("/usr/lib/app/config.py", true));
        assert!(!guesses("/usr/lib/app/config.py", false));
        assert!(!guesses("/var/lib/dpkg/status", true));
    }

    #[test]
    fn does_not_guess_about_documentation_tests_and_examples() {
        for shown in [
            "/opt/app/docs/setup.yaml",
            "/opt/app/lib/__tests__/login.js",
            "/srv/shop/config/database.yml.example",
            "/srv/shop/.env.sample",
            "/srv/shop/README.md",
            "/opt/aws/data/iam/examples-1.json",
            "/opt/app/src/login_test.go",
            "/usr/local/share/man/man5/x.5",
        ] {
            assert!(!is_for_guesses(Path::new(shown), true), "{shown}");
        }
        for shown in ["/etc/shop/config.yml.example", "/etc/nginx/README.md", "/home/ubuntu/shop/tests/.env", "/opt/app/x/HISTORY.txt"] {
            assert!(!is_for_guesses(Path::new(shown), true), "{shown}");
        }
        for heard in [
            "/opt/test/.env",
            "/srv/shop/config/contest.yml",
            "/root/.bash_history",
            "/opt/app/dist/server.js",
            "/srv/shop/.env",
            "/etc/systemd/system/demo.service",
            "/etc/systemd/system/shop.service.d/test.conf",
            "/etc/cron.d/test-backup",
            "/home/ubuntu/demo/.env",
            "/var/www/test/.env",
            "/srv/www/docs/.env",
            "/var/lib/docker/volumes/demo/_data/.env",
            "/home/ubuntu/.local/share/containers/storage/volumes/demo/_data/.env",
            "/root/.local/share/fish/fish_history",
        ] {
            assert!(is_for_guesses(Path::new(heard), true), "{heard}");
        }
    }

    #[test]
    fn the_layer_of_a_container_is_a_root_of_its_own() {
        assert_eq!(in_its_root("/var/lib/docker/overlay2/0a1b/diff/etc/shadow"), "/etc/shadow");
        assert_eq!(in_its_root("/var/lib/containers/storage/overlay/0a/diff/etc/shadow"), "/etc/shadow");
        let containerd = "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/7/fs/etc/shadow";
        assert_eq!(in_its_root(containerd), "/etc/shadow");
        assert_eq!(in_its_root("/var/lib/machines/web/etc/shadow"), "/etc/shadow");
        assert_eq!(in_its_root("/opt/overlay2/x"), "/opt/overlay2/x");
    }
}
