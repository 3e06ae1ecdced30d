//! Databases at the other end of the network, as far as one login: PostgreSQL, MySQL and MariaDB.
//!
//! [`Databases::knock`] goes through everything a client goes through, once: name, TCP, TLS where it is wanted or offered,
//! the engine's own handshake, and where there are credentials a login and `SELECT 1`. What it met is a [`Refusal`].
//! Formats and scrambles are those of the libraries `postgres-protocol` and `mysql_common`. When to knock again is up to
//! the step.

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

/// For so long an answer counts for whoever asks the same again: a wait that has just ended is looked at again, and
/// what it waited for is not to be logged in to three times.
const FRESH: Duration = Duration::from_secs(1);

/// The databases that every PostgreSQL has, but for the first, which some remove: for a login that names none.
const ANY: [&str; 2] = ["postgres", "template1"];

/// Databases that are reached by the network.
#[async_trait(?Send)]
pub(crate) trait Databases {
    /// Tries once whether a database takes a login.
    ///
    /// With a login in `target`, a query has to be answered: a pooler accepts logins before its database does. Without one,
    /// it is enough that the engine answers its handshake, and not that it is starting.
    async fn knock(&self, target: &Target) -> Result<Server, Refusal>;

    /// What to tell people of the certificate authorities that were used.
    fn remark(&self) -> Option<String> {
        None
    }
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

    /// One connection. `any` is the database of PostgreSQL to log in to where none is named.
    async fn once(&self, target: &Target, any: &str) -> Result<Server, Refusal> {
        let stream = connect::connect(&self.resolver, target).await?;
        let talk = async {
            match target.engine {
                Engine::Postgres => {
                    let named = target.login.as_ref().and_then(|login| login.database.as_ref());
                    let database = named.map_or(any, |database| database.expose());
                    postgres::knock(stream, target, database, &self.roots).await
                }
                Engine::Mysql => mysql::knock(stream, target, &self.roots).await,
            }
        };
        let silent = || Refusal::Mute { at: target.at() };
        tokio::time::timeout(KNOCK_TIMEOUT, talk).await.unwrap_or_else(|_| Err(silent()))
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
    fn remark(&self) -> Option<String> {
        self.roots.remark()
    }

    async fn knock(&self, target: &Target) -> Result<Server, Refusal> {
        if let Some(server) = self.fresh(target) {
            return Ok(server);
        }
        let mut server = self.once(target, ANY[0]).await;
        if target.names_none() && matches!(&server, Err(refusal) if refusal.verdict() == Some(Verdict::NoDatabase)) {
            server = self.once(target, ANY[1]).await;
        }
        let server = server?;
        self.answered.borrow_mut().push((target.clone(), Instant::now(), server.clone()));
        Ok(server)
    }
}

#[cfg(test)]
mod tests;
