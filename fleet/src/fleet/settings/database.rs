//! `database:` — an RDS instance that belongs to the environment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::site::Site;
use crate::fleet::words::{self, DatabaseClass, DatabaseName, DatabaseUser, Whole, Word};

/// Database of an environment.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Database {
    /// Class of the instance. Required.
    pub(crate) class: Option<Word<DatabaseClass>>,
    /// Engine; with a snapshot, the snapshot's engine. Takes effect only at creation. Default: postgres.
    pub(crate) engine: Option<Engine>,
    /// Source of the data. Takes effect only at creation. Default: a new database.
    pub(crate) restore_from: Option<Restore>,
    /// Size in GiB, at least the snapshot's. Default: 20.
    pub(crate) storage_gib: Option<Whole<20, 65536>>,
    /// Name of the database. Takes effect only at creation. Default: app.
    pub(crate) name: Option<Word<DatabaseName>>,
    /// Master user of a new database; RDS generates and rotates the password. Takes effect only at creation.
    /// Default: app.
    pub(crate) user: Option<Word<DatabaseUser>>,
    /// Whether a standby runs in another zone. Default: false.
    pub(crate) multi_az: Option<bool>,
    /// What remains when the environment is deleted. Default: snapshot.
    pub(crate) on_delete: Option<OnDelete>,
}

/// RDS engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Engine {
    Postgres,
    Mysql,
    Mariadb,
}

/// Source of the data.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restore {
    /// Name or ARN of a snapshot.
    pub(crate) snapshot: Word<words::Snapshot>,
}

/// What remains of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum OnDelete {
    /// A final snapshot.
    Snapshot,
}

impl Database {
    pub(super) fn check(&self, site: &mut Site<'_>) {
        if self.class.is_none() {
            site.missing("database.class", "add `class: db.t4g.micro`, or another class, to `database:`");
        }
    }

    pub(super) fn complete(&mut self) {
        self.engine.get_or_insert(Engine::Postgres);
        self.storage_gib.get_or_insert(Whole(20));
        self.name.get_or_insert_with(|| Word::parse("app").expect("it is a name"));
        self.user.get_or_insert_with(|| Word::parse("app").expect("it is a name"));
        self.multi_az.get_or_insert(false);
        self.on_delete.get_or_insert(OnDelete::Snapshot);
    }
}
