//! The master password of a restored database: that of the snapshot, until ingot sets another one.
//!
//! It is only set on a database whose own tags say that ingot has restored it and that this is still to be done.
//! Setting it twice is harmless, so every instance of a fleet may try; the one whose login succeeds removes the tag. If
//! it is not certain that the database itself checked the password, RDS has to confirm that the password was set.

use super::decide::{self, PASSWORD};
use super::fields::Database;
use super::trouble::{DatabaseError, Unsuitable, clean};
use super::wait::{self, Wait};
use crate::address::Address;
use crate::aws::rds::{self, MasterPassword, Name};
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::net::databases::{Login, Target};
use crate::step::Context;

/// RDS error codes for a state in which it accepts no new password; the state is transient.
const BUSY: [&str; 2] = ["InvalidDBInstanceState", "InvalidDBClusterStateFault"];

pub(super) async fn set(database: &Database, cx: &Context<'_>) -> Result<(), DatabaseError> {
    let Some(name) = database.name(cx)? else { return Ok(()) };
    let wait = Wait::new(cx);
    if database.is_managed() {
        have_managed(&name, &wait).await?;
    }
    let (found, target) = wait::with_endpoint(database, &name, &wait).await?;
    if let Some(login) = &target.login {
        match database.secret() {
            Some(secret) => set_to(login, secret, &name, &found, &target, &wait).await?,
            None => drop(wait::until_login(&name, found.clone(), &target, true, &wait).await?),
        }
    }
    cx.asking(format!("for RDS to note that {} has its password", name.id));
    cx.world.aws.rds.remove_tag(&found.arn, PASSWORD).await.map_err(DatabaseError::Rds)?;
    // Until RDS shows the change, the next inspection would find the password unset.
    wait::seen(&name, |found| !decide::is_pending(found), cx).await
}

/// Sets the password to that of a secret, unless it already is.
async fn set_to(
    login: &Login,
    secret: &Address,
    name: &Name,
    found: &rds::Database,
    target: &Target,
    wait: &Wait<'_>,
) -> Result<(), DatabaseError> {
    if !found.master_user.is_empty() && login.user.expose() != found.master_user {
        let (id, master) = (name.id.clone(), found.master_user.clone());
        return Err(Unsuitable::MasterUser { id, master, secret: secret.clone() }.into());
    }
    // The server itself knows whether anything has to change, if its answer can be trusted.
    match wait::until_login(name, found.clone(), target, false, wait).await {
        Ok(server) if server.checked_password => return Ok(()),
        Ok(_) => {}
        Err(DatabaseError::Refused(refusal)) if refusal.is_wrong_password() => {}
        Err(error) => return Err(error),
    }
    let cx = wait.context();
    // An unverified server cannot be trusted in this. If the tag is gone, RDS confirms it: another instance has set the
    // password.
    let is_done = async |found: &rds::Database| Ok(!decide::is_pending(found) || is_right(target, cx).await?);
    change(name, &MasterPassword::Given(login.password.clone()), &found.status, is_done, wait).await?;
    wait::until_login(name, found.clone(), target, true, wait).await.map(drop)
}

/// Makes RDS manage the password, unless it already does, once it has created the database.
async fn have_managed(name: &Name, wait: &Wait<'_>) -> Result<(), DatabaseError> {
    let mut pauses = Backoff::DATABASE_OF_A_FLEET.pauses();
    let found = loop {
        let found = wait::described(name, wait).await?;
        decide::fit(name, &found)?;
        if found.endpoint.is_some() {
            break found;
        }
        wait.pause(&format!("RDS to make {} ({})", name.id, found.status), &|| None, pauses.next()).await?;
    };
    match found.master_secret {
        Some(_) => Ok(()),
        None => change(name, &MasterPassword::Managed, &found.status, async |found| Ok(found.master_secret.is_some()), wait).await,
    }
}

/// Whether the password is already correct: another instance has set it, or it is that of the snapshot.
async fn is_right(target: &Target, cx: &Context<'_>) -> Result<bool, DatabaseError> {
    match cx.net().databases.knock(target).await {
        Ok(server) => Ok(server.checked_password),
        Err(refusal) if refusal.is_transient() || refusal.is_wrong_password() => Ok(false),
        Err(refusal) => Err(DatabaseError::Refused(clean(refusal, cx))),
    }
}

/// Makes RDS set the password as soon as its state permits, unless `is_done` by then. `status` is the last state that
/// RDS reported.
async fn change(
    name: &Name,
    password: &MasterPassword,
    status: &str,
    is_done: impl AsyncFn(&rds::Database) -> Result<bool, DatabaseError>,
    wait: &Wait<'_>,
) -> Result<(), DatabaseError> {
    let cx = wait.context();
    let (mut pauses, mut status) = (Backoff::DATABASE.pauses(), status.to_owned());
    wait.asks(&format!("take the password of {}", name.id));
    loop {
        let busy = match cx.world.aws.rds.set_password(name, password).await {
            Ok(()) => return Ok(()),
            Err(error) if BUSY.contains(&error.code.as_str()) => error,
            Err(error) => return Err(DatabaseError::Rds(error)),
        };
        let what = format!("{} to be in a state to get its password ({status})", name.id);
        wait.pause(&what, &|| busy.hint(), pauses.next()).await?;
        let found = wait::described(name, wait).await?;
        decide::fit(name, &found)?;
        if is_done(&found).await? {
            return Ok(());
        }
        status = found.status;
    }
}
