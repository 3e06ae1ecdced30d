//! Decides which homes belong to persons.
//!
//! The content of a service's cache was installed by the bake: browsers, models, packages. An account
//! is a service if it has the number of a system account, or if a unit, a job, or a layer of ingot runs
//! something as it, by itself or with a command such as `runuser`, also in a script that it starts
//! (see [`switched`]). A home that a unit names is part of the installation as well. Root is a service if
//! a unit that was written for this image names no other user.
//!
//! Source: login.defs(5) (SYS_UID_MAX), systemd's users and groups (<https://systemd.io/UIDS-GIDS/>).

mod switched;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::found::TEXT_LIMIT;
use crate::host::HostError;
use crate::image::scrub::{Scrubber, Spot};

use switched::{scripts, switched_to};

/// Files that say which user runs what.
const UNITS: [&str; 17] = [
    "/etc/systemd/system/*.service",
    "/etc/systemd/system/*.service.d/*.conf",
    "/usr/lib/systemd/system/*.service",
    "/usr/lib/systemd/system/*.service.d/*.conf",
    "/lib/systemd/system/*.service",
    "/usr/local/lib/systemd/system/*.service",
    "/etc/ingot/boot.d/*.yaml",
    "/etc/containers/systemd/*.container",
    "/usr/share/containers/systemd/*.container",
    "/etc/supervisord.conf",
    "/etc/supervisor/supervisord.conf",
    "/etc/supervisor/conf.d/*",
    "/etc/supervisord.d/*",
    "/etc/crontab",
    "/etc/cron.d/*",
    "/etc/init.d/*",
    "/etc/rc.local",
];

/// Files that are named after a user: crontabs, and units of a user that runs them without a
/// login; also units that are enabled for an instance.
///
/// Source: crontab(1), loginctl(1) (enable-linger), systemd.unit(5).
const CALLED: [&str; 4] =
    ["/var/spool/cron/*", "/var/spool/cron/crontabs/*", "/var/lib/systemd/linger/*", "/etc/systemd/system/*.wants/*@?*"];

/// Directories of units that are not from a package.
const OWN: [&str; 2] = ["/etc/systemd/system/", "/usr/local/"];

/// Which users run something, according to the files.
#[derive(Debug, Default)]
struct Units {
    text: String,
    /// By name or number.
    users: BTreeSet<String>,
    /// Whether root runs a unit that was written for this image.
    by_root: bool,
}

impl Units {
    fn add(&mut self, path: &Path, text: &str) {
        let path = path.to_string_lossy();
        let is_of_cron = path.starts_with("/etc/cron");
        let users: Vec<&str> = text.lines().filter_map(|line| if is_of_cron { user_of_job(line) } else { user_of_unit(line) }).collect();
        let is_own = OWN.iter().any(|own| path.starts_with(own)) && path.ends_with(".service") && !path.contains("/ingot");
        let is_dynamic = text.lines().any(|line| line.trim().starts_with("DynamicUser"));
        let runs = text.lines().any(|line| line.trim().starts_with("ExecStart"));
        self.by_root |= is_own && runs && !is_dynamic && users.iter().all(|user| ["root", "0", ""].contains(user));
        self.users.extend(users.into_iter().map(str::to_owned));
        self.users.extend(switched_to(text));
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn add_called(&mut self, paths: impl Iterator<Item = PathBuf>) {
        for name in paths.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())) {
            self.by_root |= name == "root";
            self.text.push_str(&name);
            self.text.push('\n');
            self.users.insert(name);
        }
    }

    /// Whether the user with that name or number runs something, including `name@.service` with `User=%i`.
    fn run_as(&self, name: &str, number: &str) -> bool {
        self.users.contains(name) || self.users.contains(number) || self.text.contains(&format!("@{name}.service"))
    }
}

/// `User=name` of a unit or of supervisor, `user: name` of a layer; possibly with blanks or quotes.
fn user_of_unit(line: &str) -> Option<&str> {
    let (key, user) = line.split_once(['=', ':'])?;
    // `user:group`, as in Quadlet.
    let name = user.trim().trim_matches(['"', '\'']).split(':').next().unwrap_or_default();
    key.trim().eq_ignore_ascii_case("user").then_some(name)
}

/// The sixth field of crontab(5), or the second one after `@daily` and the like.
fn user_of_job(line: &str) -> Option<&str> {
    let line = line.trim();
    let before = if line.starts_with('@') { 1 } else { 5 };
    line.split_whitespace().nth(before).filter(|_| !line.starts_with('#'))
}

/// How much of a script that a unit starts is read, in bytes. Scripts that start services are shorter.
const SCRIPT_LIMIT: usize = 64 << 10;

/// The user numbers of persons: above those of the system, below those that systemd assigns.
const PERSONS: std::ops::Range<u32> = 1000..60_000;

/// Those of `homes` in which a person works, possibly including root's.
pub(super) fn of_persons(homes: &[PathBuf], image: &Scrubber) -> Result<Vec<PathBuf>, HostError> {
    let passwd = image.read(&Spot::of(Path::new("/etc/passwd")), TEXT_LIMIT)?.unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let mut units = Units::default();
    for pattern in UNITS {
        for unit in image.matching(pattern)? {
            let text = image.read(&unit, TEXT_LIMIT)?.unwrap_or_default();
            units.add(&unit.path(), &String::from_utf8_lossy(&text));
        }
    }
    for path in scripts(&units.text) {
        // What only looks like a path cannot be read, and says nothing.
        let head = image.head(&Spot::of(Path::new(&path)), SCRIPT_LIMIT).ok().flatten();
        let script = head.filter(|text| text.starts_with(b"#!"));
        units.users.extend(script.into_iter().flat_map(|text| switched_to(&String::from_utf8_lossy(&text))));
    }
    for pattern in CALLED {
        units.add_called(image.matching(pattern)?.iter().map(Spot::path));
    }
    // A home that is a link has to be a person's under both names.
    let target = |home: &Path| image.link(&Spot::of(home)).ok().flatten();
    let is =
        |home: &&PathBuf| is_of_a_person(home, &passwd, &units) && target(home).is_none_or(|home| is_of_a_person(&home, &passwd, &units));
    Ok(homes.iter().filter(is).cloned().collect())
}

fn is_of_a_person(home: &Path, passwd: &str, units: &Units) -> bool {
    let accounts = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut of_home = accounts.filter(|fields| fields.get(5).is_some_and(|other| Path::new(other) == home));
    let is_service = |fields: Vec<&str>| {
        let number = fields[2].parse().unwrap_or(0);
        number != 0 && (!PERSONS.contains(&number) || units.run_as(fields[0], fields[2]))
    };
    let path = home.to_string_lossy();
    let path = path.trim_end_matches('/');
    // systemd's own units name root's home itself.
    let named = match path == "/root" {
        true => units.by_root || units.text.contains("/root/.cache"),
        false => !path.is_empty() && names(path, &units.text),
    };
    !named && !of_home.any(is_service)
}

/// Whether `path` occurs in `units` as a whole path, or as the beginning of one.
fn names(path: &str, units: &str) -> bool {
    units
        .match_indices(path)
        .any(|(at, _)| !units[at + path.len()..].starts_with(|next: char| next.is_alphanumeric() || "-_.".contains(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/bash\nops:x:1000:1000::/home/ops:/bin/bash\napp:x:1001:1001::/home/app:/bin/sh\n\
                          www-data:x:33:33::/var/www:/bin/sh\nrunner:x:1002:1002::/srv/runner:/bin/sh\n";

    fn is(home: &str, unit: &str) -> bool {
        is_in("/usr/lib/systemd/system/x.service", home, unit)
    }

    fn is_in(path: &str, home: &str, unit: &str) -> bool {
        let mut units = Units::default();
        units.add(Path::new(path), unit);
        is_of_a_person(Path::new(home), PASSWD, &units)
    }

    #[test]
    fn who_runs_something_is_a_service_however_that_is_said() {
        for unit in ["User=1001\n", "User = app\n", "User=\"app\"\n", "user=app\n", "User=1001:1001\n"] {
            assert!(!is("/home/app", unit) && is("/home/ops", unit), "{unit}");
        }
        for job in ["*/5 * * * * app /srv/shop/run\n", "@daily app /srv/shop/run\n"] {
            assert!(!is_in("/etc/cron.d/shop", "/home/app", job), "{job}");
        }
        assert!(is_in("/etc/cron.d/shop", "/home/app", "# 5 * * * * app x\n17 * * * * root run as app\n"));
    }

    #[test]
    fn root_is_a_service_where_somebodys_unit_says_no_other() {
        for path in ["/etc/systemd/system/shop.service", "/usr/local/lib/systemd/system/shop.service"] {
            for unit in ["[Service]\nExecStart=/srv/shop/run\n", "[Service]\nUser=root\nExecStart=/srv/shop/run\n"] {
                assert!(!is_in(path, "/root", unit), "{path} {unit}");
            }
            for unit in ["[Service]\nUser=app\nExecStart=/srv/run\n", "[Service]\nDynamicUser=yes\nExecStart=/srv/run\n", "[Unit]\n"] {
                assert!(is_in(path, "/root", unit), "{path} {unit}");
            }
        }
        for path in ["/usr/lib/systemd/system/shop.service", "/etc/systemd/system/ingot.service"] {
            assert!(is_in(path, "/root", "[Service]\nExecStart=/srv/run\n"), "{path}");
        }
    }

    #[test]
    fn tells_persons_from_services() {
        let unit = "[Service]\nUser=app\nExecStart=/srv/runner/bin/run\n";
        for person in ["/root", "/home/ops", "/home/unknown"] {
            assert!(is(person, unit), "{person}");
        }
        for service in ["/home/app", "/var/www", "/srv/runner"] {
            assert!(!is(service, unit), "{service}");
        }
        assert!(is("/home/app", "") && is("/srv/runner", "ExecStart=/srv/runner2/x"));
    }

    #[test]
    fn who_has_jobs_or_units_of_their_own_is_a_service() {
        let called = |path: &str| {
            let mut units = Units::default();
            units.add_called([PathBuf::from(path)].into_iter());
            ["/root", "/home/app", "/home/ops"].map(|home| is_of_a_person(Path::new(home), PASSWD, &units))
        };
        for path in ["/var/spool/cron/crontabs/app", "/var/lib/systemd/linger/app", "/etc/systemd/system/x.wants/run@app.service"] {
            assert_eq!(called(path), [true, false, true], "{path}");
        }
        assert_eq!(called("/var/spool/cron/root"), [false, true, true]);
        assert_eq!(called("/var/spool/cron/crontabs"), [true, true, true]);
        assert!(!is("/home/app", "services:\n  run@app.service: {}\n"), "by a layer");
    }

    #[test]
    fn a_home_is_the_same_with_a_slash_at_its_end() {
        assert!(!is("/srv/jobs/", "ExecStart=/srv/jobs/bin/run\n") && is("/srv/jobs/", "ExecStart=/srv/jobs2/bin/run\n"));
    }

    #[test]
    fn a_unit_that_names_a_cache_keeps_it() {
        assert!(is("/root", "Environment=HOME=/root\nWorkingDirectory=-/root\n"));
        assert!(!is("/root", "Environment=BROWSERS=/root/.cache/ms-playwright\n"));
        assert!(!is("/home/ops", "  user: ops\n"), "an application of a layer");
    }
}
