//! Why a claim was not taken, or not kept.

use std::time::Duration;

use crate::failure::{Explanation, Failure};

/// Why a claim was not taken, or not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("cannot claim {name}")]
    Refused {
        name: String,
        #[source]
        why: Refusal,
    },
    #[error("{name} is not a claim")]
    NotAClaim { name: String },
    #[error("{holder} still holds the claim {name}, after {waited:?}")]
    Held { name: String, holder: String, waited: Duration },
    #[error("the claim {name} could not be renewed for {after:?}, so the work that it protects was stopped")]
    Lost {
        name: String,
        after: Duration,
        #[source]
        why: Refusal,
    },
    #[error("{by} has taken over the claim {name}, so the work that it protects was stopped")]
    TakenOver { name: String, by: String },
    #[error("the claim {name} was removed or overwritten, so the work that it protects was stopped")]
    Gone { name: String },
    #[error("the work has finished, but the claim {name} could not be marked as finished")]
    Untold {
        name: String,
        #[source]
        why: Refusal,
    },
}

impl Failure for ClaimError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { why, .. } | Self::Untold { why, .. } => why.0.hint.clone(),
            Self::NotAClaim { name } => Some(format!("delete it with `aws s3 rm {name}` if nothing else needs it, or change `claims:`")),
            Self::Held { holder, .. } => {
                Some(format!("run `journalctl -t ingot` on {holder} to see its progress, or give the step a longer `timeout:`"))
            }
            Self::Lost { .. } => Some("check the route to S3; another instance does the work again, from the start".into()),
            Self::Gone { .. } => {
                Some("delete claims only once their work has finished; the next boot does the work again, from the start".into())
            }
            Self::TakenOver { .. } => {
                Some("check whether this machine was paused; the other instance does the work again, from the start".into())
            }
        }
    }

    fn is_unreachable(&self) -> bool {
        match self {
            Self::Refused { why, .. } | Self::Lost { why, .. } | Self::Untold { why, .. } => why.0.unreachable,
            Self::NotAClaim { .. } | Self::Held { .. } | Self::TakenOver { .. } | Self::Gone { .. } => false,
        }
    }
}

/// The store's last error.
#[derive(Debug, thiserror::Error)]
#[error("{}", text(.0))]
pub(crate) struct Refusal(Box<Explanation>);

impl From<Explanation> for Refusal {
    fn from(why: Explanation) -> Self {
        Self(Box::new(why))
    }
}

fn text(why: &Explanation) -> String {
    Explanation { hint: None, ..why.clone() }.to_string()
}
