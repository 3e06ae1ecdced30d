//! AWS Secrets Manager: the trait that steps use, and the real service through its SDK.
//!
//! Each method makes one call; [`fetch`](super::fetch) decides which secrets go into which call.

use std::fmt;
use std::rc::Rc;

use async_trait::async_trait;
use aws_sdk_secretsmanager::operation::batch_get_secret_value::{BatchGetSecretValue, BatchGetSecretValueInput, BatchGetSecretValueOutput};
use aws_sdk_secretsmanager::operation::get_secret_value::{GetSecretValue, GetSecretValueInput, GetSecretValueOutput};
use aws_sdk_secretsmanager::primitives::Blob;
use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin as _;
use aws_smithy_types::config_bag::FrozenLayer;
use zeroize::Zeroizing;

use crate::aws::client::call::Call;
use crate::aws::client::connection::Connection;
use crate::aws::client::error::{AwsError, AwsErrorKind, Service};
use crate::text::SecretText;

/// The name of Secrets Manager in IAM, and the meaning of its errors.
pub(crate) const SERVICE: &Service = &Service::plain("secretsmanager");

/// The error for an output that has the type of another operation, which cannot happen.
const OTHER: &str = "the response does not belong to this call";

/// Secrets Manager.
#[async_trait(?Send)]
pub(crate) trait SecretsManager {
    /// BatchGetSecretValue: the current version of at most twenty secrets. Answers are in the order of `ids`; `None`
    /// for a secret that the service did not mention.
    async fn batch(&self, ids: &[String]) -> Result<Vec<Option<Result<SecretValue, AwsError>>>, AwsError>;

    /// Secrets Manager in the region that the ARN `id` names; `None` if that is the current region.
    async fn elsewhere(&self, _region: &str, _id: &str) -> Result<Option<Rc<dyn SecretsManager>>, AwsError> {
        Ok(None)
    }

    /// GetSecretValue.
    async fn get(&self, secret: &SecretRequest) -> Result<SecretValue, AwsError>;
}

/// One secret of Secrets Manager, by name or ARN, in one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SecretRequest {
    pub(crate) id: String,
    pub(crate) version: SecretVersion,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SecretVersion {
    Current,
    Stage(String),
    Id(String),
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SecretValue {
    Text(SecretText),
    Binary(Zeroizing<Vec<u8>>),
}

/// Redacted like [`SecretText`]; `Zeroizing` would print the bytes.
impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Secrets Manager as AWS runs it.
pub(crate) struct LiveSecretsManager {
    connection: Connection,
}

impl LiveSecretsManager {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    async fn operate(&self, call: &Call, operation: Option<FrozenLayer>, input: Input) -> Result<Output, AwsError> {
        let place = self.connection.place(SERVICE.name, "SECRETS_MANAGER").await.map_err(|error| call.unplaced(error))?;
        self.connection.operate(call, &place, operation, input).await
    }
}

#[async_trait(?Send)]
impl SecretsManager for LiveSecretsManager {
    async fn batch(&self, ids: &[String]) -> Result<Vec<Option<Result<SecretValue, AwsError>>>, AwsError> {
        let call = Call::new(SERVICE, "BatchGetSecretValue", ids.join(", "));
        let input = BatchGetSecretValueInput::builder().set_secret_id_list(Some(ids.to_vec())).build();
        let input = input.map_err(|error| call.error(AwsErrorKind::Invalid, error.to_string()))?;
        let output = self.operate(&call, BatchGetSecretValue::new().config(), Input::erase(input)).await?;
        let answer: BatchGetSecretValueOutput = output.downcast().map_err(|_| call.malformed(OTHER))?;

        let found: Vec<_> = (answer.secret_values.unwrap_or_default().into_iter())
            .map(|entry| (entry.name, entry.arn, value(entry.secret_string, entry.secret_binary)))
            .collect();
        let refused = answer.errors.unwrap_or_default();
        let answer_for = |id: &String| {
            let found = found.iter().find(|(name, arn, _)| is_called(id, name.as_deref(), arn.as_deref()));
            if let Some((_, _, Some(value))) = found {
                return Some(Ok(value.clone()));
            }
            let error = refused.iter().find(|error| is_called(id, error.secret_id(), error.secret_id()))?;
            // The permission that is missing is the one to read this secret.
            let call = Call::new(SERVICE, "GetSecretValue", id);
            Some(Err(call.refused(error.error_code(), error.message(), None)))
        };
        Ok(ids.iter().map(answer_for).collect())
    }

    async fn elsewhere(&self, region: &str, id: &str) -> Result<Option<Rc<dyn SecretsManager>>, AwsError> {
        let connection = self.connection.elsewhere(region).await;
        let connection = connection.map_err(|error| Call::new(SERVICE, "GetSecretValue", id).unplaced(error))?;
        Ok(connection.map(|connection| Rc::new(Self::new(connection)) as Rc<dyn SecretsManager>))
    }

    async fn get(&self, secret: &SecretRequest) -> Result<SecretValue, AwsError> {
        let call = Call::new(SERVICE, "GetSecretValue", &secret.id);
        let input = GetSecretValueInput::builder().secret_id(&secret.id);
        let input = match &secret.version {
            SecretVersion::Current => input,
            SecretVersion::Stage(stage) => input.version_stage(stage),
            SecretVersion::Id(id) => input.version_id(id),
        };
        let input = input.build().map_err(|error| call.error(AwsErrorKind::Invalid, error.to_string()))?;
        let output = self.operate(&call, GetSecretValue::new().config(), Input::erase(input)).await?;
        let answer: GetSecretValueOutput = output.downcast().map_err(|_| call.malformed(OTHER))?;
        value(answer.secret_string, answer.secret_binary).ok_or_else(|| call.malformed("the secret has no value"))
    }
}

fn value(text: Option<String>, binary: Option<Blob>) -> Option<SecretValue> {
    match (text, binary) {
        (Some(text), _) => Some(SecretValue::Text(text.into())),
        (None, Some(binary)) => Some(SecretValue::Binary(Zeroizing::new(binary.into_inner()))),
        (None, None) => None,
    }
}

/// Whether the secret with this name and ARN is the one `asked` for: by name, by ARN, or by ARN without the hyphen and
/// six characters that Secrets Manager appends.
fn is_called(asked: &str, name: Option<&str>, arn: Option<&str>) -> bool {
    let suffix = || arn.and_then(|arn| arn.strip_prefix(asked)).filter(|_| asked.starts_with("arn:"));
    name == Some(asked) || arn == Some(asked) || suffix().is_some_and(|rest| rest.len() == 7 && rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_secret_by_name_and_by_whole_or_partial_arn() {
        const ARN: &str = "arn:aws:secretsmanager:eu-west-1:1:secret:prod/db-a1b2c3";
        let found = |asked| is_called(asked, Some("prod/db"), Some(ARN));
        assert!(found("prod/db") && found(ARN) && found("arn:aws:secretsmanager:eu-west-1:1:secret:prod/db"));
        assert!(!found("prod") && !found("arn:aws:secretsmanager:eu-west-1:1:secret:prod/d") && !found("prod/db-a1b2c3"));
    }
}
