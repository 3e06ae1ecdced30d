//! CloudFormation, as far as it waits for instances: creation policies, update policies, wait conditions.

pub(super) mod live;

use async_trait::async_trait;

use crate::aws::client::error::{AwsError, Service};
use crate::text::SecretText;

/// The name of CloudFormation in IAM, and what its errors mean.
pub(crate) const SERVICE: &Service = &Service::plain("cloudformation");

/// What CloudFormation is told of an instance.
#[async_trait(?Send)]
pub(crate) trait CloudFormation {
    /// SignalResource. The same signal twice counts as one.
    async fn signal_resource(&self, signal: &ResourceSignal) -> Result<(), AwsError>;

    /// Puts a signal to the presigned URL of a wait condition's handle. Whoever has the URL may do so, so it is a secret.
    async fn signal_wait_condition(&self, url: &SecretText, signal: &WaitSignal) -> Result<(), AwsError>;
}

/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_SignalResource.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceSignal {
    /// Name or ARN.
    pub(crate) stack: String,
    /// By its logical id.
    pub(crate) resource: String,
    /// The instance, which CloudFormation counts by.
    pub(crate) unique_id: String,
    pub(crate) status: SignalStatus,
}

/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-waitcondition.html>.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct WaitSignal {
    pub(crate) status: SignalStatus,
    pub(crate) unique_id: String,
    /// What the wait condition offers to its template as `Data`.
    pub(crate) data: String,
    /// What the stack's events show.
    pub(crate) reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum SignalStatus {
    Success,
    Failure,
}

impl SignalStatus {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
        }
    }
}

/// Whether CloudFormation waits for no signal any more: the stack or the resource is complete, or has failed.
///
/// There is no code for it, only words: "Stack … is in CREATE_COMPLETE state and cannot be signaled".
pub(crate) fn waits_no_more(error: &AwsError) -> bool {
    let said = error.what.to_ascii_lowercase();
    error.service == SERVICE && (said.contains("cannot be signaled") || said.contains("can not be signaled"))
}
