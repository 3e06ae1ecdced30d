//! Databases that a machine in memory reaches: there from a time on, with a user and a password.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;

use super::FakeMachine;
use crate::host::Clock as _;
use crate::net::databases::{Databases, Refusal, Said, Server, Target, Verdict};
use crate::text::SecretText;

/// By `host:port`. Machines of one network share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network(Rc<RefCell<BTreeMap<String, FakeDatabase>>>);

/// A database server.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeDatabase {
    /// From when on it takes logins, on the machine's clock.
    pub(crate) up_at: Duration,
    /// The password that it wants; `None` takes any.
    pub(crate) password: Option<SecretText>,
    /// What it says to everybody.
    pub(crate) refusal: Option<Refusal>,
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

#[async_trait(?Send)]
impl Databases for FakeMachine {
    async fn knock(&self, target: &Target) -> Result<Server, Refusal> {
        self.alive().await;
        let at = target.at();
        let network = self.network();
        let servers = network.0.borrow();
        let Some(server) = servers.get(&at) else {
            // In a rehearsal whatever is named is there.
            let why = format!("cannot resolve {}: there is no such name", target.host);
            return if self.0.storage.borrow().anything { Ok(Server::default()) } else { Err(Refusal::Name { why }) };
        };
        if let Some(refusal) = &server.refusal {
            return Err(refusal.clone());
        }
        if self.elapsed() < server.up_at {
            return Err(Refusal::Refused { at });
        }
        match (&server.password, &target.login) {
            (Some(password), Some(login)) if *password != login.password => {
                let message = "password authentication failed".to_owned();
                Err(Refusal::Said(Said { at, verdict: Verdict::WrongPassword, code: "28P01".into(), message, open: false }))
            }
            _ => Ok(Server::default()),
        }
    }
}
