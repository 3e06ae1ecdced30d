//! ECR as AWS runs it: one signed JSON call.
//!
//! Source: <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html>.

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Registries, Registry, SERVICE};
use crate::aws::client::call::Call;
use crate::aws::client::connection::Connection;
use crate::aws::client::error::AwsError;
use crate::json::of_bytes;
use crate::text::SecretText;

const OPERATION: &str = "GetAuthorizationToken";
const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";

pub(crate) struct LiveRegistries {
    connection: Connection,
}

/// The answer to GetAuthorizationToken.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "authorizationData")]
    data: Vec<Token>,
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

impl LiveRegistries {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }
}

#[async_trait(?Send)]
impl Registries for LiveRegistries {
    async fn token(&self, registry: &Registry) -> Result<SecretText, AwsError> {
        let call = Call::new(SERVICE, OPERATION, &registry.host);
        let elsewhere = self.connection.elsewhere(&registry.region).await.map_err(|error| call.unplaced(error))?;
        let connection = elsewhere.as_ref().unwrap_or(&self.connection);
        let place = connection.place_of_ecr().await.map_err(|error| call.unplaced(error))?;
        let answer = Zeroizing::new(connection.json(&call, &place, TARGET, Bytes::from_static(b"{}")).await?);
        let token = of_bytes(&answer).ok().and_then(|Answer { data }| data.into_iter().next());
        Ok(token.ok_or_else(|| call.malformed("the response contains no token"))?.token.into())
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
