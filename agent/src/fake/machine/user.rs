//! Users of a machine in memory.

use super::FakeMachine;
use crate::host::{HostError, User, Users};

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
