//! ECR as AWS runs it: one signed JSON call.
//!
//! Source: <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>.

use std::time::SystemTime;

use async_trait::async_trait;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::SigningSettings;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Registries, Registry, SERVICE};
use crate::aws::client::call::Call;
use crate::aws::client::classify::retry_after;
use crate::aws::client::connection::Connection;
use crate::aws::client::error::{AwsError, AwsErrorKind};
use crate::aws::client::http::CALL_TIMEOUT;
use crate::aws::client::signing::Signing;
use crate::text::SecretText;

/// More than an answer is long, in bytes: it holds one token of 2 KiB or so.
const ANSWER_LIMIT: usize = 64 << 10;

const OPERATION: &str = "GetAuthorizationToken";
const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";

pub(crate) struct LiveRegistries {
    connection: Connection,
}

/// A token, or why there is none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    #[serde(rename = "authorizationData")]
    data: Vec<Token>,
    #[serde(rename = "__type")]
    code: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(rename = "authorizationToken")]
    token: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// A call that ECR has refused.
struct Refusal {
    error: AwsError,
    /// What time it was by ECR.
    date: Option<String>,
}

impl LiveRegistries {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    async fn exchange(&self, connection: &Connection, call: &Call, time: SystemTime) -> Result<Result<SecretText, Refusal>, AwsError> {
        let place = connection.place_of_ecr().await.map_err(|error| call.unplaced(error))?;
        let mut request = reqwest::Request::new(reqwest::Method::POST, place.parsed().map_err(|error| call.unplaced(error))?);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        request.headers_mut().insert("x-amz-target", HeaderValue::from_static(TARGET));
        let identity = connection.credentials.provide_credentials().await.map_err(|error| call.unsent(&error))?.into();
        let signing = Signing { service: SERVICE.name, region: &place.region, time, settings: SigningSettings::default() };
        signing.sign(&mut request, b"{}", &identity).map_err(|why| call.error(AwsErrorKind::NoEndpoint, why))?;
        *request.timeout_mut() = Some(CALL_TIMEOUT);
        *request.body_mut() = Some("{}".into());

        let client = connection.http.client().map_err(|error| call.unsent(&error))?;
        let exchange = connection.http.exchanges().begin(call.operation);
        let mut response = client.execute(request).await.map_err(|error| call.unsent(&error))?;
        exchange.answered(response.status().as_u16());
        let (status, headers) = (response.status(), response.headers().clone());
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
        while let Some(chunk) = response.chunk().await.map_err(|error| call.unsent(&error))? {
            if body.len() + chunk.len() > ANSWER_LIMIT {
                return Err(call.malformed("the answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        let answer: Result<Answer, _> = serde_json::from_slice(&body);
        if status.is_success() {
            let token = answer.ok().and_then(|answer| answer.data.into_iter().next());
            let token = token.ok_or_else(|| call.malformed("the answer holds no token"))?;
            return Ok(Ok(token.token.into()));
        }
        let Answer { code, message, .. } = answer.unwrap_or_default();
        let refused = call.refused(code.as_deref(), message.as_deref(), Some(status.as_u16()));
        let error = AwsError { retry_after: retry_after(text(RETRY_AFTER)), ..refused };
        Ok(Err(Refusal { error, date: text(DATE).map(str::to_owned) }))
    }
}

#[async_trait(?Send)]
impl Registries for LiveRegistries {
    async fn token(&self, registry: &Registry) -> Result<SecretText, AwsError> {
        let call = Call::new(SERVICE, OPERATION, &registry.host);
        let elsewhere = self.connection.elsewhere(&registry.region).await.map_err(|error| call.unplaced(error))?;
        let connection = elsewhere.as_ref().unwrap_or(&self.connection);
        let clock = connection.http.clock();
        let signed = clock.now();
        let refusal = match self.exchange(connection, &call, signed).await? {
            Ok(token) => return Ok(token),
            Err(refusal) => refusal,
        };
        if !clock.corrected_by(Some(&refusal.error.code), refusal.date.as_deref(), signed) {
            return Err(refusal.error);
        }
        self.exchange(connection, &call, clock.now()).await?.map_err(|refusal| refusal.error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;

    use super::*;
    use crate::aws::client::connection::RegionSource;
    use crate::aws::client::http::Http;
    use crate::aws::loopback::{Loopback, Reply};
    use crate::failure::Failure as _;

    async fn ask(status: u16, body: &'static str) -> (Result<SecretText, AwsError>, String) {
        let server = Loopback::serve(move |_| Reply::new(status, body.to_owned()));
        let ecr = LiveRegistries::new(Connection {
            http: Http::new(None),
            region: RegionSource::Known("eu-west-1".into()),
            credentials: SharedCredentialsProvider::new(Credentials::new("AKIA", "secret", None, None, "test")),
            endpoints: BTreeMap::from([("AWS_ENDPOINT_URL_ECR".into(), server.url.clone())]),
        });
        let registry = Registry::parse("123456789012.dkr.ecr.eu-central-1.amazonaws.com").unwrap();
        let answer = ecr.token(&registry).await;
        (answer, format!("{:?}", server.requests().pop().unwrap()))
    }

    #[tokio::test]
    async fn a_token_is_asked_for_in_the_region_of_the_registry() {
        let (token, request) = ask(200, r#"{"authorizationData":[{"authorizationToken":"QVdTOng=","expiresAt":1}]}"#).await;
        assert_eq!(token.unwrap().expose(), "QVdTOng=");
        assert!(request.contains(TARGET) && request.contains("/eu-central-1/ecr/aws4_request"), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_names_the_action() {
        let (refused, _) = ask(400, r#"{"__type":"AccessDeniedException","Message":"User: x is not authorized"}"#).await;
        let error = refused.unwrap_err();
        assert!(!error.is_transient() && error.hint().unwrap().contains("ecr:GetAuthorizationToken"), "{error:?}");
    }
}
