//! Systems Manager Parameter Store, always decrypted: the trait that steps use, and the real service through its SDK.
//!
//! Each method makes one call; [`fetch`](super::fetch) decides which parameters go into which call.

use std::collections::BTreeMap;
use std::rc::Rc;

use async_trait::async_trait;
use aws_sdk_ssm::operation::get_parameters::{GetParameters, GetParametersInput, GetParametersOutput};
use aws_sdk_ssm::operation::get_parameters_by_path::{GetParametersByPath, GetParametersByPathInput, GetParametersByPathOutput};
use aws_sdk_ssm::types::{Parameter, ParameterType};
use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin as _;
use aws_smithy_types::config_bag::FrozenLayer;

use crate::aws::client::call::Call;
use crate::aws::client::connection::Connection;
use crate::aws::client::error::{AwsError, AwsErrorKind, Service};
use crate::text::SecretText;

/// The name of Parameter Store in IAM, and the meaning of its errors.
pub(crate) const SERVICE: &Service = &Service::plain("ssm");

/// Systems Manager Parameter Store. Every value counts as a secret, whatever its type.
#[async_trait(?Send)]
pub(crate) trait ParameterStore {
    /// GetParameters with decryption, for at most ten names. Answers are in the order of `names`; `None` for a
    /// parameter that does not exist.
    async fn batch(&self, names: &[String]) -> Result<Vec<Option<ParameterValue>>, AwsError>;

    /// Parameter Store in the region that the ARN `name` names; `None` if that is the current region.
    async fn elsewhere(&self, _region: &str, _name: &str) -> Result<Option<Rc<dyn ParameterStore>>, AwsError> {
        Ok(None)
    }

    /// GetParametersByPath, recursive and decrypted, to the last page: names relative to `path`, and their values.
    async fn under(&self, path: &str) -> Result<Vec<(String, ParameterValue)>, AwsError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParameterValue {
    Text(SecretText),
    /// A StringList, split at its commas.
    List(Vec<SecretText>),
}

/// The error for an output that has the type of another operation, which cannot happen.
const OTHER: &str = "the response does not belong to this call";

/// More pages than any tree fills: an account has 10 000 standard parameters, 10 to a page.
const PAGE_LIMIT: usize = 1_000;

/// Parameter Store as AWS runs it.
pub(crate) struct LiveParameterStore {
    connection: Connection,
}

impl LiveParameterStore {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    async fn operate(&self, call: &Call, operation: Option<FrozenLayer>, input: Input) -> Result<Output, AwsError> {
        let place = self.connection.place(SERVICE.name, "SSM").await.map_err(|error| call.unplaced(error))?;
        self.connection.operate(call, &place, operation, input).await
    }
}

#[async_trait(?Send)]
impl ParameterStore for LiveParameterStore {
    async fn batch(&self, names: &[String]) -> Result<Vec<Option<ParameterValue>>, AwsError> {
        let call = Call::new(SERVICE, "GetParameters", names.join(", "));
        let input = GetParametersInput::builder().set_names(Some(names.to_vec())).with_decryption(true).build();
        let input = input.map_err(|error| call.error(AwsErrorKind::Invalid, error.to_string()))?;
        let output = self.operate(&call, GetParameters::new().config(), Input::erase(input)).await?;
        let answer: GetParametersOutput = output.downcast().map_err(|_| call.malformed(OTHER))?;

        let found: Vec<Found> = answer.parameters.unwrap_or_default().into_iter().filter_map(Found::new).collect();
        let value_of = |name: &String| found.iter().find(|found| found.is_called(name)).map(|found| found.value.clone());
        Ok(names.iter().map(value_of).collect())
    }

    async fn elsewhere(&self, region: &str, name: &str) -> Result<Option<Rc<dyn ParameterStore>>, AwsError> {
        let connection = self.connection.elsewhere(region).await;
        let connection = connection.map_err(|error| Call::new(SERVICE, "GetParameters", name).unplaced(error))?;
        Ok(connection.map(|connection| Rc::new(Self::new(connection)) as Rc<dyn ParameterStore>))
    }

    async fn under(&self, path: &str) -> Result<Vec<(String, ParameterValue)>, AwsError> {
        let call = Call::new(SERVICE, "GetParametersByPath", path);
        let mut values = BTreeMap::new();
        let mut next_token = None;
        for _ in 0..PAGE_LIMIT {
            let input = GetParametersByPathInput::builder().path(path).recursive(true).with_decryption(true);
            let input = input.set_next_token(next_token.clone()).build();
            let input = input.map_err(|error| call.error(AwsErrorKind::Invalid, error.to_string()))?;
            let output = self.operate(&call, GetParametersByPath::new().config(), Input::erase(input)).await?;
            let page: GetParametersByPathOutput = output.downcast().map_err(|_| call.malformed(OTHER))?;
            for found in page.parameters.unwrap_or_default().into_iter().filter_map(Found::new) {
                let name = found.name.strip_prefix(path).unwrap_or(&found.name).trim_start_matches('/');
                values.insert(name.to_owned(), found.value);
            }
            // An empty page is not necessarily the last.
            let token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(values.into_iter().collect());
            }
            if token == next_token {
                break;
            }
            next_token = token;
        }
        Err(call.endless())
    }
}

struct Found {
    name: String,
    arn: Option<String>,
    /// The selector of a version or label that was part of the requested name: `:3`.
    selector: String,
    value: ParameterValue,
}

impl Found {
    fn new(parameter: Parameter) -> Option<Self> {
        let text = SecretText::from(parameter.value?);
        let value = match parameter.r#type {
            Some(ParameterType::StringList) => ParameterValue::List(text.expose().split(',').map(SecretText::from).collect()),
            _ => ParameterValue::Text(text),
        };
        Some(Self { name: parameter.name?, arn: parameter.arn, selector: parameter.selector.unwrap_or_default(), value })
    }

    fn is_called(&self, asked: &str) -> bool {
        let Some(bare) = asked.strip_suffix(&self.selector) else { return false };
        bare == self.name || self.arn.as_deref() == Some(bare)
    }
}
