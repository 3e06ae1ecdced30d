//! Databases that a machine in memory reaches: available from a given time, with a user and a password.

use async_trait::async_trait;

use super::FakeMachine;
use crate::host::Clock as _;
use crate::net::databases::{Databases, Engine, Refusal, Said, Server, Target, Verdict};

#[async_trait(?Send)]
impl Databases for FakeMachine {
    async fn knock(&self, target: &Target) -> Result<Server, Refusal> {
        self.alive().await;
        let at = target.at();
        let network = self.network();
        let servers = network.0.borrow();
        let doubtful = servers.get(&at).is_some_and(|server| server.is_doubtful);
        let answer = || Server { version: version(target), checked_password: target.login.is_some() && !doubtful };
        let Some(server) = servers.get(&at) else {
            // In a rehearsal, every database that is named exists.
            let why = format!("cannot resolve {}: the name does not exist", target.host);
            return if self.0.storage.borrow().anything { Ok(answer()) } else { Err(Refusal::Name { why }) };
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
            _ => Ok(answer()),
        }
    }
}

/// As at real servers: MySQL reports its version to everybody, PostgreSQL only after a login.
fn version(target: &Target) -> Option<String> {
    match target.engine {
        Engine::Mysql => Some("8.4.5".into()),
        Engine::Postgres => target.login.as_ref().map(|_| "17.4".into()),
    }
}
