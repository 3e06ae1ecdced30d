//! The trait for what ingot reads from the instance metadata service. [`imds`](super::imds) implements it for the real
//! one.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize as _;

use crate::failure::Failure;

/// The instance metadata service, version 2.
#[async_trait(?Send)]
pub(crate) trait Metadata {
    /// The user data, byte for byte. `None` if this instance has none (404), which is final.
    async fn user_data(&self) -> Result<Option<Vec<u8>>, ImdsError>;

    /// The instance identity document.
    async fn identity(&self) -> Result<Identity, ImdsError>;

    /// The value of an instance tag. `None` if there is no such tag.
    ///
    /// # Errors
    ///
    /// [`ImdsError::TagsDisabled`] if this instance does not show its tags in metadata.
    async fn tag(&self, key: &str) -> Result<Option<String>, ImdsError>;

    /// The state in which an Auto Scaling group wants this instance: `InService`, `Warmed:Stopped` … `None` if the
    /// instance belongs to no group, or the group has not decided yet. Read again each time.
    async fn target_lifecycle_state(&self) -> Result<Option<String>, ImdsError>;

    /// EC2's current announcement for this instance. `None` if there is none. Read again each time.
    async fn notice(&self, notice: Notice) -> Result<Option<String>, ImdsError>;

    /// The id of this instance's primary network interface.
    async fn primary_interface(&self) -> Result<String, ImdsError>;
}

/// Announcements that EC2 makes before it takes an instance away.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>, and the page
/// on rebalance recommendations next to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A Spot Instance will be interrupted in two minutes: `{"action": "terminate", "time": "2026-11-30T15:34:43Z"}`.
    Interruption,
    /// The risk of an interruption has risen: `{"noticeTime": "2026-11-30T15:34:43Z"}`.
    Rebalance,
}

impl Notice {
    /// The path of the item in IMDS.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Interruption => "meta-data/spot/instance-action",
            Self::Rebalance => "meta-data/events/recommendations/rebalance",
        }
    }
}

/// The fields of the instance identity document that ingot uses.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html>
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    pub(crate) instance_id: String,
    pub(crate) region: String,
    #[serde(default, deserialize_with = "or_absent")]
    pub(crate) availability_zone: String,
    #[serde(default, deserialize_with = "or_absent")]
    pub(crate) account_id: String,
    #[serde(default, deserialize_with = "or_absent")]
    pub(crate) image_id: String,
    #[serde(default, deserialize_with = "or_absent")]
    pub(crate) instance_type: String,
    #[serde(default, deserialize_with = "or_absent")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "or_absent")]
    pub(crate) private_ip: String,
}

/// `null` means the same as a missing field: the fact is absent.
fn or_absent<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Why the instance metadata service gave no answer, or no usable one.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ImdsError {
    #[error("the instance metadata service is disabled for this instance (403 on the token)")]
    Disabled,
    #[error("{endpoint} is not the endpoint of an instance metadata service")]
    Endpoint { endpoint: String },
    #[error("the instance metadata service refused the token request with status {status}")]
    TokenRefused { status: u16 },
    #[error("the instance metadata service did not answer within {waited:?} (last: {last})")]
    Unreachable {
        waited: Duration,
        last: String,
        /// Whether the last answer was something that IMDS never sends.
        impostor: bool,
    },
    #[error("this instance does not show its tags in metadata")]
    TagsDisabled,
    #[error("the instance metadata service has no {path} (404)")]
    NotFound { path: String },
    #[error("the instance metadata service refused {path} with status {status}")]
    Refused { path: String, status: u16 },
    #[error("the instance metadata service gave an unexpected response for {path}: {why}")]
    Malformed { path: String, why: String },
}

impl Failure for ImdsError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Disabled => {
                "enable the metadata service: `aws ec2 modify-instance-metadata-options --instance-id ID --http-endpoint enabled`".into()
            }
            Self::Endpoint { .. } => "set AWS_EC2_METADATA_SERVICE_ENDPOINT to a URL that begins with http://, or unset it".into(),
            Self::TokenRefused { .. } => "look for a proxy or firewall between this process and 169.254.169.254".into(),
            Self::Unreachable { impostor: true, .. } => {
                "run `curl -v http://169.254.169.254/latest/` to see which server answers in place of IMDS, such as a proxy".into()
            }
            Self::Unreachable { impostor: false, .. } => {
                "check the network: `ip route get 169.254.169.254`; in a container, raise the hop limit of the metadata options".into()
            }
            Self::TagsDisabled => "launch the instance with InstanceMetadataTags=enabled, or put the value under `values:`".into(),
            Self::NotFound { path } if path.contains("security-credentials") => "give the instance an instance profile with a role".into(),
            Self::NotFound { .. } | Self::Refused { .. } | Self::Malformed { .. } => {
                "run `curl -v http://169.254.169.254/latest/` to see whether an incomplete server answers in place of IMDS".into()
            }
        })
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Disabled | Self::TokenRefused { .. } | Self::Unreachable { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_no_value() {
        let parsed = |text: &str| serde_json::from_str::<Identity>(text);
        let identity =
            parsed(r#"{"instanceId": "i-1", "region": "eu-west-1", "privateIp": null, "architecture": null, "imageId": "ami-1"}"#);
        let expected = Identity { instance_id: "i-1".into(), region: "eu-west-1".into(), image_id: "ami-1".into(), ..Identity::default() };
        assert_eq!(identity.unwrap(), expected);
        assert!(parsed(r#"{"instanceId": null, "region": "eu-west-1"}"#).is_err());
    }
}
