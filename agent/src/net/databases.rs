//! Databases at the other end of the network, as far as one login: PostgreSQL, MySQL and MariaDB.
//!
//! [`Databases::knock`] goes through everything a client goes through, once: name, TCP, TLS where it is wanted or offered,
//! the engine's own handshake, and a login where there are credentials. What it met is a [`Refusal`]. Formats and
//! scrambles are those of the libraries `postgres-protocol` and `mysql_common`; no statement is ever sent. When to knock
//! again is up to the step.

mod connect;
mod mysql;
mod postgres;
mod refusal;
mod scram;
mod target;
mod tls;
mod wire;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

pub(crate) use self::refusal::{Refusal, Said, Verdict};
pub(crate) use self::target::{Engine, Login, Server, Target, Tls};
use self::tls::Roots;
use crate::host::Files;
use crate::net::resolver::SystemResolver;

/// The longest that one knock may take once there is a connection: a server that takes longer is not ready.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// For so long an answer counts for whoever asks the same again: a wait that has just ended is looked at once more, and
/// what it waited for is not to be logged in to three times.
const FRESH: Duration = Duration::from_secs(1);

/// Databases that are reached by the network.
#[async_trait(?Send)]
pub(crate) trait Databases {
    /// Tries once whether a database takes a login.
    ///
    /// Without a login in `target`, it is enough that the engine answers its handshake, and not that it is starting.
    async fn knock(&self, target: &Target) -> Result<Server, Refusal>;
}

/// [`Databases`] over the network of this machine.
pub(crate) struct NetDatabases {
    resolver: SystemResolver,
    roots: Roots,
    answered: RefCell<Vec<(Target, Instant, Server)>>,
}

impl NetDatabases {
    /// `files` is where certificate authorities are read from.
    pub(crate) fn new(files: Rc<dyn Files>) -> Self {
        Self { resolver: SystemResolver::default(), roots: Roots::new(files), answered: RefCell::default() }
    }

    /// What a target has just answered.
    fn fresh(&self, target: &Target) -> Option<Server> {
        let mut answered = self.answered.borrow_mut();
        answered.retain(|(_, at, _)| at.elapsed() < FRESH);
        answered.iter().find(|(known, ..)| known == target).map(|(.., server)| server.clone())
    }
}

#[async_trait(?Send)]
impl Databases for NetDatabases {
    async fn knock(&self, target: &Target) -> Result<Server, Refusal> {
        if let Some(server) = self.fresh(target) {
            return Ok(server);
        }
        let stream = connect::connect(&self.resolver, target).await?;
        let talk = async {
            match target.engine {
                Engine::Postgres => postgres::knock(stream, target, &self.roots).await,
                Engine::Mysql => mysql::knock(stream, target, &self.roots).await,
            }
        };
        let silent = || Refusal::Mute { at: target.at() };
        let server = tokio::time::timeout(KNOCK_TIMEOUT, talk).await.unwrap_or_else(|_| Err(silent()))?;
        self.answered.borrow_mut().push((target.clone(), Instant::now(), server.clone()));
        Ok(server)
    }
}

#[cfg(test)]
mod tests;
