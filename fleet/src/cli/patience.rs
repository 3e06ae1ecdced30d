//! How long a verb waits for the deployment that it began.

use std::time::Duration;

use tokio::time::Instant;

use crate::conduct::Until;
use crate::fleet::Length;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Patience {
    /// How long to wait, such as 30m. Then the exit code is 4, and what was begun goes on
    #[arg(long, value_name = "TIME", value_parser = length)]
    timeout: Option<Length>,
    /// Return with exit code 4 once CloudFormation has begun to replace or create the instances. The update that sets the policy is waited for before that
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
}

impl Patience {
    /// Until when a deployment is followed that begins now.
    pub(super) fn until(self) -> Until {
        match self.timeout {
            _ if self.no_wait => Until::Begun,
            Some(length) => Until::At(Instant::now() + Duration::from_secs(length.0)),
            None => Until::Ended,
        }
    }
}

/// A length of time as fleet.yaml has it.
pub(super) fn length(text: &str) -> Result<Length, String> {
    serde_json::from_value(text.into()).map_err(|_: serde_json::Error| "expected a length of time such as 90s, 20m or 1h30m".to_owned())
}
