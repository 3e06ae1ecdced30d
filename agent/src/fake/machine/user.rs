//! Users of a machine in memory.

use async_trait::async_trait;

use super::FakeMachine;
use crate::host::{HostError, User, Users};

impl FakeMachine {
    /// The user of this number, given or made up.
    pub(crate) fn name_of(&self, number: u32) -> Option<String> {
        self.0.accounts.borrow().name(number)
    }
}

#[async_trait(?Send)]
impl Users for FakeMachine {
    async fn user(&self, name: &str) -> Result<User, HostError> {
        self.0.accounts.borrow_mut().find(name).ok_or_else(|| HostError::NoUser { name: name.into() })
    }

    async fn group(&self, name: &str) -> Result<u32, HostError> {
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

    #[tokio::test]
    async fn knows_whom_it_was_given_and_in_rehearsal_anyone() {
        let machine = FakeMachine::new_instance();
        let shop = machine.add_user("shop", 990);
        assert_eq!(machine.user("990").await.unwrap(), shop);
        assert_eq!(machine.group("shop").await.unwrap(), 990);
        assert!(matches!(machine.user("www").await, Err(HostError::NoUser { .. })));

        let (first, second) = (FakeMachine::rehearsal(), FakeMachine::rehearsal());
        second.user("other").await.unwrap();
        assert_eq!(first.user("www").await.unwrap(), second.user("www").await.unwrap());
        assert_eq!((first.user("root").await.unwrap().uid, first.group("4711").await.unwrap()), (0, 4711));
    }
}
