//! What the network assigned to the build machine: its name, and its name servers; and names
//! that it generated for the network. Only what is certainly of that kind: another name or
//! other servers may be intended by the owner of the image.

use super::Trace;
use super::found::{Action, Found, TEXT_LIMIT, one};
use crate::host::HostError;
use crate::image::scrub::{Scrubber, Spot};

pub(super) fn hostname(spot: &Spot, image: &Scrubber) -> Result<Option<Action>, HostError> {
    let content = image.read(spot, TEXT_LIMIT)?.unwrap_or_default();
    // Without the file, the name comes from DHCP.
    Ok(is_given_by_ec2(String::from_utf8_lossy(&content).trim()).then_some(Action::Remove))
}

/// A name such as `ip-10-0-0-1` or `i-0abc…`, with or without a domain.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-naming.html>
fn is_given_by_ec2(name: &str) -> bool {
    let name = name.split('.').next().unwrap_or_default();
    let of_address = name.strip_prefix("ip-").map(|address| address.split('-').collect::<Vec<_>>());
    let is_address = of_address.is_some_and(|parts| parts.len() == 4 && parts.iter().all(|part| part.parse::<u8>().is_ok()));
    let is_id = name.strip_prefix("i-").is_some_and(|id| matches!(id.len(), 8 | 17) && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    is_address || is_id
}

/// Not removed but replaced: Postfix does not start without the file.
pub(super) fn mailname(spot: &Spot, image: &Scrubber) -> Result<Option<Action>, HostError> {
    Ok(hostname(spot, image)?.map(|_| Action::Write(b"localhost\n")))
}

/// Each line with a name assigned by EC2.
pub(super) fn named(trace: &Trace, spot: &Spot, goes: bool, image: &Scrubber) -> Result<Vec<Found>, HostError> {
    let is_between = |character: char| character.is_whitespace() || "=,".contains(character);
    let is_named = |line: &str| line.split(is_between).any(is_given_by_ec2);
    if !goes {
        let mut found = lines(trace, spot, false, image, is_named)?;
        found.iter_mut().for_each(|found| found.finding.hint = "write a name that is valid on every instance, or remove it".into());
        return Ok(found);
    }
    let mut found = lines(trace, spot, true, image, |line| is_named(line) && has_no_other(line))?;
    // `127.0.0.1 localhost` is needed.
    let mut others = lines(trace, spot, false, image, |line| is_named(line) && !has_no_other(line))?;
    others.iter_mut().for_each(|found| found.finding.hint = "remove the name from the line, which has other names".into());
    found.append(&mut others);
    Ok(found)
}

/// Whether EC2 assigned all names in a line of hosts(5).
fn has_no_other(line: &str) -> bool {
    let entry = line.split('#').next().unwrap_or_default();
    entry.split_whitespace().skip(1).all(is_given_by_ec2)
}

/// An `InitiatorName=` that was generated when a program was installed or first ran. Debian's program generates a new
/// one if the file says so; those of other distributions do if the file is missing.
///
/// Source: iscsi-iname(8), /usr/lib/open-iscsi/startup-checks.sh.
pub(super) fn initiator(spot: &Spot, image: &Scrubber) -> Result<Option<Action>, HostError> {
    let makers = [
        "1993-08.org.debian",
        "1994-05.com.redhat",
        "1996-04.de.suse",
        "2004-10.com.ubuntu",
        "2005-03.org.open-iscsi",
        "2016-04.com.open-iscsi",
    ];
    let content = image.read(spot, TEXT_LIMIT)?.unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let mut names = content.lines().filter_map(|line| line.trim().strip_prefix("InitiatorName=iqn."));
    if !names.any(|name| makers.iter().any(|maker| name.starts_with(maker))) {
        return Ok(None);
    }
    let of_debian = !image.matching("/usr/lib/open-iscsi/*")?.is_empty() || !image.matching("/lib/open-iscsi/*")?.is_empty();
    Ok(Some(if of_debian { Action::Write(b"GenerateName=yes\n") } else { Action::Remove }))
}

/// `oldEngineID`, which the agent keeps between runs. The keys of its users are derived from
/// it: if it has any, a person has to create them again.
pub(super) fn engine_id(trace: &Trace, spot: &Spot, image: &Scrubber) -> Result<Vec<Found>, HostError> {
    let content = image.read(spot, TEXT_LIMIT)?.unwrap_or_default();
    let has_users = String::from_utf8_lossy(&content).lines().any(|line| line.starts_with("usmUser"));
    let mut found = lines(trace, spot, !has_users, image, |line| line.starts_with("oldEngineID"))?;
    if has_users {
        found.iter_mut().for_each(|found| found.finding.hint = format!("remove {}, and create its users at boot", spot.path().display()));
    }
    Ok(found)
}

fn lines(trace: &Trace, spot: &Spot, goes: bool, image: &Scrubber, is: impl Fn(&str) -> bool) -> Result<Vec<Found>, HostError> {
    let content = image.read(spot, TEXT_LIMIT)?.unwrap_or_default();
    let content = String::from_utf8_lossy(&content);
    let lines = content.lines().zip(1..).filter(|(line, _)| !line.trim_start().starts_with('#') && is(line));
    let action = |line: &str| if goes { Action::RemoveLine { line: line.into(), whole: false } } else { Action::Nothing };
    Ok(lines.map(|(line, number)| one(trace, spot.clone(), Some(number), action(line))).collect())
}

pub(super) fn resolver(spot: &Spot, image: &Scrubber) -> Result<Option<Action>, HostError> {
    let content = image.read(spot, TEXT_LIMIT)?.unwrap_or_default();
    Ok(is_of_dhcp(&String::from_utf8_lossy(&content)).then_some(Action::Remove))
}

/// Whether a comment says that a program wrote this, or the servers or domains are those of a VPC.
fn is_of_dhcp(text: &str) -> bool {
    let marks = ["generated by", "written by"];
    let of_a_vpc = ["169.254.169.253", "ec2.internal", "compute.internal"];
    text.lines().map(|line| line.trim().to_ascii_lowercase()).any(|line| match line.starts_with(['#', ';']) {
        true => marks.iter().any(|mark| line.contains(mark)),
        false => of_a_vpc.iter().any(|mark| line.contains(mark)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_given_name_from_a_chosen_one() {
        for given in ["ip-10-0-12-255", "ip-10-0-0-1.eu-west-1.compute.internal", "i-0abc123def4567890.ec2.internal"] {
            assert!(is_given_by_ec2(given), "{given}");
        }
        for chosen in ["", "localhost", "shop", "ip-cam-1", "ip-10-0-0-999", "i-love-it", "debian"] {
            assert!(!is_given_by_ec2(chosen), "{chosen}");
        }
    }

    #[test]
    fn tells_name_servers_of_dhcp_from_chosen_ones() {
        for given in ["# Generated by NetworkManager\nnameserver 10.0.0.2\n", "search ec2.internal\nnameserver 10.0.0.2\n"] {
            assert!(is_of_dhcp(given), "{given}");
        }
        assert!(!is_of_dhcp("# our own\nnameserver 1.1.1.1\n"));
        assert!(!is_of_dhcp(""));
    }

    #[expect(clippy::disallowed_methods, reason = "a test makes the image that it looks at")]
    fn scrubbed(files: &[(&str, &str)], path: &str) -> Vec<(String, String)> {
        let directory = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let at = directory.path().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, content).unwrap();
        }
        let image = Scrubber::open(directory.path()).unwrap();
        let found = super::super::find::find(&image).unwrap();
        let of_path = |found: &&Found| found.finding.path == std::path::Path::new("/").join(path);
        let says = found.iter().filter(of_path).map(|found| found.finding.rule.clone()).collect::<Vec<_>>();
        found.iter().for_each(|found| found.remove(&image).unwrap());
        let left = std::fs::read_to_string(directory.path().join(path)).unwrap_or_else(|_| "gone".into());
        says.into_iter().map(|rule| (rule, left.clone())).collect()
    }

    #[test]
    fn names_of_the_builder_go_wherever_they_are_written() {
        let went = |rule: &str, left: &str| vec![(rule.to_string(), left.to_string())];
        let hosts = "127.0.0.1 localhost\n10.0.0.7 ip-10-0-0-7.ec2.internal ip-10-0-0-7\n10.0.0.9 db.internal\n";
        assert_eq!(scrubbed(&[("etc/hosts", hosts)], "etc/hosts"), went("hostname", "127.0.0.1 localhost\n10.0.0.9 db.internal\n"));
        let shared = "127.0.0.1 localhost ip-10-0-0-7\n";
        assert_eq!(scrubbed(&[("etc/hosts", shared)], "etc/hosts"), went("hostname", shared), "for a person");
        let noted = "127.0.1.1 ip-10-0-0-7 # mine\n";
        assert_eq!(scrubbed(&[("etc/hosts", noted)], "etc/hosts"), went("hostname", ""));
        assert_eq!(scrubbed(&[("etc/mailname", "ip-10-0-0-7.ec2.internal\n")], "etc/mailname"), went("hostname", "localhost\n"));
        assert_eq!(scrubbed(&[("etc/mailname", "shop.example.com\n")], "etc/mailname"), []);
        let postfix = "myhostname = ip-10-0-0-7.ec2.internal\n";
        assert_eq!(scrubbed(&[("etc/postfix/main.cf", postfix)], "etc/postfix/main.cf"), went("hostname", postfix), "for a person");
    }

    #[test]
    fn ids_that_were_made_up_go_and_chosen_ones_stay() {
        let went = |left: &str| vec![("builder-id".to_string(), left.to_string())];
        let (debian, chosen) = ("InitiatorName=iqn.1993-08.org.debian:01:abc\n", "InitiatorName=iqn.2024-01.com.shop:app\n");
        let path = "etc/iscsi/initiatorname.iscsi";
        assert_eq!(scrubbed(&[(path, debian)], path), went("gone"));
        assert_eq!(scrubbed(&[(path, debian), ("usr/lib/open-iscsi/startup-checks.sh", "")], path), went("GenerateName=yes\n"));
        assert_eq!(scrubbed(&[(path, chosen)], path), []);
        assert_eq!(scrubbed(&[(path, "GenerateName=yes\n")], path), []);
        let snmp = "var/lib/snmp/snmpd.conf";
        assert_eq!(scrubbed(&[(snmp, "engineBoots 3\noldEngineID 0x80001f88\n")], snmp), went("engineBoots 3\n"));
        let with_users = "usmUser 1 3 0x80\noldEngineID 0x80001f88\n";
        assert_eq!(scrubbed(&[(snmp, with_users)], snmp), went(with_users), "for a person");
        for path in ["etc/salt/minion_id", "etc/nvme/hostnqn", "var/lib/docker/engine-id"] {
            assert_eq!(scrubbed(&[(path, "x")], path), went("gone"), "{path}");
        }
    }
}
