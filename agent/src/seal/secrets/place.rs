//! Which files are read, and how closely.
//!
//! - A file in the system's directories that a package brought, and that has not been written since, is not read: what is
//!   in it was published with the package. Whether it was written is told by its time of change, which a package sets to
//!   that of its making; comparing checksums would be to read it all.
//! - What Python compiled from such a file holds nothing that the file does not hold: it is not read either.
//! - ingot itself is not read: the rules are in it, and find themselves. Which binary it is is asked elsewhere.
//! - Anything else is read, configuration files of packages included.
//! - Rules that guess are not heard about documentation, tests and examples: what looks like a secret there shows how one
//!   looks.
//! - Where no package manager can say what it brought, the system's directories are read, and rules that guess are not
//!   heard there.

use std::path::Path;

use crate::image::contents::SYSTEM;

/// What programs keep of their own, full of words and hashes, and nobody's configuration.
const RECORDS: [&str; 5] = ["/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/rpm/", "/var/cache/", "/etc/ssl/certs/"];

/// Whether a file that was last changed at `modified` is what a package brought at `installed`.
pub(super) fn is_as_a_package_brought_it(modified: i64, installed: Option<i64>) -> bool {
    installed.is_some_and(|installed| modified <= installed)
}

/// Below an image, where another root lies: a layer of a container, or what a container or a chroot has for its root. Each is
/// named by what stands before its name and after it.
const ROOTS: [(&str, &str); 6] = [
    ("/overlay2/", "/diff/"),
    ("/overlay/", "/diff/"),
    ("/snapshots/", "/fs/"),
    ("/vfs/dir/", "/"),
    ("/var/lib/machines/", "/"),
    ("/var/lib/lxc/", "/rootfs/"),
];

/// A path, as the innermost root that it is in names it.
pub(super) fn in_its_root(path: &str) -> &str {
    let inner = ROOTS.iter().find_map(|(before, after)| {
        let name = path.find(before)? + before.len();
        let end = name + path[name..].find('/')?;
        path[end..].starts_with(after).then(|| &path[end + after.len() - 1..])
    });
    inner.unwrap_or(path)
}

/// Whether it is a key of CPython's own regression tests, as `make install` and pyenv leave them, without a list of what they
/// installed: `lib/python3.11/test/certdata/keycert.pem`.
pub(super) fn is_of_cpython(path: &str) -> bool {
    let after = path.split_once("/lib/python").and_then(|(_, rest)| rest.split_once('/'));
    after.is_some_and(|(version, rest)| version.len() <= 4 && rest.starts_with("test/") && rest.ends_with(".pem"))
}

/// Whether a store of that name holds whom to trust.
pub(super) fn is_for_trust(path: &str) -> bool {
    let name = path.to_ascii_lowercase();
    let name = name.rsplit('/').next().unwrap_or_default();
    ["trust", "cacert", "ca-cert", "ca_cert", "cert"].iter().any(|word| name.contains(word)) || name.starts_with("ca.")
}

/// Words of names of what shows or tries something.
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

/// Those that are no such directory: what is deployed may be called so.
const NOT_DIRECTORIES: [&str; 3] = ["dist", "template", "templates"];

/// Below /etc, where a unit or a job may be called anything, only these ends of names say that something is shown.
const SHOWN_SETTINGS: [&str; 5] = [".example", ".sample", ".dist", ".template", ".md"];

/// Whether a file is documentation, or a test or an example.
pub(super) fn is_shown(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    let name = parts.pop().unwrap_or_default().to_ascii_lowercase();
    if path.starts_with("/etc/") {
        return SHOWN_SETTINGS.iter().any(|end| name.ends_with(end));
    }
    // `bash_history` is none.
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

/// How many of the directories above a file may be called anything: those just below / or /opt, and what somebody has in a home,
/// a site, or a volume of a container.
fn anybodys(path: &str, parts: &[&str]) -> usize {
    let of_volumes = ["/docker/volumes/", "/containers/storage/volumes/"].iter().any(|volumes| path.contains(volumes));
    match parts.iter().position(|part| *part == "volumes") {
        // `volumes/NAME/_data`.
        Some(at) if of_volumes => at + 3,
        _ if ["/home/", "/var/www/", "/srv/www/"].iter().any(|directory| path.starts_with(directory)) => 3,
        _ => 2,
    }
}

/// The ends of names of settings.
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

/// Whether rules that guess are heard in a member of an archive: most of what is packed is source that others published.
pub(super) fn is_packed_settings(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    // A backup of a home has `.bash_history`, `.netrc` and their like.
    name.starts_with('.') || name.rsplit_once('.').is_some_and(|(_, end)| SETTINGS.contains(&end))
}

/// Whether rules that guess are heard in a file.
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
