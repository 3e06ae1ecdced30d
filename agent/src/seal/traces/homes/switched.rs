//! Accounts that a unit, a job or a script runs something as with a command, such as `runuser -u app -- run`, rather than
//! with `User=`.
//!
//! The options of these commands are not parsed: every word after such a command counts as the name of an account,
//! because only names of accounts are looked up, and a cache that stays is less harm than a browser that is gone.
//!
//! Source: runuser(1), su(1), sudo(8), setpriv(1), chroot(1), start-stop-daemon(8), systemd-run(1), chpst(8), doas(1),
//! and the manuals of gosu, su-exec, s6 and daemontools.

use std::collections::BTreeSet;

/// Commands that run another command as an account.
const COMMANDS: [&str; 18] = [
    "runuser",
    "su",
    "sudo",
    "setpriv",
    "doas",
    "gosu",
    "su-exec",
    "setuidgid",
    "s6-setuidgid",
    "s6-applyuidgid",
    "envuidgid",
    "chpst",
    "chroot",
    "start-stop-daemon",
    "daemonize",
    "systemd-run",
    "pkexec",
    "capsh",
];

/// Options before the number of an account. Any other number is more likely a time or a port.
const OPTIONS: [&str; 14] =
    ["-u", "-U", "-c", "-l", "--user", "--uid", "--reuid", "--ruid", "--euid", "--userspec", "--chuid", "--login", "User", "-"];

/// The names and numbers of accounts to which `text` may switch, among other words.
pub(super) fn switched_to(text: &str) -> BTreeSet<String> {
    logical_lines(text).iter().flat_map(|line| of_line(line)).collect()
}

/// Lines without comments, joined where one goes on, and where a list has one item per line.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        let item = line.strip_prefix("- ");
        match lines.last_mut().filter(|_| goes_on || item.is_some()) {
            Some(last) => *last = format!("{last} {}", item.unwrap_or(line)),
            None => lines.push(line.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    lines
}

fn of_line(line: &str) -> Vec<String> {
    let words = line.split(|character: char| character.is_whitespace() || "\"'`,;()[]{}|&\\".contains(character));
    let mut found = Vec::new();
    let (mut switches, mut before) = (false, "");
    for word in words.filter(|word| !word.is_empty()) {
        // `ExecStart=-/usr/bin/sudo`, with the prefixes of systemd.
        let command = word.rsplit(['/', '=', ':']).next().unwrap_or(word).trim_start_matches(['-', '@', '+', '!', ':']);
        if switches {
            found.extend(account(word, before));
        }
        switches |= COMMANDS.contains(&command);
        before = word;
    }
    found
}

/// The account that a word may name: `app`, `--reuid=app`, `-uapp`, `app:www-data`, `1001`, `#1001`.
fn account(word: &str, before: &str) -> Option<String> {
    let (option, value) = match word.rsplit_once('=') {
        Some((option, value)) => (option.rsplit('=').next().unwrap_or(option), value),
        // `-uapp`, of one letter.
        None if word.len() > 2 && word.starts_with('-') && !word.starts_with("--") && word.is_char_boundary(2) => word.split_at(2),
        None => (before, word),
    };
    let name = value.split(':').next().unwrap_or(value).trim_start_matches('#');
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let is_meant = !is_number || value.starts_with('#') || OPTIONS.contains(&option);
    (!name.is_empty() && is_meant).then(|| name.to_owned())
}

/// Where opening a file may do something, such as start a watchdog.
const DEVICES: [&str; 3] = ["/dev/", "/proc/", "/sys/"];

/// The paths that the lines of units and jobs name: some of them are scripts.
pub(super) fn scripts(text: &str) -> BTreeSet<String> {
    let words = text
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', ';']))
        .flat_map(|line| line.split(|character: char| character.is_whitespace() || "\"'`,;()[]{}|&=".contains(character)));
    let paths = words.map(|word| word.trim_start_matches(['-', '@', '+', '!', ':']));
    let is_path = |path: &&str| path.starts_with('/') && !path.contains(['*', '%', '$']) && !DEVICES.iter().any(|of| path.starts_with(of));
    paths.filter(is_path).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_however_a_command_is_told_of_it() {
        for line in [
            "ExecStart=/usr/sbin/runuser -u app -- /srv/shop/run",
            "ExecStart=-/sbin/runuser --user=app -- /srv/shop/run",
            "ExecStart=!/usr/sbin/runuser -l app -c '/srv/shop/run --fast'",
            "ExecStart=/bin/su - app -c '/srv/shop/run'",
            "ExecStart=/bin/su -c '/srv/shop/run --with many words --and=options' app",
            "ExecStartPre=+/usr/bin/sudo -E -H -n -u app /srv/shop/run",
            "ExecStart=/usr/bin/sudo -uapp /srv/shop/run",
            "ExecStart=/usr/bin/sudo -u '#1001' /srv/shop/run",
            "ExecStart=/usr/bin/setpriv --reuid=app --regid=app --init-groups /srv/shop/run",
            "ExecStart=/usr/bin/setpriv --reuid 1001 --clear-groups /srv/shop/run",
            "ExecStart=/bin/sh -c \"cd /srv && exec sudo -u app ./run\"",
            "ExecStart=/usr/bin/env HOME=/srv \\\n  /usr/sbin/runuser \\\n  -u app -- /srv/shop/run",
            "ExecStart=/usr/sbin/chroot --userspec=app:app / /srv/shop/run",
            "start-stop-daemon --start --chuid app:app --exec /srv/shop/run",
            "ExecStart=/usr/local/bin/gosu app:www-data /srv/shop/run",
            "ExecStart=/usr/bin/systemd-run --uid=app /srv/shop/run",
            "ExecStart=/usr/bin/systemd-run --property=User=app /srv/shop/run",
            "*/5 * * * * root su app -s /bin/sh -c /srv/shop/run",
            "commands:\n  x:\n    run: [sudo, -u, app, /srv/shop/run]",
            "    run:\n      - /usr/sbin/runuser\n      - -u\n      - app\n      - /srv/shop/run",
        ] {
            let found = switched_to(line);
            assert!(found.contains("app") || found.contains("1001"), "{line}: {found:?}");
        }
    }

    #[test]
    fn other_words_are_no_accounts() {
        for line in [
            "ExecStart=/srv/shop/run app",
            "Description=Runs app with sudoers and su.rs",
            "# sudo -u app /srv/shop/run",
            "ExecStart=/usr/bin/sudo sleep 1001",
            "ExecStart=/usr/bin/sudo -u web /srv/shop/run --port 1001\nEnvironment=NAME=app",
            "ExecStart=/usr/bin/sudo /srv/app/run",
        ] {
            let found = switched_to(line);
            assert!(!found.contains("app") && !found.contains("1001"), "{line}: {found:?}");
        }
    }

    #[test]
    fn scripts_are_found_by_their_paths() {
        let unit = "ExecStart=-/srv/shop/start.sh --at /run/x\n# ExecStop=/srv/no\nExecReload=/bin/kill $MAINPID /run/%i /dev/watchdog\n";
        assert_eq!(scripts(unit).into_iter().collect::<Vec<_>>(), ["/bin/kill", "/run/x", "/srv/shop/start.sh"]);
    }
}
