//! Why there are no credentials to sign with. [`credentials`](crate::aws::credentials) puts it into the SDK's errors,
//! and [`Call`](super::call::Call) finds it there.

use super::error::AwsErrorKind;
use crate::aws::metadata::ImdsError;

/// Why the instance has no credentials to sign with.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CredentialsFailure {
    #[error("this instance has no role")]
    NoRole,
    #[error("EC2 cannot assume the role {role}: {code} {message}")]
    Refused { role: String, code: String, message: String },
    #[error("the credentials of the role {role} cannot be understood: {why}")]
    Malformed { role: String, why: String },
    #[error("{0}")]
    Imds(ImdsError),
}

impl CredentialsFailure {
    pub(in crate::aws) fn kind(&self) -> AwsErrorKind {
        match self {
            // Right after the role was made or changed EC2 may not be able to assume it yet.
            Self::Refused { .. } | Self::Imds(ImdsError::Unreachable { .. }) => AwsErrorKind::Unreachable,
            Self::Malformed { .. } | Self::Imds(ImdsError::Malformed { .. }) => AwsErrorKind::Malformed,
            // All else IMDS says is final.
            Self::NoRole | Self::Imds(_) => AwsErrorKind::NoCredentials,
        }
    }
}

impl From<ImdsError> for CredentialsFailure {
    fn from(error: ImdsError) -> Self {
        Self::Imds(error)
    }
}
