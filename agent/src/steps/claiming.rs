//! What one instance of a fleet does for all of them, by a [claim](crate::net::claims) in S3.
//!
//! The others wait until it has ended, and fail with its reason if it failed. The claim's key says what it is: below `claims:` of
//! the document, `once/APPLICATION/ENVIRONMENT/ADDRESS/RELEASE_SHA256`, or `…/fleet` for what is done once for all releases.

use std::fmt::Write as _;
use std::time::Duration;

use crate::aws::s3::{ClaimObject, Prefix};
use crate::failure::{Explanation, Failure, Objection};
use crate::host::Lease;
use crate::net::claims::held::Held;
use crate::net::claims::{ClaimError, Claimant, Ending, Taken, Wanter};
use crate::step::fields::Excerpt;
use crate::step::{Context, Progress};
use crate::template::TemplateError;
use crate::text::Text;

/// What claims of a release are told apart by, and what people call it.
pub(crate) const OF_A_RELEASE: &[&str] = &["application", "environment", "release", "release_sha256"];
/// The same for claims of the fleet.
pub(crate) const OF_A_FLEET: &[&str] = &["application", "environment"];

/// What is kept of a step's time, so that the others hear how it ended.
const TELLING: Duration = Duration::from_secs(2);

/// Whose claim it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Release,
    Fleet,
}

impl Scope {
    /// What tells this time from the one before: the digest of the release.
    ///
    /// # Errors
    ///
    /// If the value cannot be known.
    pub(crate) fn mark(self, cx: &Context<'_>) -> Result<String, ClaimingError> {
        match self {
            Self::Release => value("release_sha256", cx),
            Self::Fleet => Ok("fleet".into()),
        }
    }

    /// What is claimed, for people.
    fn label(self, cx: &Context<'_>) -> Result<String, ClaimingError> {
        match self {
            Self::Release => value("release", cx),
            Self::Fleet => Ok("the fleet".into()),
        }
    }
}

/// Does `work` here, or waits for the instance that does it; returns whether it was done here. `what` is an address, and what of
/// it; `said` is the exit code of an error of the work, and the cause that is what the program said.
///
/// # Errors
///
/// Those of the work; or if the claim cannot be taken or is lost, or if the instance that had it failed.
pub(crate) async fn once<E: Failure + From<ClaimingError>>(
    what: &str,
    scope: Scope,
    cx: &Context<'_>,
    work: impl AsyncFnOnce(Lease) -> Result<(), E>,
    said: fn(&E) -> (Option<i32>, Option<&Excerpt>),
) -> Result<bool, E> {
    let store = store(what, scope, cx)?;
    let clock = &*cx.host().clock;
    let attempt = format!("{}-{:016x}", clock.now().as_nanosecond(), fastrand::u64(..));
    let claimant = Claimant {
        store: &store,
        clock,
        me: Wanter { holder: cx.world.record.instance().to_owned(), attempt },
        release: scope.label(cx)?,
        until: cx.deadline,
        waiting: &|reason| cx.waiting(reason),
    };
    let Some(mut held) = taken(claimant, what, cx).await? else { return Ok(false) };
    let lease = Lease::of(held.lease());
    let mut done = None;
    {
        let work = std::pin::pin!(async { done = Some(work(lease.clone()).await) });
        held.during(&|left| lease.extend(left), work).await.map_err(ClaimingError::Claim)?;
    }
    let done = done.expect("it has ended");
    let told = held.end(done.as_ref().map_or_else(|error| failed(error, said(error), cx), |()| Ending::Done)).await;
    match (done, told) {
        // That is why it ended badly.
        (Err(_), Err(lost @ (ClaimError::Lost { .. } | ClaimError::TakenOver { .. } | ClaimError::Gone { .. }))) => {
            Err(ClaimingError::Claim(lost).into())
        }
        (Ok(()), told) => told.map(|()| true).map_err(|error| ClaimingError::Claim(error).into()),
        (Err(error), told) => {
            if let Err(untold) = told {
                cx.progress(Progress::Warning(Explanation::of(&untold).message));
            }
            Err(error)
        }
    }
}

/// The object that stands for it.
fn store(what: &str, scope: Scope, cx: &Context<'_>) -> Result<ClaimObject, ClaimingError> {
    let text = cx.siblings.claims().expect("the plan was checked for it");
    let prefix = cx.render(text).map_err(ClaimingError::Render)?;
    let prefix = Prefix::parse(prefix.expose()).map_err(ClaimingError::Place)?;
    let parts = [&value("application", cx)?, &value("environment", cx)?, what, &scope.mark(cx)?].map(key);
    Ok(ClaimObject { objects: cx.world.aws.objects.clone(), place: prefix.object(&format!("once/{}", parts.join("/"))) })
}

/// Where the claims of a fleet are that have keys of their own: `KIND/APPLICATION/ENVIRONMENT/` below `claims:`. `None` if the
/// document has none.
///
/// # Errors
///
/// If it cannot be known.
pub(crate) fn below(kind: &str, cx: &Context<'_>) -> Result<Option<String>, ClaimingError> {
    let Some(text) = cx.siblings.claims() else { return Ok(None) };
    let prefix = cx.render(text).map_err(ClaimingError::Render)?;
    let [application, environment] = [value("application", cx)?, value("environment", cx)?].map(|part| key(&part));
    let below = format!("{}{kind}/{application}/{environment}/", prefix.expose());
    // In a rehearsal, a placeholder may stand in for a part of it.
    if cx.world.known.placeholders().is_empty() {
        Prefix::parse(&below).map_err(ClaimingError::Place)?;
    }
    Ok(Some(below))
}

/// Takes the claim. `None` if another instance has done it.
async fn taken<'a>(claimant: Claimant<'a>, what: &str, cx: &Context<'_>) -> Result<Option<Held<'a>>, ClaimingError> {
    cx.asking(format!("for S3 to report which instance runs {what}"));
    let taken = claimant.take().await.map_err(ClaimingError::Claim)?;
    cx.answered();
    let by = match taken {
        Taken::Ours(held) => return Ok(Some(held)),
        Taken::Failed(claim, Ending::Failed { why, said, .. }) => {
            let said = said.into_iter().collect();
            return Err(ClaimingError::Failed { holder: claim.holder, release: claim.release, why, said });
        }
        Taken::Done(claim) | Taken::Failed(claim, Ending::Done) => claim,
    };
    cx.progress(Progress::Output(format!("{what} was run by {} for {}", by.holder, by.release)));
    Ok(None)
}

/// How it failed, for the instances that wait. Without secrets.
fn failed(error: &dyn Failure, (exit, said): (Option<i32>, Option<&Excerpt>), cx: &Context<'_>) -> Ending {
    let Explanation { message, causes, .. } = Explanation::of(error);
    let why = if said.is_some() || causes.is_empty() { message } else { format!("{message}: {}", causes.join(": ")) };
    Ending::Failed { why: cx.redact(&why), exit, said: said.iter().flat_map(|said| said.lines().map(str::to_owned)).collect() }
}

/// The time for a program under a claim: it has to be told how that ended.
pub(crate) fn time_left(cx: &Context<'_>) -> Duration {
    let left = cx.time_left();
    left - TELLING.min(left / 4)
}

/// A value of the document.
fn value(name: &str, cx: &Context<'_>) -> Result<String, ClaimingError> {
    let value = cx.render(&Text::new(format!("{{{{values.{name}}}}}"))).map_err(ClaimingError::Render)?;
    match value.expose().trim() {
        "" => Err(ClaimingError::Empty { name: name.to_owned() }),
        value => Ok(value.to_owned()),
    }
}

/// A part of a key, without a slash and without a name that means another directory.
pub(crate) fn key(part: &str) -> String {
    part.char_indices().fold(String::new(), |mut key, (at, character)| {
        match character {
            '.' if at == 0 => key.push_str("%2E"),
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => key.push(character),
            _ => character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| write!(key, "%{byte:02X}").expect("a string takes all")),
        }
        key
    })
}

/// Why something was not done once.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimingError {
    #[error("cannot render `claims:` and the values that it needs")]
    Render(#[source] TemplateError),
    #[error("`claims:` cannot be used: {0}")]
    Place(Objection),
    #[error("`values.{name}` is empty")]
    Empty { name: String },
    #[error(transparent)]
    Claim(ClaimError),
    #[error("{holder}, which did it for {release}, failed: {why}")]
    Failed {
        holder: String,
        release: String,
        why: String,
        #[source]
        said: Excerpt,
    },
}

impl Failure for ClaimingError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Render(source) => source.hint(),
            Self::Place(objection) => Some(objection.hint.clone()),
            Self::Empty { name } => Some(format!("give `{name}` a value under `values:`")),
            Self::Claim(source) => source.hint(),
            Self::Failed { holder, .. } => {
                Some(format!("read its whole output with `journalctl -t ingot` on {holder}; the next boot tries again"))
            }
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Claim(source) if source.is_unreachable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_nothing_that_is_not_a_name() {
        for (part, expected) in [
            ("commands.migrate", "commands.migrate"),
            ("commands.a b/../é", "commands.a%20b%2F..%2F%C3%A9"),
            ("..", "%2E."),
            ("shop", "shop"),
        ] {
            assert_eq!(key(part), expected);
        }
    }
}
