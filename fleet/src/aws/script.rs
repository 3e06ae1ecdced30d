//! A fake AWS for tests, which gives scripted answers in order.

use std::sync::{Arc, Mutex};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::RetryConfig;

use super::Aws;

/// An answer; `None` for a dropped connection.
pub(super) type Answer = Option<(u16, &'static [(&'static str, &'static str)], &'static str)>;

/// The answers left, and the requests received: method, path and conditions.
#[derive(Debug, Clone)]
pub(super) struct Script(Arc<Mutex<(Vec<Answer>, Vec<String>)>>);

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut script = self.0.lock().unwrap();
        let condition =
            ["if-match", "if-none-match"].into_iter().find_map(|name| Some(format!(" {name}: {}", request.headers().get(name)?)));
        let path = request.uri().split_once("amazonaws.com").map_or("", |(_, path)| path);
        let path = path.split('?').next().unwrap_or_default();
        script.1.push(format!("{} {path}{}", request.method(), condition.unwrap_or_default()));
        let answer = if script.0.is_empty() { panic!("one call too many: {:?}", script.1) } else { script.0.remove(0) };
        HttpConnectorFuture::ready(match answer {
            None => Err(ConnectorError::io("connection reset by peer".into())),
            Some((status, headers, body)) => {
                let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
                headers.iter().for_each(|(name, value)| drop(response.headers_mut().insert(*name, *value)));
                Ok(response)
            }
        })
    }
}

impl Script {
    pub(super) fn of(answers: &[Answer]) -> Self {
        Self(Arc::new(Mutex::new((answers.to_vec(), Vec::new()))))
    }

    pub(super) fn aws(&self) -> Aws {
        let connector = SharedHttpConnector::new(self.clone());
        let same = connector.clone();
        let sdk = aws_config::SdkConfig::builder()
            .http_client(http_client_fn(move |_, _| same.clone()))
            .region(aws_config::Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("AKIA", "secret", None, None, "test")))
            .behavior_version(aws_config::BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .build();
        Aws { sdk, region: "eu-central-1".into(), connector }
    }

    /// Returns the requests received, after checking that no answers are left.
    pub(super) fn asked(&self) -> Vec<String> {
        let script = self.0.lock().unwrap();
        assert_eq!(script.0, [], "answers that were never requested");
        script.1.clone()
    }
}
