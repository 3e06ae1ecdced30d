//! The users of a machine in memory.

use std::collections::BTreeMap;

use crate::digest::Sha256;
use crate::host::User;

pub(super) struct Accounts {
    users: BTreeMap<String, User>,
    /// Whether every requested user and group exists.
    pub(super) anyone: bool,
}

impl Default for Accounts {
    fn default() -> Self {
        let mut accounts = Self { users: BTreeMap::new(), anyone: false };
        accounts.add("root", 0);
        accounts
    }
}

impl Accounts {
    /// Adds a user with a group of the same name and number.
    pub(super) fn add(&mut self, name: &str, uid: u32) -> User {
        let home = if uid == 0 { "/root".into() } else { format!("/home/{name}").into() };
        let user = User { name: name.into(), uid, gid: uid, home, groups: vec![uid] };
        self.users.insert(name.to_owned(), user.clone());
        user
    }

    pub(super) fn name(&self, number: u32) -> Option<String> {
        self.users.values().find(|user| user.uid == number).map(|user| user.name.clone())
    }

    pub(super) fn find(&mut self, name: &str) -> Option<User> {
        let number = name.parse::<u32>().ok();
        let known = self.users.get(name).or_else(|| self.users.values().find(|user| Some(user.uid) == number)).cloned();
        known.or_else(|| self.anyone.then(|| self.add(name, number.unwrap_or_else(|| made_up(name)))))
    }
}

/// A number that depends on the name only, not on earlier requests.
fn made_up(name: &str) -> u32 {
    let Sha256(bytes) = Sha256::of(name.as_bytes());
    1000 + u32::from(u16::from_be_bytes([bytes[0], bytes[1]])) % 50_000
}
