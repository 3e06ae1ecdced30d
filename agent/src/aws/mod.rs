//! AWS, including the instance metadata service: one HTTP client, one TLS configuration, one resolver.
//!
//! Each service has a file with the trait and types that the rest of ingot uses, and an implementation that calls the
//! real service through [`client`]. [`fake::aws`](crate::fake::aws) keeps the services in memory for `ingot dry-run`
//! and the tests.
#![expect(clippy::disallowed_methods, reason = "this module is what the rule points to")]

pub(crate) mod arn;
pub(crate) mod autoscaling;
pub(crate) mod balancers;
pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod cloudformation;
pub(crate) mod cloudwatch;
pub(crate) mod credentials;
pub(crate) mod ec2;
pub(crate) mod ecr;
pub(crate) mod fetch;
pub(crate) mod imds;
pub(crate) mod instance;
pub(crate) mod live;
#[cfg(test)]
mod loopback;
pub(crate) mod metadata;
pub(crate) mod names;
pub(crate) mod rds;
pub(crate) mod s3;
pub(crate) mod secrets_manager;
pub(crate) mod sqs;
pub(crate) mod ssm;
pub(crate) mod variables;

pub(crate) use self::client::error::{AwsError, AwsErrorKind};
pub(crate) use self::metadata::{Identity, ImdsError, Metadata, Notice};
pub(crate) use self::secrets_manager::{SecretRequest, SecretValue, SecretVersion, SecretsManager};
pub(crate) use self::ssm::{ParameterStore, ParameterValue};
