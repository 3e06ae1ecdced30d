//! Why there are no credentials to sign with. [`credentials`](crate::aws::credentials) puts it into the SDK's errors,
//! and [`Call`](super::call::Call) finds it there.

use super::error::{AwsErrorKind, ROLE_REFUSED};
use crate::aws::metadata::ImdsError;

/// Why the instance has no credentials to sign with.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CredentialsFailure {
    #[error("this instance has no role")]
    NoRole,
    #[error("{ROLE_REFUSED}{role} ({code}){}", more(role, message))]
    Refused { role: String, code: String, message: String },
    #[error("the credentials of the role {role} cannot be understood: {why}")]
    Malformed { role: String, why: String },
    #[error("{0}")]
    Imds(ImdsError),
}

impl CredentialsFailure {
    pub(in crate::aws) fn kind(&self) -> AwsErrorKind {
        match self {
            Self::Refused { .. } => AwsErrorKind::RoleRefused,
            Self::Imds(ImdsError::Unreachable { .. }) => AwsErrorKind::Unreachable,
            Self::Malformed { .. } | Self::Imds(ImdsError::Malformed { .. }) => AwsErrorKind::Malformed,
            // Every other error of IMDS is final.
            Self::NoRole | Self::Imds(_) => AwsErrorKind::NoCredentials,
        }
    }
}

/// AWS's message without the part that only repeats that the role cannot be assumed.
fn more(role: &str, message: &str) -> String {
    let rest = message.strip_prefix(ROLE_REFUSED).and_then(|rest| rest.strip_prefix(role)).unwrap_or(message);
    match rest.trim_start_matches(['.', ' ']) {
        "" => String::new(),
        rest => format!(": {rest}"),
    }
}

impl From<ImdsError> for CredentialsFailure {
    fn from(error: ImdsError) -> Self {
        Self::Imds(error)
    }
}
