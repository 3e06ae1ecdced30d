//! CloudFormation: the signals that creation policies, update policies and wait conditions wait for.

pub(super) mod live;

use async_trait::async_trait;

use crate::aws::client::error::{AwsError, Service};
use crate::text::SecretText;

/// The name of CloudFormation in IAM, and the meaning of its errors.
pub(crate) const SERVICE: &Service = &Service::plain("cloudformation");

/// The signals that CloudFormation accepts.
#[async_trait(?Send)]
pub(crate) trait CloudFormation {
    /// SignalResource. Repeating a signal has no effect.
    async fn signal_resource(&self, signal: &ResourceSignal) -> Result<(), AwsError>;

    /// Sends a signal to the presigned URL of a wait condition's handle. The URL is a secret, since anyone who has it
    /// can signal.
    async fn signal_wait_condition(&self, url: &SecretText, signal: &WaitSignal) -> Result<(), AwsError>;
}

/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_SignalResource.html>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceSignal {
    /// Name or ARN.
    pub(crate) stack: String,
    /// The logical id.
    pub(crate) resource: String,
    /// The instance id, by which CloudFormation counts signals.
    pub(crate) unique_id: String,
    pub(crate) status: SignalStatus,
}

/// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-waitcondition.html>.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct WaitSignal {
    pub(crate) status: SignalStatus,
    pub(crate) unique_id: String,
    /// The `Data` of the wait condition that templates can read.
    pub(crate) data: String,
    /// The reason that the stack's events show.
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

/// Whether CloudFormation no longer waits for a signal: the stack or the resource is complete, or has failed.
///
/// AWS has no error code for this, only the message "Stack … is in CREATE_COMPLETE state and cannot be signaled".
pub(crate) fn waits_no_more(error: &AwsError) -> bool {
    let said = error.what.to_ascii_lowercase();
    error.service == SERVICE && (said.contains("cannot be signaled") || said.contains("can not be signaled"))
}
