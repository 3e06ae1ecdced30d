//! The front ends that steps and facts use, over the real AWS or over any other.

use std::collections::BTreeMap;
use std::rc::Rc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::connection::{Connection, RegionSource};
use super::credentials::ImdsCredentials;
use super::ec2::{Ec2, LiveEc2};
use super::fetch::{Parameters, Secrets};
use super::http::Http;
use super::imds::Imds;
use super::rds::{LiveRds, Rds};
use super::secrets_manager::LiveSecretsManager;
use super::ssm::LiveParameterStore;
use super::{ParameterStore, SecretsManager};

/// Everything that may be asked of AWS.
#[derive(Clone)]
pub(crate) struct Aws {
    pub(crate) secrets: Secrets,
    pub(crate) parameters: Parameters,
    pub(crate) ec2: Rc<dyn Ec2>,
    pub(crate) rds: Rc<dyn Rds>,
}

/// The services themselves, real or not.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) secrets: Rc<dyn SecretsManager>,
    pub(crate) parameters: Rc<dyn ParameterStore>,
    pub(crate) ec2: Rc<dyn Ec2>,
    pub(crate) rds: Rc<dyn Rds>,
}

impl Aws {
    pub(crate) fn new(services: Services) -> Self {
        let Services { secrets, parameters, ec2, rds } = services;
        Self { secrets: Secrets::new(secrets), parameters: Parameters::new(parameters), ec2, rds }
    }

    /// AWS as an instance sees it: its own role, its own region. Nothing is asked or made before it is needed.
    ///
    /// `endpoints` holds the SDKs' variables `AWS_ENDPOINT_URL…`, as far as they are set.
    pub(crate) fn on_instance(http: Http, imds: Imds, credentials: ImdsCredentials, endpoints: BTreeMap<String, String>) -> Self {
        let metadata = Rc::new(imds);
        let region = RegionSource::Instance(metadata.clone());
        let connection = Connection { http, region, credentials: SharedCredentialsProvider::new(credentials), endpoints };
        Self::new(Services {
            secrets: Rc::new(LiveSecretsManager::new(connection.clone())),
            parameters: Rc::new(LiveParameterStore::new(connection.clone())),
            rds: Rc::new(LiveRds::new(connection.clone())),
            ec2: Rc::new(LiveEc2::new(connection, metadata)),
        })
    }

    /// AWS as a person at a dev box sees it: its secrets are real, and all else is done to `others`.
    pub(crate) fn of_caller(
        http: Http,
        credentials: Credentials,
        region: String,
        endpoints: BTreeMap<String, String>,
        others: Services,
    ) -> Self {
        let credentials = SharedCredentialsProvider::new(credentials);
        Self::over(Connection { http, region: RegionSource::Known(region), credentials, endpoints }, others)
    }

    fn over(connection: Connection, others: Services) -> Self {
        Self::new(Services {
            secrets: Rc::new(LiveSecretsManager::new(connection.clone())),
            parameters: Rc::new(LiveParameterStore::new(connection)),
            ..others
        })
    }
}

#[cfg(test)]
mod tests;
