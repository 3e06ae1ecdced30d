//! Users of a machine in memory.

use std::collections::BTreeMap;

use super::FakeMachine;
use crate::digest::Sha256;
use crate::host::{HostError, User, Users};

pub(super) struct Accounts {
    users: BTreeMap<String, User>,
    /// Whether anyone who is asked for exists.
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

    fn find(&mut self, name: &str) -> Option<User> {
        let number = name.parse::<u32>().ok();
        let known = self.users.get(name).or_else(|| self.users.values().find(|user| Some(user.uid) == number)).cloned();
        known.or_else(|| self.anyone.then(|| self.add(name, number.unwrap_or_else(|| made_up(name)))))
    }
}

/// The same number for the same name, whoever was asked for before.
fn made_up(name: &str) -> u32 {
    let Sha256(bytes) = Sha256::of(name.as_bytes());
    1000 + u32::from(u16::from_be_bytes([bytes[0], bytes[1]])) % 50_000
}

impl Users for FakeMachine {
    fn user(&self, name: &str) -> Result<User, HostError> {
        self.0.accounts.borrow_mut().find(name).ok_or_else(|| HostError::NoUser { name: name.into() })
    }

    fn group(&self, name: &str) -> Result<u32, HostError> {
        let found = self.0.accounts.borrow_mut().find(name);
        found.map(|user| user.gid).ok_or_else(|| HostError::NoGroup { name: name.into() })
    }

    fn own(&self) -> (u32, u32) {
        (0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_whom_it_was_given_and_in_rehearsal_anyone() {
        let machine = FakeMachine::new_instance();
        let shop = machine.add_user("shop", 990);
        assert_eq!(machine.user("990").unwrap(), shop);
        assert_eq!(machine.group("shop").unwrap(), 990);
        assert!(matches!(machine.user("www"), Err(HostError::NoUser { .. })));

        let (first, second) = (FakeMachine::rehearsal(), FakeMachine::rehearsal());
        second.user("other").unwrap();
        assert_eq!(first.user("www").unwrap(), second.user("www").unwrap());
        assert_eq!((first.user("root").unwrap().uid, first.group("4711").unwrap()), (0, 4711));
    }
}
