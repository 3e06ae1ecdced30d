//! Lets the first message of each due time through, and no other.

use std::time::Duration;

use super::claim::{Admission, Claim, State, admission};
use super::errand::not_a_claim;
use super::{Claims, Cron, MARK};
use crate::aws::s3::ClaimObject;
use crate::aws::sqs::Message;
use crate::backoff::Backoff;
use crate::failure::Explanation;
use crate::net::claims::Store as _;
use crate::steps::worker::cron::LONGEST_NAME;

/// How long a message is kept while S3 does not answer, before it goes back. It occupies a
/// place that another message could have.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whether a message may be posted.
#[derive(Debug)]
pub(in crate::worker) enum Admitted {
    Yes,
    /// Another message for the same due time is or was posted.
    Never,
    /// It cannot be determined now.
    NotYet(Explanation),
}

impl Cron {
    /// Claims the due time of a periodic message for it. All other messages may be posted.
    pub(in crate::worker) async fn admits(&self, message: &Message) -> Admitted {
        let Some((store, claims)) = self.due_time(message) else { return Admitted::Yes };
        let mark = message.text(MARK).unwrap_or(&message.id);
        let (clock, mut tries) = (&*self.host.clock, 0);
        let until = clock.elapsed() + PATIENCE;
        loop {
            let looked = tokio::select! {
                biased;
                looked = self.look(&store, claims, mark) => looked,
                () = clock.sleep(until.saturating_sub(clock.elapsed())) => {
                    return Admitted::NotYet(Explanation::new(format!("S3 has not answered for {PATIENCE:?}"), None));
                }
            };
            let why = match looked {
                Ok(Some(admitted)) => return admitted,
                // Another instance wrote first: look again.
                Ok(None) => None,
                Err(why) => Some(why),
            };
            tries += 1;
            let transient = why.as_ref().is_none_or(|why| why.transient);
            let pause = if transient { Backoff::CALL } else { Backoff::REFUSED }.pause(tries, None);
            if let Some(why) = why.filter(|_| clock.elapsed() + pause > until) {
                return Admitted::NotYet(why);
            }
            clock.sleep(pause).await;
        }
    }

    async fn look(&self, store: &ClaimObject, claims: &Claims, mark: &str) -> Result<Option<Admitted>, Explanation> {
        let seen = store.look().await?;
        let over = match admission(seen.as_ref(), mark).ok_or_else(|| not_a_claim(&store.name()))? {
            Admission::Post => return Ok(Some(Admitted::Yes)),
            Admission::Delete => return Ok(Some(Admitted::Never)),
            Admission::Claim(over) => over,
        };
        let posted = Claim { state: State::Posted, holder: claims.holder.clone(), mark: mark.to_owned() };
        Ok(store.write(posted.written(), over.as_deref()).await?.map(|_| Admitted::Yes))
    }

    /// The claim of the message's due time. `None` unless it is for a task of this worker, or was sent by a worker.
    fn due_time(&self, message: &Message) -> Option<(ClaimObject, &Claims)> {
        let claims = self.claims.as_ref()?;
        message.text("beanstalk.sqsd.path")?;
        let task = message.text("beanstalk.sqsd.task_name").filter(|task| task.len() <= LONGEST_NAME)?;
        let at = time(message.text("beanstalk.sqsd.scheduled_time")?)?;
        let is_known = message.text(MARK).is_some() || self.timetable.borrow().has(task);
        is_known.then(|| (self.object(claims, task, &at), claims))
    }
}

/// `2026-11-30 02:30:00 UTC` in the form that the name of a claim contains.
fn time(scheduled: &str) -> Option<String> {
    let bare = scheduled.strip_suffix(" UTC").filter(|bare| bare.len() == 19)?;
    let is_time = bare.bytes().zip("0000-00-00 00:00:00".bytes()).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        shape => byte == shape,
    });
    is_time.then(|| format!("{}Z", bare.replacen(' ', "T", 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_messages_are_those_of_claims() {
        assert_eq!(time("2026-11-30 02:30:00 UTC").as_deref(), Some("2026-11-30T02:30:00Z"));
        for wrong in ["2026-11-30T02:30:00Z", "2026-11-30 02:30:00", "2026-11-30 02:30:0/ UTC", "tomorrow UTC", " UTC"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }
}
