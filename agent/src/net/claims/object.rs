//! A claim in its stored form: a small JSON object.
//!
//! ```json
//! { "version": 1, "holder": "i-0abc…", "attempt": "…", "renewal": 12, "release": "v42", "state": "failed",
//!   "why": "/opt/shop/bin/migrate exited with 3", "exit": 3, "said": ["last lines"] }
//! ```

use crate::json::of_bytes;
use bytes::Bytes;
use serde_json::{Value, json};

const VERSION: u64 = 1;

/// The longest kept line of a program's output, in bytes.
const LINE: usize = 1_000;

/// The longest claim including the program's output, in bytes: half of what is read of one. In JSON a byte may become
/// six.
const LONGEST: usize = 32 << 10;

/// An instance that wants to hold a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanter {
    /// The instance id.
    pub(crate) holder: String,
    /// Unique for each try.
    pub(crate) attempt: String,
}

/// The content of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The instance id of the holder.
    pub(crate) holder: String,
    /// See [`Wanter::attempt`].
    pub(crate) attempt: String,
    /// Counts the writes, so that no two have the same content and hence the same ETag.
    pub(crate) renewal: u64,
    /// The purpose of the claim, in readable form.
    pub(crate) release: String,
    pub(crate) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Held,
    Ended(Ending),
}

/// The result of the work, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Failed {
        why: String,
        exit: Option<i32>,
        /// The last lines of the program's output.
        said: Vec<String>,
    },
}

impl Claim {
    pub(super) fn is_of(&self, who: &Wanter) -> bool {
        self.holder == who.holder && self.attempt == who.attempt
    }

    pub(crate) fn written(&self) -> Bytes {
        let mut object = json!({
            "version": VERSION, "holder": self.holder, "attempt": self.attempt, "renewal": self.renewal, "release": self.release,
        });
        match &self.state {
            State::Held => object["state"] = "held".into(),
            State::Ended(Ending::Done) => object["state"] = "done".into(),
            State::Ended(Ending::Failed { why, exit, said }) => {
                object["state"] = "failed".into();
                object["why"] = short(why).into();
                object["exit"] = (*exit).into();
                object["said"] = said.iter().map(|line| short(line)).collect();
            }
        }
        let whole = object.to_string();
        if whole.len() <= LONGEST {
            return whole.into();
        }
        object["said"] = json!([]);
        object.to_string().into()
    }

    /// `None` if the body is not a claim, or was written by a later version of ingot.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let object: Value = of_bytes(body).ok()?;
        let text = |name: &str| object[name].as_str().map(str::to_owned);
        let state = match (object["version"].as_u64()? == VERSION).then_some(object["state"].as_str()?)? {
            "held" => State::Held,
            "done" => State::Ended(Ending::Done),
            "failed" => State::Ended(Ending::Failed {
                why: text("why")?,
                exit: object["exit"].as_i64().and_then(|exit| exit.try_into().ok()),
                said: object["said"].as_array()?.iter().filter_map(|line| line.as_str().map(str::to_owned)).collect(),
            }),
            _ => return None,
        };
        let (holder, attempt, release) = (text("holder")?, text("attempt")?, text("release")?);
        Some(Self { holder, attempt, renewal: object["renewal"].as_u64()?, release, state })
    }
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(LINE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_as_it_was() {
        let failed = Ending::Failed { why: "/bin/migrate exited with 3".into(), exit: Some(3), said: vec!["no table".into()] };
        let killed = Ending::Failed { why: "stopped".into(), exit: None, said: Vec::new() };
        for state in [State::Held, State::Ended(Ending::Done), State::Ended(failed), State::Ended(killed)] {
            let claim = Claim { holder: "i-1".into(), attempt: "a".into(), renewal: 7, release: "v1".into(), state };
            assert_eq!(Claim::parse(&claim.written()), Some(claim));
        }
    }

    #[test]
    fn what_is_not_a_claim_is_none() {
        for wrong in ["", "{}", "[]", r#"{"version": 2, "state": "done"}"#, r#"{"version": 1, "state": "done"}"#] {
            assert_eq!(Claim::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn the_longest_lines_are_cut() {
        let failed = Ending::Failed { why: "é".repeat(2_000), exit: None, said: vec!["é".repeat(2_000); 10] };
        let claim = Claim { holder: "i-1".into(), attempt: "a".into(), renewal: 7, release: "v1".into(), state: State::Ended(failed) };
        assert!(claim.written().len() < 12_000);
        let noise = Ending::Failed { why: "\u{1}".repeat(2_000), exit: None, said: vec!["\u{1}".repeat(2_000); 10] };
        let written = Claim { state: State::Ended(noise), ..claim }.written();
        assert!(written.len() < 2 * LONGEST && Claim::parse(&written).is_some(), "{}", written.len());
    }
}
