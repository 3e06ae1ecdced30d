//! The master password of a restored database: that of the snapshot, until somebody sets another.
//!
//! Only ever of a database that says in its own tags that ingot has restored it, and that this is still to be done. To set
//! it twice is no harm, so each instance of a fleet may try; the one that finds the login taken takes the tag away.

use super::decide::{self, PASSWORD};
use super::fields::Database;
use super::trouble::{DatabaseError, Unsuitable, clean};
use super::wait::{self, Wait};
use crate::aws::rds::Name;
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::net::databases::{Login, Target, Verdict};
use crate::step::Context;

/// RDS has it in a state in which it takes no other password: that passes.
const BUSY: [&str; 2] = ["InvalidDBInstanceState", "InvalidDBClusterStateFault"];

pub(super) async fn set(database: &Database, cx: &Context<'_>) -> Result<(), DatabaseError> {
    let Some(name) = database.name(cx)? else { return Ok(()) };
    let login = database.login(cx)?;
    let wait = Wait::new(cx);
    let (found, target) = wait::with_endpoint(database, &name, login.clone(), &wait).await?;
    if let (Some(login), Some(secret)) = (&login, database.secret()) {
        if !found.master_user.is_empty() && login.user.expose() != found.master_user {
            let (id, master) = (name.id.clone(), found.master_user.clone());
            return Err(Unsuitable::MasterUser { id, master, secret: secret.clone() }.into());
        }
        // It is the server itself that says whether there is anything to change.
        match wait::until_login(&name, found.clone(), &target, false, &wait).await {
            Ok(_) => {}
            Err(DatabaseError::Refused(refusal)) if refusal.verdict() == Some(Verdict::WrongPassword) => {
                change(&name, login, &target, &wait).await?;
                wait::until_login(&name, found.clone(), &target, true, &wait).await?;
            }
            Err(error) => return Err(error),
        }
    }
    cx.world.aws.rds.remove_tag(&found.arn, PASSWORD).await.map_err(DatabaseError::Rds)?;
    // Until RDS shows that, the next look would find it undone.
    wait::seen(&name, |found| !decide::is_pending(found), cx).await
}

/// Whether the password is right already: another instance has set it, or it is that of the snapshot.
async fn is_right(target: &Target, cx: &Context<'_>) -> Result<bool, DatabaseError> {
    match cx.net().databases.knock(target).await {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.is_transient() || refusal.verdict() == Some(Verdict::WrongPassword) => Ok(false),
        Err(refusal) => Err(DatabaseError::Refused(clean(refusal, cx))),
    }
}

/// Has RDS set the password, as soon as it is in a state to.
async fn change(name: &Name, login: &Login, target: &Target, wait: &Wait<'_>) -> Result<(), DatabaseError> {
    let cx = wait.context();
    let mut pauses = Backoff::DATABASE.pauses();
    loop {
        let busy = match cx.world.aws.rds.set_password(name, &login.password).await {
            Ok(()) => return Ok(()),
            Err(error) if BUSY.contains(&error.code.as_str()) => error,
            Err(error) => return Err(DatabaseError::Rds(error)),
        };
        let found = wait::described(name, cx).await?;
        decide::fit(name, &found)?;
        let what = format!("{} to be in a state to get its password ({})", name.id, found.status);
        wait.pause(&what, &|| busy.hint(), pauses.next()).await?;
        if is_right(target, cx).await? {
            return Ok(());
        }
    }
}
