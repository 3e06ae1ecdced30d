//! Databases reached over the network, up to one login: PostgreSQL, MySQL and MariaDB.
//!
//! [`Databases::knock`] goes once through everything a client does: name resolution, TCP, TLS where required or
//! offered, the engine's own handshake and, with credentials, a login and `SELECT 1`. A failure is a [`Refusal`].
//! Message formats and scrambles come from the libraries `postgres-protocol` and `mysql_common`. The step decides when
//! to knock again.

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

/// How long one knock may take once there is a connection. A server that takes longer is not ready.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer is reused for the same target. A wait that has just ended is inspected again, which should not
/// cause further logins.
const FRESH: Duration = Duration::from_secs(1);

/// The databases that exist on every PostgreSQL server, except that some users remove the first. Used for a login that
/// names no database.
const ANY: [&str; 2] = ["postgres", "template1"];

/// Databases that are reached over the network.
#[async_trait(?Send)]
pub(crate) trait Databases {
    /// Tries once whether a database accepts a login.
    ///
    /// With a login in `target`, a query has to be answered, because a pooler accepts logins before its database does.
    /// Without one, the engine has to answer its handshake, and must not report that it is starting.
    async fn knock(&self, target: &Target) -> Result<Server, Refusal>;

    /// A remark for the user about the certificate authorities that were used.
    fn remark(&self) -> Option<String> {
        None
    }
}

/// [`Databases`] reached over this machine's network.
pub(crate) struct NetDatabases {
    resolver: SystemResolver,
    roots: Roots,
    answered: RefCell<Vec<(Target, Instant, Server)>>,
}

impl NetDatabases {
    /// `files` reads the certificate authorities.
    pub(crate) fn new(files: Rc<dyn Files>) -> Self {
        Self { resolver: SystemResolver::default(), roots: Roots::new(files), answered: RefCell::default() }
    }

    /// Makes one connection. `any` is the PostgreSQL database to log in to if the login names none.
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

    /// The target's last answer, if it is recent enough.
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
