//! `databases:` — an RDS instance or Aurora cluster, or any PostgreSQL, MySQL or MariaDB server, that accepts logins.
//!
//! ```yaml
//! databases:
//!   main:
//!     instance: shop-{{values.env}}       # or `cluster: …`; or `host: …`, `engine: postgres|mysql`, maybe `port:`
//!     # restored once if it does not exist:
//!     restore_from: { snapshot: shop-golden, class: db.m7g.large, subnet_group: shop }
//!     credentials: secrets.db             # {username, password[, dbname]}: set after a restore, used for logins;
//!                                         # or `managed`: RDS creates and stores them
//!     tls: verify                         # or require, prefer (the default), disable; verify uses `ca:`,
//!                                         # or the CAs of RDS and of the system
//! ```
//!
//! A database is ready when it accepts a login and answers a query over the network, whatever RDS reports as its state:
//! an instance that is `backing-up` for hours still serves. Each change determines the next one, so this step unfolds.
//! If a whole fleet asks at once, only one database is restored, because identifiers are unique: the other instances
//! wait for it. Whether the master password is still that of the snapshot is recorded in a tag of the database itself,
//! so any instance of the fleet can finish what another one did not complete. [`decide`] determines what to do next,
//! [`wait`] and [`rotation`] wait, and [`password`] sets the password. [`net::databases`](crate::net::databases)
//! implements the protocols.

mod change;
mod credentials;
mod decide;
mod fields;
mod host;
mod password;
mod rotation;
mod serverless;
mod trouble;
mod wait;

use std::time::Duration;

use serde_json::{Value, json};

use self::change::Change;
use crate::address::CREDENTIALS;
use crate::aws::rds::Name;
use crate::failure::{Failure, Objection};
use crate::net::databases::{Login, Refusal, Server};
use crate::step::{AsksAws, Context, Outputs, Progress, Shape, Step};
use crate::text::Text;

pub(crate) use self::fields::Database;
pub(crate) use self::trouble::DatabaseError;
use self::trouble::{Unsuitable, clean};

/// The names of its outputs. The last ones are [`CREDENTIALS`], which only a database with credentials has.
const OFFERED: [&str; 9] =
    ["endpoint", "port", "engine", "version", "resource_id", "reader_endpoint", CREDENTIALS[0], CREDENTIALS[1], CREDENTIALS[2]];

/// A restore takes 10 to 25 minutes.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

impl Step for Database {
    type Change = Change;
    type Error = DatabaseError;

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        let name = match (&self.instance, &self.cluster, &self.host) {
            (Some(instance), _, _) => format!("RDS instance {}", shown(instance)),
            (_, Some(cluster), _) => format!("RDS cluster {}", shown(cluster)),
            (_, _, Some(host)) => {
                let port = self.port.or(self.engine.map(|engine| engine.port())).unwrap_or_default();
                format!("{} at {}:{port}", self.engine.map_or("a database", |engine| engine.name()), shown(host))
            }
            _ => "a database".into(),
        };
        match self.restore_from.is_some() {
            true => format!("{name}, restored if it does not exist"),
            false => name,
        }
    }

    fn shape<'a>(&'a self, _key: &'a str) -> Shape<'a> {
        Shape {
            texts: self.strings(),
            watches: self.secret().into_iter().collect(),
            needs_watched: true,
            offers: Some(match (&self.credentials, self.is_managed()) {
                (None, _) => &OFFERED[..OFFERED.len() - CREDENTIALS.len()],
                // The secret that RDS manages does not name a database.
                (_, true) => &OFFERED[..OFFERED.len() - 1],
                _ => &OFFERED,
            }),
            unfolds: true,
            patience: PATIENCE,
            asks_aws: if self.host.is_some() { AsksAws::Never } else { AsksAws::Always },
            ..Shape::default()
        }
    }

    fn objections(&self, _key: &str, _secret: bool) -> Vec<Objection> {
        self.contradictions()
    }

    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Change>, DatabaseError> {
        let Some(name) = self.name(cx)? else {
            let target = self.plain(self.login(None, cx).await?, cx)?;
            wait::knocks(&target.at(), cx);
            let knocked = cx.net().databases.knock(&target).await;
            cx.answered();
            return self.knocked(knocked, &target.at(), cx);
        };
        cx.asking(format!("for RDS to describe {}", name.id));
        let found = cx.world.aws.rds.database(&name).await.map_err(DatabaseError::Rds)?;
        cx.answered();
        let Some(found) = found else {
            return Ok(vec![self.restoring(&name, cx).await?]);
        };
        decide::fit(&name, &found)?;
        if let Some(change) = self.unfinished(&name, &found, cx)? {
            return Ok(vec![change]);
        }
        let Some(target) = self.target(&name, &found, cx).await? else { return Ok(vec![Change::Await { database: name.id }]) };
        wait::knocks(&name.id, cx);
        let knocked = cx.net().databases.knock(&target).await;
        cx.answered();
        self.knocked(knocked, &name.id, cx)
    }

    async fn apply(&self, change: Change, cx: &Context<'_>) -> Result<(), DatabaseError> {
        match change {
            Change::Restore(restore) => wait::restore(&restore, cx).await,
            Change::AddMember(member) => wait::add_member(&member, cx).await,
            Change::SetPassword { .. } => password::set(self, cx).await,
            Change::Await { .. } => rotation::until_ready(self, cx).await,
        }
    }

    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, DatabaseError> {
        if let Some(secret) = self.secret()
            && let Some(users) = cx.world.known.stale(secret)
        {
            return Err(Unsuitable::Stale { database: cx.address.clone(), secret: secret.clone(), users }.into());
        }
        if let Some(secret) = self.secret() {
            cx.world.known.note_lender(cx.address, secret);
        }
        let (mut value, login) = match self.name(cx)? {
            None => self.of_host(cx).await?,
            Some(name) => self.of_rds(&name, cx).await?,
        };
        if self.credentials.is_some() {
            let made_up = login.is_none();
            let [user, password, database] = match &login {
                Some(login) => [Some(&login.user), Some(&login.password), login.database.as_ref()],
                None => [None; 3],
            };
            for (name, known) in CREDENTIALS.into_iter().zip([user, password, database]) {
                // If the secret is unknown, this is a dry run.
                value[name] = match known {
                    Some(text) => text.expose().into(),
                    None if made_up => cx.make_up(name).into(),
                    None => Value::Null,
                };
            }
        }
        if cx.is_made_up(cx.address) {
            self.make_up(&mut value, cx);
        }
        if let Some(remark) = cx.net().databases.remark() {
            cx.progress(Progress::Warning(remark));
        }
        Ok(Outputs { value, stamp: None })
    }
}

impl Database {
    /// Replaces what only RDS or the server could tell, in a rehearsal that contacts neither. An output that would be
    /// null stays null.
    fn make_up(&self, value: &mut Value, cx: &Context<'_>) {
        for field in OFFERED.into_iter().filter(|field| !CREDENTIALS.contains(field)) {
            let is_of_server = self.host.is_none() || field == "version";
            // Without a login that is known, the server in memory does not tell its version.
            let is_null = value[field].is_null() && !(field == "version" && self.credentials.is_some());
            if is_of_server && !is_null {
                value[field] = cx.make_up(field).into();
            }
        }
    }

    /// The outputs of a database given by `host`, and the login that it accepts.
    async fn of_host(&self, cx: &Context<'_>) -> Result<(Value, Option<Login>), DatabaseError> {
        let target = self.plain(self.login(None, cx).await?, cx)?;
        wait::knocks(&target.at(), cx);
        let server = cx.net().databases.knock(&target).await.map_err(|refusal| DatabaseError::Refused(clean(refusal, cx)))?;
        let value = json!({
            "endpoint": target.host, "port": target.port, "engine": target.engine.name(), "version": server.version,
            "resource_id": null, "reader_endpoint": null,
        });
        Ok((value, target.login))
    }

    /// The outputs of an RDS database, and the login that it accepts.
    async fn of_rds(&self, name: &Name, cx: &Context<'_>) -> Result<(Value, Option<Login>), DatabaseError> {
        let missing = || Unsuitable::Missing { kind: name.kind, id: name.id.clone() };
        cx.asking(format!("for RDS to describe {}", name.id));
        let found = cx.world.aws.rds.database(name).await.map_err(DatabaseError::Rds)?.ok_or_else(missing)?;
        cx.answered();
        // The database may have changed since it was inspected, and the outputs used from here on must not be
        // placeholders.
        if !self.has_credentials(&name.id, &found)? {
            return Err(Unsuitable::SecretNotMade { kind: name.kind, id: name.id.clone() }.into());
        }
        let login = self.login(Some((&name.id, &found)), cx).await?;
        let (endpoint, port) = found.endpoint.ok_or_else(missing)?;
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        let value = json!({
            "endpoint": endpoint, "port": port, "engine": found.engine, "version": known(found.version),
            "resource_id": known(found.resource_id), "reader_endpoint": found.reader_endpoint,
        });
        Ok((value, login))
    }

    /// The consequence of a connection attempt: nothing to do, a wait, or an error that waiting cannot fix. A wrong
    /// password may be one that is being rotated.
    fn knocked(&self, knocked: Result<Server, Refusal>, database: &str, cx: &Context<'_>) -> Result<Vec<Change>, DatabaseError> {
        match knocked {
            Ok(_) => Ok(Vec::new()),
            Err(refusal) if refusal.is_transient() || refusal.is_wrong_password() => {
                Ok(vec![Change::Await { database: database.to_owned() }])
            }
            Err(refusal) => Err(DatabaseError::Refused(clean(refusal, cx))),
        }
    }
}
