//! What `ingot seal --scrub` would remove and what it keeps, and what is searched in addition to plain files.

use super::Image;

#[test]
fn a_host_key_is_one_finding() {
    let image = Image::new();
    // The beginning of an Ed25519 key, in DER and base64, followed by zeros.
    let key = format!("MC4CAQAwBQYDK2VwBCIEI{}", "A".repeat(43));
    for path in ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/other"] {
        image.write(path, &format!("-----BEGIN {0}-----\n{key}\n-----END {0}-----\n", "PRIVATE KEY"));
    }
    let ran = image.seal(&[]).exits(1);
    assert!(ran.stdout.contains("/etc/ssh/ssh_host_ed25519_key: ssh-host-key: "), "{ran}");
    assert!(ran.stdout.contains("/etc/ssh/other:1: private-key: ") && ran.stdout.ends_with("not sealed: 2 findings\n"), "{ran}");
}

/// The state of Tailscale is an ID of the builder, and a file that is secret by its path.
#[test]
fn an_id_that_is_a_secret_is_one_finding() {
    let image = Image::new();
    image.write("/var/lib/tailscale/tailscaled.state", "{\"_machinekey\": \"cHJpdmtleTo5\"}\n");
    let ran = image.seal(&[]).exits(1);
    assert!(ran.stdout.contains("/var/lib/tailscale/tailscaled.state: builder-id: "), "{ran}");
    assert!(ran.stdout.ends_with("not sealed: 1 finding\n"), "{ran}");
}

#[test]
fn a_dry_run_lists_what_would_be_removed_and_touches_nothing() {
    let image = Image::fresh_from_its_builder();
    let before = image.files();
    let dry = image.seal(&["--scrub", "--dry-run"]).exits(1);
    assert_eq!(image.files(), before);
    for path in ["/etc/ssh/ssh_host_ed25519_key", "/tmp/script_1234.sh", "/var/log/dpkg.log.1", "/swapfile", "/home/ops/.cache"] {
        assert!(dry.stdout.contains(&format!("would remove {path}: ")), "{path}: {dry}");
    }
    assert!(dry.stdout.contains("authorized_keys:3: authorized-keys: ") && dry.stdout.ends_with("not sealed: 1 finding\n"), "{dry}");

    let removed = image.seal(&["--scrub"]).exits(1).stdout;
    let names = |text: &str, word: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(word)?.split_once(": ").map(|(path, _)| path.to_owned()));
        lines.collect::<std::collections::BTreeSet<_>>()
    };
    let missing: Vec<String> = names(&removed, "removed ").difference(&names(&dry.stdout, "would remove ")).cloned().collect();
    assert_eq!(missing, ["/tmp", "/var/lib/apt/lists", "/var/log"], "of directories each entry is named");
    image.seal(&["--dry-run"]).exits(2);
}

/// A secret that would be removed with its file is not a separate finding; the others would be.
#[test]
fn a_dry_run_says_what_would_still_be_found() {
    let image = Image::new();
    image.write("/tmp/.env", "DB_PASSWORD=x7Kq93LmZp\n");
    let ran = image.seal(&["--scrub", "--dry-run"]).exits(0);
    assert!(ran.stdout.ends_with("would be sealed: nothing else was found\n"), "{ran}");
    assert!(!image.at("/etc/ingot/attestation.json").exists());
    image.write("/opt/.env", "DB_PASSWORD=x7Kq93LmZp\n");
    assert!(image.seal(&["--scrub", "--dry-run"]).exits(1).stdout.contains("/opt/.env:1: environment-secret: "));
}

/// From fstab one line is removed, and all other lines stay.
#[test]
fn a_file_that_would_lose_a_line_is_searched() {
    let image = Image::new();
    image.write("/swapfile", "DB_PASSWORD=x7Kq93LmZp\n");
    let fstab = "/swapfile none swap sw 0 0\n//nas.internal/shop /srv cifs username=shop,password=x7Kq93LmZp 0 0\n";
    image.write("/etc/fstab", fstab);
    let ran = image.seal(&["--scrub", "--dry-run"]).exits(1);
    assert!(ran.stdout.contains("would remove /swapfile: swap: "), "{ran}");
    assert!(ran.stdout.contains("/etc/fstab:2: password: ") && ran.stdout.ends_with("not sealed: 1 finding\n"), "{ran}");
}

/// Regression: a browser was removed that the bake had installed.
#[test]
fn the_cache_of_a_service_stays() {
    let image = Image::new();
    let mut accounts = "root:x:0:0::/root:/bin/sh\n".to_owned();
    let names = ["ops", "crawler", "cron", "linger", "instance", "linked", "runuser", "sudo", "su", "setpriv", "script"];
    for (number, name) in (1000..).zip(names) {
        accounts.push_str(&format!("{name}:x:{number}:{number}::/home/{name}:/bin/sh\n"));
        let home = if name == "linked" { "/srv/linked".to_owned() } else { format!("/home/{name}") };
        image.write(&format!("{home}/.cache/ms-playwright/chrome"), "x");
    }
    image.write("/root/.cache/ms-playwright/chrome", "x");
    image.write("/etc/passwd", &accounts);
    image.write("/etc/systemd/system/crawler.service", "[Service]\nUser=crawler\nExecStart=/srv/linked/run\n");
    image.write("/etc/systemd/system/run@.service", "[Service]\nUser=%i\nExecStart=/x\n");
    image.link("/etc/systemd/system/run@.service", "/etc/systemd/system/multi-user.target.wants/run@instance.service");
    // Regression: of accounts that a unit names only in a command, the caches were removed.
    for (name, command) in [
        ("runuser", "/usr/sbin/runuser -u runuser -- /srv/run"),
        ("sudo", "/usr/bin/sudo -E -u sudo /srv/run"),
        ("su", "-/bin/su - su -c '/srv/run --all'"),
        ("setpriv", "/usr/bin/setpriv --reuid=setpriv --clear-groups \\\n  /srv/run"),
        ("script", "/srv/start.sh"),
    ] {
        image.write(&format!("/etc/systemd/system/by-{name}.service"), &format!("[Service]\nUser=daemon\nExecStart={command}\n"));
    }
    image.write("/srv/start.sh", "#!/bin/sh\n# ops may run this with sudo\nexec runuser -u script -- /srv/run\n");
    image.write("/var/spool/cron/crontabs/cron", "* * * * * /x\n");
    image.write("/var/lib/systemd/linger/linger", "");
    image.link("/srv/linked", "/home/linked");
    image.seal(&["--scrub"]).exits(0);
    let at_home = names[1..].iter().filter(|name| **name != "linked");
    let kept = at_home.map(|name| format!("/home/{name}")).chain(["/srv/linked".to_owned()]);
    for home in kept {
        assert!(image.at(&format!("{home}/.cache/ms-playwright/chrome")).exists(), "{home}");
    }
    assert!(!image.at("/root/.cache").exists() && !image.at("/home/ops/.cache").exists());
}

#[test]
fn archives_and_the_history_of_git_are_searched_or_named() {
    let image = Image::new();
    let token = format!("{}_{}", "ghp", "x7Kq93LmZpAb4Tw8Rv2Nc6Yd1Hf5Js0Gu3Ek");
    let tree = image.at("/opt/app");
    std::fs::create_dir_all(&tree).unwrap();
    let shell = |script: &str| {
        let done = std::process::Command::new("sh").arg("-euc").arg(script).current_dir(&tree).output().unwrap();
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    };
    shell(&format!(
        "mkdir s && echo {token} > s/token && tar -czf s.tar.gz s && tar -cJf other.tar.xz s && gzip -c s/token > t.gz && rm -r s"
    ));
    shell("git init -q . && git config user.name a && git config user.email a@b && seq 900 > a && git add a && git commit -qm x");
    shell(&format!("echo {token} >> a && git commit -qam y && seq 901 > a && git commit -qam z && git gc -q --aggressive"));
    let ran = image.seal(&[]).exits(1);
    for finding in [
        "/opt/app/s.tar.gz: github-pat: a GitHub Personal Access Token, in line 1 of s/token\n",
        "/opt/app/t.gz: github-pat: a GitHub Personal Access Token, in line 1 of t\n",
        ".pack: github-pat: a GitHub Personal Access Token, in the git history\n",
        "note: /opt/app/other.tar.xz was not searched for secrets: it is an xz file\n",
    ] {
        assert!(ran.stdout.contains(finding), "{finding}: {ran}");
    }
}
