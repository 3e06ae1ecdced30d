//! The master password of a restored database: that of the snapshot, until someone sets another.
//!
//! Only ever of a database that says in its own tags that ingot has restored it, and that this is still to be done. To set
//! it twice does no harm, so each instance of a fleet may try; the one that finds the login taken takes the tag away. Where it is
//! not certain that it was the database that has checked the password, that is RDS's word for having set it.

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

/// RDS has it in a state in which it takes no other password: that passes.
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
    // Until RDS shows that, the next look would find it undone.
    wait::seen(&name, |found| !decide::is_pending(found), cx).await
}

/// Sets the password to that of a secret, unless it is that already.
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
    // It is the server itself that says whether there is anything to change, if its word counts.
    match wait::until_login(name, found.clone(), target, false, wait).await {
        Ok(server) if server.checked_password => return Ok(()),
        Ok(_) => {}
        Err(DatabaseError::Refused(refusal)) if refusal.is_wrong_password() => {}
        Err(error) => return Err(error),
    }
    let cx = wait.context();
    // A server that is not verified cannot say so. That the tag is gone is RDS's word: another instance has set it.
    let is_done = async |found: &rds::Database| Ok(!decide::is_pending(found) || is_right(target, cx).await?);
    change(name, &MasterPassword::Given(login.password.clone()), &found.status, is_done, wait).await?;
    wait::until_login(name, found.clone(), target, true, wait).await.map(drop)
}

/// Has RDS manage the password, unless it does, once it has made the database.
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

/// Whether the password is right already: another instance has set it, or it is that of the snapshot.
async fn is_right(target: &Target, cx: &Context<'_>) -> Result<bool, DatabaseError> {
    match cx.net().databases.knock(target).await {
        Ok(server) => Ok(server.checked_password),
        Err(refusal) if refusal.is_transient() || refusal.is_wrong_password() => Ok(false),
        Err(refusal) => Err(DatabaseError::Refused(clean(refusal, cx))),
    }
}

/// Has RDS set the password, as soon as it is in a state to, unless that `is_done` by then. `status` is what RDS said last.
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
