//! The databases that machines in memory can reach.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::net::databases::Refusal;
use crate::text::SecretText;

/// By `host:port`. Machines in one network share the map.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network(pub(super) Rc<RefCell<BTreeMap<String, FakeDatabase>>>);

/// A database server.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeDatabase {
    /// When it starts to accept logins, on the machine's clock.
    pub(crate) up_at: Duration,
    /// The password that it requires; `None` accepts any.
    pub(crate) password: Option<SecretText>,
    /// The refusal that it sends to every client.
    pub(crate) refusal: Option<Refusal>,
    /// Whether it cannot be verified that it checks passwords.
    pub(crate) is_doubtful: bool,
}

impl Network {
    /// Adds or replaces a server.
    pub(crate) fn serve(&self, at: &str, server: FakeDatabase) {
        self.0.borrow_mut().insert(at.to_owned(), server);
    }

    /// Changes an existing server.
    pub(crate) fn change(&self, at: &str, change: impl FnOnce(&mut FakeDatabase)) {
        if let Some(server) = self.0.borrow_mut().get_mut(at) {
            change(server);
        }
    }
}
