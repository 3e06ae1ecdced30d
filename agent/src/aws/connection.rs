//! What every call to AWS shares: client, region, credentials, endpoints.
//!
//! The region is asked for at the first call: on an instance it comes from the identity document, and a boot that
//! calls no service should not need it.

use std::collections::BTreeMap;
use std::rc::Rc;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ssm::config::IdentityCache;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;

use super::http::Http;
use super::{ImdsError, Metadata};

/// Where the region is known from.
#[derive(Clone)]
pub(crate) enum RegionSource {
    Known(String),
    Instance(Rc<dyn Metadata>),
}

#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) http: Http,
    pub(crate) region: RegionSource,
    pub(crate) credentials: SharedCredentialsProvider,
    /// The SDKs' variables `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_SERVICE`, as far as they are set.
    pub(crate) endpoints: BTreeMap<String, String>,
}

impl Connection {
    /// # Errors
    ///
    /// [`ImdsError`] if it has to be asked of IMDS, and IMDS has no answer.
    pub(crate) async fn region(&self) -> Result<String, ImdsError> {
        match &self.region {
            RegionSource::Known(region) => Ok(region.clone()),
            RegionSource::Instance(metadata) => Ok(metadata.identity().await?.region),
        }
    }

    /// Another endpoint than AWS's own for `service`, such as `SECRETS_MANAGER`.
    pub(crate) fn endpoint(&self, service: &str) -> Option<&str> {
        let own = self.endpoints.get(&format!("AWS_ENDPOINT_URL_{service}"));
        own.filter(|url| !url.is_empty())
            .or_else(|| self.endpoints.get("AWS_ENDPOINT_URL"))
            .map(String::as_str)
            .filter(|url| !url.is_empty())
    }

    /// The configuration of an SDK client.
    ///
    /// # Errors
    ///
    /// As [`region`](Connection::region).
    pub(super) async fn config(&self, service: &str) -> Result<SdkConfig, ImdsError> {
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region().await?))
            .credentials_provider(self.credentials.clone())
            // Our provider keeps them itself; the SDK's cache would give up a late role after five seconds.
            .identity_cache(IdentityCache::no_cache())
            .http_client(self.http.for_sdk())
            .sleep_impl(TokioSleep::new())
            .time_source(SystemTimeSource::new())
            // Steps try again, with full jitter and where it shows.
            .retry_config(RetryConfig::disabled())
            // Answers are small, and one that stalls is cut off by the client's own timeout.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(self.endpoint(service).map(str::to_owned));
        Ok(config.build())
    }
}
