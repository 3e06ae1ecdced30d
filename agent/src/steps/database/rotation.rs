//! Handles refused passwords that may be in rotation: the secret and the server change seconds apart, in either order.
//!
//! The login is therefore retried for a while, and then the secret is read again. A refusal after that is final.
//! [`Known::replace_outputs`](crate::step::Known::replace_outputs) finds the steps that have used the old value in the
//! meantime.

use std::time::Duration;

use super::fields::Database;
use super::trouble::DatabaseError;
use super::wait::{self, Wait};
use crate::failure::Failure;
use crate::net::databases::{Refusal, Target};
use crate::step::Context;

/// How long the same password is retried: rotation by a Lambda function sets the server's password, tests it, and only
/// then marks the new version of the secret as current, in calls of a second or two each.
const PAUSES: [Duration; 4] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(3), Duration::from_secs(4)];

/// Waits until a database accepts logins, even if its password is being rotated.
pub(super) async fn until_ready(database: &Database, cx: &Context<'_>) -> Result<(), DatabaseError> {
    let wait = Wait::new(cx);
    let Some((target, refusal)) = wait::attempt(database, &wait).await? else { return Ok(()) };
    if outlast(database, &target, &refusal, &wait).await? {
        return Ok(());
    }
    let Some((other, refusal)) = wait::attempt(database, &wait).await? else { return Ok(()) };
    let has = if other.login == target.login { "the same password" } else { "another password, which is refused as well" };
    let again = format!("read again, {} has {has}", database.credentials_named());
    Err(DatabaseError::RefusedFinally { refusal, again })
}

/// Waits while a rotation may be in progress, and then reads the secret again. Returns whether the password was
/// accepted in the meantime.
///
/// # Errors
///
/// If the time is over, or the secret could not be read.
async fn outlast(database: &Database, target: &Target, refusal: &Refusal, wait: &Wait<'_>) -> Result<bool, DatabaseError> {
    let (cx, secret) = (wait.context(), database.credentials_named());
    // Part of the remaining time is reserved for the login with another password.
    let end = cx.time_left() / 2;
    for pause in PAUSES {
        if cx.time_left() < end + pause {
            break;
        }
        let what = format!("{secret} or its server to change, in case of a rotation ({refusal})");
        wait.pause(&what, &|| refusal.hint(), pause).await?;
        if cx.net().databases.knock(target).await.is_ok() {
            return Ok(true);
        }
    }
    let unread = |why| DatabaseError::RefusedFinally { refusal: refusal.clone(), again: format!("{secret} cannot be read again: {why}") };
    database.read_again(cx).await.map(|()| false).map_err(unread)
}
