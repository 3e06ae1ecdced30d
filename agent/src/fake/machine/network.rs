//! The databases that machines in memory reach.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::net::databases::Refusal;
use crate::text::SecretText;

/// By `host:port`. Machines of one network share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network(pub(super) Rc<RefCell<BTreeMap<String, FakeDatabase>>>);

/// A database server.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeDatabase {
    /// From when on it takes logins, on the machine's clock.
    pub(crate) up_at: Duration,
    /// The password that it wants; `None` takes any.
    pub(crate) password: Option<SecretText>,
    /// What it says to everybody.
    pub(crate) refusal: Option<Refusal>,
    /// Whether no one can be certain that it checks passwords.
    pub(crate) is_doubtful: bool,
}

impl Network {
    /// Puts a server there, or has another in its place.
    pub(crate) fn serve(&self, at: &str, server: FakeDatabase) {
        self.0.borrow_mut().insert(at.to_owned(), server);
    }

    /// Changes a server that is there.
    pub(crate) fn change(&self, at: &str, change: impl FnOnce(&mut FakeDatabase)) {
        if let Some(server) = self.0.borrow_mut().get_mut(at) {
            change(server);
        }
    }
}
