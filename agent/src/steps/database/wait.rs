//! Waits for RDS to create a database, and for the database to accept logins.
//!
//! Every wait has a limit and a displayed reason.
//!
//! RDS is queried rarely, because a fleet shares the account's quota, and only for what is not available elsewhere: the
//! endpoint, and whether creation has failed. From then on the database itself is tried, and often, because only it
//! knows when it accepts logins.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::decide;
use super::fields::Database;
use super::trouble::{DatabaseError, Unsuitable, clean, events};
use crate::aws::rds::{self, Member, Name, Restore};
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::net::databases::{Refusal, Server, Target, Verdict};
use crate::step::Context;

/// How often RDS is asked whether a wrong password may become correct.
const DOUBT: Duration = Duration::from_secs(3);

/// How long a change that RDS has accepted may stay invisible in its answers.
const UNSEEN: Duration = Duration::from_secs(60);

/// How often an unchanged wait is reported.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// The pause before the next attempt. Cheap attempts are made often, so that a database is found ready at most this
/// long after it is.
fn pause(refusal: &Refusal) -> Duration {
    Duration::from_millis(match refusal {
        Refusal::Name { .. } => 1_000,
        // The attempt itself has already taken seconds.
        Refusal::Silent { .. } => 0,
        // This costs a single packet.
        Refusal::Refused { .. } => 50,
        Refusal::Said(said) if said.verdict == Verdict::Full => 1_000,
        Refusal::Said(said) if said.verdict == Verdict::WrongPassword => 200,
        _ => 100,
    })
}

/// A wait in progress, and what was last reported about it.
pub(super) struct Wait<'a> {
    cx: &'a Context<'a>,
    begun: Duration,
    said: RefCell<(String, Duration)>,
}

impl<'a> Wait<'a> {
    pub(super) fn new(cx: &'a Context<'a>) -> Self {
        Self { cx, begun: cx.host().clock.elapsed(), said: RefCell::default() }
    }

    pub(super) fn context(&self) -> &'a Context<'a> {
        self.cx
    }

    /// Reports what RDS is asked for, unless a wait has already been reported, of which this query is only a part.
    pub(super) fn asking(&self, what: &str) {
        if self.said.borrow().0.is_empty() {
            self.cx.asking(format!("for RDS to {what}"));
        }
    }

    /// Reports it in any case.
    pub(super) fn asks(&self, what: &str) {
        self.said.take();
        self.asking(what);
    }

    fn waited(&self) -> Duration {
        self.cx.host().clock.elapsed().saturating_sub(self.begun)
    }

    /// Reports what is waited for, unless that was just reported, and sleeps. An error if no time is left.
    pub(super) async fn pause(&self, what: &str, hint: &dyn Fn() -> Option<String>, pause: Duration) -> Result<(), DatabaseError> {
        let (cx, waited) = (self.cx, self.waited());
        let left = cx.time_left();
        if left.is_zero() {
            return Err(DatabaseError::Late { what: what.to_owned(), waited, hint: hint() });
        }
        let is_new = {
            let said = self.said.borrow();
            said.0 != what || waited >= said.1 + SAY_AGAIN
        };
        if is_new {
            cx.waiting(format!("for {what}, {:?} so far", Duration::from_secs(waited.as_secs())));
            self.said.replace((what.to_owned(), waited));
        }
        cx.host().clock.sleep(pause.min(left)).await;
        Ok(())
    }
}

/// Asks RDS to restore a database, and waits until RDS lists it.
pub(super) async fn restore(restore: &Restore, cx: &Context<'_>) -> Result<(), DatabaseError> {
    cx.asking(format!("for RDS to accept the restore of {}", restore.id));
    taken_is_well(cx.world.aws.rds.restore(restore).await)?;
    let name = Name { kind: restore.kind, id: restore.id.clone(), made: true };
    seen(&name, |_| true, cx).await
}

/// Asks RDS for an instance in a cluster, and waits until RDS lists it.
pub(super) async fn add_member(member: &Member, cx: &Context<'_>) -> Result<(), DatabaseError> {
    cx.asking(format!("for RDS to accept the instance {}", member.id));
    taken_is_well(cx.world.aws.rds.add_member(member).await)?;
    let name = Name { kind: rds::Kind::Cluster, id: member.cluster.clone(), made: true };
    seen(&name, |cluster| !cluster.members.is_empty(), cx).await
}

/// Another instance of the fleet was faster, or the response to our request was lost: identifiers are unique.
fn taken_is_well(asked: Result<(), crate::aws::AwsError>) -> Result<(), DatabaseError> {
    match asked {
        Err(error) if matches!(error.code.as_str(), "DBInstanceAlreadyExists" | "DBClusterAlreadyExistsFault") => Ok(()),
        asked => asked.map_err(DatabaseError::Rds),
    }
}

/// Waits until RDS shows a database in the requested form.
pub(super) async fn seen(name: &Name, as_wanted: impl Fn(&rds::Database) -> bool, cx: &Context<'_>) -> Result<(), DatabaseError> {
    let wait = Wait::new(cx);
    let mut pauses = Backoff::DATABASE.pauses();
    loop {
        wait.asking(&format!("describe {}", name.id));
        match cx.world.aws.rds.database(name).await.map_err(DatabaseError::Rds)? {
            Some(found) if as_wanted(&found) => return Ok(()),
            None if wait.waited() >= UNSEEN => return Err(Unsuitable::Missing { kind: name.kind, id: name.id.clone() }.into()),
            _ => {}
        }
        wait.pause(&format!("RDS to show the change of {}", name.id), &|| None, pauses.next()).await?;
    }
}

/// Waits until a database accepts logins. Returns the target and the refusal if the password was refused and is not
/// known to be changing.
pub(super) async fn attempt(database: &Database, wait: &Wait<'_>) -> Result<Option<(Target, Refusal)>, DatabaseError> {
    let cx = wait.cx;
    let (target, knocked) = match database.name(cx)? {
        None => {
            let target = database.plain(database.login(None, cx).await?, cx)?;
            let status = RefCell::default();
            let knocked = knocking(&target.at(), &target, &status, async |_| Ok(false), wait).await;
            (target, knocked)
        }
        Some(name) => {
            let (found, target) = with_endpoint(database, &name, wait).await?;
            let knocked = until_login(&name, found, &target, true, wait).await;
            (target, knocked)
        }
    };
    match knocked {
        Ok(_) => Ok(None),
        Err(DatabaseError::Refused(refusal)) if refusal.is_wrong_password() && target.login.is_some() => Ok(Some((target, refusal))),
        Err(error) => Err(error),
    }
}

/// Waits until RDS reports the address of a database and its login is known.
pub(super) async fn with_endpoint(database: &Database, name: &Name, wait: &Wait<'_>) -> Result<(rds::Database, Target), DatabaseError> {
    let mut pauses = Backoff::DATABASE_OF_A_FLEET.pauses();
    loop {
        let found = described(name, wait).await?;
        decide::fit(name, &found)?;
        if let Some(target) = database.target(name, &found, wait.cx).await? {
            return Ok((found, target));
        }
        let what = match found.endpoint {
            Some(_) if !database.has_credentials(&name.id, &found)? => format!("RDS to create the secret of {}", name.id),
            _ => format!("RDS to create {} ({})", name.id, found.status),
        };
        let hint = || Some(format!("run `{}` to see what delays it, or set a longer `timeout:`", events(name.kind, &name.id)));
        wait.pause(&what, &hint, pauses.next()).await?;
    }
}

/// Waits until an RDS database accepts a login, and stops early if RDS reports that it never will. A wrong password is
/// waited for only with `hope`.
pub(super) async fn until_login(
    name: &Name,
    found: rds::Database,
    target: &Target,
    hope: bool,
    wait: &Wait<'_>,
) -> Result<Server, DatabaseError> {
    let cx = wait.cx;
    let status = RefCell::new(found.status);
    let doubted = Cell::new(None);
    // RDS knows whether a wrong password is about to change.
    let patient = async |refusal: &Refusal| {
        if !hope {
            return Ok(false);
        }
        let now = cx.host().clock.elapsed();
        if let Some(at) = doubted.get()
            && now < at + DOUBT
        {
            return Ok(true);
        }
        let found = match cx.world.aws.rds.database(name).await {
            Ok(found) => found.unwrap_or_default(),
            Err(error) if error.is_transient() => return Ok(true),
            Err(error) => return Err(DatabaseError::Rds(error)),
        };
        doubted.set(Some(now));
        status.replace(found.status.clone());
        Ok(decide::may_pass(refusal, &found))
    };
    let knocking = pin!(knocking(&name.id, target, &status, patient, wait));
    let asking = pin!(async {
        loop {
            cx.host().clock.sleep(Backoff::DATABASE_CHECK.pause(1, None)).await;
            // The database may work even if RDS does not answer.
            let Ok(found) = cx.world.aws.rds.database(name).await else { continue };
            let Some(found) = found else { return Unsuitable::Missing { kind: name.kind, id: name.id.clone() } };
            if let Err(hopeless) = decide::fit(name, &found) {
                return hopeless;
            }
            if let Some(hopeless) = without_members(&found, cx).await {
                return hopeless;
            }
            status.replace(found.status);
        }
    });
    match select(knocking, asking).await {
        Either::Left((knocked, _)) => knocked,
        Either::Right((hopeless, _)) => Err(hopeless.into()),
    }
}

/// What is wrong with the instances of a cluster, if no login will ever succeed on any of them. The cluster itself is
/// `available` in that case. A failed instance does not matter if another one works.
async fn without_members(cluster: &rds::Database, cx: &Context<'_>) -> Option<Unsuitable> {
    let mut hopeless = None;
    for id in &cluster.members {
        let name = Name { kind: rds::Kind::Instance, id: id.clone(), made: false };
        let member = cx.world.aws.rds.database(&name).await.ok().flatten()?;
        hopeless = Some(decide::fit(&name, &member).err()?);
    }
    hopeless
}

/// Reports a login attempt, because the database may accept the connection and not answer.
pub(super) fn knocks(name: &str, cx: &Context<'_>) {
    cx.waiting(format!("for {name} to accept logins (no response yet)"));
}

/// Attempts logins until one is accepted, or the refusal is final.
async fn knocking(
    name: &str,
    target: &Target,
    status: &RefCell<String>,
    patient: impl AsyncFn(&Refusal) -> Result<bool, DatabaseError>,
    wait: &Wait<'_>,
) -> Result<Server, DatabaseError> {
    knocks(name, wait.cx);
    loop {
        let refusal = match wait.cx.net().databases.knock(target).await {
            Ok(server) => return Ok(server),
            Err(refusal) => clean(refusal, wait.cx),
        };
        let hopes = refusal.is_transient() || refusal.is_wrong_password() && patient(&refusal).await?;
        if !hopes {
            return Err(DatabaseError::Refused(refusal));
        }
        let says = match status.borrow().as_str() {
            "" => String::new(),
            status => format!("; RDS: {status}"),
        };
        let what = format!("{name} to accept logins ({refusal}{says})");
        wait.pause(&what, &|| refusal.hint(), pause(&refusal)).await?;
    }
}

/// The description of a database that has to exist.
pub(super) async fn described(name: &Name, wait: &Wait<'_>) -> Result<rds::Database, DatabaseError> {
    wait.asking(&format!("describe {}", name.id));
    let found = wait.cx.world.aws.rds.database(name).await.map_err(DatabaseError::Rds)?;
    Ok(found.ok_or_else(|| Unsuitable::Missing { kind: name.kind, id: name.id.clone() })?)
}
