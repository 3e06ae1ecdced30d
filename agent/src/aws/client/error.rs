//! Why an AWS call failed, for all services.

use std::fmt;
use std::time::Duration;

use super::endpoint::{USE_DUAL_STACK, USE_FIPS};
use crate::aws::arn::Arn;
use crate::failure::Failure;

/// A service, and what only its own file knows about its errors.
pub(crate) struct Service {
    /// The prefix of its actions in IAM, such as `secretsmanager`.
    pub(crate) name: &'static str,
    /// The hint for an error of this service; `None` if the common hint applies.
    pub(in crate::aws) hint: fn(&AwsError) -> Option<String>,
    /// Whether a retry may help, where the kind of the error does not decide it.
    pub(in crate::aws) is_transient: fn(&AwsError) -> bool,
}

impl Service {
    /// A service without errors of its own.
    pub(in crate::aws) const fn plain(name: &'static str) -> Self {
        Self { name, hint: |_| None, is_transient: |_| false }
    }
}

impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Service {}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Why an AWS call failed.
///
/// The message is `OPERATION RESOURCE: what happened`, such as `GetSecretValue prod/db: access denied`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {resource}: {what}")]
pub(crate) struct AwsError {
    /// The API action as IAM spells it after the colon, such as `GetSecretValue`.
    pub(crate) operation: &'static str,
    pub(crate) service: &'static Service,
    /// The name or ARN asked for; several are joined by commas.
    pub(crate) resource: String,
    /// What happened, for people, including AWS's own message if there was one (AWS's messages never hold a secret's
    /// value).
    pub(crate) what: Box<str>,
    pub(crate) kind: AwsErrorKind,
    /// AWS's error code, such as `VolumeInUse`; empty if AWS gave none.
    pub(crate) code: String,
    pub(crate) retry_after: Option<Duration>,
    /// Whether `retry_after` is the whole pause, and the same for every caller whose request was part of the call.
    pub(crate) paced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AwsErrorKind {
    /// The role is not allowed to do this.
    Denied,
    /// The role may read the resource, but not use the KMS key that it is encrypted with.
    KmsDenied,
    NotFound,
    Throttled,
    /// The credentials have expired, or this machine's clock is wrong.
    Expired,
    /// There are no credentials.
    NoCredentials,
    /// EC2 cannot assume the instance's role. Right after the role was created or changed, this may resolve itself.
    RoleRefused,
    /// AWS has no endpoint of the variant that the variables ask for.
    NoEndpoint,
    /// No connection, no answer, or a 5xx.
    Unreachable,
    /// The endpoint's certificate is not trusted, or the CA bundle cannot be used.
    Untrusted,
    /// By this machine's clock, which may not be set yet, the endpoint's certificate has expired or is not valid yet.
    Untimely,
    /// AWS rejected the request as invalid.
    Invalid,
    /// An answer that could not be understood.
    Malformed,
    /// Every page of the answer names a further page.
    Endless,
}

/// The beginning of AWS's message about a role that EC2 cannot assume; the name of the role follows.
pub(super) const ROLE_REFUSED: &str = "EC2 cannot assume the role ";

/// Policies other than the role's own: AWS's name for them in a denial, and the policy's name in our hint.
///
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
const POLICIES: [(&str, &str); 5] = [
    ("resource-based policy", "the policy of the resource itself"),
    ("service control policy", "the organization's service control policy"),
    ("resource control policy", "the organization's resource control policy"),
    ("VPC endpoint policy", "the policy of the VPC endpoint"),
    ("permissions boundary", "the permissions boundary of the role"),
];

impl AwsError {
    /// The hint where AWS names the policy that denies the call.
    fn policy_hint(&self) -> Option<String> {
        let Self { service, operation, resource, what, kind, .. } = self;
        // EC2's messages also name the permission; its own file handles them.
        let is_denied = *kind == AwsErrorKind::Denied && service.name != "ec2";
        let (_, whose) = POLICIES.iter().find(|(word, _)| is_denied && what.contains(word))?;
        Some(match what.contains("explicit deny") {
            true => format!("exempt the instance's role from the explicit deny of {service}:{operation} on {resource} in {whose}"),
            false => format!("allow {service}:{operation} on {resource} for the instance's role in {whose}"),
        })
    }

    /// The hint for something that does not exist, or no longer exists.
    fn absent(&self) -> String {
        let Self { service, resource, what, .. } = self;
        let arn = Arn::parse(resource);
        let region = arn.as_ref().map(|arn| format!(" --region {}", arn.region)).unwrap_or_default();
        if what.contains("deletion") {
            return format!(
                "restore it with `aws {service} restore-secret --secret-id {resource}{region}`, or correct its name in the document"
            );
        }
        if what.contains("staging label") || what.contains("VersionId") {
            let listed = format!("aws {service} list-secret-version-ids --secret-id {resource}{region}");
            return format!("write a `version_stage` or `version_id` that `{listed}` shows");
        }
        match arn {
            Some(Arn { region, .. }) => format!("create {resource} in {region}, or correct its ARN in the document"),
            None if ["secretsmanager", "ssm"].contains(&service.name) => {
                format!(
                    "create {resource} in this account and region, or correct its name in the document: its ARN if it is in another region"
                )
            }
            None => format!("create {resource} in this account and region, or correct its name in the document"),
        }
    }
}

impl Failure for AwsError {
    fn hint(&self) -> Option<String> {
        let Self { service, operation, resource, .. } = self;
        if let Some(hint) = self.policy_hint().or_else(|| (service.hint)(self)) {
            return Some(hint);
        }
        Some(match self.kind {
            AwsErrorKind::Denied => match Arn::parse(resource) {
                None => format!("allow {service}:{operation} on {resource} in the instance's role"),
                Some(Arn { account, .. }) => format!(
                    "allow {service}:{operation} on {resource} in the instance's role and, if {account} is another account, \
                     in the resource's own policy"
                ),
            },
            AwsErrorKind::KmsDenied => format!("allow kms:Decrypt on the key of {resource} in the instance's role and in the key's policy"),
            AwsErrorKind::NotFound => self.absent(),
            AwsErrorKind::Throttled => format!("raise the account's quota for {operation}, or let fewer instances start at once"),
            AwsErrorKind::Expired => {
                "check this machine's clock with `timedatectl`; the credentials or the signature's time were not accepted".into()
            }
            AwsErrorKind::RoleRefused => {
                let role = self.what.split_once(ROLE_REFUSED).and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default();
                format!("allow sts:AssumeRole for ec2.amazonaws.com in the trust policy of the role {role}")
            }
            AwsErrorKind::NoCredentials => "give the instance an instance profile with a role".into(),
            AwsErrorKind::NoEndpoint => format!(
                "correct AWS_ENDPOINT_URL, or unset {USE_FIPS} and {USE_DUAL_STACK}: not every partition has such endpoints, \
                 and one of your own cannot be combined with them"
            ),
            AwsErrorKind::Unreachable => {
                let there = Arn::parse(resource).map(|arn| format!(" in {}", arn.region)).unwrap_or_default();
                format!("check the route to {service}{there}: a NAT gateway, a VPC endpoint for it, or AWS_ENDPOINT_URL")
            }
            AwsErrorKind::Untrusted => {
                "name the certificate of your private CA in AWS_CA_BUNDLE, or run `openssl s_client -connect HOST:443` to see which \
                 server answers in place of AWS"
                    .into()
            }
            AwsErrorKind::Untimely => {
                "check this machine's clock with `timedatectl`: according to it, the certificate of the endpoint is not valid now".into()
            }
            // A secret of another account that is encrypted with that account's default key, which cannot be shared.
            AwsErrorKind::Invalid if self.what.contains("default KMS service key") => format!(
                "encrypt {resource} with a customer managed KMS key, and allow kms:Decrypt on that key in the instance's role and in \
                 the key's policy"
            ),
            AwsErrorKind::Invalid => "correct the name in the document".into(),
            AwsErrorKind::Malformed | AwsErrorKind::Endless => "look for a proxy between this machine and AWS that alters responses".into(),
        })
    }

    fn is_transient(&self) -> bool {
        use AwsErrorKind::{Malformed, RoleRefused, Throttled, Unreachable, Untimely};
        matches!(self.kind, Throttled | Unreachable | Untimely | Malformed | RoleRefused) || (self.service.is_transient)(self)
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
