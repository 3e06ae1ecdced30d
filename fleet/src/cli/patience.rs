//! How long a command waits for the deployment that it began.

use std::time::Duration;

use tokio::time::Instant;

use crate::conduct::Until;
use crate::fleet::Length;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct Patience {
    /// How long to wait, such as 30m. After that, the exit code is 4, and the deployment continues
    #[arg(long, value_name = "TIME", value_parser = length)]
    timeout: Option<Length>,
    /// Return with exit code 4 once CloudFormation has begun to replace or create the instances. This still waits for
    /// the update that sets the policy
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
}

impl Patience {
    /// How long a deployment that begins now is followed.
    pub(super) fn until(self) -> Until {
        match self.timeout {
            _ if self.no_wait => Until::Begun,
            Some(length) => Until::At(Instant::now() + Duration::from_secs(length.0)),
            None => Until::Ended,
        }
    }
}

/// A length of time, as in fleet.yaml.
pub(super) fn length(text: &str) -> Result<Length, String> {
    serde_json::from_value(text.into()).map_err(|_: serde_json::Error| "expected a length of time such as 90s, 20m or 1h30m".to_owned())
}
