//! The front ends that steps and facts use, over the real AWS or over any other.

use std::collections::BTreeMap;
use std::rc::Rc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::connection::{Connection, RegionSource};
use super::credentials::ImdsCredentials;
use super::fetch::{Parameters, Secrets};
use super::http::Http;
use super::imds::Imds;
use super::secrets_manager::LiveSecretsManager;
use super::ssm::LiveParameterStore;
use super::{Metadata, ParameterStore, SecretsManager};

/// Everything that may be asked of AWS.
#[derive(Clone)]
pub(crate) struct Aws {
    pub(crate) secrets: Secrets,
    pub(crate) parameters: Parameters,
    pub(crate) metadata: Rc<dyn Metadata>,
}

impl Aws {
    pub(crate) fn new(secrets: Rc<dyn SecretsManager>, parameters: Rc<dyn ParameterStore>, metadata: Rc<dyn Metadata>) -> Self {
        Self { secrets: Secrets::new(secrets), parameters: Parameters::new(parameters), metadata }
    }

    /// AWS as an instance sees it: its own role, its own region. Nothing is asked or made before it is needed.
    ///
    /// `endpoints` holds the SDKs' variables `AWS_ENDPOINT_URL…`, as far as they are set.
    pub(crate) fn on_instance(http: Http, imds: Imds, credentials: ImdsCredentials, endpoints: BTreeMap<String, String>) -> Self {
        let metadata: Rc<dyn Metadata> = Rc::new(imds);
        let region = RegionSource::Instance(metadata.clone());
        Self::over(Connection { http, region, credentials: SharedCredentialsProvider::new(credentials), endpoints }, metadata)
    }

    /// AWS as a person at a dev box sees it. `metadata` is of the instance that is imagined.
    pub(crate) fn of_caller(
        http: Http,
        credentials: Credentials,
        region: String,
        metadata: Rc<dyn Metadata>,
        endpoints: BTreeMap<String, String>,
    ) -> Self {
        let credentials = SharedCredentialsProvider::new(credentials);
        Self::over(Connection { http, region: RegionSource::Known(region), credentials, endpoints }, metadata)
    }

    fn over(connection: Connection, metadata: Rc<dyn Metadata>) -> Self {
        Self::new(Rc::new(LiveSecretsManager::new(connection.clone())), Rc::new(LiveParameterStore::new(connection)), metadata)
    }
}

#[cfg(test)]
mod tests;
