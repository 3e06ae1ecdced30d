//! RDS, in memory: a restored database appears in the machine's network.
//!
//! States advance with the machine's clock: `creating` without an endpoint, `creating` with one, `backing-up`,
//! `available`. A restored database accepts logins some time after it gets its endpoint. Its password is unknown until
//! it is set.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::calls::Calls;
use crate::aws::client::call::Call;
use crate::aws::rds::codes::ABSENT;
use crate::aws::rds::{Database, Kind, MasterPassword, MasterSecret, Member, Name, Rds, Restore, SERVICE, Snapshot, SnapshotQuery};
use crate::aws::{AwsError, AwsErrorKind};
use crate::fake::machine::{FakeDatabase, FakeMachine};
use crate::host::Clock as _;
use crate::text::SecretText;

/// The password that a snapshot contains. No document has it.
const OF_SNAPSHOT: &str = "the password of the snapshot";

/// The password that RDS sets for a master user whose password it manages.
pub(crate) const BY_RDS: &str = "a password by RDS";

/// The secret in which RDS stores that password.
pub(crate) fn managed(id: &str) -> String {
    format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-{id}")
}

/// RDS as one instance sees it.
pub(crate) struct FakeRds {
    machine: FakeMachine,
    region: String,
    /// Whether snapshots, and databases that nothing creates, are made up, as in a rehearsal.
    inventing: bool,
    calls: Calls,
    account: RefCell<Account>,
    pace: RefCell<Pace>,
    trouble: RefCell<Trouble>,
}

#[derive(Default)]
struct Account {
    snapshots: BTreeMap<(Kind, String), Snapshot>,
    databases: BTreeMap<(Kind, String), Held>,
}

struct Held {
    database: Database,
    made_at: Duration,
    pace: Pace,
}

/// When a restored database reaches each state, counted from its restore.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    pub(crate) endpoint: Duration,
    pub(crate) logins: Duration,
    pub(crate) available: Duration,
    /// Its final state, if that is not `available`.
    pub(crate) ends_in: Option<String>,
}

#[derive(Default)]
struct Trouble {
    /// Actions that fail, with the error code and the number of calls.
    failures: BTreeMap<String, (String, usize)>,
    /// Actions that take effect but whose answers never arrive, and for how many calls.
    lost: BTreeMap<String, usize>,
    /// The number of the description from which on RDS no longer manages a password.
    unmanaged_from: Option<usize>,
}

impl FakeRds {
    /// An empty account.
    pub(crate) fn new(machine: FakeMachine, region: &str) -> Self {
        Self {
            machine,
            region: region.into(),
            inventing: false,
            calls: Calls::default(),
            account: RefCell::default(),
            pace: RefCell::default(),
            trouble: RefCell::default(),
        }
    }

    /// Makes up what was never put in, for `ingot dry-run`.
    pub(crate) fn inventing(mut self) -> Self {
        self.inventing = true;
        self
    }

    pub(crate) fn with_snapshot(self, kind: Kind, snapshot: Snapshot) -> Self {
        self.account.borrow_mut().snapshots.insert((kind, snapshot.id.clone()), snapshot);
        self
    }

    /// Adds a database that accepts logins with `password`, or with any password.
    pub(crate) fn with_database(self, kind: Kind, id: &str, database: Database, password: Option<SecretText>) -> Self {
        self.put(kind, id, database, password, Pace::default());
        self
    }

    /// Adds a database that advances at this pace.
    pub(crate) fn with_database_of(self, kind: Kind, id: &str, database: Database, pace: Pace) -> Self {
        self.put(kind, id, database, None, pace);
        self
    }

    /// A database in its current state.
    pub(crate) fn now(&self, kind: Kind, id: &str) -> Option<Database> {
        let now = self.machine.elapsed();
        self.account.borrow().databases.get(&(kind, id.to_owned())).map(|held| held.at(now))
    }

    /// How often an action was called.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.calls.count(operation)
    }

    /// Sets how fast databases are restored from now on; the default is immediately.
    pub(crate) fn set_pace(&self, pace: Pace) {
        self.pace.replace(pace);
    }

    /// Makes the next `times` calls of an action fail with an RDS error code.
    pub(crate) fn fail(&self, operation: &str, code: &str, times: usize) {
        self.trouble.borrow_mut().failures.insert(operation.into(), (code.into(), times));
    }

    /// Makes the next `times` calls of an action take effect without an answer.
    pub(crate) fn lose_answers(&self, operation: &str, times: usize) {
        self.trouble.borrow_mut().lost.insert(operation.into(), times);
    }

    /// Stops RDS from managing passwords once instances have been described this many times.
    pub(crate) fn stop_managing_after(&self, descriptions: usize) {
        self.trouble.borrow_mut().unmanaged_from = Some(descriptions + 1);
    }

    fn put(&self, kind: Kind, id: &str, database: Database, password: Option<SecretText>, pace: Pace) {
        let engine = database.engine.as_str();
        let port = if engine.contains("postgres") { 5432 } else { 3306 };
        let word = match kind {
            Kind::Instance => "db",
            Kind::Cluster => "cluster",
        };
        let host = |role: &str| format!("{id}.{role}made-up.{}.rds.amazonaws.com", self.region);
        let database = Database {
            arn: format!("arn:aws:rds:{}:123456789012:{word}:{id}", self.region),
            endpoint: Some((host(if kind == Kind::Cluster { "cluster-" } else { "" }), port)),
            reader_endpoint: (kind == Kind::Cluster).then(|| host("cluster-ro-")),
            resource_id: format!("{word}-{}", id.to_uppercase()),
            ..database
        };
        let made_at = self.machine.elapsed();
        let server = FakeDatabase { up_at: made_at + pace.logins, password, refusal: None, is_doubtful: false };
        self.machine.network().serve(&at(&database), server);
        self.account.borrow_mut().databases.insert((kind, id.to_owned()), Held { database, made_at, pace });
    }

    async fn begin(&self, call: &Call) -> Result<(), AwsError> {
        self.machine.alive().await;
        self.calls.begin(call.service, call.operation, std::slice::from_ref(&call.resource)).await?;
        match self.trouble.borrow_mut().failures.get_mut(call.operation) {
            Some((code, left)) if *left > 0 => {
                *left -= 1;
                Err(refused(call, code, "it was to fail"))
            }
            _ => Ok(()),
        }
    }

    /// Makes a change of the account that counts as one change by this process.
    async fn change(&self, call: &Call, change: impl FnOnce() -> Result<(), AwsError>) -> Result<(), AwsError> {
        self.begin(call).await?;
        let mut outcome = None;
        let ended = self.machine.change(|| {
            let made = change();
            let changed = made.is_ok();
            outcome = Some(made);
            Ok(changed)
        });
        ended.await.map_err(|error| call.error(AwsErrorKind::Unreachable, error.to_string()))?;
        outcome.expect("a change that ended was made")?;
        match self.trouble.borrow_mut().lost.get_mut(call.operation) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Err(call.error(AwsErrorKind::Unreachable, "connection reset"))
            }
            _ => Ok(()),
        }
    }

    fn holds(&self, kind: Kind, id: &str) -> bool {
        self.account.borrow().databases.contains_key(&(kind, id.to_owned()))
    }
}

#[async_trait(?Send)]
impl Rds for FakeRds {
    async fn database(&self, name: &Name) -> Result<Option<Database>, AwsError> {
        self.begin(&name.call("DescribeDBInstances", "DescribeDBClusters")).await?;
        if self.inventing && !name.made && !self.holds(name.kind, &name.id) {
            let engine = if name.kind == Kind::Cluster { "aurora-postgresql" } else { "postgres" };
            let members = vec![format!("{}-1", name.id)];
            // Whether managed or not, its password is unknown.
            let master_secret = Some(MasterSecret { arn: String::new(), status: "active".into() });
            let database = Database { engine: engine.into(), version: "17.4".into(), members, master_secret, ..Database::default() };
            self.put(name.kind, &name.id, database, None, Pace::default());
        }
        let unmanaged = self.trouble.borrow().unmanaged_from.is_some_and(|from| self.count("DescribeDBInstances") >= from);
        Ok(self.now(name.kind, &name.id).map(|found| match unmanaged {
            true => Database { master_secret: None, ..found },
            false => found,
        }))
    }

    async fn snapshots(&self, query: &SnapshotQuery) -> Result<Vec<Snapshot>, AwsError> {
        let call = query.call();
        self.begin(&call).await?;
        let account = self.account.borrow();
        let of_kind = account.snapshots.iter().filter(|((kind, _), _)| *kind == query.kind).map(|(_, snapshot)| snapshot);
        let meant = |snapshot: &&Snapshot| query.id.as_ref().is_none_or(|id| snapshot.id == *id) && query.takes(&snapshot.tags);
        let found: Vec<Snapshot> = of_kind.filter(meant).cloned().collect();
        match &query.id {
            None if found.is_empty() && self.inventing => Ok(vec![made_up(query.kind, &format!("<the newest {}>", query.which()))]),
            Some(id) if found.is_empty() && self.inventing => Ok(vec![made_up(query.kind, id)]),
            Some(id) if found.is_empty() => {
                let code = if query.kind == Kind::Instance { "DBSnapshotNotFound" } else { "DBClusterSnapshotNotFoundFault" };
                Err(refused(&call, code, &format!("{id} not found.")))
            }
            _ => Ok(found),
        }
    }

    async fn restore(&self, restore: &Restore) -> Result<(), AwsError> {
        let Restore { kind, id, snapshot, engine, tags, .. } = restore;
        let call = restore.call();
        let pace = self.pace.borrow().clone();
        self.change(&call, || {
            if self.holds(*kind, id) {
                let code = if *kind == Kind::Instance { "DBInstanceAlreadyExists" } else { "DBClusterAlreadyExistsFault" };
                return Err(refused(&call, code, "DB instance already exists"));
            }
            let known = self.account.borrow().snapshots.get(&(*kind, snapshot.clone())).cloned();
            let known = known.or_else(|| self.inventing.then(|| made_up(*kind, snapshot)));
            let known = known.ok_or_else(|| refused(&call, "DBSnapshotNotFound", &format!("{snapshot} not found.")))?;
            let engine = if engine.is_empty() { known.engine } else { engine.clone() };
            let master_user = known.tags.get("master").cloned().unwrap_or_default();
            let database = Database { engine, version: "17.4".into(), master_user, tags: tags.clone(), ..Database::default() };
            self.put(*kind, id, database, Some(OF_SNAPSHOT.into()), pace);
            Ok(())
        })
        .await
    }

    async fn add_member(&self, member: &Member) -> Result<(), AwsError> {
        let call = Call::new(SERVICE, "CreateDBInstance", &member.id);
        self.change(&call, || {
            let mut account = self.account.borrow_mut();
            let held = account.databases.get_mut(&(Kind::Cluster, member.cluster.clone()));
            let held = held.ok_or_else(|| refused(&call, ABSENT[1], "no such cluster"))?;
            if held.database.members.contains(&member.id) {
                return Err(refused(&call, "DBInstanceAlreadyExists", "DB instance already exists"));
            }
            held.database.members.push(member.id.clone());
            Ok(())
        })
        .await
    }

    async fn set_password(&self, name: &Name, password: &MasterPassword) -> Result<(), AwsError> {
        let call = name.call("ModifyDBInstance", "ModifyDBCluster");
        self.change(&call, || {
            let database = self.now(name.kind, &name.id).ok_or_else(|| refused(&call, ABSENT[0], "no such database"))?;
            if database.status == "creating" {
                return Err(refused(&call, "InvalidDBInstanceState", "it is creating"));
            }
            let given = match password {
                MasterPassword::Given(password) => password.clone(),
                MasterPassword::Managed => {
                    let arn = if self.inventing { String::new() } else { managed(&name.id) };
                    let mut account = self.account.borrow_mut();
                    let held = account.databases.get_mut(&(name.kind, name.id.clone()));
                    let held = held.ok_or_else(|| refused(&call, ABSENT[0], "no such database"))?;
                    held.database.master_secret = Some(MasterSecret { arn, status: "active".into() });
                    BY_RDS.into()
                }
            };
            self.machine.network().change(&at(&database), |server| server.password = Some(given));
            Ok(())
        })
        .await
    }

    async fn remove_tag(&self, arn: &str, key: &str) -> Result<(), AwsError> {
        let call = Call::new(SERVICE, "RemoveTagsFromResource", arn);
        self.change(&call, || {
            let mut account = self.account.borrow_mut();
            let held = account.databases.values_mut().find(|held| held.database.arn == arn);
            held.ok_or_else(|| refused(&call, ABSENT[0], "no such database"))?.database.tags.remove(key);
            Ok(())
        })
        .await
    }
}

impl Held {
    fn at(&self, now: Duration) -> Database {
        let Self { database, made_at, pace } = self;
        let age = now.saturating_sub(*made_at);
        let status = match &pace.ends_in {
            _ if age < pace.endpoint => "creating",
            Some(end) if age >= pace.available => end,
            _ if age < pace.available => "backing-up",
            _ => "available",
        };
        let endpoint = database.endpoint.clone().filter(|_| age >= pace.endpoint);
        Database { status: status.into(), endpoint, ..database.clone() }
    }
}

/// The `host:port` of its server.
fn at(database: &Database) -> String {
    database.endpoint.as_ref().map_or_else(String::new, |(host, port)| format!("{host}:{port}"))
}

fn made_up(kind: Kind, id: &str) -> Snapshot {
    let engine = if kind == Kind::Cluster { "aurora-postgresql" } else { "postgres" };
    let created = "2026-01-01T00:00:00.000Z".into();
    Snapshot { id: id.into(), status: "available".into(), created, engine: engine.into(), tags: BTreeMap::new() }
}

fn refused(call: &Call, code: &str, message: &str) -> AwsError {
    call.refused(Some(code), Some(message), Some(400))
}
