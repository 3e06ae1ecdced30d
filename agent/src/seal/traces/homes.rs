//! Whose homes are those of persons.
//!
//! What lies in the cache of a service was put there by the bake: browsers, models, packages. A service is whoever has the
//! number of a system account, or whom a unit, or a layer of ingot, runs something as; and a home that a unit names is as well
//! part of what was installed.
//!
//! Source: login.defs(5) (SYS_UID_MAX), systemd's users and groups (<https://systemd.io/UIDS-GIDS/>).

use std::path::{Path, PathBuf};

use super::found::TEXT_LIMIT;
use crate::host::HostError;
use crate::image::scrub::{Scrubber, Spot};

/// Where it is said who runs what.
const UNITS: [&str; 8] = [
    "/etc/systemd/system/*.service",
    "/etc/systemd/system/*.service.d/*.conf",
    "/usr/lib/systemd/system/*.service",
    "/usr/lib/systemd/system/*.service.d/*.conf",
    "/lib/systemd/system/*.service",
    "/usr/local/lib/systemd/system/*.service",
    "/etc/ingot/boot.d/*.yaml",
    "/etc/cron.d/*",
];

/// The numbers of persons: above those of the system, below those that systemd gives out.
const PERSONS: std::ops::Range<u32> = 1000..60_000;

/// Those of `homes` in which a person works, root among them.
pub(super) fn of_persons(homes: &[PathBuf], image: &Scrubber) -> Result<Vec<PathBuf>, HostError> {
    let passwd = image.read(&Spot::of(Path::new("/etc/passwd")), TEXT_LIMIT)?.unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let mut units = String::new();
    for pattern in UNITS {
        for unit in image.matching(pattern)? {
            units.push_str(&String::from_utf8_lossy(&image.read(&unit, TEXT_LIMIT)?.unwrap_or_default()));
            units.push('\n');
        }
    }
    Ok(homes.iter().filter(|home| is_of_a_person(home, &passwd, &units)).cloned().collect())
}

fn is_of_a_person(home: &Path, passwd: &str, units: &str) -> bool {
    let accounts = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut of_home = accounts.filter(|fields| fields.get(5).is_some_and(|other| Path::new(other) == home));
    let is_service = |fields: Vec<&str>| {
        let number = fields[2].parse().unwrap_or(0);
        number != 0 && (!PERSONS.contains(&number) || runs(fields[0], units))
    };
    let path = home.to_string_lossy();
    // Units of systemd's own name root's home itself.
    let named = if path == "/root" { units.contains("/root/.cache") } else { path.len() > 1 && names(&path, units) };
    !named && !of_home.any(is_service)
}

/// Whether a unit says `User=name`, or a layer `user: name`.
fn runs(name: &str, units: &str) -> bool {
    let users = units.lines().filter_map(|line| line.trim().strip_prefix("User=").or(line.trim().strip_prefix("user:")));
    users.map(|user| user.trim().trim_matches(['"', '\''])).any(|user| user == name)
}

/// Whether `path` stands in `units` as a whole path, or the beginning of one.
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

    fn is(home: &str, units: &str) -> bool {
        is_of_a_person(Path::new(home), PASSWD, units)
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
    fn a_unit_that_names_a_cache_keeps_it() {
        assert!(is("/root", "Environment=HOME=/root\nWorkingDirectory=-/root\n"));
        assert!(!is("/root", "Environment=BROWSERS=/root/.cache/ms-playwright\n"));
        assert!(!is("/home/ops", "  user: ops\n"), "an application of a layer");
    }
}
