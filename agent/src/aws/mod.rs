//! AWS, the instance metadata service included: one HTTP client, one TLS configuration, one resolver.
//!
//! The traits here are what steps and facts see; the files beside this one speak to the real services, and
//! [`fake::aws`](crate::fake::aws) keeps them in memory for `ingot dry-run` and the tests.
#![expect(clippy::disallowed_methods, reason = "this module is what the rule points to")]

pub(crate) mod autoscaling;
pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod cloudformation;
pub(crate) mod credentials;
pub(crate) mod ec2;
pub(crate) mod fetch;
pub(crate) mod imds;
pub(crate) mod live;
#[cfg(test)]
mod loopback;
pub(crate) mod rds;
pub(crate) mod s3;
mod secrets_manager;
mod ssm;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use self::client::endpoint::{USE_DUAL_STACK, USE_FIPS};
use crate::failure::Failure;
use crate::text::SecretText;

/// The instance metadata service, version 2.
#[async_trait(?Send)]
pub(crate) trait Metadata {
    /// The user data, as it was given. `None` if this instance has none (404), which is final.
    async fn user_data(&self) -> Result<Option<Vec<u8>>, ImdsError>;

    /// The instance identity document.
    async fn identity(&self) -> Result<Identity, ImdsError>;

    /// The value of an instance tag. `None` if there is no such tag.
    ///
    /// # Errors
    ///
    /// [`ImdsError::TagsDisabled`] if this instance does not show its tags in metadata.
    async fn tag(&self, key: &str) -> Result<Option<String>, ImdsError>;

    /// The state in which an Auto Scaling group wants this instance: `InService`, `Warmed:Stopped` … `None` if it belongs
    /// to no group, or the group has not decided yet. Read anew each time.
    async fn target_lifecycle_state(&self) -> Result<Option<String>, ImdsError>;
}

/// What the instance identity document says.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html>
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub(crate) instance_id: String,
    pub(crate) region: String,
    #[serde(default)]
    pub(crate) availability_zone: String,
    #[serde(default)]
    pub(crate) account_id: String,
    #[serde(default)]
    pub(crate) image_id: String,
    #[serde(default)]
    pub(crate) instance_type: String,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) private_ip: String,
}

/// Secrets Manager.
#[async_trait(?Send)]
pub(crate) trait SecretsManager {
    /// BatchGetSecretValue: the current version of at most twenty secrets. Answers in the order of `ids`;
    /// `None` where the service said nothing of one.
    async fn batch(&self, ids: &[String]) -> Result<Vec<Option<Result<SecretValue, AwsError>>>, AwsError>;

    /// GetSecretValue.
    async fn get(&self, secret: &SecretRequest) -> Result<SecretValue, AwsError>;
}

/// One secret of Secrets Manager, by name or ARN, in one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SecretRequest {
    pub(crate) id: String,
    pub(crate) version: SecretVersion,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SecretVersion {
    Current,
    Stage(String),
    Id(String),
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SecretValue {
    Text(SecretText),
    Binary(Zeroizing<Vec<u8>>),
}

/// As [`SecretText`]; `Zeroizing` would print the bytes.
impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Systems Manager Parameter Store. Every value counts as a secret, whatever its type.
#[async_trait(?Send)]
pub(crate) trait ParameterStore {
    /// GetParameters with decryption: at most ten. Answers in the order of `names`; `None` for one that does not exist.
    async fn batch(&self, names: &[String]) -> Result<Vec<Option<ParameterValue>>, AwsError>;

    /// GetParametersByPath, recursive and decrypted, to the last page: names without `path`, and their values.
    async fn under(&self, path: &str) -> Result<Vec<(String, ParameterValue)>, AwsError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParameterValue {
    Text(SecretText),
    /// A StringList, split at its commas.
    List(Vec<SecretText>),
}

/// Why the instance metadata service gave no answer, or none of use.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ImdsError {
    #[error("the instance metadata service is disabled for this instance (403 on the token)")]
    Disabled,
    #[error("{endpoint} is no endpoint of an instance metadata service")]
    Endpoint { endpoint: String },
    #[error("the instance metadata service refused the token request with status {status}")]
    TokenRefused { status: u16 },
    #[error("the instance metadata service did not answer within {waited:?} (last: {last})")]
    Unreachable { waited: Duration, last: String },
    #[error("this instance does not show its tags in metadata")]
    TagsDisabled,
    #[error("the instance metadata service has no {path} (404)")]
    NotFound { path: String },
    #[error("the instance metadata service refused {path} with status {status}")]
    Refused { path: String, status: u16 },
    #[error("the instance metadata service answered {path} with something else: {why}")]
    Malformed { path: String, why: String },
}

impl Failure for ImdsError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Disabled => {
                "launch the instance with metadata enabled: `aws ec2 modify-instance-metadata-options --http-endpoint enabled`".into()
            }
            Self::Endpoint { .. } => "set AWS_EC2_METADATA_SERVICE_ENDPOINT to a URL that begins with http://, or unset it".into(),
            Self::TokenRefused { .. } => "look for a proxy or firewall between this process and 169.254.169.254".into(),
            Self::Unreachable { .. } => {
                "look at the network: `ip route get 169.254.169.254`; in a container, raise the hop limit of the metadata options".into()
            }
            Self::TagsDisabled => "launch the instance with InstanceMetadataTags=enabled, or put the value under `values:`".into(),
            Self::NotFound { path } if path.contains("security-credentials") => "give the instance an instance profile with a role".into(),
            Self::NotFound { .. } | Self::Refused { .. } | Self::Malformed { .. } => {
                "look for a stand-in for IMDS that is not complete".into()
            }
        })
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Disabled | Self::TokenRefused { .. } | Self::Unreachable { .. })
    }
}

/// Why AWS did not do what it was asked.
///
/// The message is `OPERATION RESOURCE: what happened`, such as `GetSecretValue prod/db: access denied`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {resource}: {what}")]
pub(crate) struct AwsError {
    /// The API action as IAM spells it after the colon, such as `GetSecretValue`.
    pub(crate) operation: &'static str,
    /// The service prefix of the IAM action, such as `secretsmanager`.
    pub(crate) service: &'static str,
    /// The name or ARN asked for; several are joined by commas.
    pub(crate) resource: String,
    /// What happened, for people, with AWS's own words where it had any (those never hold a secret's value).
    pub(crate) what: Box<str>,
    pub(crate) kind: AwsErrorKind,
    /// AWS's own code of the error, such as `VolumeInUse`; empty where AWS named none.
    pub(crate) code: String,
    pub(crate) retry_after: Option<Duration>,
    /// Whether `retry_after` is the whole pause, the same for everybody whose request was part of the call.
    pub(crate) paced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AwsErrorKind {
    /// The role may not do this.
    Denied,
    /// The role may read it, but not use the KMS key it is encrypted with.
    KmsDenied,
    NotFound,
    Throttled,
    /// The credentials' time is over, or this machine's clock is wrong.
    Expired,
    /// There are no credentials.
    NoCredentials,
    /// AWS has no endpoint as the variables ask for.
    NoEndpoint,
    /// No connection, no answer, or a 5xx.
    Unreachable,
    /// The endpoint's certificate is not trusted, or the CA bundle cannot be used.
    Untrusted,
    /// By this machine's clock, which may not be set yet, the endpoint's certificate is of another time.
    Untimely,
    /// A request AWS does not accept.
    Invalid,
    /// An answer that could not be understood.
    Malformed,
}

impl Failure for AwsError {
    fn hint(&self) -> Option<String> {
        let Self { service, operation, resource, .. } = self;
        if *service == ec2::SERVICE
            && let Some(hint) = ec2::codes::hint(self)
        {
            return Some(hint);
        }
        if *service == rds::SERVICE
            && let Some(hint) = rds::codes::hint(self)
        {
            return Some(hint);
        }
        if let Some(hint) = s3::codes::hint(self) {
            return Some(hint);
        }
        Some(match self.kind {
            AwsErrorKind::Denied => format!("allow {service}:{operation} on {resource} in the instance's role"),
            AwsErrorKind::KmsDenied => format!("allow kms:Decrypt on the key of {resource} in the instance's role and in the key's policy"),
            AwsErrorKind::NotFound => format!("create {resource} in this account and region, or correct its name in the document"),
            AwsErrorKind::Throttled => format!("raise the account's quota for {operation}, or let fewer instances start at once"),
            AwsErrorKind::Expired => {
                "check this machine's clock with `timedatectl`; the credentials or the signature's time were not accepted".into()
            }
            AwsErrorKind::NoCredentials => "give the instance an instance profile with a role".into(),
            AwsErrorKind::NoEndpoint => format!(
                "correct AWS_ENDPOINT_URL, or unset {USE_FIPS} and {USE_DUAL_STACK}: not every partition has such endpoints, \
                 and one of your own cannot be combined with them"
            ),
            AwsErrorKind::Unreachable => format!("check the route to {service}: a NAT gateway, a VPC endpoint for it, or AWS_ENDPOINT_URL"),
            AwsErrorKind::Untrusted => {
                "name the certificate of your private CA in AWS_CA_BUNDLE, or find out who answers in place of AWS".into()
            }
            AwsErrorKind::Untimely => {
                "check this machine's clock with `timedatectl`: by it, the certificate of the endpoint is not valid now".into()
            }
            AwsErrorKind::Invalid => "correct the name in the document".into(),
            AwsErrorKind::Malformed => "look for a proxy between this machine and AWS that alters answers".into(),
        })
    }

    fn is_transient(&self) -> bool {
        matches!(self.kind, AwsErrorKind::Throttled | AwsErrorKind::Unreachable | AwsErrorKind::Untimely | AwsErrorKind::Malformed)
            || self.service == ec2::SERVICE && ec2::codes::is_transient(self)
            || self.service == rds::SERVICE && rds::codes::is_transient(self)
    }

    fn is_unreachable(&self) -> bool {
        matches!(self.kind, AwsErrorKind::Unreachable | AwsErrorKind::Untimely)
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    fn is_paced(&self) -> bool {
        self.paced
    }
}
