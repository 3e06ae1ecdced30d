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
mod tls;
mod wire;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use self::tls::Roots;
use crate::host::Files;
use crate::net::resolver::SystemResolver;
use crate::text::SecretText;

pub(crate) use self::refusal::{Refusal, Said, Verdict};

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

/// Where a database is, and how it is to be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) engine: Engine,
    pub(crate) tls: Tls,
    /// Certificate authorities that are trusted in place of those of this machine.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) login: Option<Login>,
}

impl Target {
    /// `host:port`, for people.
    pub(crate) fn at(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }
}

/// The protocol that a database speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    Postgres,
    /// Also for MariaDB.
    Mysql,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }

    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql => 3306,
        }
    }
}

/// How far a connection is encrypted, in libpq's order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tls {
    /// Encrypted, and the certificate must be trusted for the host name.
    Verify,
    /// Encrypted.
    Require,
    /// Encrypted if the server offers it.
    #[default]
    Prefer,
    /// Never encrypted.
    Disable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: SecretText,
    pub(crate) password: SecretText,
    /// The database to log in to. `None` leaves it open: the login alone counts.
    pub(crate) database: Option<SecretText>,
}

/// A database that answered as it should.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// What it says it is, such as `15.8` or `10.11.6-MariaDB`; `None` where it tells only those who log in.
    pub(crate) version: Option<String>,
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
