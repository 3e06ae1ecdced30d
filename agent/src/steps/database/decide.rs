//! Decides what to do next until a database accepts logins, based on its description by RDS.

use std::collections::BTreeMap;

use super::change::Change;
use super::fields::{Database, RestoreFrom};
use super::host;
use super::serverless::Serverless;
use super::trouble::{DatabaseError, Unsuitable};
use crate::aws::rds::{self, Kind, Member, Name, Restore, Snapshot, SnapshotQuery};
use crate::net::databases::{Engine, Login, Refusal, Target};
use crate::step::Context;
use crate::step::fields::OrMap;
use crate::text::Text;

/// Tags of a database that ingot has restored: the snapshot it was restored from. Below: whether its master password is
/// still that of the snapshot.
pub(super) const FROM: &str = "ingot:restored-from";
pub(super) const PASSWORD: &str = "ingot:password";
const PENDING: &str = "pending";

/// States in which logins will never succeed without intervention. All other states are transient, or equivalent to
/// `available`.
///
/// Source: <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html>, and for clusters
/// <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/accessing-monitoring.html>.
const HOPELESS: [&str; 11] = [
    "failed",
    "restore-error",
    "insufficient-capacity",
    "inaccessible-encryption-credentials",
    "inaccessible-encryption-credentials-recoverable",
    "storage-full",
    "deleting",
    "stopping",
    "stopped",
    "migration-failed",
    "cloning-failed",
];

/// States in which the master password may be changing.
const CHANGING: [&str; 3] = ["resetting-master-credentials", "modifying", "configuring-iam-database-auth"];

/// Whether a database is in a state from which it can become available, and uses a supported protocol.
pub(super) fn fit(name: &Name, found: &rds::Database) -> Result<(), Unsuitable> {
    let status = found.status.as_str();
    if HOPELESS.contains(&status) || status.starts_with("incompatible-") {
        let restored = found.tags.contains_key(FROM);
        return Err(Unsuitable::Status { kind: name.kind, id: name.id.clone(), status: status.into(), restored });
    }
    engine(&name.id, &found.engine).map(drop)
}

/// The protocol of an RDS engine.
fn engine(id: &str, engine: &str) -> Result<Engine, Unsuitable> {
    match engine {
        "postgres" | "aurora-postgresql" => Ok(Engine::Postgres),
        "mysql" | "mariadb" | "aurora-mysql" | "aurora" => Ok(Engine::Mysql),
        other => Err(Unsuitable::Engine { id: id.into(), engine: other.into() }),
    }
}

/// Whether its master password is still that of the snapshot, and ingot has to change it.
pub(super) fn is_pending(found: &rds::Database) -> bool {
    found.tags.get(PASSWORD).is_some_and(|state| state == PENDING)
}

/// Whether an otherwise final refusal may be transient, because the password is about to change.
pub(super) fn may_pass(refusal: &Refusal, found: &rds::Database) -> bool {
    let changing = found.changes_password || is_pending(found) || CHANGING.contains(&found.status.as_str());
    changing && refusal.is_wrong_password()
}

impl Database {
    /// The RDS database that is meant. `None` for a database given by `host`.
    pub(super) fn name(&self, cx: &Context<'_>) -> Result<Option<Name>, DatabaseError> {
        let (kind, text) = match (&self.instance, &self.cluster) {
            (Some(text), _) => (Kind::Instance, text),
            (None, Some(text)) => (Kind::Cluster, text),
            (None, None) => return Ok(None),
        };
        // RDS converts identifiers to lower case.
        let id = render(text, cx)?.to_lowercase();
        Ok(Some(Name { kind, id, made: self.restore_from.is_some() }))
    }

    /// The address of a database given by `host`.
    pub(super) fn plain(&self, login: Option<Login>, cx: &Context<'_>) -> Result<Target, DatabaseError> {
        let host = self.host.as_ref().map(|host| render(host, cx)).transpose()?.unwrap_or_default();
        // In a dry run, part of it may be a placeholder.
        let host = match cx.placeholder() {
            None => host::checked(&host).map_err(|why| Unsuitable::Host { why })?.to_owned(),
            Some(_) => host,
        };
        let engine = self.engine.unwrap_or(Engine::Postgres);
        Ok(Target { host, port: self.port.unwrap_or(engine.port()), engine, tls: self.tls, ca: self.ca.clone(), login })
    }

    /// The address of an RDS database, and the login to use. `None` while RDS reports no address, or nothing exists yet
    /// that could answer.
    pub(super) async fn target(&self, name: &Name, found: &rds::Database, cx: &Context<'_>) -> Result<Option<Target>, DatabaseError> {
        let engine = engine(&name.id, &found.engine)?;
        let answers = name.kind == Kind::Instance || !found.members.is_empty();
        let Some((host, port)) = found.endpoint.clone().filter(|_| answers) else { return Ok(None) };
        if !self.has_credentials(&name.id, found)? {
            return Ok(None);
        }
        let login = self.login(Some((&name.id, found)), cx).await?;
        Ok(Some(Target { host, port, engine, tls: self.tls, ca: self.ca.clone(), login }))
    }

    /// What a restore has left unfinished, on this instance or another.
    pub(super) fn unfinished(&self, name: &Name, found: &rds::Database, cx: &Context<'_>) -> Result<Option<Change>, DatabaseError> {
        let class = self.restore_from.as_ref().and_then(|from| from.member_class());
        if let (Kind::Cluster, true, true, Some(class)) = (name.kind, found.members.is_empty(), found.tags.contains_key(FROM), class) {
            let id = format!("{}-1", name.id);
            let mut tags = self.restore_from.as_ref().map_or(Ok(BTreeMap::new()), |from| rendered(&from.tags, cx))?;
            tags.extend(found.tags.get(FROM).map(|from| (FROM.to_owned(), from.clone())));
            let (cluster, engine) = (name.id.clone(), found.engine.clone());
            return Ok(Some(Change::AddMember(Member { id, cluster, class: render(&class, cx)?, engine, tags })));
        }
        let secret = self.credentials.is_some().then(|| self.secret().cloned()).filter(|_| is_pending(found));
        Ok(secret.map(|secret| Change::SetPassword { database: name.id.clone(), secret }))
    }

    /// The request for a database that does not exist.
    pub(super) async fn restoring(&self, name: &Name, cx: &Context<'_>) -> Result<Change, DatabaseError> {
        let Some(from) = &self.restore_from else {
            return Err(Unsuitable::Missing { kind: name.kind, id: name.id.clone() }.into());
        };
        let (snapshot, engine) = self.snapshot(name.kind, from, cx).await?;
        let mut tags = rendered(&from.tags, cx)?;
        tags.insert(FROM.into(), snapshot.clone());
        // Part of the restore itself, so that the remaining work is recorded even if this instance is terminated right
        // after it.
        if self.credentials.is_some() {
            tags.insert(PASSWORD.into(), PENDING.into());
        }
        let maybe = |text: &Option<Text>| text.as_ref().map(|text| render(text, cx)).transpose();
        Ok(Change::Restore(Box::new(Restore {
            kind: name.kind,
            id: name.id.clone(),
            snapshot,
            engine,
            class: maybe(&from.class)?,
            subnet_group: maybe(&from.subnet_group)?,
            security_groups: from.security_groups.iter().map(|group| render(group, cx)).collect::<Result<_, _>>()?,
            parameter_group: maybe(&from.parameter_group)?,
            scaling: from.serverless.as_ref().map(Serverless::scaling),
            tags,
        })))
    }

    /// The identifier of the snapshot and, if the restore needs it, its engine.
    async fn snapshot(&self, kind: Kind, from: &RestoreFrom, cx: &Context<'_>) -> Result<(String, String), DatabaseError> {
        let (id, tags) = match &from.snapshot {
            // The restore itself reports whether the snapshot exists.
            OrMap::Plain(id) if kind == Kind::Instance => return Ok((render(id, cx)?, String::new())),
            OrMap::Plain(id) => (Some(render(id, cx)?), BTreeMap::new()),
            OrMap::Map(newest) => (None, rendered(&newest.newest_with_tags, cx)?),
        };
        let query = SnapshotQuery { kind, id, tags };
        cx.asking("for RDS to say which snapshots there are");
        let newest = newest(&query, cx.world.aws.rds.snapshots(&query).await.map_err(DatabaseError::Rds)?)?;
        Ok((query.id.unwrap_or(newest.id), newest.engine))
    }
}

/// The newest available snapshot among those found.
fn newest(query: &SnapshotQuery, found: Vec<Snapshot>) -> Result<Snapshot, Unsuitable> {
    let (ready, others): (Vec<Snapshot>, Vec<Snapshot>) = found.into_iter().partition(|snapshot| snapshot.status == "available");
    let newest = ready.into_iter().max_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    newest.ok_or_else(|| Unsuitable::NoSnapshot { which: query.which(), others: others.len() })
}

fn render(text: &Text, cx: &Context<'_>) -> Result<String, DatabaseError> {
    cx.render(text).map(|rendered| rendered.expose().to_owned()).map_err(DatabaseError::Render)
}

fn rendered(tags: &BTreeMap<String, Text>, cx: &Context<'_>) -> Result<BTreeMap<String, String>, DatabaseError> {
    let mut rendered = BTreeMap::new();
    for (key, value) in tags {
        rendered.insert(key.clone(), render(value, cx)?);
    }
    Ok(rendered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::databases::Verdict;

    fn named(kind: Kind) -> Name {
        Name { kind, id: "shop".into(), made: false }
    }

    fn in_state(status: &str) -> rds::Database {
        rds::Database { status: status.into(), engine: "postgres".into(), ..rds::Database::default() }
    }

    #[test]
    fn goes_on_in_every_state_of_which_something_can_become() {
        for status in ["available", "backing-up", "creating", "modifying", "starting", "upgrading", "storage-optimization", "of tomorrow"] {
            assert_eq!(fit(&named(Kind::Instance), &in_state(status)), Ok(()), "{status}");
        }
        for status in ["failed", "incompatible-parameters", "stopped", "deleting", "storage-full", "inaccessible-encryption-credentials"] {
            assert!(fit(&named(Kind::Instance), &in_state(status)).is_err(), "{status}");
        }
        let other = rds::Database { engine: "oracle-ee".into(), ..in_state("available") };
        assert!(matches!(fit(&named(Kind::Instance), &other), Err(Unsuitable::Engine { .. })));
    }

    #[test]
    fn takes_the_newest_snapshot_that_is_whole() {
        let tags = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
        let query = SnapshotQuery { kind: Kind::Instance, id: None, tags: tags.clone() };
        let snapshot = |id: &str, created: &str, status: &str| Snapshot {
            id: id.into(),
            status: status.into(),
            created: created.into(),
            engine: "postgres".into(),
            tags: tags.clone(),
        };
        let all = vec![
            snapshot("old", "2026-01-01T00:00:00Z", "available"),
            snapshot("new", "2026-02-01T00:00:00Z", "available"),
            snapshot("newer", "2026-03-01T00:00:00Z", "creating"),
        ];
        assert_eq!(newest(&query, all.clone()).unwrap().id, "new");
        let none = newest(&query, all[2..].to_vec()).unwrap_err();
        assert_eq!(none.to_string(), "no snapshot with app=shop is available");
    }

    #[test]
    fn a_wrong_password_may_pass_while_another_is_on_its_way() {
        let said = |verdict| {
            let at = "db:5432".to_owned();
            Refusal::Said(crate::net::databases::Said { at, verdict, code: String::new(), message: String::new(), open: false })
        };
        let wrong = said(Verdict::WrongPassword);
        assert!(!may_pass(&wrong, &in_state("available")));
        assert!(may_pass(&wrong, &in_state("resetting-master-credentials")));
        assert!(may_pass(&wrong, &rds::Database { changes_password: true, ..in_state("available") }));
        assert!(!may_pass(&said(Verdict::NoDatabase), &in_state("modifying")));
    }
}
