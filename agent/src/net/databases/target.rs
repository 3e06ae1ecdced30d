//! A database as a client sees it: its address, how to connect to it, and what it reports about itself.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::text::SecretText;

/// The address of a database, and how to connect to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) engine: Engine,
    pub(crate) tls: Tls,
    /// Certificate authorities to trust instead of this machine's.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) login: Option<Login>,
}

impl Target {
    /// Whether there is a login that names no database.
    pub(super) fn names_none(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.database.is_none())
    }

    /// `host:port` in readable form.
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
    /// The database to log in to. `None` selects one that exists on every server.
    pub(crate) database: Option<SecretText>,
}

/// A database that answered as expected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// The version that it reports, such as `15.8` or `10.11.6-MariaDB`. `None` if it reports it only after a login.
    pub(crate) version: Option<String>,
    /// Whether the password was checked by a server that certainly knows it: a verified server, or one that has proved
    /// it.
    pub(crate) checked_password: bool,
}
