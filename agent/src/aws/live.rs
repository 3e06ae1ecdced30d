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
use super::{ParameterStore, SecretsManager};

/// Everything that may be asked of AWS.
#[derive(Clone)]
pub(crate) struct Aws {
    pub(crate) secrets: Secrets,
    pub(crate) parameters: Parameters,
}

impl Aws {
    pub(crate) fn new(secrets: Rc<dyn SecretsManager>, parameters: Rc<dyn ParameterStore>) -> Self {
        Self { secrets: Secrets::new(secrets), parameters: Parameters::new(parameters) }
    }

    /// AWS as an instance sees it: its own role, its own region. Nothing is asked or made before it is needed.
    ///
    /// `endpoints` holds the SDKs' variables `AWS_ENDPOINT_URL…`, as far as they are set.
    pub(crate) fn on_instance(http: Http, imds: Imds, credentials: ImdsCredentials, endpoints: BTreeMap<String, String>) -> Self {
        let region = RegionSource::Instance(Rc::new(imds));
        Self::over(Connection { http, region, credentials: SharedCredentialsProvider::new(credentials), endpoints })
    }

    /// AWS as a person at a dev box sees it.
    pub(crate) fn of_caller(http: Http, credentials: Credentials, region: String, endpoints: BTreeMap<String, String>) -> Self {
        let credentials = SharedCredentialsProvider::new(credentials);
        Self::over(Connection { http, region: RegionSource::Known(region), credentials, endpoints })
    }

    fn over(connection: Connection) -> Self {
        Self::new(Rc::new(LiveSecretsManager::new(connection.clone())), Rc::new(LiveParameterStore::new(connection)))
    }
}

#[cfg(test)]
mod tests;
