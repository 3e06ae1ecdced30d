//! A database as a client sees it: where it is, how it is to be talked to, and what it says it is.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::text::SecretText;

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
    /// Whether there is a login, and it names no database.
    pub(super) fn names_none(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.database.is_none())
    }

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
    /// The database to log in to. `None` leaves it open: one that every server has will do.
    pub(crate) database: Option<SecretText>,
}

/// A database that answered as it should.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// What it says it is, such as `15.8` or `10.11.6-MariaDB`; `None` where it tells only those who log in.
    pub(crate) version: Option<String>,
    /// Whether it was given the password, and it is certain that who accepted it knows the password: a verified server, or
    /// one that has proved it.
    pub(crate) checked_password: bool,
}
