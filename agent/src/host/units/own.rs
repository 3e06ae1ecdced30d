//! Which unit a process is in.

/// The innermost service of a process, from its /proc/PID/cgroup: the line `0::/path` (version 2) or else
/// `1:name=systemd:/path` (version 1).
pub(crate) fn unit_of(cgroup: &str) -> Option<String> {
    let path = |controllers: &str| {
        cgroup.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            (fields.next()? == controllers).then(|| fields.next()).flatten()
        })
    };
    let service = |path: &str| path.rsplit('/').find(|part| part.ends_with(".service")).map(str::to_owned);
    // A hybrid machine has both lines, and the version 2 path says nothing there.
    path("name=systemd").and_then(service).or_else(|| path("").and_then(service))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_own_unit() {
        let own = |cgroup: &str| unit_of(cgroup);
        assert_eq!(own("0::/system.slice/ingot.service\n").as_deref(), Some("ingot.service"));
        let hybrid = "12:cpu,cpuacct:/\n1:name=systemd:/system.slice/cloud-final.service\n0::/\n";
        assert_eq!(own(hybrid).as_deref(), Some("cloud-final.service"));
        let nested = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/ingot.service/inner\n";
        assert_eq!(own(nested).as_deref(), Some("ingot.service"));
        assert_eq!(own("0::/user.slice/user-0.slice/session-1.scope\n"), None);
        assert_eq!(own("0::/\n"), None);
    }
}
