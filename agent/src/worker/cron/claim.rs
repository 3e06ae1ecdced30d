//! The claim of a due time: an object in S3, which the sender of the message and its receiver
//! only write with conditions. Pure.
//!
//! ```json
//! { "version": 1, "state": "posted", "holder": "i-0abc…", "mark": "4f1c…" }
//! ```
//!
//! | state | |
//! |---|---|
//! | `claimed` | an instance is about to send the message; `mark` identifies that attempt |
//! | `sent` | the message has been sent; `mark` identifies it |
//! | `posted` | the application gets the message that `mark` identifies, repeatedly if needed; others are deleted |
//!
//! An instance that dies between two states has changed nothing but this object, and has sent one message at most:
//! another instance sends it again, and one of the two is posted.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::json::of_bytes;
use crate::net::claims::Seen;

const VERSION: u64 = 1;

/// How long the holder of a claim has to send its message and mark it as sent, by the clock of S3.
pub(super) const STALE_AFTER: Duration = Duration::from_secs(30);

/// The state of a due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Claimed,
    Sent,
    Posted,
}

/// A claim of a due time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) state: State,
    /// The instance that wrote the claim.
    pub(super) holder: String,
    pub(super) mark: String,
}

impl Claim {
    pub(super) fn written(&self) -> Bytes {
        let state = match self.state {
            State::Claimed => "claimed",
            State::Sent => "sent",
            State::Posted => "posted",
        };
        json!({ "version": VERSION, "state": state, "holder": self.holder, "mark": self.mark }).to_string().into()
    }

    /// `None` if it is not a claim, or was written by a later version of ingot.
    fn parse(body: &[u8]) -> Option<Self> {
        let object: Value = of_bytes(body).ok()?;
        let text = |name: &str| object[name].as_str().filter(|_| object["version"].as_u64() == Some(VERSION));
        let state = match text("state")? {
            "claimed" => State::Claimed,
            "sent" => State::Sent,
            "posted" => State::Posted,
            _ => return None,
        };
        Some(Self { state, holder: text("holder")?.to_owned(), mark: text("mark")?.to_owned() })
    }
}

/// What an instance that wants to send a message has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Write a claim, replacing the one with this ETag if there is one.
    Claim(Option<String>),
    /// Send the message: the claim with this ETag is ours.
    Send(String),
    /// Another instance has claimed the time. Look again after this.
    Wait(Duration),
    Done,
}

/// `None` if the object is not a claim. `mark` identifies our attempt.
pub(super) fn next(seen: Option<&Seen>, mark: &str) -> Option<Next> {
    let Some(seen) = seen else { return Some(Next::Claim(None)) };
    let claim = Claim::parse(&seen.body)?;
    let age = seen.date.duration_since(seen.modified).unwrap_or_default();
    Some(match claim.state {
        State::Claimed if claim.mark == mark => Next::Send(seen.etag.clone()),
        State::Claimed if age >= STALE_AFTER => Next::Claim(Some(seen.etag.clone())),
        State::Claimed => Next::Wait(STALE_AFTER - age),
        State::Sent | State::Posted => Next::Done,
    })
}

/// What an instance that has received a message has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Claim the time for this message, replacing the claim with this ETag if there is one.
    Claim(Option<String>),
    /// Post the message: the claim is for it.
    Post,
    /// Delete the message: the claim is for another one.
    Delete,
}

/// As [`next`]; `mark` identifies the message.
pub(super) fn admission(seen: Option<&Seen>, mark: &str) -> Option<Admission> {
    let Some(seen) = seen else { return Some(Admission::Claim(None)) };
    let claim = Claim::parse(&seen.body)?;
    Some(match claim.state {
        State::Claimed | State::Sent => Admission::Claim(Some(seen.etag.clone())),
        State::Posted if claim.mark == mark => Admission::Post,
        State::Posted => Admission::Delete,
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn seen(state: State, mark: &str, age: u64) -> Seen {
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let body = Claim { state, holder: "i-1".into(), mark: mark.into() }.written();
        Seen { etag: "e".into(), modified: at(1_000 - age), date: at(1_000), body }
    }

    #[test]
    fn what_is_there_decides() {
        use State::*;
        let wait = |seconds| (Next::Wait(Duration::from_secs(seconds)), Admission::Claim(Some("e".into())));
        for (state, mark, age, expected) in [
            (Claimed, "mine", 99, (Next::Send("e".into()), Admission::Claim(Some("e".into())))),
            (Claimed, "theirs", 0, wait(30)),
            (Claimed, "theirs", 29, wait(1)),
            (Claimed, "theirs", 30, (Next::Claim(Some("e".into())), Admission::Claim(Some("e".into())))),
            (Sent, "theirs", 99, (Next::Done, Admission::Claim(Some("e".into())))),
            (Posted, "theirs", 99, (Next::Done, Admission::Delete)),
            (Posted, "mine", 0, (Next::Done, Admission::Post)),
        ] {
            let seen = seen(state, mark, age);
            let found = (next(Some(&seen), "mine").unwrap(), admission(Some(&seen), "mine").unwrap());
            assert_eq!(found, expected, "{state:?} {mark} {age}");
        }
        assert_eq!((next(None, "mine"), admission(None, "mine")), (Some(Next::Claim(None)), Some(Admission::Claim(None))));
    }

    #[test]
    fn what_is_not_a_claim_is_none() {
        for wrong in
            ["", "{}", r#"{"version":2,"state":"sent","holder":"i","mark":"m"}"#, r#"{"version":1,"state":"held","holder":"i","mark":"m"}"#]
        {
            let seen = Seen { body: wrong.into(), ..seen(State::Sent, "m", 0) };
            assert_eq!((next(Some(&seen), "m"), admission(Some(&seen), "m")), (None, None), "{wrong}");
        }
    }
}
