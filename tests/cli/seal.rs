//! `ingot seal` on trees that look like images: what it finds, what it removes, and what it leaves alone.
#![expect(clippy::disallowed_methods, reason = "a test stands outside of ingot, and looks at the real machine")]

mod program;
#[path = "seal/rehearsed.rs"]
mod rehearsed;
#[path = "seal/units.rs"]
mod units;

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use program::{Ingot, Ran, write};
use proptest::prelude::*;

/// A directory that looks like the root of a flawless image.
struct Image(tempfile::TempDir);

/// The first bytes of a program for x86_64.
const PROGRAM: [u8; 20] = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 62, 0];

const LAYER: &str = "version: 1\nservices:\n  shop.service: {}\n";

impl Image {
    fn new() -> Self {
        let image = Self(tempfile::tempdir().unwrap());
        image.write("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n");
        image.write("/etc/machine-id", "");
        image.write("/boot/vmlinuz-6.1.0-42-amd64", "");
        image.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nops:x:1000:1000::/home/ops:/bin/sh\n");
        image.write("/etc/ingot/boot.d/10-shop.yaml", LAYER);
        for unit in ["ingot.service", "shop.service"] {
            image.write(&format!("/usr/lib/systemd/system/{unit}"), "[Service]\nExecStart=/x\n[Install]\nWantedBy=multi-user.target\n");
        }
        image.link("/usr/lib/systemd/system/ingot.service", "/etc/systemd/system/multi-user.target.wants/ingot.service");
        for program in ["/usr/bin/ingot", "/usr/lib/systemd/systemd"] {
            image.program(program, &PROGRAM);
        }
        image
    }

    /// An image that still contains everything of the machine it was made on.
    fn fresh_from_its_builder() -> Self {
        let image = Self::new();
        image.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        image.write("/etc/hostname", "ip-10-0-0-7\n");
        image.write("/etc/ssh/ssh_host_ed25519_key", "x");
        image.write("/etc/ssh/ssh_host_ed25519_key.pub", "x");
        image.write("/etc/ssh/sshd_config", "kept");
        image.write("/etc/fstab", "UUID=1 / ext4 defaults 0 1\n/swapfile none swap sw 0 0\n");
        image.write("/swapfile", "x");
        image.write("/home/ops/.bash_history", "make me a sandwich\n");
        image.write("/home/ops/.cache/pip/x", "x");
        image.write("/home/ops/.ssh/authorized_keys", "# ours\nssh-rsa AAAA packer_65f0\nssh-ed25519 BBBB ops\n");
        image.write("/root/.ssh/authorized_keys", "ssh-rsa AAAA packer_65f0\n");
        image.write("/var/lib/cloud/instances/i-0abc/user-data.txt", "x");
        image.link("/var/lib/cloud/instances/i-0abc", "/var/lib/cloud/instance");
        image.write("/var/lib/ingot/instances/i-0abc/record.json", "{}");
        image.write("/var/lib/systemd/random-seed", "x");
        image.write("/var/lib/apt/lists/deb.debian.org_InRelease", "x");
        image.write("/var/lib/apt/lists/lock", "");
        image.write("/var/log/dpkg.log", "x");
        image.write("/var/log/dpkg.log.1", "x");
        image.write("/var/log/journal/0123456789abcdef0123456789abcdef/system.journal", "x");
        image.write("/tmp/script_1234.sh", "x");
        image.write("/tmp/systemd-private-1/kept", "x");
        image
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, content: &str) {
        write(&self.at(path), content);
    }

    fn program(&self, path: &str, content: &[u8]) {
        self.write(path, "");
        std::fs::write(self.at(path), content).unwrap();
        std::fs::set_permissions(self.at(path), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        std::fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        symlink(target, self.at(path)).unwrap();
    }

    fn seal(&self, arguments: &[&str]) -> Ran {
        Ingot::new(["seal", "--root"]).args([self.0.path()]).args(arguments).env("INGOT_BUILD_NAME", "golden-7").run()
    }

    /// The output, without what differs from run to run.
    fn says(&self, arguments: &[&str]) -> String {
        without_times(&self.seal(arguments).to_string())
    }

    fn files(&self) -> BTreeMap<String, String> {
        everything(self.0.path())
    }
}

/// Files, links and directories below a directory, each with its mode and content.
fn everything(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let content = match metadata.file_type() {
                kind if kind.is_dir() => "directory".to_owned(),
                kind if kind.is_symlink() => format!("-> {}", std::fs::read_link(&path).unwrap().display()),
                _ => String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned(),
            };
            let mode = metadata.permissions().mode() & 0o7777;
            found.insert(format!("/{}", path.strip_prefix(directory).unwrap().display()), format!("{mode:o} {content}"));
            if metadata.is_dir() {
                left.push(path);
            }
        }
    }
    found
}

fn without_times(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = match (line.split_once(" files, "), line.split_once(", nothing found")) {
            (Some(_), Some((_, rest))) => format!("sealed: [files] read in [time], nothing found{rest}"),
            _ if line.contains("free space") => "note: [free space]".to_owned(),
            _ => line.to_owned(),
        };
        lines.push(line);
    }
    lines.join("\n") + "\n"
}

#[test]
fn an_image_in_which_nothing_is_wrong_is_sealed() {
    let image = Image::new();
    insta::assert_snapshot!(image.says(&[]), @r"
    sealed: [files] read in [time], nothing found; attestation /etc/ingot/attestation.json
    --- exit code 0 ---
    ");
    let attestation: serde_json::Value = serde_json::from_slice(&std::fs::read(image.at("/etc/ingot/attestation.json")).unwrap()).unwrap();
    assert_eq!(attestation["build"], serde_json::json!({ "name": "golden-7" }));
    assert_eq!(attestation["os"]["version_id"], "12");
    assert_eq!((&attestation["architecture"], &attestation["kernels"]), (&"x86_64".into(), &serde_json::json!(["6.1.0-42-amd64"])));
    let digests: Vec<&String> = attestation["sha256"].as_object().unwrap().keys().collect();
    assert_eq!(digests, ["/etc/ingot/boot.d/10-shop.yaml", "/usr/bin/ingot", "/usr/lib/systemd/system/shop.service"]);
    let mode = std::fs::metadata(image.at("/etc/ingot/attestation.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn everything_of_the_builder_is_found() {
    let image = Image::fresh_from_its_builder();
    let before = image.files();
    insta::assert_snapshot!("traces", image.says(&[]));
    assert_eq!(image.files(), before, "without --scrub nothing is touched");
}

#[test]
fn everything_of_the_builder_is_taken_out_but_for_what_is_for_a_person() {
    let image = Image::fresh_from_its_builder();
    insta::assert_snapshot!("scrubbed", image.says(&["--scrub"]));
    let ran = image.seal(&["--scrub"]).exits(1);
    assert!(!ran.stdout.contains("removed"), "a second time there is nothing to remove: {ran}");
    assert_eq!(std::fs::read_to_string(image.at("/etc/fstab")).unwrap(), "UUID=1 / ext4 defaults 0 1\n");
    assert_eq!(std::fs::read_to_string(image.at("/home/ops/.ssh/authorized_keys")).unwrap(), "# ours\nssh-ed25519 BBBB ops\n");

    image.write("/etc/ingot/seal.yaml", "allow:\n  - { path: /home/*/.ssh/authorized_keys, rule: authorized-keys, reason: break glass }\n");
    let json = image.seal(&["--scrub", "--json"]).exits(0).json();
    assert_eq!(json["sealed"], true);
    assert_eq!(json["attestation"]["allowed"][0]["reason"], "break glass");
}

/// An image with a finding must not keep an attestation from when it had none.
#[test]
fn an_attestation_goes_once_something_is_wrong() {
    let image = Image::new();
    image.seal(&[]).exits(0);
    image.write("/etc/ssh/ssh_host_rsa_key", "x");
    image.seal(&[]).exits(1);
    assert!(!image.at("/etc/ingot/attestation.json").exists());
}

#[test]
fn links_lead_nowhere_outside() {
    let image = Image::fresh_from_its_builder();
    let outside = tempfile::tempdir().unwrap();
    for name in ["log/x.log", "cloud/instances/x", "home/.bash_history", "home/.cache/x", "home/.ssh/authorized_keys", "tmp/x"] {
        write(&outside.path().join(name), "ssh-rsa AAAA packer\n");
    }
    let before = everything(outside.path());
    for (name, at) in [("log", "/var/log/linked"), ("tmp", "/var/tmp"), ("home", "/home/linked"), ("home/.cache", "/root/.cache")] {
        symlink(outside.path().join(name), image.at(at)).unwrap();
    }
    std::fs::remove_dir_all(image.at("/var/lib/cloud")).unwrap();
    symlink(outside.path().join("cloud"), image.at("/var/lib/cloud")).unwrap();
    image.write("/etc/fstab", &format!("{}/tmp/x none swap sw 0 0\n", outside.path().display()));
    image.seal(&["--scrub"]);
    assert_eq!(everything(outside.path()), before);
}

#[test]
fn a_setup_that_would_not_boot_is_not_sealed() {
    let image = Image::new();
    std::fs::remove_file(image.at("/etc/systemd/system/multi-user.target.wants/ingot.service")).unwrap();
    image.program("/usr/bin/ingot", &[&PROGRAM[..18], &[183, 0]].concat());
    image.link("/usr/lib/systemd/system/shop.service", "/etc/systemd/system/multi-user.target.wants/shop.service");
    image.link("/dev/null", "/etc/systemd/system/masked.service");
    image.write("/etc/systemd/system/late.service.d/order.conf", "[Unit]\n# x\nAfter=network.target ingot.target\n");
    image.write("/usr/lib/systemd/system/late.service", "[Service]\nExecStart=/x\n");
    image.write("/etc/ingot/templates/forgotten.hbs", "");
    image.write(
        "/etc/ingot/boot.d/20-more.yaml",
        concat!(
            "version: 1\nvalues: { domain: x }\n",
            "services:\n  masked.service: {}\n  late.service: {}\n  absent.service: {}\n  written.service: { restart_on: [files./etc/x] }\n",
            "mounts:\n  /srv: { device: /dev/sdf }\n",
            "commands:\n  migrate: { run: [/opt/absent/migrate] }\n  mounted: { run: [/srv/bin/x] }\n",
            "files:\n  /etc/systemd/system/written.service: { content: x }\n",
            "  /etc/x: { content: '{{values.later}} {{values.domian}} {{secrets.db.password}}' }\n  /etc/y: { template: absent.hbs }\n",
        ),
    );
    insta::assert_snapshot!("setup", image.says(&[]));
}

#[test]
fn without_systemd_nothing_is_said_of_units() {
    let image = Image::new();
    std::fs::remove_file(image.at("/usr/lib/systemd/systemd")).unwrap();
    let ran = image.seal(&[]).exits(1);
    assert!(ran.stdout.contains(": no-systemd: ") && !ran.stdout.contains("unit-"), "{ran}");
}

/// On Debian, sshd.service is an alias of ssh.service.
#[test]
fn a_unit_is_enabled_by_any_of_its_names() {
    for (enabled, asked) in [("shop.service", "alias.service"), ("alias.service", "shop.service")] {
        let image = Image::new();
        image.write("/etc/ingot/boot.d/10-shop.yaml", &LAYER.replace("shop.service", asked));
        image.link("/usr/lib/systemd/system/shop.service", "/etc/systemd/system/alias.service");
        image.seal(&[]).exits(0);
        image.link("/usr/lib/systemd/system/shop.service", &format!("/etc/systemd/system/multi-user.target.wants/{enabled}"));
        let ran = image.seal(&[]).exits(1);
        assert!(ran.stdout.contains(": unit-enabled: "), "{ran}");
    }
}

/// With `uninitialized`, systemd enables whatever no preset disables.
#[test]
fn a_first_boot_that_would_enable_what_ingot_starts_is_found() {
    let image = Image::new();
    image.write("/etc/machine-id", "uninitialized\n");
    let ran = image.seal(&[]).exits(1);
    assert!(ran.stdout.contains("/usr/lib/systemd/system/shop.service: unit-enabled: no preset disables shop.service"), "{ran}");
    image.seal(&["--scrub"]).exits(0);
    assert_eq!(std::fs::read_to_string(image.at("/etc/machine-id")).unwrap(), "");

    image.write("/usr/lib/systemd/system-preset/99-default-disable.preset", "disable *\n");
    image.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    image.seal(&["--scrub"]).exits(0);
    assert_eq!(std::fs::read_to_string(image.at("/etc/machine-id")).unwrap(), "uninitialized\n");
}

#[test]
fn an_allow_list_has_reasons() {
    let image = Image::new();
    image.write("/etc/ingot/seal.yaml", "allow:\n  - path: etc/x\n    rule: private-key\n");
    let ran = image.seal(&[]).exits(78);
    assert!(ran.stderr.contains("/etc/ingot/seal.yaml:2:5: ") && ran.stderr.contains("reason"), "{ran}");
    image.write("/etc/ingot/seal.yaml", "allow:\n  - { path: /nowhere, rule: private-key, reason: none }\n");
    let ran = image.seal(&[]).exits(0);
    assert!(ran.stdout.contains("note: /etc/ingot/seal.yaml: no private-key finding at /nowhere"), "{ran}");
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let ran = Ingot::new(["seal", "--root", "/nowhere"]).run().exits(1);
    assert!(ran.stderr.contains("/nowhere"), "{ran}");
}

/// Otherwise nobody could log in to a boot of such an image.
#[test]
fn new_host_keys_have_to_come_from_somewhere() {
    let image = Image::new();
    image.program("/usr/sbin/sshd", &PROGRAM);
    let says = "note: nothing in the image creates new host keys";
    assert!(image.seal(&[]).exits(0).stdout.contains(says));
    image.write("/usr/lib/systemd/system/sshd-keygen@.service", "[Service]\n");
    assert!(!image.seal(&[]).exits(0).stdout.contains(says));
}

#[test]
fn status_says_of_what_image_a_machine_is_and_what_has_changed() {
    let image = Image::new();
    image.seal(&[]).exits(0);
    let status = |arguments: &[&str]| Ingot::new(["status", "--root"]).args([image.0.path()]).args(arguments).run().exits(4);
    let text = status(&[]).stdout;
    assert!(text.starts_with("never ran\nimage: sealed 20") && text.ends_with(", debian 12, build golden-7\n"), "{text}");
    image.write("/etc/ingot/boot.d/10-shop.yaml", "version: 1\n");
    assert!(status(&[]).stdout.ends_with("warning: /etc/ingot/boot.d/10-shop.yaml has changed since it was sealed\n"));
    assert_eq!(status(&["--json"]).json()["image"]["changed"], serde_json::json!(["/etc/ingot/boot.d/10-shop.yaml"]));
}

/// Paths, some of which are traces, some nearly, and some not at all.
fn paths() -> impl Strategy<Value = Vec<String>> {
    let directory = prop::sample::select(vec![
        "/",
        "/etc",
        "/etc/ssh",
        "/home/ops",
        "/home/ops/.ssh",
        "/root",
        "/root/.cache",
        "/srv",
        "/tmp",
        "/tmp/systemd-private-x",
        "/var/cache/apt/archives",
        "/var/lib/cloud",
        "/var/lib/cloud/scripts",
        "/var/lib/dhcp",
        "/var/lib/systemd",
        "/var/log",
        "/var/log/nginx",
        "/var/mail",
        "/var/tmp/x",
        "/opt/app",
    ]);
    let name = prop::sample::select(vec![
        "ssh_host_rsa_key",
        "sshd_config",
        ".bash_history",
        "history",
        "authorized_keys",
        "instance",
        "x.lease",
        "random-seed",
        "x.log",
        "x.log.1",
        "x.deb",
        "lock",
        "known_hosts",
        "swapfile",
        "hostname",
        "x",
    ]);
    prop::collection::vec((directory, name).prop_map(|(directory, name)| format!("{}/{name}", directory.trim_end_matches('/'))), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Scrubbing twice is the same as scrubbing once; exactly what was reported is removed or changed.
    #[test]
    fn only_what_is_told_goes_and_it_goes_at_once(paths in paths()) {
        let image = Image::new();
        for path in paths.iter().filter(|path| !image.at(path).is_dir()) {
            image.write(path, "content\n");
        }
        let before = image.files();
        let rehearsed = image.seal(&["--scrub", "--dry-run", "--json"]).json();
        prop_assert_eq!(&image.files(), &before, "a dry run touches nothing");
        let listed: Vec<&str> = rehearsed["would_remove"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
        let told = image.seal(&["--scrub", "--json"]).json();
        prop_assert_eq!(&rehearsed["findings"], &told["findings"]);
        let once = image.files();
        let removed: Vec<&str> = told["removed"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
        for (path, was) in &before {
            let is_told = removed.iter().any(|at| Path::new(path).starts_with(at));
            prop_assert!(once.get(path) == Some(was) || is_told, "{} changed, and only {:?} was told", path, removed);
            let is_listed = listed.iter().any(|at| Path::new(path).starts_with(at));
            prop_assert!(once.get(path) == Some(was) || is_listed, "{} changed, and only {:?} was listed", path, listed);
        }
        for path in listed {
            prop_assert!(once.get(path) != before.get(path), "{} was listed, and is as it was", path);
        }
        for path in once.keys().filter(|path| !before.contains_key(*path)) {
            prop_assert_eq!(path, "/etc/ingot/attestation.json");
        }
        let again = image.seal(&["--scrub", "--json"]).json();
        prop_assert_eq!(&again["removed"], &serde_json::json!([]));
        let twice = image.files();
        let without_attestation = |files: &BTreeMap<String, String>| {
            files.iter().filter(|(path, _)| !path.ends_with("attestation.json")).map(|(path, was)| format!("{path} {was}")).collect::<Vec<_>>()
        };
        prop_assert_eq!(without_attestation(&once), without_attestation(&twice));
    }
}
