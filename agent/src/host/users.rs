//! Users and groups, and [`EtcUsers`], which reads them from /etc/passwd and /etc/group only, without NSS: no LDAP,
//! SSSD or systemd-userdb.

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::error::HostError;
use super::files::{DiskFiles, Files as _};

/// Users and groups, from /etc/passwd and /etc/group only: a static binary must not load NSS modules.
#[async_trait(?Send)]
pub(crate) trait Users {
    /// # Errors
    ///
    /// [`HostError::NoUser`] if no user has that name or number.
    async fn user(&self, name: &str) -> Result<User, HostError>;
    /// The id of a group by name or number.
    ///
    /// # Errors
    ///
    /// [`HostError::NoGroup`] if no group has that name or number.
    async fn group(&self, name: &str) -> Result<u32, HostError>;
    /// The user this process runs as: uid and gid.
    fn own(&self) -> (u32, u32);
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
    /// Supplementary groups, from /etc/group.
    pub(crate) groups: Vec<u32>,
}

/// Maximum size of these files, in bytes: a million users, more than any machine has.
const LIMIT: u64 = 64 << 20;

/// The users of this machine, or of the tree below a root. Read again each time, because commands of a boot may add
/// users.
#[derive(Debug)]
pub(crate) struct EtcUsers {
    files: DiskFiles,
}

impl EtcUsers {
    pub(crate) fn new(root: Option<PathBuf>) -> Self {
        Self { files: DiskFiles::new(root) }
    }

    async fn lines(&self, path: &str) -> Result<String, HostError> {
        let content = self.files.read(Path::new(path), LIMIT).await?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).into_owned())
    }
}

#[async_trait(?Send)]
impl Users for EtcUsers {
    async fn user(&self, name: &str) -> Result<User, HostError> {
        find_user(name, &self.lines("/etc/passwd").await?, &self.lines("/etc/group").await?)
            .ok_or_else(|| HostError::NoUser { name: name.into() })
    }

    async fn group(&self, name: &str) -> Result<u32, HostError> {
        find_group(name, &self.lines("/etc/group").await?).ok_or_else(|| HostError::NoGroup { name: name.into() })
    }

    fn own(&self) -> (u32, u32) {
        (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
    }
}

/// Looks up a name first, then a number, as chown(1) does. Incomplete lines are skipped.
fn find_user(name: &str, passwd: &str, group: &str) -> Option<User> {
    let user = |line: &str| {
        let mut fields = line.split(':');
        let (name, _password, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (_gecos, home) = (fields.next()?, fields.next()?);
        Some(User { name: name.into(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: home.into(), groups: Vec::new() })
    };
    let users = || passwd.lines().filter_map(user);
    let number = name.parse::<u32>().ok();
    let mut found = users().find(|user| user.name == name).or_else(|| users().find(|user| Some(user.uid) == number))?;
    found.groups = groups(group)
        .filter(|(_, gid, members)| *gid != found.gid && members.split(',').any(|member| member == found.name))
        .map(|(_, gid, _)| gid)
        .collect();
    // As in initgroups(3), the user's primary group is one of the supplementary groups.
    found.groups.insert(0, found.gid);
    Some(found)
}

fn find_group(name: &str, group: &str) -> Option<u32> {
    let number = name.parse::<u32>().ok();
    let by_name = groups(group).find(|(known, ..)| *known == name);
    by_name.or_else(|| groups(group).find(|(_, gid, _)| Some(*gid) == number)).map(|(_, gid, _)| gid)
}

/// Name, number and members of each group.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, gid.parse().ok()?, fields.next().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n+nis::::::\nbroken\nshop:x:990:980::/srv/shop:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\nshop:x:980:shop\nssl-cert:x:110:www,shop\nshopkeepers:x:111:shopkeeper\n4000:x:7:\n";

    #[test]
    fn finds_a_user_with_its_groups() {
        let shop = find_user("shop", PASSWD, GROUP).unwrap();
        assert_eq!(shop, User { name: "shop".into(), uid: 990, gid: 980, home: "/srv/shop".into(), groups: vec![980, 110] });
        assert_eq!(find_user("990", PASSWD, GROUP), Some(shop));
    }

    #[test]
    fn takes_a_name_before_a_number() {
        assert_eq!(find_group("4000", GROUP), Some(7));
        assert_eq!(find_group("110", GROUP), Some(110));
    }

    #[tokio::test]
    async fn says_who_is_missing() {
        for name in ["broken", "+nis", "12345", ""] {
            assert_eq!(find_user(name, PASSWD, GROUP), None, "{name}");
        }
        let directory = tempfile::tempdir().unwrap();
        let users = EtcUsers::new(Some(directory.path().to_owned()));
        assert_eq!(users.user("shop").await.unwrap_err().to_string(), "the user `shop` is not in /etc/passwd");
        assert_eq!(users.group("shop").await.unwrap_err().to_string(), "the group `shop` is not in /etc/group");
    }
}
