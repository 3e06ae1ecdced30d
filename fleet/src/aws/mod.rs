//! AWS, configured like the AWS CLI: region and credentials from the environment, profiles, SSO, roles and programs.

pub(crate) mod activities;
pub(crate) mod alarms;
pub(crate) mod boots;
pub(crate) mod certificates;
pub(crate) mod changes;
pub(crate) mod commands;
pub(crate) mod counted;
pub(crate) mod ec2;
pub(crate) mod evidence;
pub(crate) mod freezes;
pub(crate) mod groups;
pub(crate) mod images;
pub(crate) mod instances;
pub(crate) mod objects;
pub(crate) mod quotas;
pub(crate) mod records;
pub(crate) mod refreshes;
pub(crate) mod releases;
pub(crate) mod rights;
pub(crate) mod s3;
mod signed;
pub(crate) mod stacks;
pub(crate) mod swaps;
pub(crate) mod traffic;
mod trouble;
pub(crate) mod vcpus;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod script;

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use self::trouble::Call;
use crate::exit::Exit;
use crate::failure::Failure;

/// Timeouts for connecting, and for an answer to begin. The largest answers are lists of a thousand names.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(20);

/// How often a throttled or unanswered call is made in total. The pauses in between are at most 1, 2 and 4 seconds.
const ATTEMPTS: u32 = 4;

/// AWS in one region, with credentials that were found at start.
#[derive(Debug, Clone)]
pub(crate) struct Aws {
    pub(crate) sdk: SdkConfig,
    pub(crate) region: String,
    /// For calls without an SDK.
    connector: SharedHttpConnector,
}

impl Aws {
    /// Determines the region and the credentials.
    pub(crate) async fn connect() -> Result<Self, Failure> {
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(ANSWER).build();
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS);
        let (tls, trusted) = (tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring), trusted()?);
        let client = aws_smithy_http_client::Builder::new().tls_provider(tls.clone()).tls_context(trusted.clone()).build_https();
        let connector = SharedHttpConnector::new(Connector::builder().tls_provider(tls).tls_context(trusted).build());
        let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(client).timeout_config(timeouts);
        let sdk = loader.retry_config(retries).load().await;
        let Some(region) = sdk.region().map(ToString::to_string) else {
            return Err(Failure::new(Exit::Usage, "no region is configured").hint("set AWS_REGION, or `region` in the profile"));
        };
        let Some(provider) = sdk.credentials_provider() else {
            return Err(Failure::new(Exit::Failed, "no credentials were found").hint(trouble::LOG_IN));
        };
        provider.provide_credentials().await.map_err(|error| trouble::no_credentials(&error))?;
        Ok(Self { sdk, region, connector })
    }

    /// Returns the ARN of the caller, as CloudTrail shows it.
    pub(crate) async fn caller(&self) -> Result<String, Failure> {
        let call =
            Call { action: "sts:GetCallerIdentity", doing: "get", on: "the caller's identity from AWS STS".into(), region: &self.region };
        let answer = aws_sdk_sts::Client::new(&self.sdk).get_caller_identity().send().await;
        let answer = answer.map_err(|error| trouble::of(&error).failure(&call))?;
        Ok(answer.arn().unwrap_or("unknown").to_owned())
    }
}

/// Returns the trusted CA certificates: those of the system and, as in the AWS CLI, those of `AWS_CA_BUNDLE`.
fn trusted() -> Result<TlsContext, Failure> {
    let mut trusted = TrustStore::default();
    if let Some(file) = std::env::var_os("AWS_CA_BUNDLE").filter(|file| !file.is_empty()) {
        let unread = |error| {
            Failure::new(Exit::Usage, format!("cannot read AWS_CA_BUNDLE, {}", file.display()))
                .because(&error)
                .hint("correct or unset AWS_CA_BUNDLE")
        };
        trusted.add_pem_certificate(std::fs::read(&file).map_err(unread)?);
    }
    TlsContext::builder().with_trust_store(trusted).build().map_err(|error| Failure::new(Exit::Failed, "cannot set up TLS").because(&error))
}
