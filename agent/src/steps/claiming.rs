//! Work that one instance of a fleet does for all of them, coordinated by a [claim](crate::net::claims) in S3.
//!
//! The other instances wait until the work is done, and fail with the same reason if it fails. The key of the claim
//! identifies the work: below `claims:` of the document, `once/APPLICATION/ENVIRONMENT/ADDRESS/RELEASE_SHA256`, or
//! `…/fleet` for what is done once for all releases.

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

/// The values that identify claims of a release; `release` is for display.
pub(crate) const OF_A_RELEASE: &[&str] = &["application", "environment", "release", "release_sha256"];
/// The values that identify claims of the fleet.
pub(crate) const OF_A_FLEET: &[&str] = &["application", "environment"];

/// Time reserved from the step's time to report the result to the other instances.
const TELLING: Duration = Duration::from_secs(2);

/// What a claim is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Release,
    Fleet,
}

impl Scope {
    /// Distinguishes this run from an earlier one: the digest of the release.
    ///
    /// # Errors
    ///
    /// If the value is not known.
    pub(crate) fn mark(self, cx: &Context<'_>) -> Result<String, ClaimingError> {
        match self {
            Self::Release => value("release_sha256", cx),
            Self::Fleet => Ok("fleet".into()),
        }
    }

    /// The display name of the claim's subject.
    fn label(self, cx: &Context<'_>) -> Result<String, ClaimingError> {
        match self {
            Self::Release => value("release", cx),
            Self::Fleet => Ok("the fleet".into()),
        }
    }
}

/// Does `work` here, or waits for the instance that does it; returns whether it was done here. `what` identifies the
/// work: an address, and possibly a part of it. `said` extracts from an error of the work the exit code, and the output
/// of the program.
///
/// # Errors
///
/// The errors of the work; or if the claim cannot be taken or is lost, or if the instance that held it failed.
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
        // The loss of the claim is the reason for the failure.
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

/// The object in S3 that represents the claim.
fn store(what: &str, scope: Scope, cx: &Context<'_>) -> Result<ClaimObject, ClaimingError> {
    let text = cx.siblings.claims().expect("the plan was checked for it");
    let prefix = cx.render(text).map_err(ClaimingError::Render)?;
    let prefix = Prefix::parse(prefix.expose()).map_err(ClaimingError::Place)?;
    let parts = [&value("application", cx)?, &value("environment", cx)?, what, &scope.mark(cx)?].map(key);
    Ok(ClaimObject { objects: cx.world.aws.objects.clone(), place: prefix.object(&format!("once/{}", parts.join("/"))) })
}

/// The prefix of a fleet's claims that have their own keys: `KIND/APPLICATION/ENVIRONMENT/` below `claims:`. `None` if
/// the document has no `claims:`.
///
/// # Errors
///
/// If it cannot be determined.
pub(crate) fn below(kind: &str, cx: &Context<'_>) -> Result<Option<String>, ClaimingError> {
    let Some(text) = cx.siblings.claims() else { return Ok(None) };
    let prefix = cx.render(text).map_err(ClaimingError::Render)?;
    let [application, environment] = [value("application", cx)?, value("environment", cx)?].map(|part| key(&part));
    let below = format!("{}{kind}/{application}/{environment}/", prefix.expose());
    // In a dry run, part of it may be a placeholder.
    if cx.world.known.placeholders().is_empty() {
        Prefix::parse(&below).map_err(ClaimingError::Place)?;
    }
    Ok(Some(below))
}

/// Takes the claim. `None` if another instance has already done the work.
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

/// The failure, as reported to the instances that wait. Contains no secrets.
fn failed(error: &dyn Failure, (exit, said): (Option<i32>, Option<&Excerpt>), cx: &Context<'_>) -> Ending {
    let Explanation { message, causes, .. } = Explanation::of(error);
    let why = if said.is_some() || causes.is_empty() { message } else { format!("{message}: {}", causes.join(": ")) };
    Ending::Failed { why: cx.redact(&why), exit, said: said.iter().flat_map(|said| said.lines().map(str::to_owned)).collect() }
}

/// The time for a program under a claim: some is reserved to report the result.
pub(crate) fn time_left(cx: &Context<'_>) -> Duration {
    let left = cx.time_left();
    left - TELLING.min(left / 4)
}

/// A value from the document.
fn value(name: &str, cx: &Context<'_>) -> Result<String, ClaimingError> {
    let value = cx.render(&Text::new(format!("{{{{values.{name}}}}}"))).map_err(ClaimingError::Render)?;
    match value.expose().trim() {
        "" => Err(ClaimingError::Empty { name: name.to_owned() }),
        value => Ok(value.to_owned()),
    }
}

/// A part of a key, escaped so that it contains no slash and does not name another directory.
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

/// Why something could not be done once for all.
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
