//! CloudFormation as AWS runs it: a signed Query call, and a PUT to a URL that is signed already.

use async_trait::async_trait;
use reqwest::{Method, Url};

use super::{CloudFormation, ResourceSignal, SERVICE, WaitSignal};
use crate::aws::client::call::Call;
use crate::aws::client::connection::Connection;
use crate::aws::client::error::{AwsError, AwsErrorKind};
use crate::aws::client::http::Http;
use crate::aws::client::query::{Api, Parameters, Query};
use crate::text::SecretText;

const CLOUDFORMATION: Api = Api { service: SERVICE, variable: "CLOUDFORMATION", version: "2010-05-15" };

pub(crate) struct LiveCloudFormation {
    query: Query,
    http: Http,
}

impl LiveCloudFormation {
    pub(crate) fn new(connection: Connection) -> Self {
        let http = connection.http.clone();
        Self { query: Query::new(connection, CLOUDFORMATION), http }
    }
}

#[async_trait(?Send)]
impl CloudFormation for LiveCloudFormation {
    async fn signal_resource(&self, signal: &ResourceSignal) -> Result<(), AwsError> {
        let ResourceSignal { stack, resource, unique_id, status } = signal;
        let parameters = Parameters::default()
            .with("StackName", stack)
            .with("LogicalResourceId", resource)
            .with("UniqueId", unique_id)
            .with("Status", status.word());
        self.query.call(&Call::new(SERVICE, "SignalResource", format!("{resource} of {stack}")), parameters).await.map(drop)
    }

    async fn signal_wait_condition(&self, url: &SecretText, signal: &WaitSignal) -> Result<(), AwsError> {
        let call = Call::new(SERVICE, "PUT", "to the wait condition");
        let url: Url = url.expose().parse().map_err(|_| call.error(AwsErrorKind::NoEndpoint, "it is not a URL"))?;
        let mut request = reqwest::Request::new(Method::PUT, url);
        *request.timeout_mut() = Some(self.http.call_timeout());
        // No Content-Type: the URL was signed without one.
        *request.body_mut() = Some(serde_json::to_vec(signal).expect("a signal is plain data").into());
        let client = self.http.client().map_err(|error| call.unsent(&error))?;
        // reqwest's error would contain the URL.
        let response = client.execute(request).await.map_err(|error| call.unsent(&error.without_url()))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(call.refused(None, None, Some(status.as_u16()))),
        }
    }
}

#[cfg(test)]
mod tests;
